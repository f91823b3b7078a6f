"""Training of every codec: data, the loop, one recipe a codec."""
