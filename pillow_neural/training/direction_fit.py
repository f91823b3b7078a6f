"""Directions of the pixel stage's tail: principal components of what coded crops would want it to be.

For what a tail sees in cells of 2x2 pixels, a, and what is missing in these once a crop has strengths of its
own, r, the kernels that a crop would want are x = (G + ridge * M)**-1 mean(a r'), with G = mean(a a') of the
crop and M that of all. Of M**1/2 x over many crops, whose squared error is relative to the crop's own, the
principal components are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.codecs.contract import RATE_LEVELS
from pillow_neural.codecs.nic2026 import Nic2026
from pillow_neural.entropy.gaussian import SCALE_COUNT, index_of_scale
from pillow_neural.networks.adjustment import STRENGTHS, equations, fitted
from pillow_neural.networks.directions import Directions
from pillow_neural.networks.pixel_stage import CELL, SAMPLES
from pillow_neural.networks.planes import OUTPUT_UNIT
from pillow_neural.networks.precision import small_shares
from pillow_neural.networks.search import finish_of
from pillow_neural.networks.transform_codec import TransformCodec
from pillow_neural.training.data import CropSampler

CROP = 256
CODED_CROP = 448
BATCH = 4
RATES = (0.08, 0.8)
RIDGE = 1.5
SMALLEST = 1e-4
SEED = 2027


@dataclass(frozen=True, slots=True)
class DirectionSize:
    """How many directions, and what they are found in.

    Attributes:
        count: K.
        batches: of BATCH crops; twice as many are worth as much as half of the directions more.
        batches_of_mean: that M is taken of.
        coded: crops that lines are fitted to.
    """

    count: int = 48
    batches: int = 1000
    batches_of_mean: int = 25
    coded: int = 200


class Wanted(NamedTuple):
    """Of one crop: what its tail sees, G, and the means of products of that with what is missing.

    Attributes:
        seen: [I, I], I of 9 * features inputs and a constant.
        missing: [I, 12], in units of the root of the mean squared error.
    """

    seen: Tensor
    missing: Tensor


@torch.no_grad()
def fit_directions(network: TransformCodec, sampler: CropSampler, size: DirectionSize) -> Directions:
    """Those of a network with a pixel stage and a filter."""
    crops = sampler.with_crop(CROP, SEED)
    random = torch.Generator().manual_seed(SEED)
    few = [own.seen for own in _wanted(network, crops, random, size.batches_of_mean)]
    mean = torch.stack(few).mean(dim=0)
    root, inverse_root = _roots(mean)
    kernels = [
        root @ torch.linalg.solve(own.seen + RIDGE * mean, own.missing)
        for own in _wanted(network, crops, random, size.batches)
    ]
    components = torch.linalg.svd(torch.stack(kernels).flatten(1), full_matrices=False).Vh[: size.count]
    tails = (inverse_root @ components.view(len(components), len(mean), -1) / OUTPUT_UNIT).mT
    kernels = tails[..., :-1].reshape(len(tails), SAMPLES, -1, 3, 3)
    strengths = STRENGTHS + len(tails)
    return Directions(
        kernels,
        tails[..., -1].contiguous(),
        torch.full((len(tails),), SCALE_COUNT - 1.0),
        torch.ones(strengths),
        torch.zeros(strengths),
    )


@torch.inference_mode()
def with_lines(
    codec: Nic2026, network: TransformCodec, sampler: CropSampler, directions: Directions, size: DirectionSize
) -> Directions:
    """Directions with the scales of their numbers, and lines from those of first choices to last ones.

    Args:
        codec, network: that have these directions.
        sampler: of training crops.
        directions: as `fit_directions` gave them.
        size: how many crops are coded.
    """
    crops = sampler.with_crop(CODED_CROP, SEED)
    levels = np.random.default_rng(SEED).uniform(*RATES, size=size.coded) * RATE_LEVELS
    pairs = []
    for level in levels.tolist():
        picture, foreseen, decoded = codec.foreseen_and_last_choice(crops.batch(1), [round(level)])
        units = network.strength_units(picture.rate)
        wanted = (foreseen, finish_of(network, picture, decoded))
        pairs.append([fitted(own, units).numbers for own in wanted])
    first, last = (torch.cat(numbers) for numbers in zip(*pairs, strict=True))
    centred = first - first.mean(dim=0), last - last.mean(dim=0)
    shares = (centred[0] * centred[1]).sum(dim=0) / centred[0].square().sum(dim=0).clamp(min=1)
    scales = index_of_scale(last[:, STRENGTHS:].square().mean(dim=0).sqrt().clamp(min=SMALLEST))
    return directions._replace(
        scales=scales.round().clamp(0, SCALE_COUNT - 1).float(),
        shares=shares.float(),
        more=(last.mean(dim=0) - shares * first.mean(dim=0)).float(),
    )


def _wanted(
    network: TransformCodec, crops: CropSampler, random: torch.Generator, batches: int
) -> Iterator[Wanted]:
    low, high = RATES
    for _ in range(batches):
        pixels = crops.batch(BATCH).float() / 255
        rate = low + (high - low) * torch.rand(len(pixels), generator=random)
        with small_shares(pixels.device):
            decoded = network.as_coded(pixels, rate).output.latents.float()
        stages = network.stages(decoded, rate, planes=3)
        units = network.strength_units(rate)
        numbers = fitted(equations(_missing(network, stages.staged, pixels), stages, 0, 0), units).numbers
        finished = network.finish_compressed(stages.synthesised, rate, (numbers * units).float())
        missing = F.pixel_unshuffle(_missing(network, finished, pixels), CELL).flatten(2)
        assert stages.features is not None
        seen = F.pad(F.unfold(stages.features.float(), 3, padding=1), (0, 0, 0, 1), value=1.0)
        for inputs, own in zip(seen, missing, strict=True):
            cells = inputs.shape[1]
            yield Wanted(inputs @ inputs.T / cells, inputs @ own.T / (cells * own.square().mean().sqrt()))


def _missing(network: TransformCodec, staged: Tensor, pixels: Tensor) -> Tensor:
    """What pixels lack before their contrast is expanded, [B, 3, H, W]."""
    with torch.enable_grad():
        seen = staged.detach().requires_grad_()
        distortion = network.distortion(network.expanded(seen), pixels).sum()
        derivative = torch.autograd.grad(distortion, seen)[0]
    return network.lacking(derivative, pixels[0].numel())


def _roots(mean: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric root of a matrix, and that of its inverse."""
    values, vectors = torch.linalg.eigh(mean.double() + SMALLEST * torch.diag(mean.double().diagonal()))
    root, inverse = (vectors * power @ vectors.T for power in (values.sqrt(), values.rsqrt()))
    return root.float(), inverse.float()
