"""The layers of a progressive file: coarser pictures for the first part of its bytes, without torch.

    sections of a frame     0: what all layers need   1   2   3   ...
                            |------- layer 1 ---------|   2   3   ...

The first n layers are the first n + 1 sections. Frames of an animation may have different numbers of layers;
one that has fewer than asked for is shown with all of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO

from pillow_neural.codecs.contract import Payload
from pillow_neural.codecs.registry import codecs
from pillow_neural.container import DamagedFileError, Frame, Index, is_sound, read_chunk
from pillow_neural.header import Header


def is_progressive(codec: str) -> bool:
    """Tell whether pictures of the codec of this name have layers."""
    return any(info.progressive for info in codecs() if info.name == codec)


def layer_count(index: Index) -> int:
    """Return the most layers that a frame has; 0 if the codec is not progressive, else at least 1."""
    if not is_progressive(index.header.codec):
        return 0
    return max(1, *(len(frame.data) - 1 for frame in index.frames))


def check_layers(count: int, layers: int) -> None:
    """Check a wish for the first `layers` layers of a file that has `count`.

    Raises:
        ValueError: it has not so many, or none, or fewer than one are asked for.
    """
    if not count:
        raise ValueError("this picture has no layers: its codec is not progressive")
    if not 1 <= layers <= count:
        raise ValueError(f"this picture has {count} layers: ask for 1 to {count} of them, not {layers}")


def read_payload(
    fp: BinaryIO, header: Header, frame: Frame, start: int, layers: int | None = None, tolerant: bool = False
) -> Payload:
    """Return a frame's parameters and sections, checked.

    Args:
        fp: a seekable file.
        header, frame: from what `container.read_index` found in it.
        start: position in `fp` of the file's magic.
        layers: only the sections of the first so many layers; None for all sections.
        tolerant: of a progressive codec return what lies before a damaged section, if that is a layer.

    Raises:
        DamagedFileError: a chunk is damaged or truncated.
    """
    parameters = header.parameters
    if frame.parameters is not None:
        parameters = read_chunk(fp, frame.parameters, start)
    sections: list[bytes] = []
    for entry in frame.data if layers is None else frame.data[: 1 + layers]:
        try:
            sections.append(read_chunk(fp, entry, start))
        except DamagedFileError:
            if not (tolerant and is_progressive(header.codec) and len(sections) > 1):
                raise
            break
    return Payload(parameters, tuple(sections))


def layer_sizes(index: Index) -> list[int]:
    """Return for 1, 2, ... layers the bytes of the file without the sections of the others.

    Where the sections are the end of the file, as in every still that this package writes, the file cut after
    so many bytes has exactly these layers.
    """
    count = layer_count(index)
    first = min(entry.offset for entry in index.entries) if index.entries else 0
    sizes = [first + sum(entry.length for entry in index.entries), *[0] * count]
    for frame in index.frames:
        for layer, entry in enumerate(frame.data[2:], start=1):
            sizes[0] -= entry.length
            sizes[layer] += entry.length
    return list(accumulate(sizes))[:count]


def whole_layers(fp: BinaryIO, index: Index, frames: Sequence[Frame], start: int = 0) -> int:
    """Return how many layers of these frames of a progressive file decode; 0 if not even the first does.

    Args:
        fp: a seekable file, of which every chunk of the frames is read up to the first that is damaged.
        index: what `container.read_index` found in it.
        frames: some of `index.frames`.
        start: position in `fp` of the file's magic.
    """
    count = layer_count(index)
    return min((_whole(fp, frame, count, start) for frame in frames), default=count)


def _whole(fp: BinaryIO, frame: Frame, count: int, start: int) -> int:
    others = (entry for entry in (frame.parameters, frame.alpha) if entry is not None)
    if not all(is_sound(fp, entry, start) for entry in others):
        return 0
    for number, entry in enumerate(frame.data):
        if not is_sound(fp, entry, start):
            return max(number - 1, 0)
    return count if len(frame.data) > 1 else 0
