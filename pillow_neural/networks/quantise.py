"""Rate-distortion optimised quantisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def rate_distortion_round(residual: Tensor, weight: Tensor, bits_of: Callable[[Tensor], Tensor]) -> Tensor:
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
