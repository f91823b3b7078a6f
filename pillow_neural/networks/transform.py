"""Analysis and synthesis transforms: a linear 16x16 block transform and a network beside it.

The linear shortcut starts at the Karhunen-Loeve transform of 16x16x3 blocks and the networks' last layers at
zero, so that training starts from a good transform codec (in the spirit of AuxT, arXiv 2501.13751).

Before the analysis there may be a pixel stage, and behind the synthesis another one follows the filter
(pillow_neural.networks.transform_codec).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.pixel_stage import PixelStage
from pillow_neural.networks.planes import (
    INPUT_UNIT,
    OUTPUT_UNIT,
    added_planes,
    averaged_planes,
    from_cells,
    to_cells,
)
from pillow_neural.networks.precision import small_shares
from pillow_neural.networks.residual import RateResidualBlock

BLOCK = 16
BLOCK_SAMPLES = 3 * BLOCK * BLOCK
GREY_SHARE = 0.2
"""Latents with less of their energy in the mean of the three planes are left out of grey pictures."""


class Analysis(nn.Module):
    """Pixels [B, 3 or 1, 16h, 16w] in 0..1, rate [B] -> latents [B, latents, h, w], pixel units.

    Args:
        latents, features, blocks: channels and depth of the network.
        knots: of its curves over the rate.
        pixel_stage: what pixels pass first, if anything. It knows an edge wherever it is, where cells of 8x8
            pixels have to learn it for each place.
    """

    def __init__(
        self, latents: int, features: int, blocks: int, knots: int, pixel_stage: PixelStage | None = None
    ) -> None:
        super().__init__()
        self.pixel_stage = pixel_stage
        self.linear = nn.Conv2d(BLOCK_SAMPLES, latents, 1, bias=False)
        self.head = nn.Conv2d(192, features, 1)
        self.blocks = nn.ModuleList(RateResidualBlock(features, knots) for _ in range(blocks))
        self.tail = nn.Conv2d(features, latents, 3, stride=2, padding=1)
        nn.init.zeros_(self.tail.weight)

    @property
    def halo(self) -> int:
        """Rows of blocks above and below its own that a row of latents depends on."""
        stage = 0 if self.pixel_stage is None else -(-self.pixel_stage.halo // BLOCK)
        return len(self.blocks) + 1 + stage

    def forward(self, pixels: Tensor, rate: Tensor) -> Tensor:
        """Linear transform plus the network's share."""
        if self.pixel_stage is not None:
            pixels = self.pixel_stage(pixels, rate)
        pixels = pixels - 0.5
        blocks = to_cells(pixels, BLOCK)
        cells = to_cells(pixels / INPUT_UNIT, 8)
        linear, head = self.linear.weight, self.head.weight
        if pixels.shape[1] == 1:
            linear, head = added_planes(linear), added_planes(head)
        with small_shares(pixels.device):
            features = F.conv2d(cells, head, self.head.bias).contiguous(memory_format=torch.channels_last)
            for block in self.blocks:
                features = block(features, rate)
            network: Tensor = self.tail(features)
        return F.conv2d(blocks, linear).float() + OUTPUT_UNIT * network.float()


class Synthesis(nn.Module):
    """Latents in pixel units [B, latents, h, w], rate [B] -> pixels [B, 3 or 1, 16h, 16w] in -0.5..0.5.

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

    @property
    def halo(self) -> int:
        """Rows of latents above and below its own that a row of blocks depends on."""
        return len(self.blocks)

    def forward(self, latents: Tensor, step: Tensor, rate: Tensor, planes: int = 3) -> Tensor:
        """Linear transform plus the network's share; step is the latents' [B, latents, 1, 1]."""
        expected = torch.sqrt(self.spread[:, None, None].square() + step.square())
        linear, tail, bias = self.linear.weight, self.tail.weight, self.tail.bias
        assert bias is not None
        if planes == 1:
            linear, tail, bias = averaged_planes(linear), averaged_planes(tail), averaged_planes(bias)
        with small_shares(latents.device):
            features = F.pixel_shuffle(self.head(latents / expected), 2)
            features = features.contiguous(memory_format=torch.channels_last)
            for block in self.blocks:
                features = block(features, rate)
            network = from_cells(F.conv2d(features, tail, bias), 8)
        return from_cells(F.conv2d(latents, linear), BLOCK).float() + OUTPUT_UNIT * network.float()

    def linear_transposed(self, pixels: Tensor) -> Tensor:
        """The linear transform the other way round, [B, 3 or 1, 16h, 16w] -> [B, latents, h, w].

        Of a derivative by pixels it makes one by latents, in pixel units.
        """
        weight = self._linear_weight(pixels.shape[1])
        return F.conv2d(to_cells(pixels, BLOCK), weight.transpose(0, 1))

    def reduced(self, latents: Tensor, reduction: int, planes: int = 3) -> Tensor:
        """Latents as for forward -> pixels averaged over 2x2, 4x4 or 8x8: [B, 3 or 1, 16h / r, 16w / r].

        The linear transform alone, with its kernels averaged instead of its output. The network, which has
        most of the multiplications, adds little to such means.
        """
        side = BLOCK // reduction
        kernels = (
            self._linear_weight(planes).view(planes, side, reduction, side, reduction, -1).mean(dim=(2, 4))
        )
        pixels = F.conv2d(latents, kernels.reshape(planes * side * side, -1, 1, 1))
        return from_cells(pixels, side).float()

    def _linear_weight(self, planes: int) -> Tensor:
        """Of the linear transform to 3 planes or 1, [planes * 256, latents, 1, 1]."""
        return averaged_planes(self.linear.weight) if planes == 1 else self.linear.weight

    def colour_channels(self) -> Tensor:
        """Which latents hardly show in grey pictures, bool [latents]: see GREY_SHARE."""
        weight = self.linear.weight.detach()
        grey = 3 * averaged_planes(weight).square().sum(dim=(0, 2, 3))
        return grey < GREY_SHARE * weight.square().sum(dim=(0, 2, 3))
