"""Residual blocks whose strength follows the rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.rate import RateCurve

LEAK = 0.1


def added(branch: Tensor, features: Tensor) -> Tensor:
    """The sum, in the branch's memory where no gradient needs that: new memory costs more than adding."""
    return branch + features if torch.is_grad_enabled() else branch.add_(features)


class RateResidualBlock(nn.Module):
    """Two dense 3x3 convolutions beside an identity, the branch scaled per channel by the rate.

    [B, N, H, W] and rate position [B] in 0..1 -> [B, N, H, W]. The second convolution starts at zero, so a
    new block changes nothing until it is trained and a trained network can be deepened.

    Args:
        channels: N.
        knots: of the curves over the rate.
        hidden: channels between the two convolutions, N if not given.
    """

    def __init__(self, channels: int, knots: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or channels
        self.first = nn.Conv2d(channels, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, channels, 3, padding=1)
        self.strength = RateCurve(torch.zeros(knots, channels))
        assert self.second.bias is not None
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, features: Tensor, rate: Tensor) -> Tensor:
        """Return the features with the scaled branch added."""
        branch: Tensor = self.second(F.leaky_relu(self.first(F.leaky_relu(features, LEAK)), LEAK))
        strength: Tensor = self.strength(rate)
        return torch.addcmul(features, branch, strength.to(branch.dtype))
