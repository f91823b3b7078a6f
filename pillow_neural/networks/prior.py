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

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.entropy.gaussian import SCALE_COUNT, gaussian_bits, scale_of_index
from pillow_neural.networks.hyper_prior import HYPER_LIMIT, HYPER_UNIT, HyperPrior
from pillow_neural.networks.integer import (
    IntegerConv2d,
    integer_activation,
    restoring_clamp,
    round_half_up,
    straight_through,
)
from pillow_neural.networks.phases import GROUPS, PHASES, group_at, phase_mask
from pillow_neural.networks.quantise import other_parity, rate_distortion_round
from pillow_neural.networks.rate import RateCurve, rate_plane
from pillow_neural.networks.residual import LEAK, RateResidualBlock
from pillow_neural.networks.telling import expected_capacities, telling, tells_in_first_phase

CONTEXT_LIMIT = 12
CONTEXT_UNIT = 4


class PriorOutput(NamedTuple):
    """Decoded latents [B, C, H, W] in quantisation steps and their estimated bits [B]."""

    latents: Tensor
    bits: Tensor


class Quantised(NamedTuple):
    """Symbols of one phase and what they stand for, normalised; both [B, C, H, W]."""

    symbols: Tensor
    residual: Tensor


Quantiser = Callable[[Tensor, Tensor, Tensor], Quantised]
MagnitudeDecoder = Callable[[Tensor, Tensor], Tensor]


def _noisy(value: Tensor) -> Tensor:
    """What quantisation does to the rate: uniform noise in training (Balle et al. 2017), else rounding."""
    return value + torch.rand_like(value) - 0.5 if torch.is_grad_enabled() else torch.round(value)


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
        total = self.from_features(features)
        if self.from_context is not None:
            total = total + self.from_context(decoded * (unit / torch.sqrt(unit.square() + 1)))
        hidden = F.leaky_relu(total, LEAK) * self.hidden_strength(rate)
        if self.block is not None:
            hidden = self.block(hidden, rate)
        mean: Tensor = self.to_mean(F.leaky_relu(self.mix(hidden), LEAK))
        if self.linear_strength is None:
            return mean
        strength: Tensor = self.linear_strength(rate)
        return mean + self.linear_prediction(decoded) * strength

    def linear_prediction(self, decoded: Tensor) -> Tensor:
        """The 3x3 linear prediction of this phase's latents; zeros elsewhere. Even H and W."""
        assert self.linear is not None
        batch, channels, height, width = decoded.shape
        padded = F.pad(decoded, (1, 1, 1, 1))
        cells = decoded.new_zeros(batch, channels // GROUPS, GROUPS, height // 2, 2, width // 2, 2)
        groups = self.linear.to(decoded.dtype).chunk(GROUPS)
        for parity in range(4):
            row, column = divmod(parity, 2)
            window = padded[:, :, row : row + height + 1, column : column + width + 1]
            group = group_at(self.phase, parity)
            cells[:, :, group, :, row, :, column] = F.conv2d(window, groups[group], stride=2)
        return cells.reshape(batch, channels, height, width)


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
        hyper: Tensor = self.hyper_analysis(torch.asinh(latents)).float()
        return restoring_clamp(hyper * self.hyper_gains(rate), -HYPER_LIMIT, HYPER_LIMIT)

    def forward(
        self, latents: Tensor, unit: Tensor, rate: Tensor, error_weight: Tensor | None = None
    ) -> PriorOutput:
        """Estimated bits and decoded latents.

        Args:
            latents: [B, C, H, W] in quantisation steps.
            unit: expected magnitude of each channel in steps, [B, C, 1, 1].
            rate: [B] in 0..1.
            error_weight: bits that a squared quantisation step of error is worth, [B, C, 1, 1] or
                [B, C, H, W]. With it
                symbols are chosen as the encoder does, the rate is theirs, and they are constants: as each is
                the best choice, what follows from another one is next to nothing. Latents have the gradient
                of what is decoded. Without it symbols are rounded, straight through, and the rate in
                training is that of noisy latents.
        """
        hyper = self.hyper_latents(latents, rate)
        bits = self.hyper_prior.bits(_noisy(hyper), torch.round(hyper.detach()), rate)
        hyper = straight_through(hyper, torch.round(hyper))

        normalised = latents / unit
        coded, indices = torch.zeros_like(latents), torch.zeros_like(latents)
        hidden, tells = torch.zeros_like(bits), tells_in_first_phase(latents.shape[1], latents.device)

        def quantise(mask: Tensor, index: Tensor, mean: Tensor) -> Quantised:
            nonlocal coded, indices, hidden, tells
            residual = (normalised - mean) * mask
            indices = indices + index * mask
            steps = residual.detach() * unit
            if error_weight is None:
                coded = coded + residual * unit
                symbols = torch.round(steps)
                return Quantised(symbols, straight_through(residual, symbols / unit))
            scale = scale_of_index(index.detach().clamp(0, SCALE_COUNT - 1))

            tellers = mask.bool() & tells & (index >= 0.5)
            symbols, told = self._as_coded(steps, error_weight, scale, tellers)
            hidden, tells = hidden + told, torch.ones_like(tells)
            share = scale.square() / (1 + scale.square()) * (symbols != 0)
            by_mean = mean * share
            coded = coded + straight_through(-by_mean * unit, symbols)
            return Quantised(symbols, straight_through(normalised * mask - by_mean, symbols / unit))

        decoded = self.walk(hyper, unit, rate, quantise)
        scale = scale_of_index(restoring_clamp(indices, 0, SCALE_COUNT - 1))
        coded = _noisy(coded) if error_weight is None else coded
        bits = bits - hidden + gaussian_bits(coded, scale).sum(dim=(1, 2, 3))
        return PriorOutput(decoded * unit, bits)

    @torch.no_grad()
    def _as_coded(
        self, steps: Tensor, error_weight: Tensor, scale: Tensor, tellers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Symbols of a phase as the encoder chooses them, [B, C, H, W], and how many signs they tell, [B]."""

        def bits_of(symbols: Tensor) -> Tensor:
            return gaussian_bits(symbols, scale)

        symbols = rate_distortion_round(steps, error_weight, bits_of)
        instead, costs = other_parity(symbols, steps, error_weight, bits_of)
        capacities = expected_capacities(bits_of(torch.zeros_like(scale)), self.hidden_sign_share)
        return telling(symbols, instead, costs, capacities * tellers)

    def means_after(self, hyper: Tensor, decoded: Tensor, unit: Tensor, rate: Tensor) -> Tensor:
        """The means that led to what is decoded, normalised: [B, C, H, W], all phases at once.

        Args:
            hyper: rounded hyper-latents, [B, hyper, H / 4, W / 4].
            decoded: normalised latents of all phases, [B, C, H, W].
            unit, rate: as for `walk`.
        """
        features = self.hyper_synthesis(hyper)
        means, earlier = torch.zeros_like(decoded), torch.zeros_like(decoded[0])
        for phase, predict in enumerate(self.means):
            channels, height, width = decoded.shape[1:]
            mask = phase_mask(phase, channels, height, width, decoded.device).to(decoded.dtype)
            means = means + predict(features, decoded * earlier, unit, rate).float() * mask
            earlier = earlier + mask
        return means

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
            found = found + decode(mask, scale(features, found, rate))
        return found

    def latents(self, hyper: Tensor, symbols: Tensor, unit: Tensor, rate: Tensor) -> Tensor:
        """Decoded latents, normalised, of the symbols of all phases, both [B, C, 4h, 4w]; see `walk`."""
        features = self.hyper_synthesis(hyper)
        channels, height, width = symbols.shape[1:]
        decoded = torch.zeros_like(symbols)
        for phase, predict in enumerate(self.means):
            mask = phase_mask(phase, channels, height, width, hyper.device).to(hyper.dtype)
            mean = predict(features, decoded, unit, rate).float()
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

        def step(phase: int) -> tuple[Tensor, Tensor]:
            mask = phase_mask(phase, *shape[1:], hyper.device).to(hyper.dtype)
            index = self.scales[phase](scale_features, magnitudes, rate)
            mean = self.means[phase](mean_features, decoded, unit, rate).float() * mask
            symbols, residual = quantise(mask, index, mean)
            return magnitudes + symbols.abs(), decoded + residual + mean

        for phase in range(PHASES):
            magnitudes, decoded = step(phase)
        return decoded
