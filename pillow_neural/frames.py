"""The frames of a file: what they must be before they are coded, and the file that coded ones make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from PIL import Image

from pillow_neural import container
from pillow_neural.alpha import encode_alpha
from pillow_neural.codecs.contract import Payload
from pillow_neural.container import METADATA, Chunk
from pillow_neural.header import Header
from pillow_neural.modes import common_mode, in_coded_mode
from pillow_neural.settings import SaveOptions, carried_timing
from pillow_neural.timing import Timing, timing_chunk


class Source(NamedTuple):
    """A frame to code: its picture in a coded mode, which may change at the next frame, and milliseconds."""

    im: Image.Image
    duration: int


class Coded(NamedTuple):
    """A coded frame: payload, coded mode, chunk of its alpha if that is not in the payload, milliseconds."""

    payload: Payload
    mode: str
    alpha: bytes | None
    duration: int


def sources(frames: Iterable[Image.Image], options: SaveOptions) -> Iterator[Source]:
    """Yield the frames to code, each made ready when it is asked for.

    Raises:
        OSError: a mode has more than 8 bits a channel.
        ValueError: a frame is empty, their sizes differ, or there is not one of several durations for each.
    """
    size: tuple[int, int] | None = None
    count = 0
    for frame in frames:
        im = in_coded_mode(frame)
        size = size or im.size
        if im.size != size:
            raise ValueError(
                f"frame {count} has {im.width}x{im.height} pixels, but the first has {size[0]}x{size[1]}: "
                "all frames of an animation must have the same size"
            )
        frame.load()  # Pillow's WebP knows the duration only then
        yield Source(im, _duration(frame, count, options))
        count += 1
    if isinstance(options.duration, tuple) and 1 < count < len(options.duration):
        raise ValueError(f"{len(options.duration)} durations are too many for {count} frames")


def file_of(header: Header, frames: Sequence[Coded], options: SaveOptions) -> bytes:
    """Return the file of coded frames, with the header's size, codec and weights."""
    chunks = metadata_chunks(options)
    if len(frames) > 1:
        chunks.append(timing_chunk(Timing(options.loop, tuple(frame.duration for frame in frames))))
    for number, (frame, alpha) in enumerate(zip(frames, _alphas(header, frames), strict=True)):
        if number:
            chunks.append(Chunk("FRAM", frame.payload.parameters))
        if alpha is not None:
            chunks.append(Chunk("ALPH", alpha))
        chunks += (Chunk("DATA", section) for section in frame.payload.sections)
    mode = common_mode([frame.mode for frame in frames])
    return container.write(header._replace(mode=mode, parameters=frames[0].payload.parameters), chunks)


def metadata_chunks(options: SaveOptions) -> list[Chunk]:
    """Return the chunks of the metadata that is to be saved."""
    values = ((kind, getattr(options, name)) for kind, name in METADATA.items())
    return [Chunk(kind, data) for kind, data in values if data is not None]


def opaque(width: int, height: int) -> Image.Image:
    """Return an alpha channel that hides nothing."""
    return Image.new("L", (width, height), 255)


def _duration(frame: Image.Image, number: int, options: SaveOptions) -> int:
    if options.duration is None:
        return carried_timing(frame, "duration")
    if isinstance(options.duration, int):
        return options.duration
    if number < len(options.duration):
        return options.duration[number]
    if number == 0:
        return 0
    raise ValueError(f"{len(options.duration)} durations are too few: frame {number} has none")


def _alphas(header: Header, frames: Sequence[Coded]) -> list[bytes | None]:
    """The frames' alpha channels: if any has one, all have."""
    alphas = [frame.alpha for frame in frames]
    if None in alphas and any(alphas):
        chunk = encode_alpha(opaque(header.width, header.height))
        return [chunk if alpha is None else alpha for alpha in alphas]
    return alphas
