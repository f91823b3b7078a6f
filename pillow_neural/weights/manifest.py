"""weights_manifest.toml: which weights files there are. It only ever gains entries once published."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ID_BYTES = 8

_PACKAGED = Path(__file__).with_name("weights_manifest.toml")
_SOURCE_TREE = Path(__file__).parents[2] / "weights_manifest.toml"


@dataclass(frozen=True, slots=True)
class WeightsEntry:
    """One weights file.

    Attributes:
        codec: registered name of the codec it belongs to.
        file: file name, below the package's folder of bundled weights or in a folder of the user's.
        size: bytes.
        sha256: 64 hex digits of the file's contents; the first 16 are what a .nic file names.
        licence: SPDX identifier.
    """

    codec: str
    file: str
    size: int
    sha256: str
    licence: str

    @property
    def id(self) -> bytes:
        """The 8 bytes by which .nic files name these weights."""
        return bytes.fromhex(self.sha256)[:ID_BYTES]


@cache
def manifest() -> tuple[WeightsEntry, ...]:
    """All entries, in the file's order."""
    path = _PACKAGED if _PACKAGED.exists() else _SOURCE_TREE
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    fields = ("codec", "file", "size", "sha256", "licence")
    return tuple(WeightsEntry(**{name: entry[name] for name in fields}) for entry in table["weights"])


def default_entry(codec: str) -> WeightsEntry | None:
    """The weights that new pictures of this codec are saved with: the last listed, if any."""
    return next((e for e in reversed(manifest()) if e.codec == codec), None)


def entry_of_id(codec: str, weights_id: bytes) -> WeightsEntry | None:
    """The entry that a .nic file names by codec and 8 bytes of hash, or None."""
    return next((e for e in manifest() if e.codec == codec and e.id == weights_id), None)
