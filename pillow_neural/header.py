"""What a .nic file says about itself before any chunk: size, mode, codec, weights, parameters.

FORMAT.md beside this file specifies every byte.
"""

from __future__ import annotations

import re
from typing import BinaryIO, NamedTuple

from pillow_neural.binary import read_exactly, read_short, read_varint, varint

MODES = ("L", "LA", "RGB", "RGBA")

_MAX_SIDE = 2**24 - 1
_WEIGHTS_ID_BYTES = 8

LOSSLESS_CODEC = "lossless"
"""The codec that takes and gives whole pictures, alpha included: `codecs.lossless`."""

AVIF_CODEC = "avif"
"""What graphics fall back to where errors may remain: `codecs.avif`."""

WITHOUT_WEIGHTS = (LOSSLESS_CODEC, AVIF_CODEC)
"""Codecs that are no networks, and need no torch."""

NO_WEIGHTS = bytes(_WEIGHTS_ID_BYTES)
"""Their weights id in a `Header`; files of these codecs leave it out."""

_NUMBERED_CODECS = {1: LOSSLESS_CODEC, 2: "nic2026", 3: AVIF_CODEC}
"""Codecs that files name by a number, to be short."""

_NUMBER_OF_CODEC = {name: number for number, name in _NUMBERED_CODECS.items()}

CODEC_NAME = r"[a-z0-9_-]{1,32}"
"""Pattern of the names that codecs may have."""


class Header(NamedTuple):
    """What one .nic file says about itself before any chunk; checked when it is written or read.

    Attributes:
        width, height: picture size in pixels, each 1 to 2**24 - 1.
        mode: one of `MODES`.
        codec: codec name, 1 to 32 characters of `[a-z0-9_-]`.
        weights: first 8 bytes of the SHA-256 of the weights file; `NO_WEIGHTS` of the codecs that have none.
        parameters: 0 to 255 bytes whose meaning is private to the codec; those of the first frame.
    """

    width: int
    height: int
    mode: str
    codec: str
    weights: bytes
    parameters: bytes

    def check(self) -> None:
        """Raise ValueError if a field is outside the range above."""
        if not (1 <= self.width <= _MAX_SIDE and 1 <= self.height <= _MAX_SIDE):
            raise ValueError(f"picture size {self.width}x{self.height} is outside 1..{_MAX_SIDE}")
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r} is not one of {', '.join(MODES)}")
        if not re.fullmatch(CODEC_NAME, self.codec):
            raise ValueError(f"codec name {self.codec!r} is not 1 to 32 characters of a-z, 0-9, _ and -")
        if len(self.weights) != _WEIGHTS_ID_BYTES:
            raise ValueError(f"the weights id has {len(self.weights)} bytes, not {_WEIGHTS_ID_BYTES}")
        if self.codec in WITHOUT_WEIGHTS and self.weights != NO_WEIGHTS:
            raise ValueError(f"the codec {self.codec} has no weights id")
        if len(self.parameters) > 255:
            raise ValueError(f"{len(self.parameters)} bytes of codec parameters are more than 255")


def header_bytes(header: Header) -> bytes:
    """Return the beginning of a file's header body.

    Raises:
        ValueError: a field is outside its range.
    """
    header.check()
    number = _NUMBER_OF_CODEC.get(header.codec, 0)
    name = header.codec.encode("ascii")
    fields = [
        bytes([len(MODES) * number + MODES.index(header.mode)]),
        b"" if number else bytes([len(name)]) + name,
        b"" if header.codec in WITHOUT_WEIGHTS else header.weights,
        varint(header.width),
        varint(header.height),
        bytes([len(header.parameters)]),
        header.parameters,
    ]
    return b"".join(fields)


def read_header(fields: BinaryIO) -> Header:
    """Read what `header_bytes` gave.

    Raises:
        EOFError: the fields end too early.
        ValueError: one of them is impossible.
    """
    number, mode = divmod(read_exactly(fields, 1)[0], len(MODES))
    codec = _read_name(fields) if number == 0 else _NUMBERED_CODECS.get(number)
    if codec is None:
        raise ValueError(f"codec number {number} is unknown to this version")
    header = Header(
        mode=MODES[mode],
        codec=codec,
        weights=NO_WEIGHTS if codec in WITHOUT_WEIGHTS else read_exactly(fields, _WEIGHTS_ID_BYTES),
        width=read_varint(fields),
        height=read_varint(fields),
        parameters=read_short(fields),
    )
    header.check()
    return header


def _read_name(fields: BinaryIO) -> str:
    name = read_short(fields).decode("ascii")
    if name in _NUMBER_OF_CODEC:
        raise ValueError(f"codec {name} is named instead of numbered")
    return name
