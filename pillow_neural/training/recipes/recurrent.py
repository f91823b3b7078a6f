"""What the recipes of the recurrent codecs share: the absolute error of every iteration, small crops.

The loss is the mean over iterations of the L1 error (Toderici et al. 2016, arXiv 1608.05148, eq. 3), for
Johnston et al. 2018 (arXiv 1703.10114, section 3) weighed per 8x8 block by its structural dissimilarity
over the moving average of that, and constant for the gradient. Where the codec has spatially adaptive bit
rates, half of the crops are coded with them at a random target, so that the networks get to know zeros for
missing bits; blocks that have stopped are left out of the loss.

Bits are drawn at random in training, but those of a linear path are computed: there the decoder learns what
to add to the path's reconstruction, from nothing, and errors count as shares of what the path leaves.

A step goes through a random number of iterations, most often few: most weights are those of all iterations,
and three steps of three teach them more than one of nine in the same time.

Without a linear path the context network is trained after the codec, when the weights file is made: until
then its bits change, and those of training may be random where those of encoding are not. With one it is
trained first. See recurrent_weights.
"""

from __future__ import annotations

import math
from itertools import islice

import torch
from torch import Tensor, nn

from pillow_neural.codecs.recurrent import NEVER_ENOUGH, CodecNetwork
from pillow_neural.networks.distortion import absolute_error, dissimilarity
from pillow_neural.networks.recurrent_codec import RecurrentNetwork
from pillow_neural.networks.recurrent_transforms import BITS, BLOCK, RecurrentShape
from pillow_neural.training.data import CropSampler
from pillow_neural.training.recipe import Recipe, StepResult
from pillow_neural.training.recipes.recurrent_weights import learn_path_bits, pack_recurrent_codec
from pillow_neural.training.refinement import start_path

ADAPTIVE_SHARE = 0.5
FEW_ITERATIONS = 2.0
"""The number of iterations of a step is what there may be times a uniform number to this power."""

TARGETS = (3e-3, 0.1)
WEIGHTED_TARGETS = (1e-5, 1e-2)
AVERAGE_DECAY = 0.99
CROP = 96
BATCH = 4
LEARNING_RATE = 1.5e-3


def recipe_for(shape: RecurrentShape) -> Recipe:
    """The recipe of a member of the family."""
    return Recipe(
        build=lambda: CodecNetwork(shape),
        initialise=initialise,
        step=step,
        pack=pack_recurrent_codec,
        crop=CROP,
        batch=BATCH,
        learning_rate=LEARNING_RATE,
    )


def initialise(network: nn.Module, sampler: CropSampler) -> None:
    """Compute a linear path, and learn its bits; the decoder starts at 0."""
    assert isinstance(network, CodecNetwork)
    loop = network.loop
    if loop.path is not None:
        start_path(loop.path, sampler)
        nn.init.zeros_(loop.decoder.tail.weight)
        learn_path_bits(network, sampler)


def step(network: nn.Module, batch: Tensor, random: torch.Generator) -> StepResult:
    """Mean error of the iterations; bits per pixel before entropy coding; PSNR of the last iteration."""
    assert isinstance(network, CodecNetwork)
    pixels = batch.float() / 255
    targets = _targets(network.shape, len(batch), random).to(pixels.device)
    losses, coded = [], pixels.new_zeros(())
    count = 1 + int(network.shape.iterations * torch.rand((), generator=random).item() ** FEW_ITERATIONS)
    for number, iteration in enumerate(islice(network.loop(pixels, targets), count)):
        error = _error(network.loop, pixels, iteration.picture, number)
        active = iteration.active.repeat_interleave(2, 1).repeat_interleave(2, 2)
        share = 1.0 if network.loop.path is None else network.loop.path.remaining[number]
        losses.append((error * active).mean() / share)
        coded = coded + iteration.active.float().mean()
    mse = (iteration.picture.detach() - pixels).square().mean(dim=(1, 2, 3))
    return StepResult(torch.stack(losses).mean(), coded * BITS / BLOCK**2, -10 * torch.log10(mse).mean())


def _targets(shape: RecurrentShape, count: int, random: torch.Generator) -> Tensor:
    """Distortions at which blocks stop, [count]: log-uniform for some pictures, never for the others."""
    low, high = WEIGHTED_TARGETS if shape.ssim_weighted else TARGETS
    targets = low * torch.exp(torch.rand(count, generator=random) * math.log(high / low))
    stops = torch.rand(count, generator=random) < (ADAPTIVE_SHARE if shape.adaptive else 0)
    return torch.where(stops, targets, NEVER_ENOUGH)


def _error(loop: RecurrentNetwork, pixels: Tensor, picture: Tensor, number: int) -> Tensor:
    """Error of 8x8 blocks, weighed if the codec does so; moves the average dissimilarity along.

    Each iteration, counted from 0, has an average of its own: with one for all, late ones hardly count.
    """
    error = absolute_error(pixels, picture)
    if not loop.shape.ssim_weighted:
        return error
    weight = dissimilarity(pixels, picture.detach())
    mean, average = weight.mean(), loop.mean_dissimilarity[number]
    average.copy_(torch.where(average > 0, torch.lerp(mean, average, AVERAGE_DECAY), mean))
    return error * (weight / average)
