"""What is drawn and not taken: which pictures may be better off without a network, and what errors count.

A drawing repeats its pixels exactly, at short distances and at long ones. A photograph does not, even where
JPEG made its 8x8 blocks flat.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from pillow_neural.modes import has_alpha

Lines = npt.NDArray[np.uint32]

_TINY = 64 * 64
_LINES = 64
_DISTANCES = (1, 16)
_REPEATED = 0.62
_FEW_COLOURS = 16
_COLOUR_SAMPLES = 4096
_BAND = 2**20


def looks_like_graphics(im: Image.Image) -> bool:
    """Tell whether a picture of a coded mode (L, LA, RGB, RGBA) should be tried without a network as well.

    So are those of at most 64x64 pixels and, going by 64 lines of the others, those with few colours or with
    pixels that mostly equal the ones beside them and 16 further. Of 24 photographs (Kodak) as they are, in
    grey, darkened to a quarter, or saved as JPEG of quality 20 it finds none; where large parts are
    wholly white or black, a photograph is tried in vain.
    """
    if im.width * im.height <= _TINY:
        return True
    lines = _sampled_lines(im)
    return _repeated(lines) >= _REPEATED or _colours(lines) <= _FEW_COLOURS


def visible_squared_error(original: Image.Image, decoded: Image.Image) -> float:
    """Return the sum over pixels, R, G and B of (error in levels of 0..255 times opacity in 0..1) squared.

    Args:
        original: mode L, LA, RGB or RGBA.
        decoded: mode L or RGB, of the same size.
    """
    boxes = _bands(original.width, original.height)
    return sum(_squared_error(original.crop(box), decoded.crop(box)) for box in boxes)


def _sampled_lines(im: Image.Image) -> Lines:
    """Some lines along the longer side, [lines, pixels]; equal numbers are equal pixels."""
    lying = im.width >= im.height
    size = (im.width, min(im.height, _LINES)) if lying else (min(im.width, _LINES), im.height)
    sampled = im.resize(size, Image.Resampling.NEAREST).convert("RGBA")
    lines = np.frombuffer(sampled.tobytes(), np.uint32).reshape(size[1], size[0])
    return lines if lying else lines.T


def _repeated(lines: Lines) -> float:
    shares = [(lines[:, step:] == lines[:, :-step]).mean() for step in _DISTANCES]
    return float(np.mean(shares))


def _colours(lines: Lines) -> int:
    pixels = lines.ravel()
    return len(np.unique(pixels[:: max(1, len(pixels) // _COLOUR_SAMPLES)]))


def _squared_error(original: Image.Image, decoded: Image.Image) -> float:
    colours = (np.asarray(im.convert("RGB"), np.int32) for im in (original, decoded))
    error = np.square(np.subtract(*colours)).sum(axis=2, dtype=np.float64)
    if has_alpha(original.mode):
        error *= np.square(np.asarray(original.getchannel("A")) / 255)
    return float(error.sum())


def _bands(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)
