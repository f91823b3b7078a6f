"""Analysis and synthesis transforms: a linear 16x16 block transform and a network beside it.

The linear shortcut starts at the Karhunen-Loeve transform of 16x16x3 blocks and the networks' last layers at
zero, so that training starts from a good transform codec (in the spirit of AuxT, arXiv 2501.13751).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.residual import RateResidualBlock

BLOCK = 16
BLOCK_SAMPLES = 3 * BLOCK * BLOCK
OUTPUT_UNIT = 0.1
INPUT_UNIT = 0.25


class Analysis(nn.Module):
    """Pixels [B, 3, 16h, 16w] in -0.5..0.5 and rate [B] -> latents [B, latents, h, w], pixel units."""

    def __init__(self, latents: int, features: int, blocks: int, knots: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(BLOCK_SAMPLES, latents, 1, bias=False)
        self.head = nn.Conv2d(192, features, 1)
        self.blocks = nn.ModuleList(RateResidualBlock(features, knots) for _ in range(blocks))
        self.tail = nn.Conv2d(features, latents, 3, stride=2, padding=1)
        nn.init.zeros_(self.tail.weight)

    def forward(self, pixels: Tensor, rate: Tensor) -> Tensor:
        """Linear transform plus the network's share."""
        linear: Tensor = self.linear(F.pixel_unshuffle(pixels, BLOCK))
        features = self.head(F.pixel_unshuffle(pixels / INPUT_UNIT, 8))
        for block in self.blocks:
            features = block(features, rate)
        network: Tensor = self.tail(features)
        return linear.float() + OUTPUT_UNIT * network.float()


class Synthesis(nn.Module):
    """Latents in pixel units [B, latents, h, w] and rate [B] -> pixels [B, 3, 16h, 16w] in -0.5..0.5.

    The network sees the latents divided by what can be expected of them after quantisation: the root sum
    of squares of their deviation over natural pictures (spread, [latents]) and of the quantisation step.
    """

    spread: Tensor

    def __init__(self, latents: int, features: int, blocks: int, knots: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(latents, BLOCK_SAMPLES, 1, bias=False)
        self.head = nn.Conv2d(latents, 4 * features, 1)
        self.blocks = nn.ModuleList(RateResidualBlock(features, knots) for _ in range(blocks))
        self.tail = nn.Conv2d(features, 192, 1)
        nn.init.zeros_(self.tail.weight)
        self.register_buffer("spread", torch.ones(latents))

    def forward(self, latents: Tensor, step: Tensor, rate: Tensor) -> Tensor:
        """Linear transform plus the network's share; step is the latents' [B, latents, 1, 1]."""
        linear = F.pixel_shuffle(self.linear(latents), BLOCK)
        expected = torch.sqrt(self.spread[:, None, None].square() + step.square())
        features = F.pixel_shuffle(self.head(latents / expected), 2)
        for block in self.blocks:
            features = block(features, rate)
        network = F.pixel_shuffle(self.tail(features), 8)
        return linear.float() + OUTPUT_UNIT * network.float()

    def reduced(self, latents: Tensor, reduction: int) -> Tensor:
        """Latents as for forward -> pixels averaged over 2x2, 4x4 or 8x8: [B, 3, 16h / r, 16w / r].

        The linear transform alone, with its kernels averaged instead of its output. The network, which has
        most of the multiplications, adds little to such means.
        """
        side = BLOCK // reduction
        kernels = self.linear.weight.view(3, side, reduction, side, reduction, -1).mean(dim=(2, 4))
        pixels = F.conv2d(latents, kernels.reshape(3 * side * side, -1, 1, 1))
        return F.pixel_shuffle(pixels, side).float()
