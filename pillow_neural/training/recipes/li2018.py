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

The contexts are trained when the weights file is made; see li2018_weights. `--set importance=false` is the
ablation: each place keeps the same number of bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pillow_neural.codecs.li2018 import CodecNetwork
from pillow_neural.networks.li2018 import BLOCK, Li2018Shape, share_of_rate
from pillow_neural.training.recipe import Recipe, StepResult, start_at_random
from pillow_neural.training.recipes.li2018_weights import pack_li2018

HINGE_WEIGHT = 6.0
ERROR_WEIGHT = 1900.0
ERROR_EXPONENT = 1.9
LOSS_EXPONENT = 0.5
CROP = 128
BATCH = 16
LEARNING_RATE = 5e-4


def recipe_for(shape: Li2018Shape) -> Recipe:
    """The recipe of a codec of this shape."""
    return Recipe(
        build=lambda: CodecNetwork(shape),
        initialise=start_at_random,
        step=step,
        pack=pack_li2018,
        crop=CROP,
        batch=BATCH,
        learning_rate=LEARNING_RATE,
    )


def error_weight(bits_per_pixel: Tensor) -> Tensor:
    """Weight of the squared error of pixels in 0..1 at a target: what a unit of it costs in bits per pixel.

    A power law through the slopes of a codec of this strength: 26.5, 28.8, 31.2, 33.5 and 35.7 dB at 0.20,
    0.39, 0.69, 1.12 and 1.83 bits per pixel before contexts save a quarter of them.
    """
    return ERROR_WEIGHT * bits_per_pixel**ERROR_EXPONENT


def step(network: nn.Module, batch: Tensor, random: torch.Generator) -> StepResult:
    """Mean loss of pictures, each at its own target; bits per pixel before entropy coding, without map."""
    assert isinstance(network, CodecNetwork)
    pixels = batch.float() / 255
    rate = torch.rand(len(batch), generator=random).to(pixels.device)
    most = network.shape.bits / BLOCK**2
    target = most * share_of_rate(rate)
    output = network.transforms(pixels, rate)
    kept = most * output.share
    mse = (output.reconstruction - pixels).square().mean(dim=(1, 2, 3))
    weight = error_weight(target)
    loss = HINGE_WEIGHT * (kept - target).clamp_min(0) + weight * mse
    psnr = -10 * torch.log10(mse.detach()).mean()
    return StepResult((loss / weight**LOSS_EXPONENT).mean(), kept.detach().mean(), psnr)


SHAPE = Li2018Shape()
RECIPE = recipe_for(SHAPE)
