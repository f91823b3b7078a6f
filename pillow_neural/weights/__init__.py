"""Weights files: the manifest, the look-up, the check of their contents."""

from pillow_neural.weights.manifest import WeightsEntry, default_entry, entry_of_id, manifest
from pillow_neural.weights.store import WeightsUnavailableError, locate

__all__ = [
    "WeightsEntry",
    "WeightsUnavailableError",
    "default_entry",
    "entry_of_id",
    "locate",
    "manifest",
]
