"""Per-channel curves over the rate: one model for all rates.

Gain vectors between quality knots, interpolated exponentially, as in Cui et al. 2021
("Asymmetric Gained Deep Image Compression With Continuous Rate Adaptation", arXiv 2003.02012, eq. 4).
"""

from __future__ import annotations

from torch import Tensor, nn


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
        last = self.log_gains.shape[0] - 1
        position = rate * last
        lower = position.floor().clamp(0, last - 1).long()
        weight = (position - lower).unsqueeze(1)
        curve = (1 - weight) * self.log_gains[lower] + weight * self.log_gains[lower + 1]
        return curve[:, :, None, None]

    def forward(self, rate: Tensor) -> Tensor:
        """Interpolated gains, positive: rate [B] in 0..1 -> [B, channels, 1, 1]."""
        return self.log(rate).exp()
