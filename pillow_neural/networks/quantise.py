"""Rate-distortion optimised quantisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BitsOf = Callable[[Tensor], Tensor]


def rate_distortion_round(residual: Tensor, weight: Tensor, bits_of: BitsOf) -> Tensor:
    """The nearest whole number or the next towards zero, whichever costs less.

    Minimises bits + weight * error**2 for each latent alone (Sullivan & Wiegand 1998).

    Args:
        residual: in quantisation steps.
        weight: bits that a squared step of error is worth, broadcast to residual.
        bits_of: cost of whole numbers, elementwise.
    """
    nearest = torch.round(residual)
    smaller = nearest - nearest.sign()
    nearest_cost = bits_of(nearest) + weight * (nearest - residual).square()
    smaller_cost = bits_of(smaller) + weight * (smaller - residual).square()
    return torch.where(smaller_cost < nearest_cost, smaller, nearest)


def other_parity(symbols: Tensor, residual: Tensor, weight: Tensor, bits_of: BitsOf) -> tuple[Tensor, Tensor]:
    """Whole numbers that are odd where symbols are even, and what they cost more, as little as can be.

    Magnitudes change by one, and zeros become ones of the residual's sign. For the arguments see
    `rate_distortion_round`, which gave the symbols.
    """

    def cost(values: Tensor) -> Tensor:
        return bits_of(values) + weight * (values - residual).square()

    sign = torch.where(symbols != 0, symbols, residual).sign()
    grown = symbols + torch.where(sign == 0, 1.0, sign)
    shrunk = torch.where(symbols != 0, symbols - sign, grown)
    more, less = cost(grown), cost(shrunk)
    return torch.where(more < less, grown, shrunk), (torch.minimum(more, less) - cost(symbols)).clamp(min=0)
