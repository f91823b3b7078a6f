"""A linear code of 16x16 blocks, sent digit by digit: bits that a recurrent codec learns to decode.

    pixels --vectors--> products --digits of iteration t--> bits, two a digit --> the file
                           ^                 |
                           +-------(-)-------+ what they add to the products, [B, C, h, w]
                                             |
    pixels <--vectors-- sum of all digits <--+

A digit says whether what is still missing of a component is below minus, between, or above plus a threshold.
Its two bits agree where a step is to be added or subtracted, and differ where there is little to say, as in
smooth places, which costs the entropy coder next to nothing. A component may have several digits in an
iteration, one after another, in rounds.

Not in the papers. Recurrent units that start from random weights learn what three or four iterations can say,
and then send the same again: what later bits would have to tell takes them far longer to find than a CPU has
(figures in training/NOTES.md). These bits are chosen in closed form, by pillow_neural.training.refinement,
and do not depend on what the decoder's units learn.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LinearPath(nn.Module):
    """A fixed transform of blocks, and what each digit of each iteration refines.

    Args:
        components: of a block.
        bits: of a block and iteration, even.
        iterations: how many have bits of their own.
        block: side of a block in pixels.

    Attributes:
        vectors: of the transform, orthonormal, [C, 3 * block**2] in pixel-unshuffle order.
        deviations: of products with them, [C].
        component: that each digit refines, whole numbers, [iterations, bits / 2].
        threshold: of what is missing, [iterations, bits / 2].
        step: what a digit adds or subtracts, [iterations, bits / 2].
        remaining: root mean squared error after each iteration over that after the first, [iterations].
    """

    vectors: Tensor
    deviations: Tensor
    component: Tensor
    threshold: Tensor
    step: Tensor
    remaining: Tensor

    def __init__(self, components: int, bits: int, iterations: int, block: int) -> None:
        super().__init__()
        self.block = block
        self.register_buffer("vectors", torch.eye(components, 3 * block**2))
        self.register_buffer("deviations", torch.ones(components))
        self.register_buffer("component", torch.zeros(iterations, bits // 2))
        self.register_buffer("threshold", torch.ones(iterations, bits // 2))
        self.register_buffer("step", torch.ones(iterations, bits // 2))
        self.register_buffer("remaining", torch.ones(iterations))

    def analysis(self, pixels: Tensor) -> Tensor:
        """Products of blocks with the vectors: [B, 3, 16h, 16w] -> [B, C, h, w]."""
        return _mixed(F.pixel_unshuffle(pixels, self.block), self.vectors)

    def synthesis(self, products: Tensor) -> Tensor:
        """Pixels with these products: [B, C, h, w] -> [B, 3, 16h, 16w]."""
        return F.pixel_shuffle(_mixed(products, self.vectors.T), self.block)

    def normalised(self, products: Tensor) -> Tensor:
        """Products over their deviations."""
        return products / self.deviations[:, None, None]

    def digits(self, missing: Tensor, number: int) -> Tensor:
        """Those of an iteration, from 0, for what is missing of products [B, C, h, w]: [B, D, h, w]."""
        missing = missing.clone()
        component, threshold, step = self._of(number)
        said = missing.new_empty(len(missing), len(component), *missing.shape[2:])
        for chosen in _rounds(component):
            places = component[chosen]
            said[:, chosen] = ternary(missing[:, places], threshold[chosen])
            missing[:, places] -= said[:, chosen] * step[chosen]
        return said

    def added(self, digits: Tensor, number: int) -> Tensor:
        """What the digits [B, D, h, w] of an iteration add to the products: [B, C, h, w]."""
        component, _, step = self._of(number)
        products = digits.new_zeros(len(digits), len(self.vectors), *digits.shape[2:])
        return products.index_add_(1, component, digits * step)

    def all_digits(self, products: Tensor) -> Tensor:
        """Those of all iterations, in order, for products [B, C, h, w]: [B, iterations * D, h, w]."""
        missing, said = products, []
        for number in range(len(self.component)):
            said.append(self.digits(missing, number))
            missing = missing - self.added(said[-1], number)
        return torch.cat(said, 1)

    def sum_of(self, digits: Tensor) -> Tensor:
        """Products [B, C, h, w] that all digits, see `all_digits`, make."""
        parts = digits.chunk(len(self.component), dim=1)
        return torch.stack([self.added(part, number) for number, part in enumerate(parts)]).sum(0)

    @torch.no_grad()
    def set_digits(self, number: int, component: Tensor, threshold: Tensor, step: Tensor) -> None:
        """Choose what the digits of an iteration refine, and how: [bits / 2] each."""
        self.component[number], self.threshold[number], self.step[number] = component, threshold, step

    def _of(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Component, threshold and step of an iteration's digits; the last two broadcast over places."""
        threshold, step = (part[number, :, None, None] for part in (self.threshold, self.step))
        return self.component[number].long(), threshold, step


class LinearReconstruction:
    """What all digits so far say of a batch of pictures.

    Args:
        path: which transform and digits.
        products: of the reconstruction before the first iteration, [B, C, h, w].
        start: what its pixels are where these are 0.

    Attributes:
        products: of the reconstruction.
        iterations: how many it has the digits of.
    """

    def __init__(self, path: LinearPath, products: Tensor, start: float) -> None:
        self._path = path
        self._start = start
        self.products = products
        self.iterations = 0

    def add(self, digits: Tensor) -> Tensor:
        """The picture, [B, 3, 16h, 16w], with the digits of the next iteration, [B, D, h, w]."""
        self.products = self.products + self._path.added(digits, self.iterations)
        self.iterations += 1
        return self._start + self._path.synthesis(self.products)


class LinearEncoder:
    """The encoder's side of the loop: what the linear path says about a batch of pictures.

    Args:
        path: which transform and digits.
        pixels: [B, 3, 16h, 16w].
        start: what the pixels of a reconstruction are before the first iteration.
    """

    def __init__(self, path: LinearPath, pixels: Tensor, start: float) -> None:
        self._path = path
        self._wanted = path.analysis(pixels - start)
        self._known = LinearReconstruction(path, torch.zeros_like(self._wanted), start)

    def step(self, active: Tensor) -> tuple[Tensor, Tensor]:
        """Bits of the next iteration in the active blocks, bool [B, h, w], and the path's reconstruction."""
        there = active[:, None]
        missing = self._wanted - self._known.products
        digits = self._path.digits(missing, self._known.iterations) * there
        return bits_of_digits(digits) * there, self._known.add(digits)


def ternary(missing: Tensor, threshold: Tensor) -> Tensor:
    """1 from the threshold up, -1 below minus the threshold, 0 between, elementwise."""
    return (missing >= threshold).to(missing) - (missing < -threshold).to(missing)


def bits_of_digits(digits: Tensor) -> Tensor:
    """Digits -1, 0 or 1 [B, D, h, w] as pairs of bits -1 or 1: [B, 2 * D, h, w]."""
    above = torch.stack([digits >= 0, digits > 0], dim=2).flatten(1, 2)
    return 2 * above.to(digits) - 1


def digits_of_bits(bits: Tensor) -> Tensor:
    """Inverse of `bits_of_digits`; 0 where there are no bits, which is 0 for both."""
    return (bits[:, ::2] + bits[:, 1::2]) / 2


def _mixed(planes: Tensor, matrix: Tensor) -> Tensor:
    """Planes [B, I, h, w] times a matrix [O, I], in float32 wherever it runs."""
    with torch.autocast(planes.device.type, enabled=False):
        return F.conv2d(planes, matrix[:, :, None, None])


def _rounds(component: Tensor) -> Iterator[Tensor]:
    """Indices of digits, no component twice in a round, in order."""
    earlier = torch.tril(component[:, None] == component[None], -1).sum(1)
    for number in range(int(earlier.max()) + 1):
        yield (earlier == number).nonzero().flatten()
