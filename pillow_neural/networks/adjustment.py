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
    """Of least squares, for each of N parts of pictures or pictures.

    Attributes:
        products: of what each strength does, summed over samples, [N, 5, 5].
        aims: products of that with what is wanted, [N, 5].
    """

    products: Tensor
    aims: Tensor

    def plus(self, others: Equations) -> Equations:
        """Those of parts and of others of the same pictures."""
        return Equations(self.products + others.products, self.aims + others.aims)

    def together(self) -> Equations:
        """Of all parts as one picture."""
        return Equations(self.products.sum(dim=0, keepdim=True), self.aims.sum(dim=0, keepdim=True))


class Fit(NamedTuple):
    """Bytes of strengths, whole numbers [N, 5], and the squared error that they save in all, [N]."""

    numbers: Tensor
    saved: Tensor


class Stages(NamedTuple):
    """Pixels [N, P, H, W] in 0..1 after synthesis, after the filter and after the pixel stage."""

    synthesised: Tensor
    filtered: Tensor
    staged: Tensor


def equations(wanted: Tensor, stages: Stages, top: int, left: int) -> Equations:
    """Those of the strengths that bring what is decoded nearest to what is wanted.

    Args:
        wanted: pixels of pictures or of parts of them, [N, P, h, w] in 0..1.
        stages: what there is of them, and of their surroundings.
        top, left: the row and column where what is wanted begins.
    """
    change = stages.staged - stages.filtered
    straight, diagonal, colours = _directions(stages.staged)

    def part(values: Tensor) -> Tensor:
        return part_of(values, top, left, wanted).flatten(2)

    own = stages.filtered - stages.synthesised, change - luma(change), colours
    coloured = torch.stack([*map(part, own), wanted.flatten(2) - part(stages.staged)], 1)
    grey = torch.cat([part(straight), part(diagonal)], 1)
    beside = coloured.sum(dim=2) @ grey.mT
    return _of_products(_gram(coloured.flatten(2)), beside, wanted.shape[1] * _gram(grey))


def part_of(pixels: Tensor, top: int, left: int, like: Tensor) -> Tensor:
    """What begins at a row and a column and is of the size of something else, [N, P, h, w]."""
    height, width = like.shape[2:]
    return pixels[:, :, top : top + height, left : left + width]


def _gram(ways: Tensor) -> Tensor:
    """Products of each two of K ways, [N, K, n] -> [N, K, K]."""
    return ways @ ways.mT


def _of_products(coloured: Tensor, beside: Tensor, grey: Tensor) -> Equations:
    """Equations of products of three ways and what is wanted, [N, 4, 4], of two others [N, 2, 2], of both."""
    products = torch.cat(
        [
            torch.cat([coloured[:, :3, :3], beside[:, :3]], 2),
            torch.cat([beside[:, :3].mT, grey], 2),
        ],
        1,
    )
    return Equations(products, torch.cat([coloured[:, 3, :3], beside[:, 3]], 1))


def no_equations(count: int, device: torch.device) -> Equations:
    """Of so many pictures that ask for nothing."""
    return Equations(
        torch.zeros(count, STRENGTHS, STRENGTHS, device=device), torch.zeros(count, STRENGTHS, device=device)
    )


def fitted(wanted: Equations) -> Fit:
    """The strengths that are best for each picture."""
    products, aims = wanted.products.double(), wanted.aims.double()
    ridge = RIDGE * products.diagonal(dim1=1, dim2=2) + torch.finfo(torch.float32).eps
    exact = torch.linalg.solve(products + torch.diag_embed(ridge), aims)
    numbers = (exact / torch.tensor(UNITS, device=exact.device)).round_().clamp_(-128, 127)
    strengths = strengths_of(numbers)
    saved = (strengths * (2 * aims - (products @ strengths[:, :, None])[:, :, 0])).sum(dim=1)
    return Fit(numbers.cpu(), saved.cpu())


def _directions(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Luma of straight and diagonal neighbours less its own four times, and colours' means less their own."""
    grey = luma(pixels)
    rows = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    beside = rows[..., :-2] + rows[..., 2:]
    straight = (beside[:, :, 1:-1] - 4 * grey).add_(rows[:, :, :-2, 1:-1]).add_(rows[:, :, 2:, 1:-1])
    diagonal = (beside[:, :, :-2] - 4 * grey).add_(beside[:, :, 2:])
    colours = pixels - grey
    return straight, diagonal, box_means(F.pad(colours, (1, 1, 1, 1), mode="replicate"), 3).sub_(colours)
