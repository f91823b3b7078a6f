"""The networks of the default codec's entropy model: features, integer scale indices, float means.

See the diagram of pillow_neural.networks.prior.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.entropy.gaussian import SCALE_COUNT
from pillow_neural.networks.hyper_prior import HYPER_LIMIT, HYPER_UNIT
from pillow_neural.networks.integer import IntegerConv2d, integer_activation, round_half_up
from pillow_neural.networks.phases import GROUPS, group_at
from pillow_neural.networks.precision import small_shares
from pillow_neural.networks.rate import RateCurve, rate_plane
from pillow_neural.networks.residual import LEAK, RateResidualBlock

CONTEXT_LIMIT = 12
CONTEXT_UNIT = 4


class HyperSynthesis(nn.Sequential):
    """Mean features from hyper-latents: [B, hyper, h, w] -> [B, features, 4h, 4w], in float."""

    def __init__(self, hyper: int, features: int) -> None:
        super().__init__(
            nn.Conv2d(hyper, 4 * features, 1),
            nn.PixelShuffle(2),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(features, features, 3, padding=1),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(features, 4 * features, 1),
            nn.PixelShuffle(2),
            nn.LeakyReLU(LEAK),
        )


class IntegerHyperSynthesis(nn.Module):
    """Scale features from hyper-latents, in integers: [B, hyper, h, w] -> 0..127 [B, features, 4h, 4w]."""

    def __init__(self, hyper: int, features: int) -> None:
        super().__init__()
        self.up = IntegerConv2d(hyper + 1, 4 * features)
        self.mix = IntegerConv2d(features, features, 3)
        self.up_again = IntegerConv2d(features, 4 * features)
        for layer in (self.up, self.mix, self.up_again):
            nn.init.constant_(layer.bias, 0.5)

    def forward(self, hyper_latents: Tensor, rate: Tensor) -> Tensor:
        """Scale features of whole hyper-latents and rate [B]."""
        scaled = hyper_latents.clamp(-HYPER_LIMIT, HYPER_LIMIT) * HYPER_UNIT
        features = torch.cat([scaled, rate_plane(rate, scaled)], 1)
        features = F.pixel_shuffle(integer_activation(self.up(features)), 2)
        features = integer_activation(self.mix(features))
        return F.pixel_shuffle(integer_activation(self.up_again(features)), 2)


class ScalePhase(nn.Module):
    """Scale index of one phase, in integers; see the module's diagram."""

    def __init__(self, latents: int, features: int, hidden: int, has_context: bool) -> None:
        super().__init__()
        self.from_features = IntegerConv2d(features, hidden)
        self.from_context = IntegerConv2d(latents, hidden, 3) if has_context else None
        self.mix = IntegerConv2d(hidden, hidden)
        self.to_index = IntegerConv2d(hidden + 1, latents, bias_unit=16.0)
        nn.init.constant_(self.from_features.bias, 0.5)
        nn.init.constant_(self.mix.bias, 0.5)
        with torch.no_grad():
            self.to_index.weight.mul_(0.2)

    def forward(self, features: Tensor, magnitudes: Tensor, rate: Tensor) -> Tensor:
        """Index, real and unbounded in training, 0..63 and whole without gradients: [B, latents, H, W].

        Args:
            features: 0..127, [B, features, H, W].
            magnitudes: |symbols| of earlier phases and zeros, [B, latents, H, W].
            rate: [B].
        """
        total: Tensor = self.from_features(features)
        if self.from_context is not None:
            total = total + self.from_context(magnitudes.clamp(max=CONTEXT_LIMIT) * CONTEXT_UNIT)
        hidden = integer_activation(self.mix(integer_activation(total)))
        index = self.to_index(torch.cat([hidden, rate_plane(rate, hidden)], 1))
        return index if torch.is_grad_enabled() else round_half_up(index).clamp(0, SCALE_COUNT - 1)


class MeanPhase(nn.Module):
    """Mean of one phase from the mean features and what is decoded, both normalised; in float.

    The linear part runs only where its group is decoded: for each of the four parities one convolution of
    stride 2 to a quarter of the channels. Its weights are stored group after group. Both parts shrink or
    grow with the rate, as the share of quantisation noise in what is decoded does.
    """

    def __init__(self, phase: int, latents: int, features: int, hidden: int, knots: int) -> None:
        super().__init__()
        self.phase = phase
        self.from_features = nn.Conv2d(features, hidden, 1)
        self.mix = nn.Conv2d(hidden, hidden, 1)
        self.to_mean = nn.Conv2d(hidden, latents, 1)
        nn.init.zeros_(self.to_mean.weight)
        self.from_context = nn.Conv2d(latents, hidden, 3, padding=1, bias=False) if phase else None
        self.block = RateResidualBlock(hidden, knots) if phase else None
        self.linear = nn.Parameter(torch.zeros(latents, latents, 3, 3)) if phase else None
        self.hidden_strength = RateCurve(torch.zeros(knots, hidden))
        self.linear_strength = RateCurve(torch.zeros(knots, latents)) if phase else None

    def forward(self, features: Tensor, decoded: Tensor, unit: Tensor, rate: Tensor) -> Tensor:
        """Means, normalised: [B, latents, H, W], of use where this phase decodes.

        The network sees what is decoded divided by its expected magnitude after quantisation.

        Args:
            features: mean features, [B, features, H, W].
            decoded: normalised latents of earlier phases and zeros, [B, latents, H, W].
            unit: what they were normalised by, in quantisation steps, [B, latents, 1, 1].
            rate: [B].
        """
        decoded = decoded.contiguous(memory_format=torch.channels_last)
        if self.linear_strength is None:
            return self._network(features, decoded, unit, rate)
        linear = self.linear_prediction(decoded)
        mean = self._network(features, decoded, unit, rate)
        strength: Tensor = self.linear_strength(rate)
        if torch.is_grad_enabled():
            return torch.addcmul(mean, linear, strength)
        return linear.mul_(strength).add_(mean)

    def _network(self, features: Tensor, decoded: Tensor, unit: Tensor, rate: Tensor) -> Tensor:
        total = self.from_features(features)
        if self.from_context is not None:
            expected = unit / torch.sqrt(unit.square() + 1)
            with small_shares(decoded.device):
                seen = self.from_context(decoded * expected)
            total = total + seen
        hidden = F.leaky_relu(total, LEAK) * self.hidden_strength(rate)
        if self.block is not None:
            with small_shares(decoded.device):
                hidden = self.block(hidden, rate)
        mean: Tensor = self.to_mean(F.leaky_relu(self.mix(hidden), LEAK))
        return mean

    def linear_prediction(self, decoded: Tensor) -> Tensor:
        """The 3x3 linear prediction of this phase's latents; zeros elsewhere. Even H and W."""
        assert self.linear is not None
        batch, channels, height, width = decoded.shape
        padded = F.pad(decoded, (0, 1, 0, 1))
        cells = decoded.new_zeros(batch, height // 2, 2, width // 2, 2, channels // GROUPS, GROUPS)
        groups = self.linear.to(decoded.dtype).chunk(GROUPS)
        for parity in range(4):
            row, column = divmod(parity, 2)
            group = group_at(self.phase, parity)
            found = F.conv2d(padded, groups[group], stride=2, padding=(1 - row, 1 - column))
            own = found[:, :, : height // 2, : width // 2]
            cells[:, :, row, :, column, :, group] = own.permute(0, 2, 3, 1)
        return cells.view(batch, height, width, channels).permute(0, 3, 1, 2)

    def linear_transposed(self, slope: Tensor, rate: Tensor) -> Tensor:
        """The linear prediction the other way round, both [B, latents, H, W]; rate [B].

        Of a derivative by this phase's means it makes one by what is decoded.
        """
        assert self.linear is not None
        assert self.linear_strength is not None
        batch, channels, height, width = slope.shape
        cells = (slope * self.linear_strength(rate)).view(
            batch, channels // GROUPS, GROUPS, height // 2, 2, width // 2, 2
        )
        padded = slope.new_zeros(batch, height + 2, width + 2, channels).permute(0, 3, 1, 2)
        groups = self.linear.chunk(GROUPS)
        for parity in range(4):
            row, column = divmod(parity, 2)
            group = group_at(self.phase, parity)
            with small_shares(slope.device):
                window = F.conv_transpose2d(cells[:, :, group, :, row, :, column], groups[group], stride=2)
            padded[:, :, row : row + height + 1, column : column + width + 1] += window
        return padded[:, :, 1:-1, 1:-1]
