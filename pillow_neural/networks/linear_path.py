"""A linear way past the recurrent units: a transform of 16x16 blocks, and bits that refine its components.

    residual [B, 3, 16h, 16w] --vectors--> products [B, C, h, w] --rounds of iteration t--> + to the binarizer
    pixels   [B, 3, 16h, 16w] <--vectors-- products [B, C, h, w] <--1x1 of iteration t---- bits

Two bits make a digit: whether what is missing of a component is above minus and above plus a threshold. Both
agree where a step is to be added or subtracted, and differ where there is little to say, as in smooth places,
which costs the entropy coder next to nothing. A component may have several digits in an iteration, one after
another, in rounds: what is missing is known before the decoder has run, for the path is linear.

Not in the papers. Recurrent units that start from random weights learn what three or four iterations can say,
and then send the same again: what later bits would have to tell takes them far longer to find than a CPU has
(figures in training/NOTES.md). With this path every iteration starts with bits of its own, chosen by
pillow_neural.training.refinement.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.recurrent import Convolution

SLOPE = 8.0
"""Value of a bit one threshold away from it, before the tanh."""

STEP_UNIT = 0.1
"""Of the weights that steps are learned as: at the same learning rate steps change ten times as slowly."""


class LinearPath(nn.Module):
    """A fixed transform of blocks, the component that each digit refines, and what bits add: this is learned.

    Args:
        components: of a block.
        bits: of a block and iteration, even.
        iterations: how many have bits of their own.
        block: side of a block in pixels.

    Attributes:
        vectors: of the transform, orthonormal, [C, 3 * block**2] in pixel-unshuffle order.
        deviations: of products with them, [C].
        component: that each digit refines, whole numbers, [iterations, bits / 2].
        threshold: of the product, [iterations, bits / 2].
        step: what the encoder takes a digit to add or subtract, [iterations, bits / 2].
        trust: what the output of the recurrent units is multiplied by, [iterations]. It starts as the squared
            error after each iteration over that after the first: late ones have little left to mend and much
            to spoil.
    """

    vectors: Tensor
    deviations: Tensor
    component: Tensor
    threshold: Tensor
    step: Tensor

    def __init__(self, components: int, bits: int, iterations: int, block: int) -> None:
        super().__init__()
        self.block = block
        self.register_buffer("vectors", torch.eye(components, 3 * block**2))
        self.register_buffer("deviations", torch.ones(components))
        self.register_buffer("component", torch.zeros(iterations, bits // 2))
        self.register_buffer("threshold", torch.ones(iterations, bits // 2))
        self.register_buffer("step", torch.ones(iterations, bits // 2))
        self.trust = nn.Parameter(torch.ones(iterations))
        self.steps = nn.ModuleList(Convolution(bits, components, 1, bias=False) for _ in range(iterations))

    def analysis(self, pixels: Tensor) -> Tensor:
        """Products of blocks with the vectors, float32 [B, C, h, w]."""
        blocks = F.pixel_unshuffle(pixels, self.block)
        return F.conv2d(blocks, self.vectors[:, :, None, None]).float()

    def synthesis(self, products: Tensor) -> Tensor:
        """Pixels with these products, float32 [B, 3, 16h, 16w]."""
        return F.pixel_shuffle(F.conv2d(products, self.vectors.T[:, :, None, None]), self.block).float()

    def normalised(self, products: Tensor) -> Tensor:
        """Products over their deviations."""
        return products / self.deviations[:, None, None]

    def values(self, residual: Tensor, number: int) -> Tensor:
        """What the bits of an iteration, counted from 0, are the signs of: [B, bits, h, w]."""
        missing = self.analysis(residual)
        component = self.component[number].long()
        asked = torch.empty_like(missing[:, : len(component)])
        for digits in self._rounds(component):
            places = component[digits]
            asked[:, digits] = missing[:, places]
            missing[:, places] -= self._added(asked[:, digits], number, digits)
        ratio = asked / self.threshold[number, :, None, None]
        return SLOPE * torch.stack([ratio + 1, ratio - 1], dim=2).flatten(1, 2)

    def products(self, bits: Tensor, number: int) -> Tensor:
        """What the bits of an iteration add to the products: [B, C, h, w]."""
        products: Tensor = STEP_UNIT * self.steps[number](bits)
        return products

    @torch.no_grad()
    def set_digits(self, number: int, component: Tensor, threshold: Tensor, step: Tensor) -> None:
        """Choose what the digits of an iteration refine, and how: [bits / 2] each."""
        self.component[number], self.threshold[number], self.step[number] = component, threshold, step
        steps = self.steps[number]
        assert isinstance(steps, Convolution)
        adds = F.one_hot(component, steps.out_channels).T * step / 2 / STEP_UNIT
        steps.weight.copy_(adds.repeat_interleave(2, dim=1)[:, :, None, None])

    def _added(self, missing: Tensor, number: int, digits: Tensor) -> Tensor:
        threshold, step = (part[number, digits, None, None] for part in (self.threshold, self.step))
        return ternary(missing, threshold) * step

    @staticmethod
    def _rounds(component: Tensor) -> Iterator[Tensor]:
        """Indices of digits, no component twice in a round, in order."""
        earlier = torch.tril(component[:, None] == component[None], -1).sum(1)
        for number in range(int(earlier.max()) + 1):
            yield (earlier == number).nonzero().flatten()


def ternary(missing: Tensor, threshold: Tensor) -> Tensor:
    """1 from the threshold up, -1 below minus the threshold, 0 between, elementwise."""
    return (missing >= threshold).to(missing) - (missing < -threshold).to(missing)
