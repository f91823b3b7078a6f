"""Finding a weights file and checking it: the user's folder, the bundled files, the Hub's cache, the Hub."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pillow_neural.weights import hub
from pillow_neural.weights.errors import FOLDER_VARIABLE, WeightsUnavailableError, by_hand
from pillow_neural.weights.manifest import WeightsEntry

FAILURE_KEPT = 30.0
"""Seconds for which a failed download is remembered: a folder of pictures must not wait for each of them."""

_BUNDLED = Path(__file__).with_name("bundled")

_failures: dict[WeightsEntry, tuple[float, str]] = {}


class Place(StrEnum):
    """Where on this machine a weights file is looked for."""

    FOLDER = "your folder"
    BUNDLED = "bundled"
    CACHE = "Hub cache"


class Copy(NamedTuple):
    """A file that has the name of a weights file, in one of the places; its contents are not checked."""

    place: Place
    path: Path


def copies(entry: WeightsEntry) -> Iterator[Copy]:
    """The copies of a weights file on this machine, in the order of the look-up; uses no network."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and (path := Path(folder).expanduser().absolute() / entry.file).is_file():
        yield Copy(Place.FOLDER, path)
    if (path := _BUNDLED / entry.file).is_file():
        yield Copy(Place.BUNDLED, path)
    if (cached := hub.cached(entry)) is not None:
        yield Copy(Place.CACHE, cached)


def is_intact(path: Path, entry: WeightsEntry) -> bool:
    """Whether a file has the size and the sha256 of the manifest.

    The file is read once; the hash is remembered while path, size and time of modification stay the same.
    """
    status = path.stat()
    if status.st_size != entry.size:
        return False
    return _sha256(path, status.st_size, status.st_mtime_ns) == entry.sha256


def locate(entry: WeightsEntry, *, patient: bool = False) -> Path:
    """Path of a weights file whose sha256 was checked.

    Looked for in the folder named by PILLOW_NEURAL_WEIGHTS, among the bundled files, in the cache of the
    Hugging Face Hub, and downloaded from the Hub. A download that failed is not tried again for 30 seconds.

    Args:
        entry: which weights.
        patient: whether to try again at once what failed just now, and to keep trying to reach the Hub.

    Raises:
        WeightsUnavailableError: the file is not to be had, or its contents are not those of the manifest.
    """
    copy = next(copies(entry), None)
    if copy is not None and is_intact(copy.path, entry):
        return copy.path
    if copy is not None and copy.place is not Place.CACHE:
        raise _damaged(copy, entry)
    if not patient:
        _raise_recent_failure(entry)
    try:
        return _download(entry, again=copy is not None, patient=patient)
    except WeightsUnavailableError as error:
        _failures[entry] = (time.monotonic(), str(error))
        raise


def _download(entry: WeightsEntry, *, again: bool, patient: bool) -> Path:
    """Download, and once more if the contents are wrong; `again` says that those in the cache were wrong."""
    path = hub.download(entry, again=again, patient=patient)
    if not again and not is_intact(path, entry):
        path = hub.download(entry, again=True, patient=patient)
    if not is_intact(path, entry):
        raise _damaged(Copy(Place.CACHE, path), entry)
    return path


def _raise_recent_failure(entry: WeightsEntry) -> None:
    failed, message = _failures.get(entry, (-math.inf, ""))
    if time.monotonic() < failed + FAILURE_KEPT:
        raise WeightsUnavailableError(message)


def _damaged(copy: Copy, entry: WeightsEntry) -> WeightsUnavailableError:
    remedy = {
        Place.FOLDER: f"Replace or delete it, or unset {FOLDER_VARIABLE}.",
        Place.BUNDLED: f"Reinstall pillow-neural, or {by_hand(entry.file)}.",
        Place.CACHE: (
            "It was downloaded twice with the same result; run "
            f"`nic weights fetch {entry.file}` later, or {by_hand(entry.file)}."
        ),
    }
    return WeightsUnavailableError(
        f"weights {entry.file} of codec {entry.codec} are damaged: {copy.path} ({copy.place}) does not have "
        f"the {entry.size:,} bytes with sha256 {entry.sha256} of the manifest. {remedy[copy.place]}"
    )


@cache
def _sha256(path: Path, size: int, modified: int) -> str:
    del size, modified
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
