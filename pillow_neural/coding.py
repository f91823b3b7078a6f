"""One frame through its codec, with the threads chosen for it, and errors that name the codec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from pillow_neural.alpha import encode_alpha
from pillow_neural.codecs import avif, lossless
from pillow_neural.codecs.contract import Codec, Payload
from pillow_neural.container import DamagedFileError
from pillow_neural.devices import chosen_threads
from pillow_neural.frames import Coded, Source
from pillow_neural.header import Header
from pillow_neural.modes import from_planes, has_alpha, to_planes

if TYPE_CHECKING:
    from torch import Tensor


class Planes(NamedTuple):
    """A frame as networks take it: uint8 [1, 3 or 1, H, W], coded mode, chunk of its alpha, milliseconds."""

    colours: Tensor
    mode: str
    alpha: bytes | None
    duration: int


def planes_of(prepared: Iterable[Source], grey: bool) -> Iterator[Planes]:
    """Yield the planes of frames, one if a frame is grey and the codec knows that, else three."""
    for im, duration in prepared:
        yield Planes(to_planes(im, grey), im.mode, _alpha(im), duration)


def code(frame: Planes, codec: Codec, level: int, effort: int) -> Coded:
    """Return a frame coded by a network at a rate level, 0 to 65535, with an effort of 0 to 9."""
    with chosen_threads():
        payload = codec.encode(frame.colours, [level], effort)[0]
    return Coded(payload, frame.mode, frame.alpha, frame.duration)


def code_lossless(source: Source) -> Coded:
    """Return a frame coded without loss.

    Raises:
        ValueError: a side is longer than `whole.MAX_SIDE`.
        OSError: Pillow was built without WebP.
    """
    return Coded(lossless.encode(source.im), source.im.mode, None, source.duration)


def code_avif(source: Source, quality: int, effort: int) -> Coded:
    """Return a frame coded as AVIF, its alpha beside it.

    Args:
        source: the frame.
        quality: 0 to 100, AVIF's.
        effort: 0 to 9.

    Raises:
        OSError: Pillow was built without AVIF.
    """
    im = source.im
    return Coded(avif.encode(im, quality, effort), im.mode, _alpha(im), source.duration)


@contextmanager
def decoding(header: Header) -> Iterator[None]:
    """In the block a codec may decode, with the threads chosen for it; what it raises becomes an OSError.

    Raises:
        DamagedFileError: the codec refused the payload.
        OSError: it failed otherwise; a MemoryError is left as it is.
    """
    try:
        with chosen_threads():
            yield
    except MemoryError:
        raise
    except OSError as error:
        raise DamagedFileError(_cannot_decode(header, error)) from error
    except Exception as error:
        raise OSError(_cannot_decode(header, error)) from error


def decode_colours(codec: Codec, payload: Payload, header: Header, reduction: int) -> Image.Image:
    """Return what a network decodes: mode L or RGB as the header says, without alpha.

    Raises:
        OSError: as `decoding` does.
    """
    with decoding(header):
        planes = codec.decode([payload], header.width, header.height, reduction)[0]
    return from_planes(planes, header.mode)


def _alpha(im: Image.Image) -> bytes | None:
    """The chunk of a picture's alpha channel, if it has one."""
    return encode_alpha(im.getchannel("A")) if has_alpha(im.mode) else None


def _cannot_decode(header: Header, error: Exception) -> str:
    return f"codec {header.codec} cannot decode this picture: {error}"
