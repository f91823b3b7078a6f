"""Quantisation steps by what errors in them turn out to cost.

    latents --as coded--> decoded --finish--> lambda * D --derivative times error--+
       |                     |                                                     +--> ratio --> steps
       +----- error ---------+--> what the choice of symbols takes it for ---------+

Bits are spent best where a squared step of error costs as much in every channel. Gains learn that slowly, for
their gradients are small beside those of everything that follows them, while a derivative tells in seconds
how far off they are: synthesis and pixel stage mend some of the errors, and MS-SSIM has weights of its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pillow_neural.entropy.gaussian import SCALE_RATIO
from pillow_neural.networks.integer import ACTIVATION_LIMIT
from pillow_neural.networks.prior_layers import ScalePhase
from pillow_neural.networks.transform_codec import CURVATURE, TransformCodec, lambda_of_rate
from pillow_neural.training.data import CropSampler

CROPS = 48
BATCH = 4
CHANNELS_ALIKE = 0.25
"""Channels are taken together with others whose numbers, from 2, differ by about this factor."""
FEWEST = 2


@torch.no_grad()
def balance_steps(network: TransformCodec, sampler: CropSampler) -> Tensor:
    """Move steps to where errors cost as much in every channel, and scale indices with them.

    Args:
        network: trained, as it is when it decodes.
        sampler: of training crops.

    Returns:
        What gains were multiplied by, [knots, C].
    """
    errors, costs = measured_errors(network, sampler)
    ratios = _smoothed(costs) / _smoothed(errors)
    logarithms = ratios.clamp_min(1e-3).log()
    usual = (logarithms * errors).sum(dim=1, keepdim=True) / errors.sum(dim=1, keepdim=True)
    change = (logarithms - usual) / 2
    network.gains.log_gains.add_(change)
    network.inverse_gains.log_gains.sub_(change)
    for scale in network.prior.scales:
        assert isinstance(scale, ScalePhase)
        _shift_indices(scale, change / math.log(SCALE_RATIO))
    return change.exp()


def measured_errors(network: TransformCodec, sampler: CropSampler) -> tuple[Tensor, Tensor]:
    """What errors of each channel are taken for when symbols are chosen, and what they cost, both [knots, C].

    In bits of loss, at the knots of the gains.
    """
    knots, channels = network.gains.log_gains.shape
    device = network.gains.log_gains.device
    errors, costs = torch.zeros(2, knots, channels, device=device)
    for batch in torch.split(sampler.batch(CROPS).to(device).float() / 255, BATCH):
        for knot in range(knots):
            rate = torch.full((len(batch),), knot / (knots - 1), device=device)
            with torch.no_grad():
                latents, weight, (decoded, *_) = network.as_coded(batch, rate)
            error = decoded - latents
            errors[knot] += 2 * CURVATURE * (weight * error.square()).sum(dim=(0, 2, 3))
            costs[knot] += (_slope(network, decoded, batch, rate) * error).sum(dim=(0, 2, 3))
    return errors, costs


def _slope(network: TransformCodec, decoded: Tensor, pixels: Tensor, rate: Tensor) -> Tensor:
    """The derivative of lambda * D in bits by decoded latents, [B, C, H, W]."""
    with torch.enable_grad():
        seen = decoded.requires_grad_()
        reconstruction = network.finish(network.reconstruct(seen, rate), rate)
        distortion = lambda_of_rate(rate) * network.distortion(reconstruction, pixels)
        total = distortion.sum() * pixels.shape[2] * pixels.shape[3]
        return torch.autograd.grad(total, seen)[0]


def _smoothed(sums: Tensor) -> Tensor:
    """Sums of channels with others of about their variance, by which they are in order: [knots, C]."""
    place = torch.log(torch.arange(sums.shape[1], device=sums.device) + float(FEWEST))
    return sums @ torch.exp(-0.5 * ((place[:, None] - place) / CHANNELS_ALIKE).square())


def _shift_indices(scale: ScalePhase, shift: Tensor) -> None:
    """Add to scale indices what is nearest to the shift, [knots, C], in a straight line over the rate."""
    rate = torch.linspace(0, 1, len(shift), device=shift.device)
    slope = ((rate - rate.mean()) @ shift) / (rate - rate.mean()).square().sum()
    scale.to_index.weight[:, -1, 0, 0].add_(slope / ACTIVATION_LIMIT)
    scale.to_index.bias.add_((shift.mean(dim=0) - slope * rate.mean()) / scale.to_index.bias_unit)
