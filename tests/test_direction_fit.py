"""Directions are found where coded crops want the pixel stage's tail to be, and lines of their numbers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from pillow_neural.networks.adjustment import STRENGTHS, equations
from pillow_neural.networks.directions import Directions
from pillow_neural.training import direction_fit
from pillow_neural.training.data import CropSampler, Picture
from pillow_neural.training.direction_fit import DirectionSize, fit_directions, with_lines
from tests.codec_helpers import EXAMPLE, default_codec

SIZE = DirectionSize(count=4, batches=3, batches_of_mean=2, coded=12)


@pytest.fixture
def sampler() -> CropSampler:
    return CropSampler([Picture("a", np.asarray(Image.open(EXAMPLE).convert("RGB")))], 128, seed=0)


@torch.no_grad()
def test_what_all_crops_lack_is_the_first_direction(
    sampler: CropSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = copy.deepcopy(default_codec()._network)
    assert network.directions is not None
    assert network.pixel_stage is not None
    network.pixel_stage.tail.weight -= 0.02 * network.directions.kernels[1]
    network.directions = None
    monkeypatch.setattr(direction_fit, "CROP", 128)
    found = fit_directions(network, sampler, SIZE)
    assert found.kernels.shape == (4, *network.pixel_stage.tail.weight.shape)
    pixels, rate = sampler.batch(1).float() / 255, torch.tensor([0.4])
    stages = network.stages(network.as_coded(pixels, rate).output.latents, rate, planes=3)
    saved = equations(pixels - stages.staged, stages, 0, 0, found).saved()[0]
    first, others = saved[STRENGTHS] - saved[STRENGTHS - 1], saved[-1] - saved[STRENGTHS]
    assert first > 3 * others


def test_lines_foretell_the_last_choice(sampler: CropSampler, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = copy.deepcopy(default_codec())
    directions = codec._network.directions
    assert directions is not None
    monkeypatch.setattr(direction_fit, "CODED_CROP", 128)
    few = Directions(
        directions.kernels[:3], directions.biases[:3], directions.scales[:3], *(torch.zeros(8),) * 2
    )
    codec._network.directions = few
    found = with_lines(codec, codec._network, sampler, few, SIZE)
    assert torch.equal(found.kernels, few.kernels)
    assert found.shares.shape == found.more.shape == (STRENGTHS + 3,)
    assert ((found.shares > 0.2) & (found.shares < 1.5)).float().mean() > 0.7
    assert (found.scales >= 0).all()
    assert (found.scales < 64).all()
    assert (found.scales == found.scales.round()).all()
