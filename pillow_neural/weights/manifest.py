"""weights_manifest.toml: which weights files there are. It only ever gains entries once published.

A table of the file, [[weights]], has these keys:

    codec, file, size, sha256, licence                       see WeightsEntry
    tune                                                     absent where it is the codec's own
    format_version                                           version of the .nic format, as in FORMAT.md
    training_minutes, training_steps, training_megapixels    see Training
    kodak_bpp, kodak_psnr, kodak_ms_ssim                     see Curve; absent until measured
    repository                                               on the Hugging Face Hub, as "owner/name"
    revision                                                 of a commit, in 40 hex; absent until published

A folder named by PILLOW_NEURAL_WEIGHTS may have a manifest of its own, as pillow_neural.training.export
--output writes it: weights that one has trained oneself.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from pillow_neural.header import CODEC_NAME
from pillow_neural.weights.errors import FOLDER_VARIABLE, WeightsUnavailableError

ID_BYTES = 8

_PACKAGED = Path(__file__).with_name("weights_manifest.toml")
_SOURCE_TREE = Path(__file__).parents[2] / "weights_manifest.toml"
MANIFEST = _PACKAGED if _PACKAGED.exists() else _SOURCE_TREE

_TRAINING = ("training_minutes", "training_steps", "training_megapixels")
_CURVE = ("kodak_bpp", "kodak_psnr", "kodak_ms_ssim")
_PLAIN = ("codec", "file", "size", "sha256", "licence", "format_version", "repository", "revision", "tune")
_OPTIONAL = frozenset({*_CURVE, "repository", "revision", "tune"})


class ManifestError(ValueError):
    """The manifest breaks a rule; the message names entry, key and rule."""


class Training(NamedTuple):
    """How long weights were trained: minutes, optimiser steps, and megapixels seen."""

    minutes: float
    steps: int
    megapixels: float


class Curve(NamedTuple):
    """Means over the 24 Kodak pictures, by rising bits per pixel; PSNR in dB, MS-SSIM from 0 to 1."""

    bpp: tuple[float, ...]
    psnr: tuple[float, ...]
    ms_ssim: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class WeightsEntry:
    """One weights file.

    Attributes:
        codec: registered name of the codec it belongs to.
        file: file name in each place where it is looked for, and in the repository.
        size: bytes.
        sha256: 64 hex digits of the file's contents; the first 16 are what a .nic file names.
        licence: SPDX identifier.
        format_version: version of the .nic format that carries pictures of these weights.
        training: what it took to train them.
        curve: what they do to the Kodak pictures, or None before that is measured.
        repository: where on the Hugging Face Hub the file is or will be, "owner/name".
        revision: 40 hex digits of the commit that holds the file, or None before it is published. Such a file
            is found in the user's folder or among the bundled files only.
        tune: the metric that these weights are for instead of their codec's own, None if there is none.
    """

    codec: str
    file: str
    size: int
    sha256: str
    licence: str
    format_version: int = 1
    training: Training | None = None
    curve: Curve | None = None
    repository: str | None = None
    revision: str | None = None
    tune: str | None = None

    @property
    def id(self) -> bytes:
        """The 8 bytes by which .nic files name these weights."""
        return bytes.fromhex(self.sha256)[:ID_BYTES]


@cache
def manifest() -> tuple[WeightsEntry, ...]:
    """All entries of the package, in the file's order.

    Raises:
        ManifestError: weights_manifest.toml breaks a rule.
    """
    return parse_manifest(MANIFEST.read_text(encoding="utf-8"))


def known_weights() -> tuple[WeightsEntry, ...]:
    """The entries of the package, then those of the user's folder.

    Raises:
        WeightsUnavailableError: the manifest in the user's folder breaks a rule.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    path = Path(folder).expanduser().absolute() / MANIFEST.name if folder else None
    if path is None or not path.is_file():
        return manifest()
    return manifest() + _own(path, path.stat().st_mtime_ns)


@cache
def _own(path: Path, modified: int) -> tuple[WeightsEntry, ...]:
    del modified
    try:
        return parse_manifest(path.read_text(encoding="utf-8"))
    except ValueError as error:
        place = f"{path}, in the folder that {FOLDER_VARIABLE} names"
        raise WeightsUnavailableError(f"{place}: {error}") from error


def default_entry(codec: str, tune: str | None = None) -> WeightsEntry | None:
    """The weights that new pictures of this codec are saved with: the last known, if any.

    Args:
        codec: its name.
        tune: the metric that they are to be for, None for the codec's own.
    """
    return next((e for e in reversed(known_weights()) if (e.codec, e.tune) == (codec, tune)), None)


def entry_of_id(codec: str, weights_id: bytes) -> WeightsEntry | None:
    """The entry that a .nic file names by codec and 8 bytes of hash, or None."""
    return next((e for e in known_weights() if e.codec == codec and e.id == weights_id), None)


def parse_manifest(text: str) -> tuple[WeightsEntry, ...]:
    """The entries of a manifest, in its order.

    Raises:
        ManifestError: it is no TOML, or breaks a rule; the message says which entry, key and rule.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"the manifest is not TOML: {error}") from error
    if table.keys() != {"weights"} or not _is_tables(table["weights"]):
        raise ManifestError("the manifest must consist of [[weights]] tables")
    entries = tuple(_entry(number, fields) for number, fields in enumerate(table["weights"], 1))
    for attribute in ("file", "id"):
        values = [getattr(entry, attribute) for entry in entries]
        for entry, value in zip(entries, values, strict=True):
            if values.count(value) > 1:
                raise ManifestError(f"two entries of the manifest have the {attribute} of {entry.file}")
    return entries


def _entry(number: int, fields: dict[str, Any]) -> WeightsEntry:
    try:
        _check(fields)
    except ManifestError as error:
        raise ManifestError(f"entry {number} of the manifest ({fields.get('file')}): {error}") from error
    minutes, steps, megapixels = (fields[key] for key in _TRAINING)
    return WeightsEntry(
        **{key: fields[key] for key in _PLAIN if key in fields},
        training=Training(minutes, steps, megapixels),
        curve=Curve(*(tuple(fields[key]) for key in _CURVE)) if _CURVE[0] in fields else None,
    )


def _check(fields: dict[str, Any]) -> None:
    if missing := _RULES.keys() - _OPTIONAL - fields.keys():
        raise ManifestError(f"it lacks {', '.join(sorted(missing))}")
    if unknown := fields.keys() - _RULES.keys():
        raise ManifestError(f"it has unknown keys: {', '.join(sorted(unknown))}")
    for key, value in fields.items():
        is_valid, wanted = _RULES[key]
        if not is_valid(value):
            raise ManifestError(f"{key} is {value!r}, not {wanted}")
    ending = f"-{fields['sha256'][:8]}.safetensors"
    if not fields["file"].endswith(ending):
        raise ManifestError(f"file does not end in {ending}, with the first digits of its sha256")
    if "revision" in fields and "repository" not in fields:
        raise ManifestError("it has a revision but no repository")
    lengths = {len(fields.get(key, ())) for key in _CURVE}
    if len(lengths) > 1:
        raise ManifestError(f"{', '.join(_CURVE)} are not three lists of one length")


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 < cast(float, value) < math.inf


def _is_whole_number(value: object) -> bool:
    return type(value) is int and value > 0


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(map(_is_number, value))


def _is_rising(value: object) -> bool:
    return _is_numbers(value) and all(a < b for a, b in itertools.pairwise(cast(list[float], value)))


def _is_up_to_one(value: object) -> bool:
    return _is_numbers(value) and max(cast(list[float], value)) <= 1


def _matches(pattern: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


_RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "codec": (_matches(CODEC_NAME), "1 to 32 characters of a-z, 0-9, _ and -"),
    "file": (_matches(r"[A-Za-z0-9][\w.-]*\.safetensors"), "the name of a .safetensors file, no folder"),
    "size": (_is_whole_number, "a whole number above 0"),
    "sha256": (_matches(r"[0-9a-f]{64}"), "64 hex digits in lower case"),
    "licence": (_matches(r"[A-Za-z0-9][A-Za-z0-9.+-]*"), "an SPDX identifier such as Apache-2.0"),
    "format_version": (_is_whole_number, "a whole number above 0"),
    "training_minutes": (_is_number, "a number above 0"),
    "training_steps": (_is_whole_number, "a whole number above 0"),
    "training_megapixels": (_is_number, "a number above 0"),
    "kodak_bpp": (_is_rising, "a list of two or more numbers above 0, each above the one before"),
    "kodak_psnr": (_is_numbers, "a list of two or more numbers above 0"),
    "kodak_ms_ssim": (_is_up_to_one, "a list of two or more numbers above 0, 1 at most"),
    "repository": (_matches(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"), "owner/name"),
    "revision": (_matches(r"[0-9a-f]{40}"), "the 40 hex digits of a commit in lower case"),
    "tune": (_matches(r"[a-z0-9_-]{1,32}"), "1 to 32 characters of a-z, 0-9, _ and -"),
}
