"""Entropy model of the default codec: integer scales, float means, four phases.

    latents r --asinh--> hyper analysis --round--> z --+--> hyper synthesis (float)   --> mean features
                                                       +--> hyper synthesis (integer) --> scale features
                                                       +--> hyper prior (integer)     --> tables of z
    phase k = 0..3:
        scale index = integer network(scale features, |symbols| of phases < k)        <- all the coder sees
        mean        = linear 3x3 + network(mean features, decoded latents of phases < k)
        symbol      = round(r - mean);   decoded r = symbol + mean

All magnitudes are decoded before any mean is needed, and signs after them, some of which they tell
(`pillow_neural.entropy.hidden_signs`). The scale index is computed from integers in integer arithmetic, so
every machine decodes the same symbols; the mean may differ in its last float bits without harm (the split of
JPEG AI). The scale context from integer symbols of earlier phases gives back what decoupling the two costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pillow_neural.networks.hyper_prior import HYPER_LIMIT, HyperPrior
from pillow_neural.networks.integer import restoring_clamp
from pillow_neural.networks.phases import PHASES, phase_mask
from pillow_neural.networks.prior_layers import (
    HyperSynthesis,
    IntegerHyperSynthesis,
    MeanPhase,
    ScalePhase,
)
from pillow_neural.networks.rate import RateCurve
from pillow_neural.networks.residual import LEAK


class Quantised(NamedTuple):
    """Symbols of one phase and what they stand for, normalised; both [B, C, H, W]."""

    symbols: Tensor
    residual: Tensor


Quantiser = Callable[[Tensor, Tensor, Tensor], Quantised]
MagnitudeDecoder = Callable[[Tensor, Tensor], Tensor]


class PhasedPrior(nn.Module):
    """The whole entropy model; see the module's diagram.

    Args:
        latents: channels C of the latents, a multiple of 4.
        hyper: channels of the hyper-latents, at a quarter of the latents' height and width.
        hyper_hidden, mean_features, mean_hidden, scale_features, scale_hidden: widths.
        knots: of the curves over the rate.
        hidden_sign_share: see `pillow_neural.entropy.hidden_signs.capacities`.
    """

    def __init__(
        self,
        latents: int,
        hyper: int,
        hyper_hidden: int,
        mean_features: int,
        mean_hidden: int,
        scale_features: int,
        scale_hidden: int,
        knots: int,
        hidden_sign_share: int,
    ) -> None:
        super().__init__()
        self.hidden_sign_share = hidden_sign_share
        self.hyper_analysis = nn.Sequential(
            nn.Conv2d(latents, mean_features, 1),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(mean_features, mean_features, 3, stride=2, padding=1),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(mean_features, hyper, 3, stride=2, padding=1),
        )
        self.hyper_gains = RateCurve(torch.zeros(knots, hyper))
        self.hyper_prior = HyperPrior(hyper, hyper_hidden)
        self.hyper_synthesis = HyperSynthesis(hyper, mean_features)
        self.scale_synthesis = IntegerHyperSynthesis(hyper, scale_features)
        self.means = nn.ModuleList(
            MeanPhase(k, latents, mean_features, mean_hidden, knots) for k in range(PHASES)
        )
        self.scales = nn.ModuleList(
            ScalePhase(latents, scale_features, scale_hidden, has_context=k > 0) for k in range(PHASES)
        )

    def hyper_latents(self, latents: Tensor, rate: Tensor) -> Tensor:
        """Hyper-latents before rounding: [B, C, H, W], H and W multiples of 4 -> [B, hyper, H/4, W/4].

        Their precision follows the rate by gains of their own.
        """
        hyper: Tensor = self.hyper_analysis(_asinh(latents)).float()
        return restoring_clamp(hyper * self.hyper_gains(rate), -HYPER_LIMIT, HYPER_LIMIT)

    def means_after(self, hyper: Tensor, decoded: Tensor, unit: Tensor, rate: Tensor) -> Tensor:
        """The means that led to what is decoded, normalised: [B, C, H, W], all phases at once.

        Args:
            hyper: rounded hyper-latents, [B, hyper, H / 4, W / 4].
            decoded: normalised latents of all phases, [B, C, H, W].
            unit, rate: as for `walk`.
        """
        features = self.hyper_synthesis(hyper)
        means = torch.zeros_like(decoded)
        for predict, (mask, earlier) in zip(self.means, _masks(decoded), strict=True):
            means = means + predict(features, decoded * earlier, unit, rate).float() * mask
        return means

    def linear_derivative(self, slope: Tensor, rate: Tensor) -> Tensor:
        """A derivative by the means of all phases as one by what is decoded, of their linear parts alone.

        Both [B, C, H, W], normalised; rate [B].
        """
        derivative = torch.zeros_like(slope)
        for predict, (mask, earlier) in zip(self.means, _masks(slope), strict=True):
            assert isinstance(predict, MeanPhase)
            if predict.linear is not None:
                derivative += predict.linear_transposed(slope * mask, rate) * earlier
        return derivative

    def magnitudes(self, hyper: Tensor, rate: Tensor, latents: int, decode: MagnitudeDecoder) -> Tensor:
        """The decoder's way through the phases, as far as the stream goes: scales need no means.

        Args:
            hyper: rounded hyper-latents [B, hyper, h, w].
            rate: [B].
            latents: channels C.
            decode: called once a phase with its mask [C, 4h, 4w] (0 or 1) and scale indices [B, C, 4h, 4w];
                returns |symbols|, zero where the mask is.

        Returns:
            |symbols| of all phases, [B, C, 4h, 4w].
        """
        features = self.scale_synthesis(hyper, rate)
        height, width = features.shape[2:]
        found = hyper.new_zeros(len(hyper), latents, height, width)
        for phase, scale in enumerate(self.scales):
            mask = phase_mask(phase, latents, height, width, hyper.device).to(hyper.dtype)
            found = found + decode(mask, scale(features, found, rate).contiguous())
        return found

    def latents(self, hyper: Tensor, symbols: Tensor, unit: Tensor, rate: Tensor) -> Tensor:
        """Decoded latents, normalised, of the symbols of all phases, both [B, C, 4h, 4w]; see `walk`."""
        features = self.hyper_synthesis(hyper)
        channels, height, width = symbols.shape[1:]
        decoded = torch.zeros_like(symbols)
        for phase, predict in enumerate(self.means):
            mask = phase_mask(phase, channels, height, width, hyper.device).to(hyper.dtype)
            mean = predict(features, decoded, unit, rate).float().contiguous()
            decoded = decoded + (symbols / unit + mean) * mask
        return decoded

    def walk(
        self,
        hyper: Tensor,
        unit: Tensor,
        rate: Tensor,
        quantise: Quantiser,
    ) -> Tensor:
        """Go through the phases: training and encoding differ in how symbols are chosen.

        Args:
            hyper: rounded hyper-latents [B, hyper, h, w].
            unit: expected magnitude of each channel in steps, [B, C, 1, 1].
            rate: [B].
            quantise: called once a phase with its mask [C, 4h, 4w] (0 or 1), scale indices and normalised
                means (zero where the mask is), both [B, C, 4h, 4w]; returns symbols, zero where the mask is.

        Returns:
            Decoded latents, normalised, [B, C, 4h, 4w].
        """
        mean_features = self.hyper_synthesis(hyper)
        scale_features = self.scale_synthesis(hyper, rate)
        height, width = scale_features.shape[2:]
        shape = (len(hyper), unit.shape[1], height, width)
        decoded, magnitudes = hyper.new_zeros(shape), hyper.new_zeros(shape)

        def step(phase: int) -> Tensor:
            mask = phase_mask(phase, *shape[1:], hyper.device).to(hyper.dtype)
            index = self.scales[phase](scale_features, magnitudes, rate).contiguous()
            mean: Tensor = self.means[phase](mean_features, decoded, unit, rate).float().contiguous()
            mean.mul_(mask)
            symbols, residual = quantise(mask, index, mean)
            magnitudes.add_(symbols.abs())
            return decoded + mean.add_(residual)

        for phase in range(PHASES):
            decoded = step(phase)
        return decoded


def _masks(like: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Which latents each phase decodes and which those before it did, 0 or 1, [C, H, W]; of [B, C, H, W]."""
    channels, height, width = like.shape[1:]
    earlier = torch.zeros_like(like[0])
    for phase in range(PHASES):
        mask = phase_mask(phase, channels, height, width, like.device).to(like.dtype)
        yield mask, earlier
        earlier = earlier + mask


def _asinh(values: Tensor) -> Tensor:
    """torch.asinh to within 1e-6, in an eighth of the time."""
    magnitudes = values.abs()
    return torch.log(magnitudes + torch.sqrt(magnitudes.square() + 1)).copysign(values)
