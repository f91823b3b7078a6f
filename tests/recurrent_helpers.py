"""Recurrent codecs small enough for tests, with random weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pillow_neural.codecs.recurrent import Calibration, CodecNetwork, RecurrentCodec
from pillow_neural.networks.adaptive_filter import ANGLES, NEIGHBOURS, AdaptiveFilter
from pillow_neural.networks.bit_statistics import BitStatistics
from pillow_neural.networks.linear_path import LinearPath
from pillow_neural.networks.packing import pack, unpack
from pillow_neural.networks.recurrent_transforms import RecurrentShape
from pillow_neural.training import filter_fit, refinement
from pillow_neural.training.recipes import recurrent_weights
from pillow_neural.training.recipes.recurrent_weights import priors
from pillow_neural.training.tables import tables_of

TINY = RecurrentShape(unit="gru", width=1 / 32, iterations=4, priming=1, ssim_weighted=True, adaptive=True)
PATH = replace(TINY, components=24)
"""With a linear path instead of an encoder."""

CALIBRATION = Calibration((0.2, 0.02), [0, 65_535], [0.1, 0.5], [0.1, 0.2, 0.3, 0.5])


def random_codec(shape: RecurrentShape = TINY, seed: int = 0) -> RecurrentCodec:
    """A codec whose context network gives indices from all over the range."""
    torch.manual_seed(seed)
    network, frozen = CodecNetwork(shape), CodecNetwork(shape)
    with torch.no_grad():
        for phase in network.context.phases:
            phase.to_index.weight.mul_(8)
        if network.loop.path is not None:
            fill_path(network.loop.path, network.context.statistics)
    unpack(frozen, pack(network))
    tables = tables_of(priors(shape.iterations))
    post_filter = random_filter() if shape.components else None
    return RecurrentCodec(frozen, tables, CALIBRATION, shape.adaptive, torch.device("cpu"), post_filter)


def fill_path(path: LinearPath, statistics: BitStatistics | None) -> None:
    """Random digits of random vectors, with random statistics."""
    assert statistics is not None
    torch.nn.init.orthogonal_(path.vectors)
    path.component.random_(len(path.vectors))
    path.threshold.uniform_(0.1, 1)
    path.step.copy_(2 * path.threshold)
    statistics.component.copy_(path.component)
    statistics.bounds.random_(300).copy_(statistics.bounds.sort().values)
    statistics.offset.random_(-12, 13)


def random_filter() -> AdaptiveFilter:
    """Kernels that change pixels a little, in sixteen classes and at two rates."""
    random = torch.Generator().manual_seed(3)
    kernels = 0.02 * torch.randn(2, 2 * ANGLES, len(NEIGHBOURS), generator=random)
    return AdaptiveFilter(kernels, torch.empty(2, 0), torch.tensor([[0.05], [0.1]]))


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all that happens before and after training quick, on crops of 64x64."""
    monkeypatch.setattr(refinement, "CROP", 64)
    monkeypatch.setattr(refinement, "CROPS", 100)
    monkeypatch.setattr(filter_fit, "CROP", 64)
    monkeypatch.setattr(filter_fit, "BATCH", 2)
    monkeypatch.setattr(recurrent_weights, "CONTEXT_CROPS", 8)
    monkeypatch.setattr(recurrent_weights, "POOL_BATCH", 4)
    monkeypatch.setattr(recurrent_weights, "CONTEXT_CROP", 64)
    monkeypatch.setattr(recurrent_weights, "CONTEXT_STEPS", 5)
    monkeypatch.setattr(recurrent_weights, "CALIBRATION_POINTS", 3)
