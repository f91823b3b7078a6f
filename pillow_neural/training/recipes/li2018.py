"""Recipe of li2018: squared error, and the sum of the importance map held at a share drawn for each picture.

The loss is the paper's (Li et al. 2018, arXiv 1703.10553, section 3.2): squared error plus a weight times
what the map exceeds its target r by, max(0, mean - r). The paper trains a model for each r. Here one model
learns all: r is drawn log-uniformly for each picture, and the networks are told. A hinge rather than a sum
of rate and distortion, since it makes a rate level the same share of bits in every picture, which is what
`quality` asks for; within a picture the map is free. What the hinge does not know is how many of the bits
the contexts save.

The two terms have to meet for all r. `error_weight` is about what a unit of squared error is worth in bits
per pixel at a target, so that the same weight of the hinge serves everywhere, and the losses are divided by
its square root, which makes a decibel count about the same at every rate. The proxy gradient of the mask
counts a step of the map three times (see `importance_mask`), so the hinge needs more than three times the
worth of a bit to hold; HINGE_WEIGHT is twice that.

With a linear path the bits are computed, so what is learned is the map and the synthesis, which starts at
nothing. Without, as in the paper, half an hour on a CPU ends 4 dB below what such bits begin with (figures
in training/NOTES.md). `--set components=0 bits=128 head=64 body=160 synthesis=192 fine=64 hidden=64` is that.

The contexts are trained when the weights file is made; see li2018_weights. `--set importance=false` is the
ablation: each place keeps the same number of bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pillow_neural.codecs.li2018 import CodecNetwork
from pillow_neural.networks.li2018 import BLOCK, Li2018Shape, share_of_rate
from pillow_neural.training.data import CropSampler
from pillow_neural.training.recipe import Recipe, StepResult
from pillow_neural.training.recipes.li2018_weights import pack_li2018
from pillow_neural.training.refinement import start_path

HINGE_WEIGHT = 6.0
LEARNED_WORTH = (1900.0, 1.9)
DIGIT_WORTH = (450.0, 1.7)
"""Factor and exponent of `error_weight`, of learned bits and of the digits of a linear path."""

LOSS_EXPONENT = 0.5
CROP = 128
BATCH = 16
LEARNING_RATE = 5e-4


def recipe_for(shape: Li2018Shape) -> Recipe:
    """The recipe of a codec of this shape."""
    return Recipe(
        build=lambda: CodecNetwork(shape),
        initialise=initialise,
        step=step,
        pack=pack_li2018,
        slow=("analysis",) if shape.components else (),
        crop=CROP,
        batch=BATCH,
        learning_rate=LEARNING_RATE,
    )


def initialise(network: nn.Module, sampler: CropSampler) -> None:
    """Compute a linear path, if there is one; all else starts at random."""
    assert isinstance(network, CodecNetwork)
    if network.transforms.path is not None:
        start_path(network.transforms.path, sampler)


def error_weight(bits_per_pixel: Tensor, worth: tuple[float, float]) -> Tensor:
    """Weight of the squared error of pixels in 0..1 at a target: what a unit of it costs in bits per pixel.

    A power law through the slopes of a codec of this strength, before contexts save any bits: with learned
    bits 26.5, 28.8, 31.2, 33.5 and 35.7 dB at 0.20, 0.39, 0.69, 1.12 and 1.83 bits per pixel; with digits
    23.6, 25.9, 28.8, 30.6 and 31.8 dB at 0.5, 1, 2, 3 and 3.75, most of which say nothing.
    """
    factor, exponent = worth
    return factor * bits_per_pixel**exponent


def step(network: nn.Module, batch: Tensor, random: torch.Generator) -> StepResult:
    """Mean loss of pictures, each at its own target; bits per pixel before entropy coding, without map."""
    assert isinstance(network, CodecNetwork)
    pixels = batch.float() / 255
    rate = torch.rand(len(batch), generator=random).to(pixels.device)
    most = network.shape.bits / BLOCK**2
    target = most * share_of_rate(rate, network.shape.lowest_level)
    output = network.transforms(pixels, rate)
    kept = most * output.share
    mse = (output.reconstruction - pixels).square().mean(dim=(1, 2, 3))
    worth = DIGIT_WORTH if network.shape.components else LEARNED_WORTH
    weight = error_weight(target, worth)
    loss = HINGE_WEIGHT * (kept - target).clamp_min(0) + weight * mse
    psnr = -10 * torch.log10(mse.detach()).mean()
    return StepResult((loss / weight**LOSS_EXPONENT).mean(), kept.detach().mean(), psnr)


SHAPE = Li2018Shape(bits=256, head=32, body=32, synthesis=96, fine=96, hidden=48, components=128)
RECIPE = recipe_for(SHAPE)
