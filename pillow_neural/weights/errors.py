"""The one error that every failure to get weights ends as."""

from __future__ import annotations

import os

FOLDER_VARIABLE = "PILLOW_NEURAL_WEIGHTS"


class WeightsUnavailableError(OSError):
    """The weights that a picture needs are missing or damaged; the message names file, cause and remedy."""


def by_hand(file: str) -> str:
    """How a user brings a weights file to where it is looked for first; a clause for error messages."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        return f"put {file} into {folder}, which {FOLDER_VARIABLE} names"
    return f"put {file} into a folder and name that folder in {FOLDER_VARIABLE}"
