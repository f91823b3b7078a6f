"""One recipe a codec: what the common loop needs to train it."""
