"""Layers that more than one codec uses."""
