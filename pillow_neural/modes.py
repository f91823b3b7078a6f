"""Pillow's modes, and the colour planes that codecs take and give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

_GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def has_alpha(mode: str) -> bool:
    """Tell whether a coded mode (L, LA, RGB, RGBA) has an alpha channel."""
    return mode.endswith("A")


def in_coded_mode(im: Image.Image) -> Image.Image:
    """Return the picture itself if its mode can be coded, else a copy in the mode that its content asks for.

    Raises:
        ValueError: it has no pixels.
        OSError: it has more than 8 bits a channel.
    """
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


def common_mode(modes: Sequence[str]) -> str:
    """Return the least coded mode that has all that these have."""
    colours = "RGB" if any(mode.startswith("RGB") for mode in modes) else "L"
    return colours + "A" * any(map(has_alpha, modes))


def to_planes(im: Image.Image, grey: bool) -> Tensor:
    """Return a picture of a coded mode as uint8 [1, 3, H, W], alpha dropped.

    With `grey` a grey picture gives [1, 1, H, W], else three equal planes.
    """
    import torch

    pixels = np.atleast_3d(np.asarray(im))
    colours = pixels[..., : 3 if im.mode.startswith("RGB") else 1]
    if not grey:
        colours = np.broadcast_to(colours, (im.height, im.width, 3))
    return torch.from_numpy(np.array(colours.transpose(2, 0, 1)[None], order="C"))


def from_planes(planes: Tensor, mode: str) -> Image.Image:
    """Return uint8 [3, H, W] or [1, H, W] as a picture of mode RGB, or L if the coded mode is grey.

    Three planes make grey by their rounded mean; one plane makes all three of a colour picture.
    """
    colours: npt.NDArray[np.uint8] = planes.permute(1, 2, 0).numpy()
    if mode.startswith("RGB"):
        return Image.fromarray(np.broadcast_to(colours, (*colours.shape[:2], 3)).copy(order="C"))
    if colours.shape[2] == 1:
        return Image.fromarray(colours[..., 0])
    total = colours.sum(axis=2, dtype=np.uint16)
    return Image.fromarray(((total + 1) // 3).astype(np.uint8))
