"""Scalar quantiser with learned centres (Mentzer et al. 2018, arXiv 1801.04260, section 3.2).

    value z --nearest centre--> symbol --> centre           gradient: that of sum_l softmax(-(z - c_l)^2)_l
    c_l

The soft assignment is the soft-to-hard quantisation of Agustsson et al. 2017 (arXiv 1704.00648), with sigma 1
and no annealing, since the forward pass is hard from the start.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pillow_neural.networks.integer import straight_through

SIGMA = 1.0


class Quantised(NamedTuple):
    """Quantised values [B, K, h, w].

    Attributes:
        values: centres, with the gradient of the soft assignment.
        symbols: int64, 0..L - 1, which rises with the value.
        shares: the soft assignment, [B, L, K, h, w], sum 1 over L.
    """

    values: Tensor
    symbols: Tensor
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
        distances = (values[:, None] - centres[:, None, None, None]).square()
        shares = torch.softmax(-SIGMA * distances, dim=1)
        symbols = distances.argmin(dim=1)
        soft = (shares * centres[:, None, None, None]).sum(dim=1)
        return Quantised(straight_through(soft, centres[symbols]), symbols, shares)
