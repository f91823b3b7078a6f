"""Kernels of the filter after the synthesis: least squares over coded crops, one system a class and knot.

For pictures x and what the codec makes of them, y, a class's kernel minimises the sum over its pixels of
(x - y - kernel . differences(y))**2, in the mean of the planes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pillow_neural.networks.adaptive_filter import (
    ANGLES,
    NEIGHBOURS,
    AdaptiveFilter,
    differences,
    features,
    grey,
)
from pillow_neural.training.data import CropSampler

CROP = 256
BATCH = 16
RIDGE = 1e-4
SMALLEST = 1e-6
SEED = 1606


Decode = Callable[[Tensor], Iterable[Tensor]]
"""From crops, [B, 3, H, W] in 0..1, to what a codec makes of them at each knot, [B, 3, H, W]."""


@dataclass(frozen=True, slots=True)
class FilterSize:
    """How fine a filter is: rate positions with kernels of their own, and classes of each feature.

    Attributes:
        knots: at least 2.
        coherences, strengths: classes of these, in each of ANGLES.
        batches: of BATCH crops that it is fitted to.
    """

    knots: int = 9
    coherences: int = 4
    strengths: int = 12
    batches: int = 10

    @property
    def classes(self) -> int:
        """All of them."""
        return ANGLES * self.coherences * self.strengths


COARSE = FilterSize(knots=5, coherences=2, strengths=8, batches=6)
"""For codecs whose weights files are small."""


class Coded(NamedTuple):
    """Means of the planes of crops as they were, and as the codec gives them back: [B, H, W] both."""

    original: Tensor
    decoded: Tensor


@torch.no_grad()
def fit_filter(decode: Decode, sampler: CropSampler, size: FilterSize) -> AdaptiveFilter:
    """The filter of a codec, by what it makes of new crops at evenly spaced rate positions 0..1."""
    crops = sampler.with_crop(CROP, SEED)
    knots: list[list[Coded]] = [[] for _ in range(size.knots)]
    for _ in range(size.batches):
        pixels = crops.batch(BATCH).float() / 255
        for knot, decoded in zip(knots, decode(pixels), strict=True):
            knot.append(Coded(grey(pixels), grey(decoded)))
    fitted = [_fit_knot(batches, size) for batches in knots]
    return AdaptiveFilter(*(torch.stack(parts) for parts in zip(*fitted, strict=True)))


def _fit_knot(batches: list[Coded], size: FilterSize) -> AdaptiveFilter:
    """Bounds that fill the classes about evenly, then their kernels."""
    measured = [features(batch.decoded) for batch in batches]
    bounds = (
        _quantiles(torch.cat([m.coherence for m in measured]), size.coherences),
        _quantiles(torch.cat([m.strength for m in measured]), size.strengths),
    )
    classifier = AdaptiveFilter(torch.empty(0), *bounds)
    matrix = torch.zeros(size.classes, len(NEIGHBOURS), len(NEIGHBOURS))
    target = torch.zeros(size.classes, len(NEIGHBOURS))
    for batch, found in zip(batches, measured, strict=True):
        kinds = classifier.classes(found).flatten()
        order = kinds.argsort()
        sizes = kinds.bincount(minlength=size.classes).tolist()
        seen = torch.stack([d.flatten() for d in differences(batch.decoded)], 1)[order]
        error = (batch.original - batch.decoded).flatten()[order]
        parts = zip(torch.split(seen, sizes), torch.split(error, sizes), strict=True)
        for kind, (rows, missing) in enumerate(parts):
            matrix[kind] += rows.T @ rows
            target[kind] += rows.T @ missing
    ridge = RIDGE * matrix.diagonal(dim1=1, dim2=2).mean(dim=1) + SMALLEST
    kernels = torch.linalg.solve(matrix + ridge[:, None, None] * torch.eye(len(NEIGHBOURS)), target)
    return AdaptiveFilter(kernels, *bounds)


def _quantiles(values: Tensor, count: int) -> Tensor:
    """The bounds that part values into so many classes of about the same size: [count - 1]."""
    ordered = values.flatten().sort().values
    return ordered[[len(ordered) * number // count for number in range(1, count)]]
