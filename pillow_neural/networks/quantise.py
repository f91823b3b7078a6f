"""Rate-distortion optimised quantisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BitsOf = Callable[[Tensor], Tensor]

CHOICE_WIDTH = 1.5
"""Bits over which the choice between two symbols counts as undecided."""


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


def response(costs: Tensor, weight: Tensor) -> Tensor:
    """How much symbols change with their latents, by change of the latent, elementwise.

    A symbol changes where it and the next best cost the same, and nowhere else. Near there its change is
    that of a choice at random, by a logistic function of what the other symbol costs more. The mean is 1
    where latents are spread evenly over a quantisation step, next to 0 where nearly all symbols are zero.

    Args:
        costs: what the next best symbols cost more, in bits.
        weight: bits that a squared step of error is worth, broadcast to costs.
    """
    undecided = torch.sigmoid(-costs / CHOICE_WIDTH)
    return 2 * weight * undecided * (1 - undecided) / CHOICE_WIDTH
