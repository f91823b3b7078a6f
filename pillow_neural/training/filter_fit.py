"""Kernels of the filter after the synthesis: least squares over coded crops, one system a class and knot.

For pictures x and what the codec makes of them, y, a class's kernel minimises the sum over its pixels of
(x - y - kernel . differences(y))**2, in the mean of the planes.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from pillow_neural.networks.transform_codec import TransformCodec
from pillow_neural.training.data import CropSampler

KNOTS = 9
COHERENCES = 4
STRENGTHS = 12
CLASSES = ANGLES * COHERENCES * STRENGTHS
CROP = 256
BATCHES = 10
BATCH = 16
RIDGE = 1e-4
SMALLEST = 1e-6
SEED = 1606


class Coded(NamedTuple):
    """Means of the planes of crops as they were, and as the codec gives them back: [B, H, W] both."""

    original: Tensor
    decoded: Tensor


@torch.no_grad()
def fit_filter(network: TransformCodec, sampler: CropSampler) -> AdaptiveFilter:
    """The filter of a network, from new crops for each knot."""
    crops = sampler.with_crop(CROP, SEED)
    knots = [_fit_knot(list(_coded(network, crops, rate))) for rate in torch.linspace(0, 1, KNOTS)]
    return AdaptiveFilter(*(torch.stack(parts) for parts in zip(*knots, strict=True)))


def _coded(network: TransformCodec, crops: CropSampler, rate: Tensor) -> Iterator[Coded]:
    for _ in range(BATCHES):
        pixels = crops.batch(BATCH).float() / 255
        decoded = network(pixels, rate.expand(BATCH), as_coded=True).reconstruction
        yield Coded(grey(pixels), grey(decoded))


def _fit_knot(batches: list[Coded]) -> AdaptiveFilter:
    """Bounds that fill the classes about evenly, then their kernels."""
    measured = [features(batch.decoded) for batch in batches]
    bounds = (
        _quantiles(torch.cat([m.coherence for m in measured]), COHERENCES),
        _quantiles(torch.cat([m.strength for m in measured]), STRENGTHS),
    )
    classifier = AdaptiveFilter(torch.empty(0), *bounds)
    matrix = torch.zeros(CLASSES, len(NEIGHBOURS), len(NEIGHBOURS))
    target = torch.zeros(CLASSES, len(NEIGHBOURS))
    for batch, found in zip(batches, measured, strict=True):
        kinds = classifier.classes(found).flatten()
        order = kinds.argsort()
        sizes = kinds.bincount(minlength=CLASSES).tolist()
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
