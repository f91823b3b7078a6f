"""Pictures <-> one .nic file: what the plugins and the command line call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from PIL import Image

from pillow_neural import container
from pillow_neural.alpha import decode_alpha, encode_alpha
from pillow_neural.codecs import loading
from pillow_neural.codecs.contract import REDUCTIONS, Codec, Payload
from pillow_neural.codecs.registry import codec_info
from pillow_neural.container import METADATA, Chunk, ChunkEntry, DamagedFileError, Header, Index
from pillow_neural.devices import chosen_threads, device
from pillow_neural.layers import check_layers, layer_count, read_payload
from pillow_neural.modes import common_mode, from_planes, has_alpha, in_coded_mode, to_planes
from pillow_neural.rate_control import largest_within
from pillow_neural.settings import MAX_QUALITY, MIN_QUALITY, SaveOptions, carried_timing
from pillow_neural.timing import Timing, timing_chunk

if TYPE_CHECKING:
    from torch import Tensor

_GREY = 128


class _Picture(NamedTuple):
    """What of a picture is coded: uint8 [1, 3 or 1, H, W], the chunk of its alpha channel, milliseconds."""

    planes: Tensor
    mode: str
    alpha: bytes | None
    duration: int


class _Coded(NamedTuple):
    """A picture with its colours coded."""

    payload: Payload
    mode: str
    alpha: bytes | None
    duration: int


def encode_picture(im: Image.Image, options: SaveOptions) -> bytes:
    """Return the .nic file of a picture (of an animation its current frame), which is left as it was.

    L, LA, RGB and RGBA are kept; other 8-bit modes become one of these as their transparency asks. Alpha is
    lossless.

    Raises:
        ValueError: the picture is empty or has a side above 2**24 - 1, or cannot be as small as
            `options.target_size`.
        OSError: the mode has more than 8 bits a channel, or the codec's weights are missing.
    """
    return encode_frames([im], options)


def encode_frames(frames: Iterable[Image.Image], options: SaveOptions) -> bytes:
    """Return the .nic file of one picture or, of more than one, the animation that they make.

    The file has colour if any frame has, and likewise alpha. Frames are coded one after another, each before
    the next is asked for; only for `options.target_size`, the limit of the whole file, all are kept, and
    coded at the rate level that fits all of them.

    Raises:
        ValueError, OSError: as `encode_picture` does.
        ValueError: there is no frame, their sizes differ, or there is not one of several durations for each.
    """
    entry = loading.weights_for_saving(options.codec)
    pictures = _prepared(frames, options)
    first = next(pictures, None)
    if first is None:
        raise ValueError("there is no frame to save")
    pictures = chain([first], pictures)
    height, width = first.planes.shape[2:]
    header = Header(width, height, first.mode, options.codec, entry.id, parameters=b"")
    header.check()
    codec = loading.load_codec(entry, device())

    if options.target_size is None:
        level = codec.level_of_quality(options.quality)
        return _file(header, [_coded(picture, codec, level) for picture in pictures], options)

    kept = list(pictures)

    def file_at(level: int) -> bytes:
        return _file(header, [_coded(picture, codec, level) for picture in kept], options)

    beside = _metadata_chunks(options) + [Chunk("ALPH", p.alpha) for p in kept if p.alpha is not None]
    rest = options.target_size - sum(len(chunk.data) for chunk in beside)
    guess = min(max(8 * rest / (width * height * len(kept)), MIN_QUALITY), MAX_QUALITY)
    return largest_within(file_at, options.target_size, codec.level_of_quality(guess))


def decode_picture(
    fp: BinaryIO,
    index: Index,
    start: int = 0,
    frame: int = 0,
    reduction: int = 1,
    layers: int | None = None,
    tolerant: bool = False,
) -> Image.Image:
    """Return one frame of a .nic file, in its header's mode, without metadata.

    Args:
        fp: a seekable file.
        index: what `container.read_index` found in it.
        start: position in `fp` of the file's magic.
        frame: 0 to len(index.frames) - 1.
        reduction: 1 for the header's size; 2, 4 or 8 for about the mean over so many pixels each way, rounded
            up to whole pixels, in less time.
        layers: only the first so many layers of a progressive codec, 1 to `layers.layer_count(index)`; None
            for all. What belongs to other layers is not read.
        tolerant: instead of an error return grey for damaged colours, and opaque for a damaged alpha channel;
            of a progressive codec the layers before the first damaged one, if there is one.

    Raises:
        OSError: the file is damaged or truncated, or its weights are not available.
        ValueError: no such reduction or number of layers, or the device chosen for codecs does not exist.
        IndexError: no such frame.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"a picture can be reduced by {REDUCTIONS}, not by {reduction}")
    if layers is not None:
        check_layers(layer_count(index), layers)
    header, chunks = index.header, index.frames[frame]
    entry = loading.weights_for_opening(header.codec, header.weights)
    try:
        alpha = _read_alpha(fp, header, chunks.alpha, start)
    except DamagedFileError:
        if not tolerant:
            raise
        alpha = _opaque(header.width, header.height) if has_alpha(header.mode) else None
    # Colours under transparent pixels must not enter a mean: such a picture is reduced once it is whole.
    at_once = reduction if alpha is None or alpha.getextrema() == (255, 255) else 1
    try:
        payload = read_payload(fp, header, chunks, start, layers, tolerant)
        codec = loading.load_codec(entry, device())
        picture = _decode_colours(codec, payload, header, at_once)
    except DamagedFileError:
        if not tolerant:
            raise
        picture = Image.new("L", _reduced(header, at_once), _GREY).convert(header.mode.removesuffix("A"))
    if alpha is not None:
        picture.putalpha(alpha.reduce(at_once))
    return picture if at_once == reduction else picture.reduce(reduction)


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


def _prepared(frames: Iterable[Image.Image], options: SaveOptions) -> Iterator[_Picture]:
    grey = codec_info(options.codec).grey
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
        alpha = encode_alpha(im.getchannel("A")) if has_alpha(im.mode) else None
        yield _Picture(to_planes(im, grey), im.mode, alpha, _duration(frame, count, options))
        count += 1
    if isinstance(options.duration, tuple) and 1 < count < len(options.duration):
        raise ValueError(f"{len(options.duration)} durations are too many for {count} frames")


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


def _coded(picture: _Picture, codec: Codec, level: int) -> _Coded:
    with chosen_threads():
        payload = codec.encode(picture.planes, [level])[0]
    return _Coded(payload, picture.mode, picture.alpha, picture.duration)


def _file(header: Header, frames: Sequence[_Coded], options: SaveOptions) -> bytes:
    chunks = _metadata_chunks(options)
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


def _alphas(header: Header, frames: Sequence[_Coded]) -> list[bytes | None]:
    """The frames' alpha channels: if any has one, all have."""
    alphas = [frame.alpha for frame in frames]
    if None in alphas and any(alphas):
        opaque = encode_alpha(_opaque(header.width, header.height))
        return [opaque if alpha is None else alpha for alpha in alphas]
    return alphas


def _metadata_chunks(options: SaveOptions) -> list[Chunk]:
    values = ((kind, getattr(options, name)) for kind, name in METADATA.items())
    return [Chunk(kind, data) for kind, data in values if data is not None]


def _read_alpha(fp: BinaryIO, header: Header, entry: ChunkEntry | None, start: int) -> Image.Image | None:
    if (entry is not None) != has_alpha(header.mode):
        found = "no" if entry is None else "an"
        raise DamagedFileError(f"a frame of mode {header.mode} has {found} alpha channel")
    if entry is None:
        return None
    return decode_alpha(container.read_chunk(fp, entry, start), header.width, header.height)


def _decode_colours(codec: Codec, payload: Payload, header: Header, reduction: int) -> Image.Image:
    with decoding(header):
        planes = codec.decode([payload], header.width, header.height, reduction)[0]
    return from_planes(planes, header.mode)


def _cannot_decode(header: Header, error: Exception) -> str:
    return f"codec {header.codec} cannot decode this picture: {error}"


def _reduced(header: Header, reduction: int) -> tuple[int, int]:
    return -(-header.width // reduction), -(-header.height // reduction)


def _opaque(width: int, height: int) -> Image.Image:
    return Image.new("L", (width, height), 255)
