"""Scalar quantiser with learned centres (Mentzer et al. 2018, arXiv 1801.04260, section 3.2).

    value z --nearest centre--> symbol --> centre         gradient: that of sum_l softmax(-(z - c_l)^2)_l c_l

The soft assignment is the soft-to-hard quantisation of Agustsson et al. 2017 (arXiv 1704.00648), with sigma 1
and no annealing, since the forward pass is hard from the start. It goes to the nearest centre and to two on
each side; what lies farther away would get 0.2 % at most while the gaps are 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pillow_neural.networks.integer import straight_through

SIGMA = 1.0
REACH = 2
"""Centres on each side of the nearest one that the soft assignment knows."""


class Quantised(NamedTuple):
    """Quantised values [B, K, h, w].

    Attributes:
        values: centres, with the gradient of the soft assignment.
        symbols: int64, 0..L - 1, which rises with the value.
        near: the symbol, those up to REACH below and above it, clamped to 0..L - 1, int64 [B, S, K, h, w].
        shares: the soft assignment to these, [B, S, K, h, w], sum 1 over S.
    """

    values: Tensor
    symbols: Tensor
    near: Tensor
    shares: Tensor


class CentreQuantiser(nn.Module):
    """L centres in rising order, that of the home symbol at 0.

    Values that a mask set to 0 thus stay 0. An offset of all centres is what the layers around have anyway;
    what is learned are the L - 1 gaps, which start at 1.

    Args:
        centres: L.
        home: symbol of the centre 0.
    """

    def __init__(self, centres: int, home: int) -> None:
        super().__init__()
        self.home = home
        self.log_gaps = nn.Parameter(torch.zeros(centres - 1))

    def centres(self) -> Tensor:
        """The centres, [L]."""
        sums = torch.cat([self.log_gaps.new_zeros(1), self.log_gaps.exp().cumsum(dim=0)])
        return sums - sums[self.home]

    def forward(self, values: Tensor) -> Quantised:
        """Quantise real values [B, K, h, w]."""
        centres = self.centres()
        symbols = torch.bucketize(values.detach(), ((centres[1:] + centres[:-1]) / 2).detach())
        reach = torch.arange(-REACH, REACH + 1, device=values.device)[:, None, None, None]
        wanted = symbols[:, None] + reach
        near = wanted.clamp(0, len(centres) - 1)
        distances = (values[:, None] - centres[near]).square()
        shares = torch.softmax(torch.where(near == wanted, -SIGMA * distances, -math.inf), dim=1)
        soft = (shares * centres[near]).sum(dim=1)
        return Quantised(straight_through(soft, centres[symbols]), symbols, near, shares)
