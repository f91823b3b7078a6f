"""The transforms of li2018: a binary code at 1/8 of the resolution, and how much of it each place keeps.

    pixels --8x8/4--> 1/4 --4x4/2--> 1/8 --1x1, sigmoid, > 1/2--> bits, n a place --+--> masked bits
                                      |                                             |
                                      +--three layers, sigmoid--> importance map ---+
                                                                                    |
    pixels <--shuffle by 4-- 1/4 <--shuffle by 2-- 1/8 <----------------------------+

Li, Zuo, Gu, Zhao, Zhang 2018 (arXiv 1703.10553, section 3.1), with the layers of the authors' networks but
for three things. One model serves all rates: residual blocks, the importance network and its threshold follow
the rate. Bits are -1 and 1 where the paper has 0 and 1, and what the map leaves out is 0: a missing bit is
then the mean of both instead of one of them, and bits of either value give the importance map a gradient. The
last two layers, which the paper has at full resolution, are one convolution at 1/4 before the last shuffle.

A linear path, which the paper does not have, can take the place of the sigmoid, see
pillow_neural.networks.linear_path: the bits of a level are then the digits of an iteration of it, the map
says how many iterations a place has, and the synthesis learns what to add to the picture l that these make.

    pixels --digits of 8x8 blocks--> bits --+--> masked bits --+--> all digits --> picture l --(+)--> pixels
       |                                    |                  |                      |         |
       +--features--> importance map -------+                  +----> synthesis <-----+---------+
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.importance import GROUPS, LEVELS, importance_mask, level_of_importance
from pillow_neural.networks.integer import straight_through
from pillow_neural.networks.linear_path import LinearPath, bits_of_digits, digits_of_bits
from pillow_neural.networks.rate import RateCurve
from pillow_neural.networks.residual import LEAK, RateResidualBlock

BLOCK = 8
FINE_SIDE = 4
"""Pixels to a side of a place at the synthesis's higher resolution."""

GREY = 0.5
PIXEL_UNIT = 0.25
LOWEST_SHARE = 0.04
HIGHEST_SHARE = 0.85


@dataclass(frozen=True, slots=True)
class Li2018Shape:
    """Widths; stored with the weights.

    Attributes:
        bits: n, bits of a place were all of them kept, a multiple of 16; the paper has 64, for its highest
            rates 128, which one model for all rates needs.
        head: channels of the analysis at 1/4 (paper: 128).
        body: channels of the analysis at 1/8 (256).
        synthesis: channels of the synthesis at 1/8, a multiple of 4 (512).
        fine: channels of the synthesis at 1/4 (256).
        hidden: channels inside residual blocks and the importance network (128).
        importance: whether an importance map spreads the bits; else all places keep the same number.
        knots: of the curves over the rate.
        components: of the linear path; 0 for the paper's networks, which learn their bits.
    """

    bits: int = 128
    head: int = 64
    body: int = 160
    synthesis: int = 192
    fine: int = 64
    hidden: int = 64
    importance: bool = True
    knots: int = 6
    components: int = 0

    def __post_init__(self) -> None:
        if min(self.bits, self.head, self.body, self.synthesis, self.fine, self.hidden) < 1 or self.knots < 2:
            raise ValueError("widths are at least 1, knots at least 2")
        if not 0 <= self.components <= 3 * BLOCK**2:
            raise ValueError(f"{self.components} components are not in 0..192")
        unit = 4 * LEVELS if self.components else LEVELS
        if self.bits % unit or self.synthesis % 4:
            raise ValueError(
                f"bits {self.bits} must be a multiple of {unit}, synthesis {self.synthesis} of 4"
            )

    @property
    def lowest_level(self) -> int:
        """The least that a place keeps: without the first digits of a linear path it would be grey."""
        return 1 if self.components else 0

    @property
    def width(self) -> int:
        """Bits that a place keeps more for each level of importance."""
        return self.bits // LEVELS

    @property
    def channels(self) -> int:
        """Bits that a place keeps at the highest level."""
        return GROUPS * self.width


PAPER = Li2018Shape(bits=64, head=128, body=256, synthesis=512, fine=256, hidden=128)
"""The widths of the authors' networks."""


def share_of_rate(rate: Tensor, lowest_level: int = 0) -> Tensor:
    """Share of its n bits that a place has on average, the paper's r, at rate positions 0..1: log-linear."""
    lowest = LOWEST_SHARE + lowest_level / LEVELS
    return lowest * (HIGHEST_SHARE / lowest) ** rate


def signs(values: Tensor) -> Tensor:
    """Binarizer: values 0..1 -> 1 where above 1/2, else -1, with the proxy gradient of the paper.

    The gradient is that of the identity inside 0..1, clipped outside (section 3.1, "Binarizer"), times 2.
    """
    return 2 * straight_through(values.clamp(0, 1), (values > 0.5).to(values.dtype)) - 1


class Code(NamedTuple):
    """What the analysis gives: signs -1 or 1 [B, channels, h, w] and importance 0..1 [B, h, w], float32."""

    signs: Tensor
    importance: Tensor


class TrainingOutput(NamedTuple):
    """Reconstruction [B, 3, H, W] in 0..1 (not clamped), and the share of n bits that was kept, [B]."""

    reconstruction: Tensor
    share: Tensor


class ImportanceNetwork(nn.Module):
    """Features [B, body, h, w] and rate [B] -> importance [B, h, w] in 0..1.

    The threshold is a curve of logits over the rate, which starts at those of the rate's share of bits, the
    same in all places.
    """

    def __init__(self, shape: Li2018Shape) -> None:
        super().__init__()
        self.first = _convolution(shape.body, shape.hidden, 3)
        self.second = _convolution(shape.hidden, shape.hidden, 3)
        self.last = _convolution(shape.hidden, 1, 1)
        nn.init.zeros_(self.last.weight)
        self.strength = RateCurve(torch.zeros(shape.knots, shape.hidden))
        self.lowest = shape.lowest_level / LEVELS
        share = share_of_rate(torch.linspace(0, 1, shape.knots), shape.lowest_level) + 0.5 / LEVELS
        self.threshold = RateCurve(torch.logit((share - self.lowest) / (1 - self.lowest))[:, None])

    def forward(self, features: Tensor, rate: Tensor) -> Tensor:
        """Return the importance."""
        hidden = F.leaky_relu(self.first(F.leaky_relu(features, LEAK)), LEAK)
        hidden = self.second(hidden) * self.strength(rate).to(hidden.dtype)
        logit = self.last(F.leaky_relu(hidden, LEAK)).float() + self.threshold.log(rate)
        return self.lowest + (1 - self.lowest) * torch.sigmoid(logit).squeeze(1)


class Analysis(nn.Module):
    """Pixels [B, 3, 8h, 8w] in 0..1 and rate [B] -> code."""

    def __init__(self, shape: Li2018Shape) -> None:
        super().__init__()
        self.head = _convolution(3, shape.head, 8, stride=4)
        self.head_block = RateResidualBlock(shape.head, shape.knots, shape.hidden)
        self.down = _convolution(shape.head, shape.body, 4, stride=2)
        self.first_block = RateResidualBlock(shape.body, shape.knots, shape.hidden)
        self.mix = _convolution(shape.body, shape.body, 3)
        self.second_block = RateResidualBlock(shape.body, shape.knots, shape.hidden)
        self.lowest_level = shape.lowest_level
        self.tail = None if shape.components else _convolution(shape.body, shape.channels, 1)
        self.importance = ImportanceNetwork(shape) if shape.importance else None

    def forward(self, pixels: Tensor, rate: Tensor, given: Tensor | None = None) -> Code:
        """Return signs, those that are given if there is a linear path, and importance."""
        features = F.relu(self.head((pixels - GREY) / PIXEL_UNIT))
        features = self.down(F.leaky_relu(self.head_block(features, rate), LEAK))
        features = self.mix(F.leaky_relu(self.first_block(features, rate), LEAK))
        features = self.second_block(features, rate)
        if self.tail is not None:
            given = signs(torch.sigmoid(self.tail(F.leaky_relu(features, LEAK)).float()))
        assert given is not None
        code = given
        if self.importance is None:
            return Code(code, _uniform_importance(share_of_rate(rate, self.lowest_level), code))
        return Code(code, self.importance(features, rate))


class Known(NamedTuple):
    """What the masked digits of a linear path say before any layer.

    Attributes:
        products: of the blocks, over their deviations, [B, components, h, w].
        picture: with these products, [B, 3, 8h, 8w].
        remaining: usual error of each place over that after one level, [B, 1, h, w].
    """

    products: Tensor
    picture: Tensor
    remaining: Tensor


class Synthesis(nn.Module):
    """Masked signs [B, channels, h, w] and rate [B] -> pixels [B, 3, 8h, 8w] in 0..1, not clamped.

    With a linear path from what masked digits say to what is to be added to the picture that they make.
    """

    def __init__(self, shape: Li2018Shape) -> None:
        super().__init__()
        inputs = shape.components + 1 if shape.components else shape.channels
        self.head = _convolution(inputs, shape.synthesis, 3)
        self.first_block = RateResidualBlock(shape.synthesis, shape.knots, shape.hidden)
        self.mix = _convolution(shape.synthesis, shape.synthesis, 3)
        self.second_block = RateResidualBlock(shape.synthesis, shape.knots, shape.hidden)
        beside = 3 * FINE_SIDE**2 if shape.components else 0
        self.fine = _convolution(shape.synthesis // 4 + beside, shape.fine, 3)
        self.fine_block = RateResidualBlock(shape.fine, shape.knots, shape.hidden)
        self.tail = _convolution(shape.fine, 48, 3)
        nn.init.zeros_(self.tail.weight)

    def forward(self, code: Tensor | Known, rate: Tensor) -> Tensor:
        """Return the pixels, or what to add to them."""
        known = code if isinstance(code, Known) else None
        inputs = torch.cat([code.products, code.remaining], 1) if isinstance(code, Known) else code
        features = self.first_block(self.head(inputs), rate)
        features = self.second_block(self.mix(F.leaky_relu(features, LEAK)), rate)
        features = F.leaky_relu(F.pixel_shuffle(features, 2), LEAK)
        if known is not None:
            beside = F.pixel_unshuffle((known.picture - GREY) / PIXEL_UNIT, FINE_SIDE)
            features = torch.cat([features, beside.to(features.dtype)], 1)
        features = self.fine_block(self.fine(features), rate)
        pixels = PIXEL_UNIT * F.pixel_shuffle(self.tail(F.leaky_relu(features, LEAK)), FINE_SIDE).float()
        if known is None:
            return GREY + pixels
        return pixels * F.interpolate(known.remaining, scale_factor=BLOCK)


class Li2018Network(nn.Module):
    """Analysis, binarizer, importance map and synthesis; forward is the training side."""

    def __init__(self, shape: Li2018Shape) -> None:
        super().__init__()
        self.shape = shape
        self.path: LinearPath | None = None
        if shape.components:
            self.path = LinearPath(shape.components, shape.width, GROUPS, BLOCK)
        self.analysis = Analysis(shape)
        self.synthesis = Synthesis(shape)

    def code(self, pixels: Tensor, rate: Tensor) -> Code:
        """Signs and importance of pixels [B, 3, 8h, 8w] in 0..1 at rate positions [B] in 0..1."""
        given = None
        if self.path is not None:
            given = bits_of_digits(self.path.all_digits(self.path.analysis(pixels - GREY)))
        code: Code = self.analysis(pixels, rate, given)
        return code

    def reconstruction(self, code: Tensor, rate: Tensor) -> Tensor:
        """Pixels [B, 3, 8h, 8w] in 0..1, not clamped, of masked signs [B, channels, h, w].

        With a linear path a mask has its gradient by what digits add to the picture, and none by what the
        synthesis makes of their being there: that is no measure of their worth, and the map diverged by it.
        """
        if self.path is None:
            learned: Tensor = self.synthesis(code, rate)
            return learned
        known = self._known(self.path, code)
        added: Tensor = self.synthesis(Known(*(part.detach() for part in known)), rate)
        return known.picture + added

    def _known(self, path: LinearPath, code: Tensor) -> Known:
        products = path.sum_of(digits_of_bits(code))
        levels = code.detach()[:, :: self.shape.width].abs().sum(1, keepdim=True).long()
        remaining = path.remaining[(levels - 1).clamp(min=0)]
        return Known(path.normalised(products), GREY + path.synthesis(products), remaining)

    def forward(self, pixels: Tensor, rate: Tensor) -> TrainingOutput:
        """Train on pixels [B, 3, 8h, 8w] in 0..1 at rate positions [B] in 0..1."""
        code = self.code(pixels, rate)
        mask = importance_mask(code.importance, self.shape.width)
        kept = straight_through(code.importance, level_of_importance(code.importance) / LEVELS)
        return TrainingOutput(self.reconstruction(code.signs * mask, rate), kept.mean(dim=(1, 2)))


def _uniform_importance(share: Tensor, code: Tensor) -> Tensor:
    """The importance, the same at all places, whose level is nearest to this share and not 0."""
    level = (LEVELS * share).round().clamp(1, GROUPS)
    importance = (level + 0.5) / LEVELS
    return importance[:, None, None].expand(-1, *code.shape[2:])


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution to 1 / stride of the size that starts with the deviation of its input."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - stride + 1) // 2)
    nn.init.normal_(layer.weight, std=(inputs * kernel**2) ** -0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
