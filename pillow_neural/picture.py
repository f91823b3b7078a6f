"""Pictures <-> one .nic file: what the plugins and the command line call."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import BinaryIO, cast

from PIL import Image

from pillow_neural import container
from pillow_neural.alpha import decode_alpha
from pillow_neural.codecs import avif, loading, lossless
from pillow_neural.codecs.contract import REDUCTIONS, Codec, Payload, WeighsErrors
from pillow_neural.codecs.registry import DEFAULT_CODEC, codec_info
from pillow_neural.coding import Planes, code, code_lossless, decode_colours, planes_of
from pillow_neural.container import Chunk, ChunkEntry, DamagedFileError, Frame, Index
from pillow_neural.devices import device
from pillow_neural.fallback import Fallback, is_wanted
from pillow_neural.frames import Source, file_of, metadata_chunks, opaque, sources
from pillow_neural.graphics import visible_squared_error
from pillow_neural.header import AVIF_CODEC, LOSSLESS_CODEC, NO_WEIGHTS, Header
from pillow_neural.layers import check_layers, layer_count, read_payload
from pillow_neural.modes import has_alpha
from pillow_neural.rate_control import largest_within, level_within
from pillow_neural.settings import DEFAULT_EFFORT, MAX_QUALITY, MIN_QUALITY, SaveOptions

_GREY = 128


def encode_picture(im: Image.Image, options: SaveOptions) -> bytes:
    """Return the .nic file of a picture (of an animation its current frame), which is left as it was.

    L, LA, RGB and RGBA are kept; other 8-bit modes become one of these as their transparency asks. Alpha is
    lossless.

    Raises:
        ValueError: the picture is empty or has a side above 2**24 - 1 (lossless: 16,383), or cannot be as
            small as `options.target_size`.
        OSError: the mode has more than 8 bits a channel, or the codec's weights or Pillow's WebP are missing.
    """
    return encode_frames([im], options)


def encode_frames(frames: Iterable[Image.Image], options: SaveOptions) -> bytes:
    """Return the .nic file of one picture or, of more than one, the animation that they make.

    The file has colour if any frame has, and likewise alpha. Frames are coded one after another, each before
    the next is asked for; only for `options.target_size`, the limit of the whole file, all are kept, and
    coded at the rate level that fits all of them.

    Where no codec is asked for, a single picture that looks like graphics becomes lossless or AVIF if that
    costs less: bits, and errors as the default codec weighs them against bits. For a target size it becomes
    lossless if that fits, else AVIF if that has smaller errors.

    Raises:
        ValueError, OSError: as `encode_picture` does.
        ValueError: there is no frame, their sizes differ, or there is not one of several durations for each.
    """
    prepared = sources(frames, options)
    first = next(prepared, None)
    if first is None:
        raise ValueError("there is no frame to save")
    header = Header(*first.im.size, first.im.mode, LOSSLESS_CODEC, NO_WEIGHTS, parameters=b"")
    header.check()
    prepared = chain([first], prepared)
    if options.codec == LOSSLESS_CODEC:
        return file_of(header, [code_lossless(source) for source in prepared], options)

    name = options.codec or DEFAULT_CODEC
    entry = loading.weights_for_saving(name, options.tune)
    codec = loading.load_codec(entry, device())
    header = header._replace(codec=name, weights=entry.id)
    planes = planes_of(prepared, codec_info(name).grey)
    if options.target_size is None:
        return _at_quality(options, first, planes, codec, header)
    return _within(options.target_size, options, first, list(planes), codec, header)


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
        OSError: the file is damaged or truncated, its weights are not available, or Pillow lacks the WebP of
            a lossless or the AVIF of an AVIF picture.
        ValueError: no such reduction or number of layers, or the device chosen for codecs does not exist.
        IndexError: no such frame.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"a picture can be reduced by {REDUCTIONS}, not by {reduction}")
    if layers is not None:
        check_layers(layer_count(index), layers)
    header, chunks = index.header, index.frames[frame]
    if header.codec == LOSSLESS_CODEC:
        picture = _decode_lossless(fp, header, chunks, start, tolerant)
        return picture if reduction == 1 else picture.reduce(reduction)
    decode = _decoder_of_colours(header)
    try:
        alpha = _read_alpha(fp, header, chunks.alpha, start)
    except DamagedFileError:
        if not tolerant:
            raise
        alpha = opaque(header.width, header.height) if has_alpha(header.mode) else None
    # Colours under transparent pixels must not enter a mean: such a picture is reduced once it is whole.
    at_once = reduction if alpha is None or alpha.getextrema() == (255, 255) else 1
    try:
        payload = read_payload(fp, header, chunks, start, layers, tolerant)
        picture = decode(payload, at_once)
    except DamagedFileError:
        if not tolerant:
            raise
        picture = _grey(_reduced(header, at_once), header.mode.removesuffix("A"))
    if alpha is not None:
        picture.putalpha(alpha.reduce(at_once))
    return picture if at_once == reduction else picture.reduce(reduction)


def _at_quality(
    options: SaveOptions, first: Source, frames: Iterable[Planes], codec: Codec, header: Header
) -> bytes:
    level = codec.level_of_quality(options.quality)
    coded = [code(frame, codec, level, options.effort) for frame in frames]
    data = file_of(header, coded, options)
    if len(coded) > 1 or not is_wanted(first.im, codec, options):
        return data
    fallback = Fallback(first, header, options, partial(_squared_error, first.im))
    return fallback.cheapest(data, cast(WeighsErrors, codec).error_weight(level))


def _within(
    limit: int,
    options: SaveOptions,
    first: Source,
    frames: Sequence[Planes],
    codec: Codec,
    header: Header,
) -> bytes:
    fallback = None
    if len(frames) == 1 and is_wanted(first.im, codec, options):
        fallback = Fallback(first, header, options, partial(_squared_error, first.im))
        exact = fallback.lossless()
        if exact is not None and len(exact) <= limit:
            return exact

    def file_at(level: int, effort: int = options.effort) -> bytes:
        return file_of(header, [code(frame, codec, level, effort) for frame in frames], options)

    beside = metadata_chunks(options) + [Chunk("ALPH", f.alpha) for f in frames if f.alpha is not None]
    rest = limit - sum(len(chunk.data) for chunk in beside)
    guess = min(max(8 * rest / (header.width * header.height * len(frames)), MIN_QUALITY), MAX_QUALITY)
    level = codec.level_of_quality(guess)
    if options.effort > DEFAULT_EFFORT:
        level = _level_without_effort(file_at, limit, level)
    data = largest_within(file_at, limit, level)
    return fallback.better_within(data, limit) if fallback else data


def _level_without_effort(file_at: Callable[[int, int], bytes], limit: int, guess: int) -> int:
    """A level whose files are about as long with more effort, found in less time."""
    try:
        return level_within(lambda level: file_at(level, DEFAULT_EFFORT), limit, guess)
    except ValueError:
        return 0


def _squared_error(im: Image.Image, data: bytes) -> float:
    """What a file of one picture has of it; see `visible_squared_error`."""
    file = io.BytesIO(data)
    return visible_squared_error(im, decode_picture(file, container.read_index(file)))


def _decoder_of_colours(header: Header) -> Callable[[Payload, int], Image.Image]:
    """What makes mode L or RGB of a payload and a reduction.

    Raises:
        OSError: the weights are not available.
    """
    if header.codec == AVIF_CODEC:
        return lambda payload, reduction: avif.decode(
            payload, header.width, header.height, header.mode
        ).reduce(reduction)
    entry = loading.weights_for_opening(header.codec, header.weights)

    def decode(payload: Payload, reduction: int) -> Image.Image:
        return decode_colours(loading.load_codec(entry, device()), payload, header, reduction)

    return decode


def _read_alpha(fp: BinaryIO, header: Header, entry: ChunkEntry | None, start: int) -> Image.Image | None:
    if (entry is not None) != has_alpha(header.mode):
        found = "no" if entry is None else "an"
        raise DamagedFileError(f"a frame of mode {header.mode} has {found} alpha channel")
    if entry is None:
        return None
    return decode_alpha(container.read_chunk(fp, entry, start), header.width, header.height)


def _decode_lossless(fp: BinaryIO, header: Header, chunks: Frame, start: int, tolerant: bool) -> Image.Image:
    try:
        if chunks.alpha is not None:
            raise DamagedFileError(
                "a lossless frame has its alpha channel in its section, and one beside it here"
            )
        payload = read_payload(fp, header, chunks, start)
        return lossless.decode(payload, header.width, header.height, header.mode)
    except DamagedFileError:
        if not tolerant:
            raise
        return _grey((header.width, header.height), header.mode)


def _reduced(header: Header, reduction: int) -> tuple[int, int]:
    return -(-header.width // reduction), -(-header.height // reduction)


def _grey(size: tuple[int, int], mode: str) -> Image.Image:
    """What is shown for damaged colours: opaque, if the mode has alpha."""
    return Image.new("L", size, _GREY).convert(mode)
