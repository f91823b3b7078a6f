"""Recipes of the default codec, one model for all rates: for squared error in RGB, and tuned for MS-SSIM.

The second (`--tune ssim`) is for training that goes on from weights of the first; what is different of it
says `TransformCodec.distortion`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from pillow_neural.entropy.gaussian import index_of_scale
from pillow_neural.networks.adaptive_filter import AdaptiveFilter
from pillow_neural.networks.integer import ACTIVATION_LIMIT
from pillow_neural.networks.ms_ssim import ms_ssim, smallest_side
from pillow_neural.networks.prior_layers import MeanPhase, ScalePhase
from pillow_neural.networks.transform_codec import (
    SIMILARITY_UNIT,
    SLOPE,
    NetworkShape,
    TransformCodec,
    lambda_of_rate,
    squared_error,
)
from pillow_neural.training.data import CropSampler
from pillow_neural.training.klt import block_samples, klt, linear_predictors, neighbourhood_moments
from pillow_neural.training.recipe import Recipe, StepResult
from pillow_neural.training.recipes.nic2026_weights import pack_transform_codec
from pillow_neural.training.steps import balance_steps
from pillow_neural.training.widening import grow

KLT_CROPS = 1500
PREDICTION_CROPS = 400
PREDICTION_STEP = 0.15
LOSS_EXPONENT = 0.35
COMMON_RATES = (0.12, 0.75)
COMMON_SHARE = 0.75
CODED_SHARE = 0.9
SIMILARITY_SHARE = 0.05
SHAPE = NetworkShape(pixel_features=48, pixel_layers=3)
TUNED_SHAPE = replace(
    SHAPE, masking=True, companding=0.9, analysis_blocks=4, analysis_pixel_features=48, synthesis_blocks=5
)


def build(masking: bool = False) -> TransformCodec:
    """The untrained network; where it is for MS-SSIM contrast is companded and there are more layers."""
    return TransformCodec(TUNED_SHAPE if masking else SHAPE)


@torch.no_grad()
def initialise(network: nn.Module, sampler: CropSampler) -> None:
    """Start the linear transforms at the KLT, the means at linear prediction, the scales at the spectrum."""
    assert isinstance(network, TransformCodec)
    vectors, spread = klt(block_samples(sampler, KLT_CROPS), network.shape.latents)
    network.analysis.linear.weight.copy_(vectors[:, :, None, None])
    network.synthesis.linear.weight.copy_(vectors.T[:, :, None, None])
    network.synthesis.spread.copy_(spread)

    pixels = sampler.batch(PREDICTION_CROPS).float() / 255 - 0.5
    latents = torch.cat([network.analysis.linear(_blocks(part)) for part in torch.split(pixels, 50)])
    moments = neighbourhood_moments(latents / spread[:, None, None])
    noise = PREDICTION_STEP**2 / 12 / spread**2
    for phase, mean in enumerate(network.prior.means):
        assert isinstance(mean, MeanPhase)
        if mean.linear is not None:
            mean.linear.copy_(linear_predictors(moments, noise, phase))
    _start_scales(network, spread)


def _blocks(pixels: Tensor) -> Tensor:
    return torch.nn.functional.pixel_unshuffle(pixels, 16)


def _start_scales(network: TransformCodec, spread: Tensor) -> None:
    lowest, highest = network.gains.log_gains[0].exp(), network.gains.log_gains[-1].exp()
    lowest_index, highest_index = index_of_scale(spread * lowest), index_of_scale(spread * highest)
    for scale in network.prior.scales:
        assert isinstance(scale, ScalePhase)
        scale.to_index.weight[:, -1, 0, 0] = (highest_index - lowest_index) / ACTIVATION_LIMIT
        scale.to_index.bias.copy_(lowest_index / scale.to_index.bias_unit)


def step(network: nn.Module, batch: Tensor, random: torch.Generator) -> StepResult:
    """Mean over pictures of (bpp + 1.5 * lambda * D) / lambda**0.35, lambda drawn log-uniformly per picture.

    Three draws in four fall in the part of the range that photographs are mostly saved at. In most batches
    symbols are chosen as the encoder does; in the others, at random, noise stands for quantisation, and all
    but the analysis learns from it.
    """
    assert isinstance(network, TransformCodec)
    pixels = batch.float() / 255
    rate = torch.rand(len(batch), generator=random)
    common = torch.rand(len(batch), generator=random) < COMMON_SHARE
    low, high = COMMON_RATES
    rate = torch.where(common, low + (high - low) * rate, rate).to(pixels.device)
    output = network(pixels, rate, as_coded=torch.rand((), generator=random).item() < CODED_SHARE)
    bpp = output.bits / (pixels.shape[2] * pixels.shape[3])
    weight = lambda_of_rate(rate)
    errors = SLOPE * weight * training_distortion(network, output.reconstruction, pixels)
    loss = ((bpp + errors) / weight**LOSS_EXPONENT).mean()
    mse = squared_error(output.reconstruction.detach(), pixels)
    return StepResult(loss, bpp.mean().detach(), -10 * torch.log10(mse).mean())


def training_distortion(network: TransformCodec, reconstruction: Tensor, pixels: Tensor) -> Tensor:
    """What is trained to be little of: the network's distortion, two [B, 3, H, W] in 0..1 -> [B].

    Where that is the squared error, with a share of 1 - MS-SSIM, which costs next to nothing of PSNR.
    """
    distortion = network.distortion(reconstruction, pixels)
    if network.shape.masking or min(pixels.shape[2:]) < smallest_side():
        return distortion
    dissimilarity = (1 - ms_ssim(reconstruction, pixels)) / SIMILARITY_UNIT
    return torch.lerp(distortion, dissimilarity, SIMILARITY_SHARE)


def use_filter(network: nn.Module, post_filter: AdaptiveFilter) -> None:
    """Have reconstructions in training pass the filter, which stays as it is."""
    assert isinstance(network, TransformCodec)
    network.post_filter = post_filter


def balance(network: nn.Module, sampler: CropSampler) -> None:
    """Move quantisation steps to where errors cost as much in every channel."""
    assert isinstance(network, TransformCodec)
    balance_steps(network, sampler)


RECIPE = Recipe(
    build,
    initialise,
    step,
    pack_transform_codec,
    slow=("linear",),
    quick=("gains.log_gains",),
    use_filter=use_filter,
    widen=grow,
    balance=balance,
)
TUNED = {"ssim": replace(RECIPE, build=partial(build, masking=True))}
