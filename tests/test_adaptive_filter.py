"""The filter after the synthesis, and its fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pillow_neural.networks import strips
from pillow_neural.networks.adaptive_filter import (
    ANGLES,
    HALO,
    NEIGHBOURS,
    AdaptiveFilter,
    differences,
    features,
)
from pillow_neural.training import filter_fit
from pillow_neural.training.filter_fit import Coded, FilterSize

KNOTS = 3
SIZE = FilterSize()


def _filter(scale: float = 0.05) -> AdaptiveFilter:
    random = torch.Generator().manual_seed(0)
    kernels = scale * torch.randn(KNOTS, SIZE.classes, len(NEIGHBOURS), generator=random)
    coherence = torch.tensor([[0.2, 0.4, 0.6], [0.3, 0.5, 0.7], [0.4, 0.6, 0.8]])
    strength = torch.linspace(0.02, 0.3, 11) * torch.tensor([[1.0], [1.2], [1.4]])
    return AdaptiveFilter(kernels, coherence, strength)


def _at(whole: AdaptiveFilter, rate: float) -> AdaptiveFilter:
    """The filter of one rate position, without the dimension of knots."""
    return AdaptiveFilter(*(part[0] for part in whole.at(torch.tensor([rate]))))


def _picture(batch: int = 1, planes: int = 3, height: int = 21, width: int = 34) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = torch.sin(rows * 0.7 + columns * 0.3) * torch.cos(columns * 0.9) / 3
    noise = torch.rand(batch, planes, height, width, generator=torch.Generator().manual_seed(1))
    return waves + noise / 4


@pytest.mark.parametrize("number", range(ANGLES))
def test_a_slope_has_its_angle_all_coherence_and_its_strength(number: int) -> None:
    angle = math.pi * number / ANGLES
    rows, columns = torch.meshgrid(torch.arange(15.0), torch.arange(15.0), indexing="ij")
    slope = 0.03 * (columns * math.cos(angle) + rows * math.sin(angle))
    found = features(slope[None])
    middle = (0, slice(HALO, -HALO), slice(HALO, -HALO))
    assert (found.angle[middle] == number).all()
    assert found.coherence[middle].min() > 0.99
    assert torch.allclose(found.strength[middle], torch.tensor(0.03), atol=1e-5)


def _by_the_book(chosen: AdaptiveFilter, picture: np.ndarray) -> np.ndarray:
    """The filter of one picture [P, H, W] at a knot, pixel by pixel, as FORMAT.md has it."""
    kernels, coherence, strength = (part.numpy().astype(float) for part in chosen)
    mean = picture.mean(axis=0)
    padded = np.pad(mean, 1, mode="reflect")
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    across, down = (np.pad(part, 2, mode="reflect") for part in (across, down))
    padded = np.pad(mean, 2, mode="reflect")
    change = np.empty_like(mean)
    for y, x in np.ndindex(mean.shape):
        gx, gy = (part[y : y + 5, x : x + 5] for part in (across, down))
        xx, yy, xy = np.mean(gx * gx), np.mean(gy * gy), np.mean(gx * gy)
        angle = math.floor(8 * math.atan2(2 * xy, xx - yy) / (2 * math.pi) + 0.5) % 8
        kind = int((coherence < math.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-6)).sum())
        level = int((strength < math.sqrt(xx + yy)).sum())
        kernel = kernels[(angle * (len(coherence) + 1) + kind) * (len(strength) + 1) + level]
        around = [(r, c) for r in range(-2, 3) for c in range(-2, 3) if 0 < abs(r) + abs(c) <= 3]
        seen = [padded[y + 2 + r, x + 2 + c] - mean[y, x] for r, c in around]
        change[y, x] = np.dot(kernel, seen)
    return picture + change


@pytest.mark.parametrize("planes", [1, 3])
def test_filter_is_that_of_the_specification(planes: int) -> None:
    picture = _picture(planes=planes)
    expected = _by_the_book(_at(_filter(), 0.5), picture[0].numpy().astype(float))
    filtered = _filter()(picture, torch.tensor([0.5]))[0].numpy()
    assert np.abs(filtered - picture[0].numpy()).max() > 0.02
    different = np.abs(filtered - expected).max(axis=0) > 1e-5
    assert different.mean() < 0.005, "more than a few pixels, whose class may hang on a last bit"


def test_pictures_of_a_batch_have_each_its_own_rate() -> None:
    pictures, rates = _picture(batch=3), torch.tensor([0.1, 0.6, 1.0])
    together = _filter()(pictures, rates)
    alone = [_filter()(pictures[n : n + 1], rates[n : n + 1]) for n in range(3)]
    assert torch.equal(together, torch.cat(alone))


def test_strips_with_a_block_more_are_what_the_whole_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_BLOCKS", 1)
    monkeypatch.setattr(strips, "HALOS", 1)
    picture, rate = _picture(height=7 * 16, width=32), torch.tensor([0.5])
    found = strips.in_strips(lambda part: _filter()(part, rate), picture, 16, 16, -(-HALO // 16))
    assert torch.allclose(found, _filter()(picture, rate), atol=1e-5)


def test_between_knots_everything_is_linear() -> None:
    whole = _filter()
    for part, quarter in zip(whole, _at(whole, 0.25), strict=True):
        assert torch.allclose(quarter, (part[0] + part[1]) / 2)
    for part, last in zip(whole, _at(whole, 1.0), strict=True):
        assert torch.equal(last, part[-1])


def test_weights_file_keeps_the_filter() -> None:
    whole = _filter()
    again = AdaptiveFilter.of(whole.tensors(), torch.device("cpu"))
    for part, kept in zip(whole, again, strict=True):
        assert torch.allclose(part, kept, atol=1e-3)


def test_fit_finds_the_filter_that_undoes_a_change() -> None:
    kernel = 0.02 * torch.randn(len(NEIGHBOURS), generator=torch.Generator().manual_seed(2))
    batches = []
    for seed in range(6):
        decoded = torch.rand(4, 96, 96, generator=torch.Generator().manual_seed(seed))
        seen = torch.stack(list(differences(decoded)))
        batches.append(Coded(decoded + torch.einsum("t,tbyx->byx", kernel, seen), decoded))
    found = filter_fit._fit_knot(batches, SIZE)
    filled = found.classes(features(batches[0].decoded)).flatten().bincount(minlength=SIZE.classes) > 60
    assert filled.sum() > 30
    assert torch.allclose(found.kernels[filled], kernel.expand(int(filled.sum()), -1), atol=1e-3)
