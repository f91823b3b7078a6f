"""What a Pillow plugin should do, as checks that run on any format and say what they saw."""
