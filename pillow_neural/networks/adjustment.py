"""What a picture says about how it is to be finished: strengths, fitted to it by the encoder.

    synthesis --+--(1 + s[0]) * the filter's change--> pixel stage --+--s[1] * colours of its change--+
                                                s[5:] * directions --^                                |
        pixels <--+--s[2] * (colours smoothed - colours) + s[3] * straight + s[4] * diagonal <--------+

    straight, diagonal: luma of the four neighbours less four times its own

Filter and pixel stage are the best for all pictures. One picture is noisier than others, sharper, or has
colours at half its resolution, and what follows from that is nearly linear, so that least squares find it. In
the spirit of the adaptive loop filter of VVC (Tsai et al. 2013), with strengths instead of kernels. For the
directions see pillow_neural.networks.directions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.networks.box import box_means
from pillow_neural.networks.directions import Directions
from pillow_neural.networks.pixel_stage import CELL
from pillow_neural.networks.planes import to_cells

STRENGTHS = 5
"""Without those of directions."""

UNITS = (1 / 64, 1 / 64, 1 / 64, 1 / 512, 1 / 512)
"""What one in their numbers stands for."""

LARGEST = 127
"""Of the magnitudes of all numbers."""

HALO = 1
"""Pixels around its own that an adjusted pixel depends on."""

LUMA = (0.299, 0.587, 0.114)
RIDGE = 1e-4

DIRECTION_RIDGE = 0.05
"""For what few cells say of directions."""

FINE = 3
SPACINGS = ((40_000, 5), (10_000, FINE), (0, 1))
"""In parts of at least so many cells of 2x2 pixels, every so many rows and columns of them are looked at for
what strengths do together. No power of two: the places of a block are not alike. What they do for the picture
is taken of all cells."""


def luma(pixels: Tensor) -> Tensor:
    """[B, 3 or 1, H, W] -> [B, 1, H, W]."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = LUMA
    return (red * pixels[:, :1]).add_(pixels[:, 1:2], alpha=green).add_(pixels[:, 2:], alpha=blue)


def with_colours(change: Tensor, strengths: Tensor) -> Tensor:
    """The pixel stage's change [B, P, H, W], that of colours by its strength of `strengths` [B, S]."""
    return change + strengths[:, 1, None, None, None] * (change - luma(change))


def adjusted(pixels: Tensor, strengths: Tensor) -> Tensor:
    """Pixels [B, P, H, W] with colours smoothed and luma filtered by `strengths` [B, S]."""
    straight, diagonal, colours = _beside(pixels)
    smoothing, along, across = (strengths[:, number, None, None, None] for number in (2, 3, 4))
    return torch.addcmul(pixels, smoothing, colours).add_((along * straight).addcmul_(across, diagonal))


class Equations(NamedTuple):
    """Of least squares, for each of N parts of pictures or pictures and S strengths.

    Attributes:
        products: of what each strength does, summed over samples, [N, S, S].
        aims: products of that with what is wanted, [N, S].
    """

    products: Tensor
    aims: Tensor

    def plus(self, others: Equations) -> Equations:
        """Those of parts and of others of the same pictures."""
        return Equations(self.products + others.products, self.aims + others.aims)

    def together(self) -> Equations:
        """Of all parts as one picture."""
        return Equations(self.products.sum(dim=0, keepdim=True), self.aims.sum(dim=0, keepdim=True))

    def first(self, count: int) -> Equations:
        """Of so many strengths, as if there were no others."""
        return Equations(self.products[:, :count, :count], self.aims[:, :count])

    def saved(self) -> Tensor:
        """The squared error that the first strength saves, the first two, and so on, at best: [N, S]."""
        factors = torch.linalg.cholesky(_ridged(self.products))
        parts: Tensor = torch.linalg.solve_triangular(factors, self.aims.double()[:, :, None], upper=False)
        return parts[:, :, 0].square().cumsum(dim=1)


class Fit(NamedTuple):
    """Numbers of strengths, whole, [N, S], and the squared error that they save in all, [N]."""

    numbers: Tensor
    saved: Tensor


class Stages(NamedTuple):
    """Pixels [N, P, H, W] in 0..1 after synthesis, after the filter and after the pixel stage.

    And what the tail of that stage has seen, [N, features, H / 2, W / 2], if there is one.
    """

    synthesised: Tensor
    filtered: Tensor
    staged: Tensor
    features: Tensor | None


def equations(
    missing: Tensor,
    stages: Stages,
    top: int,
    left: int,
    directions: Directions | None = None,
    finely: bool = False,
) -> Equations:
    """Those of the strengths that give pixels most of what they lack.

    Args:
        missing: what pixels of pictures or of parts of them lack after the pixel stage, [N, P, h, w].
        stages: what there is of them, and of their surroundings.
        top, left: the row and column where what is missing begins, both even.
        directions: those of the pixel stage's tail, if they are to have strengths, too.
        finely: look at more cells of large parts for what strengths do together.
    """
    planes, height, width = missing.shape[1:]
    rows, columns = height // CELL, width // CELL
    if not rows * columns:
        strengths = STRENGTHS + (0 if directions is None else len(directions.kernels))
        return no_equations(len(missing), strengths, missing.device)
    spacing = next(own for cells, own in SPACINGS if rows * columns >= cells)
    spacing = min(spacing, FINE) if finely else spacing

    def part(values: Tensor) -> Tensor:
        return part_of(values, top, left, missing)

    change = stages.staged - stages.filtered
    straight, diagonal, colours = _beside(stages.staged)
    ways = [stages.filtered - stages.synthesised, change - luma(change), colours, straight, diagonal]
    own = [part(way) for way in ways]
    aims = [torch.stack([_product(way, missing) for way in own], 1)]
    together = [torch.stack([_in_cells(way.expand_as(missing), rows, columns, spacing) for way in own], 2)]
    if directions is not None:
        assert stages.features is not None
        row, column = top // CELL, left // CELL
        features = stages.features[:, :, row : row + rows, column : column + columns]
        together.append(directions.ways(features, planes, spacing))
        cells = to_cells(missing[:, :, : CELL * rows, : CELL * columns], CELL)
        below, right = (stages.features.shape[side] - features.shape[side] for side in (2, 3))
        around = (column, right - column, row, below - row)
        aims.append(directions.aims(stages.features, F.pad(cells, around)))
    all_ways = torch.cat(together, 2)
    share = missing[0].numel() / all_ways.shape[1]
    return Equations(share * (all_ways.mT @ all_ways), torch.cat(aims, 1))


def _product(way: Tensor, missing: Tensor) -> Tensor:
    """Summed over pixels, [N]; [N, P or 1, h, w] of all planes alike."""
    asked = missing.sum(dim=1) if way.shape[1] == 1 else missing
    found: Tensor = torch.linalg.vecdot(way.flatten(1), asked.flatten(1))
    return found


def _in_cells(pixels: Tensor, rows: int, columns: int, spacing: int) -> Tensor:
    """Samples of cells of 2x2, in every so many of their rows and columns: [N, P, h, w] -> [N, n * 4P]."""
    whole = pixels[:, :, : CELL * rows, : CELL * columns]
    cells = whole.view(*pixels.shape[:2], rows, CELL, columns, CELL)
    return cells[:, :, ::spacing, :, ::spacing].permute(0, 2, 4, 1, 3, 5).flatten(1)


def part_of(pixels: Tensor, top: int, left: int, like: Tensor) -> Tensor:
    """What begins at a row and a column and is of the size of something else, [N, P, h, w]."""
    height, width = like.shape[2:]
    return pixels[:, :, top : top + height, left : left + width]


def no_equations(pictures: int, strengths: int, device: torch.device) -> Equations:
    """Of so many pictures that ask for nothing."""
    return Equations(
        torch.zeros(pictures, strengths, strengths, device=device),
        torch.zeros(pictures, strengths, device=device),
    )


def fitted(wanted: Equations, units: Tensor) -> Fit:
    """The strengths that are best for each picture.

    units: what one in a number stands for, [N, S].
    """
    exact = torch.linalg.solve(_ridged(wanted.products), wanted.aims.double())
    numbers = (exact / units).round_().clamp_(-LARGEST, LARGEST)
    return Fit(numbers, saved_by(numbers * units, wanted))


def saved_by(strengths: Tensor, wanted: Equations) -> Tensor:
    """The squared error that strengths [N, S] save in all, [N]."""
    gains = 2 * wanted.aims - (wanted.products.to(strengths) @ strengths[:, :, None])[:, :, 0]
    return (strengths * gains).sum(dim=1)


def _ridged(products: Tensor) -> Tensor:
    products = products.double()
    shares = torch.full(products.shape[1:2], DIRECTION_RIDGE).index_fill_(0, torch.arange(STRENGTHS), RIDGE)
    ridge = shares * products.diagonal(dim1=1, dim2=2) + torch.finfo(torch.float32).eps
    return products + torch.diag_embed(ridge)


def _beside(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Luma of straight and diagonal neighbours less its own four times, and colours' means less their own."""
    grey = luma(pixels)
    rows = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    beside = rows[..., :-2] + rows[..., 2:]
    straight = (beside[:, :, 1:-1] - 4 * grey).add_(rows[:, :, :-2, 1:-1]).add_(rows[:, :, 2:, 1:-1])
    diagonal = (beside[:, :, :-2] - 4 * grey).add_(beside[:, :, 2:])
    colours = pixels - grey
    return straight, diagonal, box_means(F.pad(colours, (1, 1, 1, 1), mode="replicate"), 3).sub_(colours)
