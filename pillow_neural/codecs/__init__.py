"""Codecs: one module a system, the contract they share, and the registry that names them."""
