"""Recipe of mentzer2018: bits plus a weight times 1 - MS-SSIM, the weight drawn for each picture.

The paper (Mentzer et al. 2018, arXiv 1801.04260, section 3.4) trains a network for each rate with a hinge:
1 - MS-SSIM plus a weight times what the mean rate of a large batch exceeds its target, which the Lagrangian
is wherever the hinge is active. Here a network has all rates and a batch eight pictures. Their mean rate
would tell little of how the network stands to a target, and a target for each picture would teach the map
to spend alike in smooth and in busy places, since a network that sees a neighbourhood cannot know what the
rest of a picture costs. So the hinge is left out, and what is given is the weight, 0.8 to 200 bits a pixel,
log-uniformly.

As in the paper the rate is the mean of what all symbols cost and of what those cost that the importance map
keeps: the latter is what tells the map to keep fewer, through the gradient of its ramp.

Forty-nine centres where the paper has six, and 48 channels: a linear start needs them. What the paper's
encoder learns in days, to say much with six levels, the Karhunen-Loeve transform does not do: at equal
1 - MS-SSIM the start with eleven has 2.7 times the bits of WebP (entropies of order zero), with 49 it
has 1.8 times.

Thirty-two of them are kept everywhere. With a map that could cut off all, 40 minutes of training ended with
one that took the colour from smooth bright areas, which MS-SSIM hardly sees, and saved no bits by that.

`--set importance=false` is the ablation: no map.
`--set features=128 groups=5 centres=6 kept=0` is the paper's size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pillow_neural.networks.mentzer2018 import (
    BLOCK,
    Mentzer2018Network,
    Mentzer2018Shape,
    steps_of_knots,
    weight_of_rate,
)
from pillow_neural.networks.ms_ssim import ms_ssim
from pillow_neural.training.data import CropSampler
from pillow_neural.training.klt import block_samples, klt
from pillow_neural.training.recipe import Recipe, StepResult
from pillow_neural.training.recipes.mentzer2018_weights import pack_mentzer2018
from pillow_neural.training.staggered import staggered_start

KLT_CROPS = 500
LOSS_EXPONENT = 0.45
"""Rate and distortion at the optimum grow with about this power of the weight, so all rates count alike."""

CROP = 192
BATCH = 8


def recipe_for(shape: Mentzer2018Shape) -> Recipe:
    """The recipe of a codec of this shape."""
    return Recipe(
        build=lambda: Mentzer2018Network(shape),
        initialise=initialise,
        step=step,
        pack=pack_mentzer2018,
        slow=("linear", "tail"),
        crop=CROP,
        batch=BATCH,
    )


@torch.no_grad()
def initialise(network: nn.Module, sampler: CropSampler) -> None:
    """Start the linear transforms at the KLT of 8x8 blocks, its components staggered over the channels."""
    assert isinstance(network, Mentzer2018Network)
    shape = network.shape
    vectors, spread = klt(block_samples(sampler, KLT_CROPS, BLOCK), min(shape.channels, 3 * BLOCK**2))
    start = staggered_start(spread, shape.channels, shape.centres, steps_of_knots(shape.knots))
    vectors = vectors[start.component]
    network.analysis.linear.weight.copy_(vectors[:, :, None, None])
    network.synthesis.linear.weight.copy_(vectors.T[:, :, None, None])
    network.offsets.copy_(start.offsets)
    network.gains.log_gains.copy_(start.gains.log())
    network.inverse_gains.log_gains.copy_(start.inverse_gains.log())


def step(network: nn.Module, batch: Tensor, random: torch.Generator) -> StepResult:
    """Mean over pictures of (rate + weight * (1 - MS-SSIM)) / weight**0.45, each at its own rate."""
    assert isinstance(network, Mentzer2018Network)
    pixels = batch.float() / 255
    rate = torch.rand(len(batch), generator=random).to(pixels.device)
    output = network(pixels, rate)
    area = pixels.shape[2] * pixels.shape[3]
    bpp = (output.bits + output.masked_bits) / 2 / area
    weight = weight_of_rate(rate)
    loss = (bpp + weight * (1 - ms_ssim(output.reconstruction, pixels))) / weight**LOSS_EXPONENT
    mse = (output.reconstruction.detach() - pixels).square().mean(dim=(1, 2, 3))
    return StepResult(loss.mean(), output.bits.detach().mean() / area, -10 * torch.log10(mse).mean())


SHAPE = Mentzer2018Shape(channels=48, centres=49, kept=32)
RECIPE = recipe_for(SHAPE)
