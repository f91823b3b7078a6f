"""Directions in which a picture moves the last layer of the pixel stage, as far along each as its file says.

    features --+--tail-----------------------------------------------(+)--> change
               +--kernels of direction 0 --x number 0 --x step(rate)--^
               +-- ...                                                |
               +--kernels of direction n --x number n --x step(rate)--+

A last layer of its own would bring a picture 0.2 to 0.3 dB, and cost more than that. Of all that pictures
would want of it, these are the principal components (pillow_neural.training.direction_fit), those that are
worth most first, so that a picture takes as many as pay. As there is no layer behind it, least squares find
the numbers. Networks adapted to a picture are those of van Rozendaal, Huijben and Cohen 2021 (arXiv
2101.08687), who code changes of all weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from pillow_neural.networks.packing import in_eight_bits, unpacked
from pillow_neural.networks.pixel_stage import CELL, SAMPLES, Tail
from pillow_neural.networks.planes import OUTPUT_UNIT, averaged_planes
from pillow_neural.networks.precision import small_shares

NAME = "directions"
STEP = 0.01
"""What one in a number stands for where lambda is 1: the root of the mean of what the samples of a cell of
2x2 pixels change by, squared and added up."""


class Directions(NamedTuple):
    """Changes of the tail, for K directions, and what is known of their strengths.

    Attributes:
        kernels: [K, 12, features, 3, 3].
        biases: [K, 12].
        scales: scale indices of the tables that numbers are coded with, whole, [K].
        shares, more: what becomes of each number between a first choice of symbols and the last, as a line
            through that of the first, [5 + K]: the noise of hidden signs asks for more of the filter.
    """

    kernels: Tensor
    biases: Tensor
    scales: Tensor
    shares: Tensor
    more: Tensor

    @classmethod
    def found(cls, tensors: Mapping[str, Tensor], device: torch.device) -> Directions | None:
        """Those of a weights file, if there are any in it."""
        if f"{NAME}.kernels" not in tensors:
            return None
        kernels = unpacked(tensors, f"{NAME}.kernels").to(device)
        others = (tensors[f"{NAME}.{name}"].float().to(device) for name in cls._fields[1:])
        return cls(kernels.view(-1, SAMPLES, *kernels.shape[1:]), *others)

    def tensors(self) -> dict[str, Tensor]:
        """For a weights file."""
        kernels, step = in_eight_bits(self.kernels.flatten(0, 1).cpu())
        others = zip(self._fields[1:], self[1:], strict=True)
        return {
            f"{NAME}.kernels": kernels,
            f"{NAME}.kernels.step": step,
            **{f"{NAME}.{name}": values.half().cpu().contiguous() for name, values in others},
        }

    def foreseen(self, numbers: Tensor) -> Tensor:
        """What numbers of a first choice, [N, 5 + n], will be for the last."""
        count = numbers.shape[1]
        return numbers * self.shares[:count].to(numbers) + self.more[:count].to(numbers)

    def tail(self, strengths: Tensor) -> Tail:
        """What n strengths of a picture, [n], add to the tail."""
        count = len(strengths)
        kernels = torch.einsum("k,kofhw->ofhw", strengths, self.kernels[:count])
        return Tail(kernels, strengths @ self.biases[:count])

    def ways(self, features: Tensor, planes: int, spacing: int) -> Tensor:
        """What each direction does to pixels, in every so many rows and columns of cells of 2x2.

        Args:
            features: of the cells, [N, features, h, w]; beyond them counts as zero.
            planes: P.
            spacing: of cells.

        Returns:
            [N, samples, K], cell by cell, samples of a cell in the order of `pixel_unshuffle`.
        """
        kernels, biases = (own.transpose(0, 1).flatten(0, 1) for own in self._of_planes(planes))
        with small_shares(features.device):
            ways = F.conv2d(features, kernels, biases, padding=1, stride=spacing)
        return ways.permute(0, 2, 3, 1).reshape(len(ways), -1, len(self.kernels)).float()

    def aims(self, features: Tensor, missing: Tensor) -> Tensor:
        """Sums of products of what each direction does to pixels with what is missing: [N, K].

        Args:
            features: as for `ways`.
            missing: in cells of 2x2, [N, 4P, h, w].
        """
        kernels, biases = self._of_planes(missing.shape[1] // CELL**2)
        pairs = zip(torch.split(features, 1), torch.split(missing.to(features), 1), strict=True)
        slopes = torch.stack([_slope(own, lacks, kernels.shape[1:]).flatten() for own, lacks in pairs])
        return slopes.float() @ kernels.flatten(1).T + missing.sum(dim=(2, 3)) @ biases.T

    def _of_planes(self, planes: int) -> tuple[Tensor, Tensor]:
        """Kernels [K, 4P, features, 3, 3] and biases [K, 4P], in units of pixels."""
        kernels, biases = (OUTPUT_UNIT * own for own in self[:2])
        if planes == 3:
            return kernels, biases
        kernels, biases = (averaged_planes(own.transpose(0, 1)).transpose(0, 1) for own in (kernels, biases))
        return kernels, biases


def _slope(features: Tensor, missing: Tensor, shape: torch.Size) -> Tensor:
    """Of the products of a convolution's outputs with what is missing by kernels of a shape."""
    found: Tensor = conv2d_weight(features, shape, missing, padding=1)  # type: ignore[no-untyped-call]
    return found
