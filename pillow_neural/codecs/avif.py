"""avif: AV1's pictures, made and read by Pillow, for graphics that are neither photographs nor exact.

    colours --grey: 4:0:0, else 4:4:4--> Pillow's AVIF file, one section --> colours

Palettes, sharp edges and repeated patterns are what AV1 has tools for and networks lack. Alpha travels beside
the section, exactly, as that of networks does. No weights, no torch.
"""

from __future__ import annotations

import io
import math

from PIL import Image, features

from pillow_neural.codecs.contract import Payload
from pillow_neural.codecs.whole import MAX_SIDE, only_section
from pillow_neural.container import DamagedFileError

_SPEED, _THOROUGH_SPEED = 6, 4
"""Of 0, thorough, to 10, fast. 6 is Pillow's default. 4 takes four to six times as long; in four drawings
it took 4 to 7 % off the bytes and 0.6 to 2.5 dB off the errors."""

_THOROUGH_EFFORT = 5

_USUAL_WEIGHT, _USUAL_QUALITY = 0.0128, 60.0
_QUALITY_SLOPE = 11.5
LOWEST, HIGHEST = 10, 95
"""Of the qualities that are used where no size is asked for."""


def can_encode(im: Image.Image) -> bool:
    """Tell whether a picture is small enough, and Pillow was built with AVIF."""
    return max(im.size) <= MAX_SIDE and _has_avif()


def quality_for(error_weight: float) -> int:
    """Return AVIF's quality, 10 to 95, that costs about the least in bits and errors.

    Fitted to drawings and screenshots: the cost is at most a few per cent above that of the best quality.

    Args:
        error_weight: bits that a squared error of one level of 0..255 in one sample is worth, above 0.
    """
    quality = _USUAL_QUALITY + _QUALITY_SLOPE * math.log(error_weight / _USUAL_WEIGHT)
    return round(min(max(quality, LOWEST), HIGHEST))


def encode(im: Image.Image, quality: int, effort: int = 0) -> Payload:
    """Return the payload of the colours of a picture of mode L, LA, RGB or RGBA.

    Args:
        im: with sides of at most `MAX_SIDE`.
        quality: 0 to 100, AVIF's.
        effort: 0 to 9; from 5 up AV1 searches more.

    Raises:
        OSError: Pillow was built without AVIF.
    """
    _check_available()
    speed = _SPEED if effort < _THOROUGH_EFFORT else _THOROUGH_SPEED
    grey = im.mode.startswith("L")
    bare = im.convert("L" if grey else "RGB")  # a copy: the caller's may be being saved
    bare.info = {}
    out = io.BytesIO()
    bare.save(out, "AVIF", quality=quality, speed=speed, subsampling="4:0:0" if grey else "4:4:4")
    return Payload(b"", (out.getvalue(),))


def decode(payload: Payload, width: int, height: int, mode: str) -> Image.Image:
    """Return the colours of a payload: mode L or RGB, as the mode of the file says.

    Args:
        payload: what `encode` gave for a picture of this mode, or of one that has less than it.
        width, height: the size that was encoded.
        mode: that of the file.

    Raises:
        DamagedFileError: the payload is not one of this size.
        OSError: Pillow was built without AVIF.
    """
    _check_available()
    from PIL.AvifImagePlugin import AvifImageFile

    section = only_section(payload, width, height, "an AVIF")
    try:
        with AvifImageFile(io.BytesIO(section)) as opened:
            if opened.size != (width, height):
                raise DamagedFileError(f"the AVIF picture has {opened.width}x{opened.height} pixels")
            opened.load()
            picture = opened.convert("L" if mode.startswith("L") else "RGB")
    except DamagedFileError:
        raise
    except (EOFError, OSError, RuntimeError, SyntaxError, ValueError) as error:
        raise DamagedFileError(f"the AVIF picture cannot be decoded: {error}") from error
    picture.info = {}
    return picture


def _check_available() -> None:
    if not _has_avif():
        raise OSError("this .nic picture needs a Pillow that was built with AVIF, and this one was not")


def _has_avif() -> bool:
    return bool(features.check("avif"))
