"""Encoder, decoder and gain estimator of the recurrent codecs, and the shape of a member of the family.

    residual r --head /2--> tanh --unit /2--> --unit /2--> --unit /2--> features at 1/16
    bits b at 1/16 --head--> tanh --unit x2--> --unit x2--> --unit x2--> --unit x2--tail--> picture
    picture --five convolutions /2--> a gain for each 32x32 block

Toderici et al. 2016 (arXiv 1608.05148, section 2 and table 1), with the units of
pillow_neural.networks.recurrent. How they are run again and again is in
pillow_neural.networks.recurrent_codec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.recurrent import UNITS, Convolution, Stack, State, UnitName

BITS = 32
BLOCK = 16
GRID = 32
"""Sides of what the network sees are multiples of this: two blocks, and one gain."""

GREY = 0.5
INPUT_UNIT = 0.25
FULL_HEAD = 64
FULL_ENCODER = (256, 512, 512)
FULL_DECODER_HEAD = 512
FULL_DECODER = (512, 512, 256, 128)
ENCODER_HIDDEN_KERNELS = (1, 1, 1)
DECODER_HIDDEN_KERNELS = (1, 1, 3, 3)
BESIDE_SIDES = (4, 2)
"""Sides of the squares of pixels that the last two units see in each place."""

GAIN_LAYERS = 5
GAIN_CHANNELS = 32
MAX_ITERATIONS = 32

Reconstruction = Literal["one_shot", "additive", "scaled_additive"]


@dataclass(frozen=True, slots=True)
class RecurrentShape:
    """A member of the family; stored with the weights.

    Attributes:
        unit: recurrent unit of encoder and decoder.
        width: share of the paper's channels, 1 for all of them.
        reconstruction: how a decoder's output becomes the picture.
        iterations: the most that a block may have, 1 to MAX_ITERATIONS.
        priming, diffusion: additional steps of the first and of each later iteration.
        ssim_weighted: whether errors are weighed by structural dissimilarity, in training and in the target.
        adaptive: whether blocks get as many iterations as their target needs, or all the same number.
        components: of the linear path, which needs one-shot reconstruction; 0 for the papers' networks,
            which have an encoder instead.
    """

    unit: UnitName
    width: float = 0.25
    reconstruction: Reconstruction = "one_shot"
    iterations: int = 10
    priming: int = 0
    diffusion: int = 0
    ssim_weighted: bool = False
    adaptive: bool = False
    components: int = 0

    def __post_init__(self) -> None:
        for value, known in ((self.unit, UNITS), (self.reconstruction, get_args(Reconstruction))):
            if value not in known:
                raise ValueError(f"{value!r} is not one of {', '.join(known)}")
        if not (self.width > 0 and 1 <= self.iterations <= MAX_ITERATIONS):
            raise ValueError(f"width {self.width} or iterations {self.iterations} out of range")
        if min(self.priming, self.diffusion) < 0:
            raise ValueError("there cannot be fewer than 0 additional steps")
        if self.components and not (self.components > 0 and self.reconstruction == "one_shot"):
            raise ValueError(f"{self.components} components out of range with {self.reconstruction}")

    def channels(self, full: int) -> int:
        """Channels of a layer that has `full` in the paper, a multiple of 4."""
        return max(4, 4 * round(self.width * full / 4))


class Encoder(nn.Module):
    """Residual [B, 3, 16h, 16w] -> features [B, outputs, h, w]."""

    def __init__(self, shape: RecurrentShape) -> None:
        super().__init__()
        head = shape.channels(FULL_HEAD)
        channels = [shape.channels(full) for full in FULL_ENCODER]
        self.head = Convolution(3, head, 3, stride=2)
        self.stack = Stack(shape.unit, head, channels, ENCODER_HIDDEN_KERNELS, upsampling=False)
        self.outputs = self.stack.outputs

    def forward(self, residual: Tensor, states: Sequence[State] | None) -> tuple[Tensor, list[State]]:
        """One step: features and new states."""
        features, new = self.stack(torch.tanh(self.head(residual / INPUT_UNIT)), states)
        return features, new


class Decoder(nn.Module):
    """Bits [B, 32, h, w] -> [B, 3, 16h, 16w] in -1..1, float32: far from saturation for pixels in 0..1.

    With a linear path the input is [B, 32 + components + iterations, h, w]: bits, what all bits so far say
    of the components, and which iteration it is. The last two units also see the picture that this makes.
    """

    def __init__(self, shape: RecurrentShape) -> None:
        super().__init__()
        head = shape.channels(FULL_DECODER_HEAD)
        channels = [shape.channels(full) for full in FULL_DECODER]
        known = shape.components + shape.iterations if shape.components else 0
        self.head = Convolution(BITS + known, head, 1)
        beside = [3 * side**2 for side in BESIDE_SIDES] if shape.components else []
        self.stack = Stack(shape.unit, head, channels, DECODER_HIDDEN_KERNELS, upsampling=True, beside=beside)
        self.tail = Convolution(self.stack.outputs, 3, 1)

    def forward(
        self, bits: Tensor, states: Sequence[State] | None, picture: Tensor | None = None
    ) -> tuple[Tensor, list[State]]:
        """One step: output and new states."""
        beside = []
        if picture is not None:
            beside = [F.pixel_unshuffle((picture - GREY) / INPUT_UNIT, side) for side in BESIDE_SIDES]
        features, new = self.stack(torch.tanh(self.head(bits)), states, beside)
        return torch.tanh(self.tail(features)).float(), new


class GainEstimator(nn.Module):
    """Gain above 1 of each 32x32 block of a reconstruction, as large as the picture: [B, 1, H, W].

    Five convolutions of stride 2 with ELU, 32 channels and 1 at last, plus 2 (Toderici et al., section 2.2).
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *(GAIN_CHANNELS,) * (GAIN_LAYERS - 1), 1)
        self.layers = nn.ModuleList(
            Convolution(inputs, outputs, 3, stride=2) for inputs, outputs in pairwise(widths)
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Return the gains."""
        features = picture - GREY
        for layer in self.layers:
            features = F.elu(layer(features))
        return F.interpolate(features.float() + 2, scale_factor=GRID, mode="nearest")
