"""Weights files: the manifest, the look-up, the check of their contents, the Hub."""

from pillow_neural.weights.errors import WeightsUnavailableError
from pillow_neural.weights.manifest import WeightsEntry, default_entry, entry_of_id, known_weights, manifest
from pillow_neural.weights.store import locate

__all__ = [
    "WeightsEntry",
    "WeightsUnavailableError",
    "default_entry",
    "entry_of_id",
    "known_weights",
    "locate",
    "manifest",
]
