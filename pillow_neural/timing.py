"""How long the frames of an animation are shown, and how often: the chunk anim of FORMAT.md."""

from __future__ import annotations

import io
from typing import BinaryIO, NamedTuple

from pillow_neural.binary import read_varint, varint
from pillow_neural.container import Chunk, DamagedFileError, Index, read_chunk

KIND = "anim"
MAX_TIMING = 2**31 - 1
"""The longest duration in milliseconds, and the greatest number of loops."""


class Timing(NamedTuple):
    """How often the frames are shown, 0 for ever, and for how many milliseconds each; 0 to `MAX_TIMING`."""

    loop: int
    durations: tuple[int, ...]


def timing_chunk(timing: Timing) -> Chunk:
    """Return the chunk of a timing whose values are in range."""
    return Chunk(KIND, b"".join(map(varint, (timing.loop, *timing.durations))))


def read_timing(fp: BinaryIO, index: Index, start: int = 0) -> Timing:
    """Return the timing of a file, with one duration a frame; zeros if the file tells none.

    Raises:
        DamagedFileError: the chunk is cut short, fails its checksum or is not for this number of frames.
    """
    entries = index.of_kind(KIND)
    if not entries:
        return no_timing(index)
    fields = io.BytesIO(read_chunk(fp, entries[0], start))
    try:
        loop, *durations = (read_varint(fields) for _ in range(1 + len(index.frames)))
    except (EOFError, ValueError) as error:
        raise DamagedFileError(f"chunk {KIND} does not hold {len(index.frames)} durations") from error
    if fields.read(1) or max(loop, *durations) > MAX_TIMING:
        raise DamagedFileError(f"chunk {KIND} holds too many durations or one that is too long")
    return Timing(loop, tuple(durations))


def no_timing(index: Index) -> Timing:
    """Return what holds for a file that tells no timing."""
    return Timing(0, (0,) * len(index.frames))
