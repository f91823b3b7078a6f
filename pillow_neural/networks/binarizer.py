"""From features to bits: a 1x1 convolution, tanh, and the sign.

Toderici et al. 2015 (arXiv 1511.06085, section 3.2): in training a value v in -1..1 becomes 1 with
probability (1 + v) / 2 and -1 otherwise, so that the expectation is v and the gradient is passed straight on;
afterwards it becomes its sign.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pillow_neural.networks.integer import straight_through
from pillow_neural.networks.recurrent import Convolution


def stochastic_sign(values: Tensor) -> Tensor:
    """-1 or 1, at random with the values -1..1 as expectation; the gradient is that of the values."""
    uniform = torch.rand_like(values) * 2 - 1
    return straight_through(values, sign(values - uniform))


def sign(values: Tensor) -> Tensor:
    """1 where a value is at least 0, -1 elsewhere."""
    return torch.where(values >= 0, 1.0, -1.0)


class Binarizer(nn.Module):
    """Features [B, inputs, H, W] -> bits -1 or 1, float32 [B, bits, H, W]; random while training."""

    def __init__(self, inputs: int, bits: int) -> None:
        super().__init__()
        self.convolution = Convolution(inputs, bits, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the bits."""
        values = torch.tanh(self.convolution(features).float())
        return stochastic_sign(values) if self.training else sign(values)
