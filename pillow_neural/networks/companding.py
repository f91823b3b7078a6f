"""Contrast companding: places that are busy are coded with less contrast and get it back when decoded.

    pixels --2x2 means--> level 1 --> ... --> level 4 (means of 16x16)
       each level less the next one, enlarged: details
       its difference from level 4, enlarged: squared, means around --> energy n

    expanded: details * ((n + b) / (a + b))**(e / 2), added up from level 4 on
    compressed: what expands to the given pixels, by fixed-point iteration

So errors of coding follow local contrast at every scale, as what structural similarity and eyes can tell of
them does: gain control as in the normalised Laplacian pyramid (Laparra, Balle, Berardino and Simoncelli
2016), done for the errors' sake as in the extended masking of JPEG 2000 (Zeng, Daly and Lei 2002). A level
expands by itself and coarser ones alone, so that pictures of half the size expand as their originals do.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.networks.box import halved

LEVELS = 4
FLOOR = 0.06**2
USUAL = 0.2**2
"""Energies: b, below which contrast is left alone, and a, where it does not change."""

ITERATIONS = 2
HALO = 46
"""Pixels around its own that an expanded pixel depends on."""

COMPRESSED_HALO = (ITERATIONS + 1) * HALO


def expanded(pixels: Tensor, exponent: float, levels: int = LEVELS) -> Tensor:
    """Pixels with more contrast where there is much: [B, P, h, w] in 0..1 and beyond, multiples of 2**levels.

    Args:
        pixels: what was compressed, or its means over squares of pixels.
        exponent: e.
        levels: 4 less one for every time that sides were halved.
    """
    return _changed(pixels, levels, exponent).pixels


def compressed(pixels: Tensor, exponent: float) -> Tensor:
    """What `expanded` makes these pixels of, nearly: [B, P, 16h, 16w] in 0..1."""
    found = _changed(pixels, LEVELS, -exponent / (1 + exponent)).pixels
    for _ in range(ITERATIONS):
        now = _changed(found, LEVELS, exponent)
        found = found + (pixels - now.pixels) / _enlarged(now.slope)
    return found


class _Changed(NamedTuple):
    """Pixels with details multiplied by a power of the contrast around.

    Attributes:
        pixels: of the size of those given.
        slope: how much more they change than those given, where finest details do: [B, 1, h / 2, w / 2].
    """

    pixels: Tensor
    slope: Tensor


def _changed(pixels: Tensor, levels: int, exponent: float) -> _Changed:
    pyramid = [pixels]
    for _ in range(levels):
        pyramid.append(halved(pyramid[-1]))
    changed = means = coarse = pyramid.pop()
    slope = torch.ones_like(means[:, :1])
    for level in reversed(pyramid):
        if means.shape != coarse.shape:
            means = _enlarged(means)
        variance = halved(level.square()) - coarse.square() + (coarse - means).square()
        energy = _smoothed(variance.mean(dim=1, keepdim=True)).clamp_min(0)
        gain = ((energy + FLOOR) / (USUAL + FLOOR)) ** (exponent / 2)
        slope = gain * (1 + exponent * energy / (energy + FLOOR))
        changed = torch.addcmul(_enlarged(changed), level - _enlarged(coarse), _enlarged(gain))
        coarse = level
    return _Changed(changed, slope)


def _enlarged(planes: Tensor) -> Tensor:
    """Twice the rows and columns, bilinear: faster than interpolate where there are few planes."""
    padded = F.pad(planes, (1, 1, 1, 1), mode="replicate")
    above, rows, below = padded[:, :, :-2], padded[:, :, 1:-1], padded[:, :, 2:]
    tall = torch.stack([torch.lerp(above, rows, 0.75), torch.lerp(below, rows, 0.75)], 3).flatten(2, 3)
    left, columns, right = tall[..., :-2], tall[..., 1:-1], tall[..., 2:]
    return torch.stack([torch.lerp(left, columns, 0.75), torch.lerp(right, columns, 0.75)], 4).flatten(3, 4)


def _smoothed(planes: Tensor) -> Tensor:
    """By 1/4, 1/2, 1/4 both ways: [B, 1, h, w]."""
    padded = F.pad(planes, (1, 1, 1, 1), mode="replicate")
    rows = (padded[:, :, :-2] + padded[:, :, 2:]) / 4 + padded[:, :, 1:-1] / 2
    return (rows[..., :-2] + rows[..., 2:]) / 4 + rows[..., 1:-1] / 2
