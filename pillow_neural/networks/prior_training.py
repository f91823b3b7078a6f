"""The entropy model in training: what is decoded of latents, and estimates of their bits.

latents --hyper analysis, round--> z --walk, phase by phase--+--> symbols --> decoded latents
                                                             +--> bits of Gaussian bins, less signs told
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pillow_neural.entropy.gaussian import SCALE_COUNT, gaussian_bits, scale_of_index
from pillow_neural.networks.integer import restoring_clamp, straight_through
from pillow_neural.networks.prior import PhasedPrior, Quantised
from pillow_neural.networks.quantise import other_parity, rate_distortion_round, response
from pillow_neural.networks.telling import expected_capacities, telling, tells_in_first_phase


class PriorOutput(NamedTuple):
    """Decoded latents [B, C, H, W] in quantisation steps and their estimated bits [B].

    `response`: see `pillow_neural.networks.quantise.response`, [B, C, H, W] or 1 for all. `change`: from the
    symbols to the next best ones, 1 or -1, [B, C, H, W] or 0 for all.
    """

    latents: Tensor
    bits: Tensor
    response: Tensor
    change: Tensor


def estimate(
    prior: PhasedPrior, latents: Tensor, unit: Tensor, rate: Tensor, error_weight: Tensor | None = None
) -> PriorOutput:
    """Estimated bits and decoded latents.

    Args:
        prior: the entropy model.
        latents: [B, C, H, W] in quantisation steps.
        unit: expected magnitude of each channel in steps, [B, C, 1, 1].
        rate: [B] in 0..1.
        error_weight: bits that a squared quantisation step of error is worth, [B, C, 1, 1] or [B, C, H, W].
            With it symbols are chosen as the encoder does, the rate is theirs, and they are constants: as
            each is the best choice, what follows from another one is next to nothing. Latents have the
            gradient of what is decoded, as far as that follows them. Without it symbols are rounded,
            straight through, and the rate in training is that of noisy latents.
    """
    hyper = prior.hyper_latents(latents, rate)
    bits = prior.hyper_prior.bits(_noisy(hyper), torch.round(hyper.detach()), rate)
    hyper = straight_through(hyper, torch.round(hyper))
    quantiser = (
        _Rounding(latents, unit)
        if error_weight is None
        else _Choosing(latents, unit, error_weight, prior.hidden_sign_share)
    )
    decoded = prior.walk(hyper, unit, rate, quantiser)
    return PriorOutput(decoded * unit, bits + quantiser.bits, quantiser.response, quantiser.change)


def _noisy(value: Tensor) -> Tensor:
    """What quantisation does to the rate: uniform noise in training (Balle et al. 2017), else rounding."""
    return value + torch.rand_like(value) - 0.5 if torch.is_grad_enabled() else torch.round(value)


def _scale(index: Tensor) -> Tensor:
    return scale_of_index(restoring_clamp(index, 0, SCALE_COUNT - 1))


class _Rounding:
    """Quantises the latents of phase after phase by rounding, and adds up bits [B]; see `estimate`."""

    def __init__(self, latents: Tensor, unit: Tensor) -> None:
        self._latents = latents
        self._unit = unit
        self.bits = latents.new_zeros(len(latents))
        self.response, self.change = latents.new_ones(()), latents.new_zeros(())

    def __call__(self, mask: Tensor, index: Tensor, mean: Tensor) -> Quantised:
        residual = self._latents / self._unit * mask - mean
        steps = residual * self._unit
        self.bits = self.bits + (gaussian_bits(_noisy(steps), _scale(index)) * mask).sum(dim=(1, 2, 3))
        symbols = torch.round(steps.detach())
        return Quantised(symbols, straight_through(residual, symbols / self._unit))


class _Choosing:
    """Chooses symbols phase after phase as the encoder does, and adds up bits [B]; see `estimate`."""

    def __init__(self, latents: Tensor, unit: Tensor, error_weight: Tensor, hidden_sign_share: int) -> None:
        self._normalised = latents / unit
        self._unit = unit
        self._error_weight = error_weight
        self._hidden_sign_share = hidden_sign_share
        self._tells = tells_in_first_phase(latents.shape[1], latents.device)
        self.bits = latents.new_zeros(len(latents))
        self.response, self.change = torch.zeros_like(latents), torch.zeros_like(latents)

    def __call__(self, mask: Tensor, index: Tensor, mean: Tensor) -> Quantised:
        places = mask.flatten().nonzero()[:, 0]

        def own(values: Tensor) -> Tensor:
            """Those of this phase, [B, N]: a quarter of them."""
            return values.expand_as(self._normalised).flatten(1).index_select(1, places)

        def whole(values: Tensor) -> Tensor:
            everywhere = values.new_zeros(len(values), mask.numel())
            return everywhere.index_copy(1, places, values).view_as(self._normalised)

        latents, unit, mean, index = own(self._normalised), own(self._unit), own(mean), own(index)
        scale, tellers = _scale(index), own(self._tells) & (index >= 0.5)
        steps = ((latents - mean) * unit).detach()
        weight = own(self._error_weight)
        symbols, instead, costs, told = self._chosen(steps, weight, scale.detach(), tellers)
        followed = response(costs, weight)
        self.response = self.response + whole(followed)
        self.change = self.change + whole(instead - symbols)
        self._tells = torch.ones_like(self._tells)

        share = scale.detach().square() / (1 + scale.detach().square()) * (symbols != 0)
        by_mean = mean * share
        bits = gaussian_bits(straight_through(-by_mean * unit, symbols), scale).sum(dim=1)
        self.bits = self.bits + bits - told
        residual = straight_through(latents * followed - by_mean, symbols / unit)
        return Quantised(whole(symbols), whole(residual))

    @torch.no_grad()
    def _chosen(
        self, steps: Tensor, error_weight: Tensor, scale: Tensor, tellers: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Symbols of a phase, the next best, what these cost more, [B, N], and signs told, [B]."""

        def bits_of(symbols: Tensor) -> Tensor:
            return gaussian_bits(symbols, scale)

        best = rate_distortion_round(steps, error_weight, bits_of)
        instead, costs = other_parity(best, steps, error_weight, bits_of)
        capacities = expected_capacities(bits_of(torch.zeros_like(scale)), self._hidden_sign_share)
        symbols, told = telling(best, instead, costs, capacities * tellers)
        return symbols, torch.where(symbols == best, instead, best), costs, told
