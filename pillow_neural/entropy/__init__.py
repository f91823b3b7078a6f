"""Entropy coding in exact integers: frequency tables, a range coder, and symbols coded with them."""

from pillow_neural.entropy.range_coder import DecodeError
from pillow_neural.entropy.symbols import SymbolDecoder, SymbolEncoder
from pillow_neural.entropy.tables import FrequencyTables, quantise

__all__ = ["DecodeError", "FrequencyTables", "SymbolDecoder", "SymbolEncoder", "quantise"]
