"""What a picture says about how it is to be finished: five strengths, fitted to it by the encoder.

    synthesis --+--(1 + s[0]) * the filter's change--> pixel stage --+--s[1] * colours of its change--+
                                                                                                      |
        pixels <--+--s[2] * (colours smoothed - colours) + s[3] * straight + s[4] * diagonal <--------+

    straight, diagonal: luma of the four neighbours less four times its own

Filter and pixel stage are the best for all pictures. One picture is noisier than others, sharper, or has
colours at half its resolution, and what follows from that is nearly linear, so that least squares find it. In
the spirit of the adaptive loop filter of VVC (Tsai et al. 2013), with strengths instead of kernels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.networks.box import box_means

STRENGTHS = 5
UNITS = (1 / 64, 1 / 64, 1 / 64, 1 / 512, 1 / 512)
"""What one in a strength's byte, -128 to 127, stands for."""

HALO = 1
"""Pixels around its own that an adjusted pixel depends on."""

LUMA = (0.299, 0.587, 0.114)
RIDGE = 1e-4


def strengths_of(numbers: Tensor) -> Tensor:
    """What bytes stand for: whole numbers [B, 5] -> strengths, float [B, 5]."""
    return numbers * torch.tensor(UNITS, device=numbers.device)


def luma(pixels: Tensor) -> Tensor:
    """[B, 3 or 1, H, W] -> [B, 1, H, W]."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = LUMA
    return (red * pixels[:, :1]).add_(pixels[:, 1:2], alpha=green).add_(pixels[:, 2:], alpha=blue)


def with_colours(change: Tensor, strengths: Tensor) -> Tensor:
    """The pixel stage's change [B, P, H, W], that of colours by its strength of `strengths` [B, 5]."""
    return change + strengths[:, 1, None, None, None] * (change - luma(change))


def adjusted(pixels: Tensor, strengths: Tensor) -> Tensor:
    """Pixels [B, P, H, W] with colours smoothed and luma filtered by `strengths` [B, 5]."""
    straight, diagonal, colours = _directions(pixels)
    smoothing, along, across = (strengths[:, number, None, None, None] for number in (2, 3, 4))
    return torch.addcmul(pixels, smoothing, colours).add_((along * straight).addcmul_(across, diagonal))


class Equations(NamedTuple):
    """Of least squares, sums over samples in float64.

    Attributes:
        products: of what each strength does, [5, 5].
        aims: products of that with what is wanted, [5].
    """

    products: Tensor
    aims: Tensor


class Fit(NamedTuple):
    """Bytes of strengths, whole numbers [5], and the squared error that they save, summed over samples."""

    numbers: Tensor
    saved: float


def equations(
    wanted: Tensor, synthesised: Tensor, filtered: Tensor, staged: Tensor, margin: int
) -> Equations:
    """Those of some parts of a picture, of the strengths that bring them nearest to what is wanted.

    Args:
        wanted: pixels of the picture, [N, P, H, W] in 0..1.
        synthesised, filtered, staged: what there is of them after each of these.
        margin: pixels at the borders that do not count.
    """
    change = staged - filtered
    straight, diagonal, colours = _directions(staged)
    ways = (filtered - synthesised, change - luma(change), colours, straight, diagonal)

    def inner(values: Tensor) -> Tensor:
        part = values[:, :, margin : values.shape[2] - margin, margin : values.shape[3] - margin]
        return part.expand(-1, wanted.shape[1], -1, -1).flatten().double()

    seen = torch.stack([inner(way) for way in ways])
    return Equations(seen @ seen.T, seen @ inner(wanted - staged))


def fitted(parts: Iterable[Equations]) -> Fit:
    """The strengths that are best for all parts of a picture together."""
    products, aims = (torch.stack(values).sum(dim=0) for values in zip(*parts, strict=True))
    ridge = torch.diag(RIDGE * products.diagonal() + torch.finfo(torch.float32).eps)
    exact = torch.linalg.solve(products + ridge, aims).cpu()
    numbers = (exact / torch.tensor(UNITS)).round_().clamp_(-128, 127)
    strengths = strengths_of(numbers).to(aims)
    return Fit(numbers, float(strengths @ (2 * aims - products @ strengths)))


def _directions(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Luma of straight and diagonal neighbours less its own four times, and colours' means less their own."""
    grey = luma(pixels)
    rows = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    beside = rows[..., :-2] + rows[..., 2:]
    straight = (beside[:, :, 1:-1] - 4 * grey).add_(rows[:, :, :-2, 1:-1]).add_(rows[:, :, 2:, 1:-1])
    diagonal = (beside[:, :, :-2] - 4 * grey).add_(beside[:, :, 2:])
    colours = pixels - grey
    return straight, diagonal, box_means(F.pad(colours, (1, 1, 1, 1), mode="replicate"), 3).sub_(colours)
