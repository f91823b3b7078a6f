"""A filter after the synthesis, with a kernel for each kind of place, fitted by least squares.

    pixels --mean of the planes Y--> gradients --sums over 5x5--> angle, coherence, strength --> class
       |                |                                                                          |
       |                +-- differences from 20 neighbours --x-- kernel of the class <-------------+
       |                                                     |
       +-------------------------(+)<----- the same change --+
                                  |      to all planes
                                  v
                               pixels

Classes by the structure tensor are those of RAISR (Romano, Isidoro, Milanfar 2016, arXiv 1606.01299, section
3.3); that a filter is fitted to what a codec does to pictures, class by class, is as in the adaptive loop
filter of VVC (Tsai et al. 2013). Here kernels are part of the weights, for some rate positions, and nothing
of them is in the file. pillow_neural.training.filter_fit computes them; there is no gradient descent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.networks.box import box_means
from pillow_neural.networks.rate import between_knots

REACH = 2
NEIGHBOURS = tuple(
    (row, column)
    for row in range(-REACH, REACH + 1)
    for column in range(-REACH, REACH + 1)
    if 0 < abs(row) + abs(column) <= 3
)
"""Rows and columns of the kernel's taps from its middle."""

WINDOW = 5
HALO = WINDOW // 2 + 1
"""Pixels around its own that a filtered pixel depends on; more than REACH."""

ANGLES = 8
"""A power of two."""

SMALLEST = 1e-6


class Features(NamedTuple):
    """The structure tensor of each pixel, [B, H, W] each.

    Attributes:
        angle: of the gradient, whole, 0 to ANGLES - 1: multiples of 180 / ANGLES degrees.
        coherence: 0..1, how much of the gradients has this direction.
        strength: root of the mean squared gradient.
    """

    angle: Tensor
    coherence: Tensor
    strength: Tensor


def grey(pixels: Tensor) -> Tensor:
    """The mean of the planes: [B, P, H, W] -> [B, H, W]."""
    return pixels.mean(dim=1)


def features(values: Tensor) -> Features:
    """Structure tensors of one plane [B, H, W], by central differences, mirrored at the border."""
    padded = F.pad(values[:, None], (1, 1, 1, 1), mode="reflect")
    across = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    products = torch.cat([across.square(), down.square(), across * down], 1)
    margin = WINDOW // 2
    products = F.pad(products, (margin, margin, margin, margin), mode="reflect")
    xx, yy, xy = box_means(products, WINDOW).unbind(1)
    turned = torch.floor(torch.atan2(2 * xy, xx - yy) * (ANGLES / (2 * math.pi)) + 0.5)
    angle = turned.long() & ANGLES - 1
    spread = torch.sqrt((xx - yy).square() + 4 * xy.square())
    return Features(angle, spread / (xx + yy + SMALLEST), torch.sqrt(xx + yy))


def neighbours(values: Tensor) -> Iterator[Tensor]:
    """What is at each tap's place of one plane [B, H, W], mirrored at the border, [B, H, W]."""
    height, width = values.shape[1:]
    padded = F.pad(values[:, None], (REACH, REACH, REACH, REACH), mode="reflect")[:, 0]
    for row, column in NEIGHBOURS:
        top, left = REACH + row, REACH + column
        yield padded[:, top : top + height, left : left + width]


def differences(values: Tensor) -> Iterator[Tensor]:
    """What each tap sees of one plane [B, H, W]: the neighbour less the pixel itself, [B, H, W]."""
    return (neighbour - values for neighbour in neighbours(values))


class AdaptiveFilter(NamedTuple):
    """Kernels and bounds of classes, at evenly spaced rate positions 0..1 (knots), linear between them.

    Attributes:
        kernels: [knots, classes, taps]; class numbers count strength fastest, then coherence, then angle.
        coherence: rising bounds between classes, [knots, n].
        strength: likewise, [knots, m].
    """

    kernels: Tensor
    coherence: Tensor
    strength: Tensor

    @classmethod
    def found(cls, tensors: Mapping[str, Tensor], device: torch.device) -> AdaptiveFilter | None:
        """That of a weights file, if there is one in it."""
        return cls.of(tensors, device) if "filter.kernels" in tensors else None

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], device: torch.device) -> AdaptiveFilter:
        """The one that `tensors` gave."""
        return cls(*(tensors[f"filter.{name}"].float().to(device) for name in cls._fields))

    def tensors(self) -> dict[str, Tensor]:
        """For a weights file."""
        return {f"filter.{name}": value.half().cpu().contiguous() for name, value in self._asdict().items()}

    def at(self, rate: Tensor) -> AdaptiveFilter:
        """Those of rate positions [B] in 0..1, which take the place of the knots."""
        return AdaptiveFilter(*(between_knots(part, rate) for part in self))

    def classes(self, seen: Features) -> Tensor:
        """Class of each pixel, int64 [B, H, W], by bounds of one rate position, without its dimension."""
        kind = seen.angle * (len(self.coherence) + 1) + torch.bucketize(seen.coherence, self.coherence)
        return kind * (len(self.strength) + 1) + torch.bucketize(seen.strength, self.strength)

    def __call__(self, pixels: Tensor, rate: Tensor) -> Tensor:
        """Filtered pixels [B, P, H, W], any range; H and W at least 3. `rate` is [B] in 0..1."""
        values = grey(pixels)
        together = [slice(None)] if (rate == rate[0]).all() else [slice(n, n + 1) for n in range(len(rate))]
        change = torch.cat([self._change(values[part], rate[part][:1]) for part in together])
        return pixels + change[:, None]

    def _change(self, values: Tensor, rate: Tensor) -> Tensor:
        """What is added to each pixel of planes [B, H, W], at one rate for all, [1].

        What kernels add up to is taken off once, which costs less than differences.
        """
        chosen = AdaptiveFilter(*(part[0] for part in self.at(rate)))
        kinds = chosen.classes(features(values)).flatten().int()
        kernels = chosen.kernels.T.contiguous()
        change = -values * kernels.sum(dim=0).index_select(0, kinds).view_as(values)
        for kernel, neighbour in zip(kernels, neighbours(values), strict=True):
            change.addcmul_(kernel.index_select(0, kinds).view_as(values), neighbour)
        return change
