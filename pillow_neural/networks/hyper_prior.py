"""Entropy model of the hyper-latents: four phases, as latents have them, in integers alone.

    phase k = 0..3:
        hyper-latents of phases < k, which are known, rate --3x3--> --1x1--> --1x1--> location, scale index
        hyper-latent - whole part of the location --> table of the scale index and the rest of the location

The location counts in eighths. Whether the groups of a place are known tells a layer, which is the same
everywhere, which group it is asked for (`pillow_neural.networks.phases`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pillow_neural.entropy.gaussian import logistic_bits
from pillow_neural.networks.integer import (
    ACTIVATION_LIMIT,
    IntegerConv2d,
    integer_activation,
    restoring_clamp,
    round_half_up,
)
from pillow_neural.networks.phases import GROUPS, PHASES, phase_mask
from pillow_neural.networks.rate import rate_plane

HYPER_LIMIT = 15
HYPER_UNIT = 8
LOCATIONS = 8
HYPER_SCALES = 32
SMALLEST_SCALE = 0.06
SCALE_RATIO = 1.12
HYPER_TABLES = HYPER_SCALES * LOCATIONS


class Spread(NamedTuple):
    """Location in eighths and scale index, both [B, hyper, h, w], whole numbers without gradients."""

    location: Tensor
    scale: Tensor

    @property
    def whole(self) -> Tensor:
        """What is taken from a hyper-latent before it is coded: the whole part of the location, rounded."""
        return torch.floor((self.location + LOCATIONS // 2) / LOCATIONS)

    @property
    def table(self) -> Tensor:
        """The number of its table, 0..HYPER_TABLES - 1, by scale and the rest of the location."""
        return LOCATIONS * self.scale + self.location + LOCATIONS // 2 - LOCATIONS * self.whole


def hyper_scale(index: Tensor) -> Tensor:
    """Scale of the logistic distribution, 0.06 * 1.12**index; fractions allowed in training."""
    return SMALLEST_SCALE * torch.exp(index * math.log(SCALE_RATIO))


class HyperPhase(nn.Module):
    """Location and scale index of one phase; see the module's diagram."""

    def __init__(self, hyper: int, hidden: int) -> None:
        super().__init__()
        self.first = IntegerConv2d(hyper + GROUPS + 1, hidden, 3)
        self.mix = IntegerConv2d(hidden, hidden)
        self.to_spread = IntegerConv2d(hidden + 1, 2 * hyper, bias_unit=16.0)
        for layer in (self.first, self.mix):
            nn.init.constant_(layer.bias, 0.5)
        with torch.no_grad():
            self.to_spread.weight.mul_(0.1)
            self.to_spread.bias[hyper:] = 1.0

    def forward(self, decoded: Tensor, known: Tensor, rate: Tensor) -> Spread:
        """Of what is known.

        Args:
            decoded: hyper-latents of earlier phases and zeros, whole, [B, hyper, h, w].
            known: 0 or 1, whether each group is, [GROUPS, h, w].
            rate: [B].
        """
        plane = rate_plane(rate, decoded)
        groups = (ACTIVATION_LIMIT * known).expand(len(decoded), -1, -1, -1)
        features = integer_activation(self.first(torch.cat([HYPER_UNIT * decoded, groups, plane], 1)))
        features = integer_activation(self.mix(features))
        location, scale = self.to_spread(torch.cat([features, plane], 1)).chunk(2, dim=1)
        if torch.is_grad_enabled():
            return Spread(location, scale)
        limit = LOCATIONS * HYPER_LIMIT
        return Spread(
            round_half_up(location).clamp(-limit, limit), round_half_up(scale).clamp(0, HYPER_SCALES - 1)
        )


class HyperPrior(nn.Module):
    """All four phases."""

    def __init__(self, hyper: int, hidden: int) -> None:
        super().__init__()
        self.phases = nn.ModuleList(HyperPhase(hyper, hidden) for _ in range(PHASES))
        self.hyper = hyper

    def walk(self, like: Tensor, rate: Tensor, decode: Callable[[Tensor, Spread], Tensor]) -> Tensor:
        """Go through the phases.

        Args:
            like: [B, any, h, w], for its type, device and size.
            rate: [B].
            decode: called once a phase with its mask [hyper, h, w] (0 or 1) and what is known of its
                hyper-latents; returns these, whole, zero where the mask is, [B, hyper, h, w].

        Returns:
            Hyper-latents [B, hyper, h, w].
        """
        height, width = like.shape[2:]
        decoded = like.new_zeros(len(like), self.hyper, height, width)
        known = like.new_zeros(GROUPS, height, width)
        for phase, spread in enumerate(self.phases):
            mask = phase_mask(phase, self.hyper, height, width, like.device).to(like.dtype)
            decoded = decoded + decode(mask, spread(decoded, known, rate))
            known = known + mask[:GROUPS]
        return decoded

    def spread(self, hyper_latents: Tensor, rate: Tensor) -> Spread:
        """What is known of each hyper-latent when it is decoded, of whole ones [B, hyper, h, w]."""
        location, scale = torch.zeros_like(hyper_latents), torch.zeros_like(hyper_latents)

        def take(mask: Tensor, spread: Spread) -> Tensor:
            nonlocal location, scale
            location, scale = location + spread.location * mask, scale + spread.scale * mask
            return hyper_latents * mask

        self.walk(hyper_latents, rate, take)
        return Spread(location, scale)

    def bits(self, noisy: Tensor, hyper_latents: Tensor, rate: Tensor) -> Tensor:
        """Estimated bits, [B], of hyper-latents with noise, given whole ones as what is known of each."""
        spread = self.spread(hyper_latents, rate)
        scale = hyper_scale(restoring_clamp(spread.scale, 0, HYPER_SCALES - 1))
        return logistic_bits(noisy, spread.location / LOCATIONS, scale).sum(dim=(1, 2, 3))
