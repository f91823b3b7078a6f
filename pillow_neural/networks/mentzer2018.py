"""mentzer2018: residual auto-encoder, importance map, learned centres, context model, in one module.

    pixels --Analysis--> latents [K] --+ offsets, x gains(rate)--> z --x mask--> nearest of L centres
                |                                                        ^                  |
                +--> importance [1] --> y = K sigmoid --> ramp y - channel, 0..1, rounded up |
                                                                                            v
    pixels <--Synthesis-- latents <--x inverse gains(rate), - offsets-- centres <------- symbols --> bits
                     ^------------------------------------------------------+      VolumeContext

Mentzer et al. 2018 (arXiv 1801.04260): two convolutions 5x5 of stride 2, groups of three residual blocks
with a skip around each group and a long one around all, a last convolution 5x5 of stride 2 to K channels of
1/8 of the height and width and one more for the importance map (sections 3.1 and 3.2, figure 2); its mirror
image to decode.

What differs. One network has all rates: the residual blocks, gains before the quantiser and the map follow
the rate. Batch normalisation, which keeps the paper's sums in range, is left out: it costs passes over
memory, behaves otherwise in training than later and needs large batches. Instead residual blocks start at
zero and a skip takes the mean of what it joins. And beside analysis and synthesis is a linear transform of
8x8 blocks that starts at the Karhunen-Loeve transform, so that training begins with a working codec
(pillow_neural.training.staggered).

Nor are the centres few: up to 65 where the paper has six, so that this start is a good one.

The map is not in the file. Symbols that it masks are the home symbol, as is all that the decoder need know,
and the context model sees in the channels before how far a place and its neighbours go; so the paper codes
them. A map sent beside the volume would cost 0.02 to 0.04 bits a pixel (Li et al. 2018 measure that) and
tell little more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.centres import CentreQuantiser, Quantised
from pillow_neural.networks.integer import straight_through
from pillow_neural.networks.rate import RateCurve, rate_plane
from pillow_neural.networks.residual import LEAK, RateResidualBlock
from pillow_neural.networks.volume_context import VolumeContext

BLOCK = 8
GROUP_BLOCKS = 3
INPUT_UNIT = 0.25
OUTPUT_UNIT = 0.1
SMALLEST_WEIGHT = 0.8
LARGEST_WEIGHT = 200.0
COARSEST_STEP = 1.2
FINEST_STEP = 0.08
FIRST_IMPORTANCE = (1.5, 4.5)
MAX_CENTRES = 65
MAX_CONTEXT = 64


@dataclass(frozen=True, slots=True)
class Mentzer2018Shape:
    """Widths and depths; stored with the weights. The paper has 128 features and 5 groups.

    Attributes:
        features: n at a quarter of the height and width, even; half of them at half.
        groups: B, groups of three residual blocks.
        channels: K of the volume; the paper has 64 for high rates.
        centres: L, 3 to 65.
        importance: whether there is an importance map.
        kept: leading channels that every place keeps, whatever its importance; none in the paper.
        context: features of the context model, at most 64.
        knots: of the curves over the rate.
    """

    features: int = 64
    groups: int = 2
    channels: int = 32
    centres: int = 6
    importance: bool = True
    kept: int = 0
    context: int = 24
    knots: int = 6

    def __post_init__(self) -> None:
        if self.features < 2 or self.features % 2 or min(self.groups, self.channels) < 1 or self.knots < 2:
            raise ValueError("features, groups, channels or knots out of range")
        if not (3 <= self.centres <= MAX_CENTRES and 1 <= self.context <= MAX_CONTEXT):
            raise ValueError(
                f"{self.centres} centres are not 3 to {MAX_CENTRES} or {self.context} context features "
                f"not 1 to {MAX_CONTEXT}"
            )
        if not 0 <= self.kept < self.channels:
            raise ValueError(f"{self.kept} channels cannot be kept everywhere with {self.channels} in all")


def weight_of_rate(rate: Tensor) -> Tensor:
    """Bits a pixel that 1 - MS-SSIM = 1 is worth at rate position 0..1, log-linear: 0.8 to 200."""
    return SMALLEST_WEIGHT * torch.exp(rate * math.log(LARGEST_WEIGHT / SMALLEST_WEIGHT))


def steps_of_knots(knots: int) -> Tensor:
    """Steps of latents, in pixel units, to start from at evenly spaced rate positions: [knots]."""
    return COARSEST_STEP * (FINEST_STEP / COARSEST_STEP) ** torch.linspace(0, 1, knots)


class Group(nn.Module):
    """Three residual blocks and a skip around them: [B, n, h, w] and rate [B] -> [B, n, h, w]."""

    def __init__(self, features: int, knots: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(RateResidualBlock(features, knots) for _ in range(GROUP_BLOCKS))

    def forward(self, features: Tensor, rate: Tensor) -> Tensor:
        """The mean of the features before and after the blocks."""
        inner = features
        for block in self.blocks:
            inner = block(inner, rate)
        return (features + inner) / 2


class Trunk(nn.Module):
    """Groups, one more residual block, and a long skip: [B, n, h, w] and rate [B] -> [B, n, h, w]."""

    def __init__(self, shape: Mentzer2018Shape) -> None:
        super().__init__()
        self.groups = nn.ModuleList(Group(shape.features, shape.knots) for _ in range(shape.groups))
        self.last = RateResidualBlock(shape.features, shape.knots)

    def forward(self, features: Tensor, rate: Tensor) -> Tensor:
        """The mean of the features before and after everything."""
        inner = features
        for group in self.groups:
            inner = group(inner, rate)
        mean: Tensor = (features + self.last(inner, rate)) / 2
        return mean


class Analysis(nn.Module):
    """Pixels [B, 3, 8h, 8w] in -0.5..0.5 and rate [B] -> latents and importance [B, K + 1, h, w].

    Latents are in pixel units. The importance, -infinity..infinity, is the last channel, if the shape has it.
    It reads the features and does not form them: a few steps of all of the trunk the same way would cut
    leading channels off everywhere, and the gradient of the ramp, one channel's a place, does not foresee it.
    """

    def __init__(self, shape: Mentzer2018Shape) -> None:
        super().__init__()
        self.channels = shape.channels
        self.linear = nn.Conv2d(3 * BLOCK**2, shape.channels, 1, bias=False)
        self.head = nn.Conv2d(3, shape.features // 2, 5, stride=2, padding=2)
        self.down = nn.Conv2d(shape.features // 2, shape.features, 5, stride=2, padding=2)
        self.trunk = Trunk(shape)
        self.tail = nn.Conv2d(shape.features, shape.channels, 5, stride=2, padding=2)
        nn.init.zeros_(self.tail.weight)
        self.tail_of_map = nn.Conv2d(shape.features, 1, 5, stride=2, padding=2) if shape.importance else None
        if self.tail_of_map is not None:
            nn.init.zeros_(self.tail_of_map.weight)

    def forward(self, pixels: Tensor, rate: Tensor) -> Tensor:
        """Linear transform plus the network's share."""
        features = F.leaky_relu(self.head(pixels / INPUT_UNIT), LEAK)
        features = self.trunk(F.leaky_relu(self.down(features), LEAK), rate)
        linear = self.linear(F.pixel_unshuffle(pixels, BLOCK)).float()
        latents: Tensor = linear + OUTPUT_UNIT * self.tail(features).float()
        if self.tail_of_map is None:
            return latents
        importance = OUTPUT_UNIT * self.tail_of_map(features.detach()).float()
        return torch.cat([latents, importance], 1)


class Synthesis(nn.Module):
    """Latents in pixel units, and as centres, [B, K, h, w], and rate [B] -> pixels [B, 3, 8h, 8w], -0.5..0.5.

    The network sees the centres, whose magnitudes are alike in all channels and at all rates.
    """

    def __init__(self, shape: Mentzer2018Shape) -> None:
        super().__init__()
        self.linear = nn.Conv2d(shape.channels, 3 * BLOCK**2, 1, bias=False)
        self.strength = RateCurve(torch.zeros(shape.knots, shape.channels))
        self.head = _doubling(shape.channels, shape.features, 3)
        self.trunk = Trunk(shape)
        self.up = _doubling(shape.features, shape.features // 2, 5)
        self.tail = _doubling(shape.features // 2, 3, 5)
        nn.init.zeros_(self.tail.weight)

    def forward(self, latents: Tensor, centres: Tensor, rate: Tensor) -> Tensor:
        """Linear transform plus the network's share."""
        features = self.trunk(F.leaky_relu(self.head(centres * self.strength(rate)), LEAK), rate)
        output: Tensor = self.tail(F.leaky_relu(self.up(features), LEAK)).float()
        return F.pixel_shuffle(self.linear(latents), BLOCK).float() + OUTPUT_UNIT * output


def _doubling(inputs: int, outputs: int, kernel: int) -> nn.ConvTranspose2d:
    """A transposed convolution to twice the height and width."""
    return nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding=kernel // 2, output_padding=1)


class TrainingOutput(NamedTuple):
    """What training needs.

    Attributes:
        reconstruction: [B, 3, H, W] in 0..1, not clamped.
        bits: estimated, of each picture, [B].
        masked_bits: of the symbols that the importance map keeps, [B].
    """

    reconstruction: Tensor
    bits: Tensor
    masked_bits: Tensor


class Mentzer2018Network(nn.Module):
    """All trained parts; see the module's diagram. `forward` is the training side."""

    def __init__(self, shape: Mentzer2018Shape) -> None:
        super().__init__()
        self.shape = shape
        self.analysis = Analysis(shape)
        self.synthesis = Synthesis(shape)
        self.context = VolumeContext(shape.channels, shape.centres, shape.context)
        self.quantiser = CentreQuantiser(shape.centres, self.context.tree.home)
        log_gains = -steps_of_knots(shape.knots).log()[:, None].expand(-1, shape.channels)
        self.offsets = nn.Parameter(torch.zeros(shape.channels))
        self.gains = RateCurve(log_gains)
        self.inverse_gains = RateCurve(-log_gains)
        first_importance = torch.linspace(*FIRST_IMPORTANCE, shape.knots)[:, None]
        self.importance = RateCurve(first_importance) if shape.importance else None

    def forward(self, pixels: Tensor, rate: Tensor) -> TrainingOutput:
        """Train on pixels [B, 3, H, W] in 0..1, H and W multiples of 8, at rate positions [B] in 0..1.

        Bits are those of the hard symbols. Their gradient is that of the soft assignment.
        """
        values, mask = self.analyse(pixels, rate)
        with torch.autocast(pixels.device.type, enabled=False):
            quantised = self.quantiser(values * mask)
            bits = self._bits(quantised, rate)
        reconstruction = self.synthesise(quantised.values, rate)
        return TrainingOutput(reconstruction, bits.sum(dim=(1, 2, 3)), (bits * mask).sum(dim=(1, 2, 3)))

    def _bits(self, quantised: Quantised, rate: Tensor) -> Tensor:
        """Estimated bits of each symbol, [B, K, h, w]."""
        seen = (quantised.symbols - self.quantiser.home).to(quantised.shares.dtype)
        costs = self.context.symbol_bits(self.context(seen, self.whole_rate(rate)))
        hard = costs.gather(1, quantised.symbols[:, None]).squeeze(1)
        near = costs.detach().gather(1, quantised.near)
        soft = (quantised.shares - quantised.shares.detach()) * near
        return hard + soft.sum(dim=1)

    def analyse(self, pixels: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        """Values before masking and quantisation, and the mask 0 or 1: both [B, K, H/8, W/8].

        The mask is the ramp clamp(y - channel, 0, 1) of y = K sigmoid(importance), rounded up, with the
        gradient of the ramp (section 3.2, equations 8 and 9). Where the shape keeps channels everywhere, the
        map shares out the others.
        """
        output = self.analysis(pixels - 0.5, rate)
        channels = self.shape.channels
        values = (output[:, :channels] + self.offsets[:, None, None]) * self.gains(rate)
        if self.importance is None:
            return values, torch.ones_like(values)
        importance = torch.sigmoid(output[:, channels:] + self.importance.log(rate))
        kept = self.shape.kept + (channels - self.shape.kept) * importance
        ramp = (kept - torch.arange(channels, device=kept.device)[:, None, None]).clamp(0, 1)
        return values, straight_through(ramp, ramp.ceil())

    def synthesise(self, centres: Tensor, rate: Tensor) -> Tensor:
        """Pixels in 0..1, not clamped, of centres [B, K, h, w]: [B, 3, 8h, 8w]."""
        latents = (centres - self.offsets[:, None, None] * self.gains(rate)) * self.inverse_gains(rate)
        pixels: Tensor = self.synthesis(latents, centres, rate)
        return pixels + 0.5

    def whole_rate(self, rate: Tensor) -> Tensor:
        """What the context model sees of the rate [B] in 0..1: whole numbers 0..127, [B]."""
        return rate_plane(rate, rate[:, None, None, None])[:, 0, 0, 0]
