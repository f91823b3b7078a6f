"""Finding a weights file and checking it: the user's folder, then the bundled files. The Hub comes third."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

from pillow_neural.weights.manifest import WeightsEntry

FOLDER_VARIABLE = "PILLOW_NEURAL_WEIGHTS"

_BUNDLED = Path(__file__).with_name("bundled")


class WeightsUnavailableError(OSError):
    """The weights that a picture needs are missing or damaged; the message says what to do."""


def locate(entry: WeightsEntry) -> Path:
    """Path of a weights file whose sha256 was checked.

    Looked for in the folder named by PILLOW_NEURAL_WEIGHTS, then among the bundled files.

    Raises:
        WeightsUnavailableError: no such file, or its contents are not those of the manifest.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    places = ([Path(folder)] if folder else []) + [_BUNDLED]
    for place in places:
        path = place / entry.file
        if path.is_file():
            status = path.stat()
            _check(path, status.st_size, status.st_mtime_ns, entry)
            return path
    raise WeightsUnavailableError(
        f"weights {entry.file} of codec {entry.codec} not found in {' or '.join(map(str, places))}; "
        f"put the file into a folder and name that folder in {FOLDER_VARIABLE}, or reinstall pillow-neural"
    )


@cache
def _check(path: Path, size: int, modified: int, entry: WeightsEntry) -> None:
    del modified
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest() if size == entry.size else None
    if digest != entry.sha256:
        raise WeightsUnavailableError(
            f"{path} is damaged or not the file of the manifest (expected {entry.size} bytes, sha256 "
            f"{entry.sha256}); delete it and reinstall pillow-neural"
        )
