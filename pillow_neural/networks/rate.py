"""Per-channel curves over the rate: one model for all rates.

Gain vectors between quality knots, interpolated exponentially, as in Cui et al. 2021
("Asymmetric Gained Deep Image Compression With Continuous Rate Adaptation", arXiv 2003.02012, eq. 4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pillow_neural.networks.integer import ACTIVATION_LIMIT

RATE_LEVELS = 65_535


def between_knots(values: Tensor, rate: Tensor) -> Tensor:
    """Values at evenly spaced rate positions 0..1, linear between: [knots, ...] and rate [B] -> [B, ...]."""
    last = len(values) - 1
    position = rate * last
    lower = position.floor().clamp(0, last - 1).long()
    weight = (position - lower).view(-1, *(1 for _ in values.shape[1:]))
    return (1 - weight) * values[lower] + weight * values[lower + 1]


class RateCurve(nn.Module):
    """exp of a piecewise linear function of the rate position, one a channel.

    Args:
        log_gains: [knots, channels], the natural logarithms at evenly spaced positions 0..1.
    """

    def __init__(self, log_gains: Tensor) -> None:
        super().__init__()
        self.log_gains = nn.Parameter(log_gains.clone())

    def log(self, rate: Tensor) -> Tensor:
        """Interpolated logarithms: rate [B] in 0..1 -> [B, channels, 1, 1]."""
        return between_knots(self.log_gains, rate)[:, :, None, None]

    def forward(self, rate: Tensor) -> Tensor:
        """Interpolated gains, positive: rate [B] in 0..1 -> [B, channels, 1, 1]."""
        return self.log(rate).exp()


def rate_plane(rate: Tensor, like: Tensor) -> Tensor:
    """The rate position [B] as one plane of whole numbers 0..127, the size of like: [B, 1, H, W].

    Computed from the whole rate level, so that no rounding of floats can move it.
    """
    level = torch.round(rate * RATE_LEVELS).long()
    plane = (level * ACTIVATION_LIMIT + RATE_LEVELS // 2) // RATE_LEVELS
    return plane[:, None, None, None].expand(-1, 1, *like.shape[2:]).to(like.dtype)
