"""One picture <-> one .nic file: what the plugins and the command line call."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from pillow_neural import container
from pillow_neural.alpha import decode_alpha, encode_alpha
from pillow_neural.codecs import loading
from pillow_neural.codecs.contract import Codec, Payload
from pillow_neural.container import METADATA, Chunk, DamagedFileError, Header, Index
from pillow_neural.rate_control import largest_within
from pillow_neural.settings import MAX_QUALITY, MIN_QUALITY, SaveOptions, device

if TYPE_CHECKING:
    from torch import Tensor

Pixels = npt.NDArray[np.uint8]

_GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def encode_picture(im: Image.Image, options: SaveOptions) -> bytes:
    """Return the .nic file of a picture, which is left as it was.

    L, LA, RGB and RGBA are kept; other 8-bit modes become one of these as their transparency asks. Alpha is
    lossless.

    Raises:
        ValueError: the picture is empty or has a side above 2**24 - 1, or cannot be as small as
            `options.target_size`.
        OSError: the mode has more than 8 bits a channel, or the codec's weights are missing.
    """
    im = _in_coded_mode(im)
    entry = loading.weights_for_saving(options.codec)
    header = Header(im.width, im.height, im.mode, options.codec, entry.id, parameters=b"")
    extras = _metadata_chunks(options)
    if _has_alpha(im.mode):
        extras.append(Chunk("ALPH", encode_alpha(im.getchannel("A"))))
    codec = loading.load_codec(entry, device())
    planes = _colour_planes(im)

    def file_at(level: int) -> bytes:
        payload = codec.encode(planes, [level])[0]
        chunks = [*extras, *(Chunk("DATA", section) for section in payload.sections)]
        return container.write(header._replace(parameters=payload.parameters), chunks)

    if options.target_size is None:
        return file_at(codec.level_of_quality(options.quality))
    rest = options.target_size - sum(len(chunk.data) for chunk in extras)
    guess = min(max(8 * rest / (im.width * im.height), MIN_QUALITY), MAX_QUALITY)
    return largest_within(file_at, options.target_size, codec.level_of_quality(guess))


def decode_picture(fp: BinaryIO, index: Index, start: int = 0) -> Image.Image:
    """Return the picture of a .nic file, in its header's mode and size, without metadata.

    Args:
        fp: a seekable file.
        index: what `container.read_index` found in it.
        start: position in `fp` of the file's magic.

    Raises:
        OSError: the file is damaged or truncated, or its weights are not available.
        ValueError: the device chosen for codecs does not exist.
    """
    header = index.header
    entry = loading.weights_for_opening(header.codec, header.weights)
    alpha = _read_alpha(fp, index, start)
    sections = tuple(container.read_chunk(fp, chunk, start) for chunk in index.of_kind("DATA"))
    codec = loading.load_codec(entry, device())
    colours = _decode_colours(codec, Payload(header.parameters, sections), header)
    picture = Image.fromarray(colours if header.mode.startswith("RGB") else _mean_of_channels(colours))
    if alpha is not None:
        picture.putalpha(alpha)
    return picture


def _in_coded_mode(im: Image.Image) -> Image.Image:
    if im.width == 0 or im.height == 0:
        raise ValueError("cannot write empty image")
    if im.mode not in _GREY_MODES + _COLOUR_MODES:
        raise OSError(
            f"cannot write mode {im.mode} as NIC, which has 8 bits a channel: scale the values to 0..255 and "
            "convert the picture to mode L first"
        )
    mode = "L" if im.mode in _GREY_MODES else "RGB"
    if im.has_transparency_data:
        mode += "A"
    return im if im.mode == mode else im.convert(mode)


def _has_alpha(mode: str) -> bool:
    return mode.endswith("A")


def _metadata_chunks(options: SaveOptions) -> list[Chunk]:
    values = ((kind, getattr(options, name)) for kind, name in METADATA.items())
    return [Chunk(kind, data) for kind, data in values if data is not None]


def _colour_planes(im: Image.Image) -> Tensor:
    """A picture of a coded mode as uint8 [1, 3, H, W]: alpha dropped, grey repeated."""
    import torch

    pixels = np.atleast_3d(np.asarray(im))
    colours = pixels[..., : 3 if im.mode.startswith("RGB") else 1]
    repeated = np.broadcast_to(colours, (im.height, im.width, 3))
    return torch.from_numpy(np.array(repeated.transpose(2, 0, 1)[None], order="C"))


def _decode_colours(codec: Codec, payload: Payload, header: Header) -> Pixels:
    """Pixels [H, W, 3]."""
    try:
        decoded = codec.decode([payload], header.width, header.height)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise DamagedFileError(f"codec {header.codec} cannot decode this picture: {error}") from error
    colours: Pixels = decoded[0].permute(1, 2, 0).numpy()
    return colours


def _mean_of_channels(colours: Pixels) -> Pixels:
    """[H, W, 3] to [H, W], rounded."""
    total = colours.sum(axis=2, dtype=np.uint16)
    grey: Pixels = ((total + 1) // 3).astype(np.uint8)
    return grey


def _read_alpha(fp: BinaryIO, index: Index, start: int) -> Image.Image | None:
    header, entries = index.header, index.of_kind("ALPH")
    if len(entries) != _has_alpha(header.mode):
        raise DamagedFileError(f"a picture of mode {header.mode} has {len(entries)} alpha channels")
    if not entries:
        return None
    return decode_alpha(container.read_chunk(fp, entries[0], start), header.width, header.height)
