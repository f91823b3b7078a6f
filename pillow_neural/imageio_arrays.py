"""Arrays, as users give them to imageio, to pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

_MODE_OF_THIRD_AXIS = {(): "L", (2,): "LA", (3,): "RGB", (4,): "RGBA"}
_MODES = (*_MODE_OF_THIRD_AXIS.values(), "CMYK", "HSV", "LAB", "RGBX", "YCbCr")
_NARROWEST_GREY_FRAMES = 16


def pictures(
    ndimage: npt.ArrayLike | Sequence[npt.ArrayLike], is_batch: bool | None, mode: str | None
) -> list[Image.Image]:
    """Return copies of one or several arrays as pictures.

    Args:
        ndimage: uint8 [H, W], [H, W, 2], [H, W, 3] or [H, W, 4], with the channels of L, LA, RGB and RGBA; or
            several of them, as a list or tuple or stacked along a new first axis.
        is_batch: whether an array is stacked frames. By default, four axes are; three are if the last is at
            least 16 long, and are not if it is 2, 3 or 4 long, or as `mode` tells.
        mode: the Pillow mode that the channels mean, such as "YCbCr" or "CMYK", instead of the above.

    Raises:
        TypeError: the dtype is not uint8.
        ValueError: a shape or mode that no .nic has, an array that may be one or the other, or no frames.
    """
    if mode is not None and mode not in _MODES:
        raise ValueError(f"cannot write arrays of mode {mode!r} as .nic; use one of {', '.join(_MODES)}")
    frames = [_picture(array, mode) for array in _arrays(ndimage, is_batch, mode)]
    if not frames:
        raise ValueError("there are no frames to write")
    return frames


def _arrays(
    ndimage: npt.ArrayLike | Sequence[npt.ArrayLike], is_batch: bool | None, mode: str | None
) -> list[npt.NDArray[Any]]:
    if not isinstance(ndimage, (list, tuple)):
        array = np.asarray(ndimage)
        if not (_is_batch(array.shape, mode) if is_batch is None else is_batch):
            return [array]
    return [np.asarray(frame) for frame in cast(Iterable[npt.ArrayLike], ndimage)]


def _is_batch(shape: tuple[int, ...], mode: str | None) -> bool:
    if mode is not None:
        return len(shape) > 2 + len(_third_axis(mode))
    if shape[2:] in _MODE_OF_THIRD_AXIS:
        return False
    if len(shape) == 3 and shape[2] < _NARROWEST_GREY_FRAMES:
        raise ValueError(
            f"an array of shape {shape} is no picture, which has two axes (grey) or 2, 3 or 4 channels in a "
            "third; if it is a batch of grey frames, give is_batch=True"
        )
    return True


def _third_axis(mode: str) -> tuple[int, ...]:
    return () if mode == "L" else (Image.getmodebands(mode),)


def _picture(array: npt.NDArray[Any], mode: str | None) -> Image.Image:
    if array.dtype != np.uint8:
        raise TypeError(
            f".nic stores uint8 pixels, not {array.dtype}: scale them to 0..255 and use .astype(numpy.uint8)"
        )
    mode = mode or _MODE_OF_THIRD_AXIS.get(array.shape[2:], "RGB")
    if array.ndim < 2 or array.shape[2:] != _third_axis(mode):
        wanted = ", ".join(map(str, ("height", "width", *_third_axis(mode))))
        raise ValueError(f"a picture of mode {mode} has the shape ({wanted}), not {array.shape}")
    return Image.frombytes(mode, (array.shape[1], array.shape[0]), array.tobytes())
