"""Directions of the pixel stage's tail: what their strengths do, how they are found, and in files."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.codecs import nic2026
from pillow_neural.codecs.nic2026 import Nic2026, Parameters
from pillow_neural.entropy import DecodeError
from pillow_neural.networks.adjustment import STRENGTHS, Equations, equations, fitted, saved_by
from pillow_neural.networks.directions import Directions
from pillow_neural.networks.search_tiles import Picture
from tests.codec_helpers import as_batch

LEVEL = 30_000


@pytest.fixture(scope="module")
def directions(codec: Nic2026) -> Directions:
    assert codec._network.directions is not None
    return codec._network.directions


@torch.inference_mode()
def _wanted(codec: Nic2026, pixels: Tensor, directions: Directions | None) -> tuple[Picture, Equations]:
    """What strengths of all of a picture, coded without a search, are to do."""
    (payload,) = codec.encode(pixels, [LEVEL])
    height, width = pixels.shape[2:]
    latents = codec.decode_streams([payload], width, height).latents
    picture = codec._chooser.prepare(pixels, [LEVEL])
    stages = codec._network.stages(latents, picture.rate, pixels.shape[1])
    wanted = pixels.float() / 255
    missing = wanted - stages.staged[:, :, :height, :width]
    return picture, equations(missing, stages, 0, 0, directions)


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("planes", [1, 3])
def test_a_direction_does_what_its_way_says(codec: Nic2026, directions: Directions, planes: int) -> None:
    network, rate = codec._network, torch.tensor([0.4])
    assert network.pixel_stage is not None
    pixels = torch.rand(1, planes, 20, 26, generator=torch.Generator().manual_seed(0))
    features = network.pixel_stage.features(pixels, rate)
    plain = network.pixel_stage.change(features, planes)
    ways, every_third = (
        directions.ways(features, planes, spacing).mT.unflatten(2, (rows, columns, 4 * planes)).movedim(4, 2)
        for spacing, rows, columns in ((1, 10, 13), (3, 4, 5))
    )
    missing = torch.randn(1, 4 * planes, 10, 13, generator=torch.Generator().manual_seed(1))
    aims = directions.aims(features, missing)
    for number in (0, len(directions.scales) - 1):
        strengths = torch.zeros(number + 1)
        strengths[number] = 0.01
        change = network.pixel_stage.change(features, planes, [directions.tail(strengths)])
        found = F.pixel_unshuffle(change - plain, 2)
        scale = found.abs().max()
        torch.testing.assert_close(found / scale, 0.01 * ways[:, number] / scale, rtol=0, atol=1e-3)
        torch.testing.assert_close(every_third[:, number], ways[:, number, :, ::3, ::3])
        product = (missing * ways[:, number]).sum(dim=(1, 2, 3))
        torch.testing.assert_close(aims[:, number], product, rtol=1e-3, atol=1e-3)


def test_numbers_go_through_a_stream_and_through_a_file(codec: Nic2026, photograph: Image.Image) -> None:
    (payload,) = codec.encode(as_batch(photograph), [LEVEL], 1)
    parameters = Parameters.of(payload)
    (numbers,) = codec.decode_streams([payload], *photograph.size).strengths
    assert parameters.directions == len(numbers) - STRENGTHS > 10
    assert numbers[:STRENGTHS] == parameters.strengths
    assert len(set(numbers[STRENGTHS:])) > 5
    buffer = io.BytesIO()
    photograph.save(buffer, "NIC", quality=0.5)
    assert np.asarray(Image.open(buffer)).shape == (512, 768, 3)


@pytest.mark.parametrize("planes", [1, 3])
def test_they_save_what_equations_foretell(
    codec: Nic2026, directions: Directions, photograph: Image.Image, planes: int
) -> None:
    """Although these look at a ninth of the cells for what they do together."""
    pixels = as_batch(photograph.crop((300, 50, 620, 250)))
    pixels = pixels.float().mean(dim=1, keepdim=True).to(torch.uint8) if planes == 1 else pixels
    picture, wanted = _wanted(codec, pixels, directions)
    network, units = codec._network, codec._network.strength_units(picture.rate)
    fits = [
        (numbers * units[:, :count]).float()
        for count in (STRENGTHS, units.shape[1])
        for numbers in [fitted(wanted.first(count), units[:, :count]).numbers]
    ]
    with torch.inference_mode():
        (payload,) = codec.encode(pixels, [LEVEL])
        synthesised = network.reconstruct(
            codec.decode_streams([payload], 320, 200).latents, picture.rate, planes=planes
        )
        finished = [
            network.finish(synthesised, picture.rate, strengths=own)[..., :200, :320] for own in (None, *fits)
        ]
    errors = [(own - pixels.float() / 255).square().sum().item() for own in finished]
    assert errors[2] < 0.995 * errors[1] < errors[0]
    assert errors[0] - errors[2] == pytest.approx(saved_by(fits[1], wanted).item(), rel=0.15)


def test_as_many_as_pay(codec: Nic2026, photograph: Image.Image) -> None:
    counts = []
    for side in (128, 256, 512):
        (payload,) = codec.encode(as_batch(photograph.crop((200, 0, 200 + side, side))), [20_000], 3)
        counts.append(Parameters.of(payload).directions)
    assert 0 <= counts[0] < counts[1] < counts[2]


def test_effort_0_has_none(codec: Nic2026, photograph: Image.Image) -> None:
    (payload,) = codec.encode(as_batch(photograph), [LEVEL])
    assert Parameters.of(payload).strengths
    assert not Parameters.of(payload).directions


def test_more_directions_than_there_are(codec: Nic2026, photograph: Image.Image) -> None:
    (payload,) = codec.encode(as_batch(photograph.crop((0, 0, 128, 128))), [LEVEL])
    parameters = Parameters.of(payload)._replace(strengths=(0,) * STRENGTHS, directions=200)
    with pytest.raises(DecodeError, match="has 200 directions, and its weights know of"):
        codec.decode([payload._replace(parameters=parameters.to_bytes())], 128, 128)


def test_a_stream_that_ends_before_its_directions(codec: Nic2026, photograph: Image.Image) -> None:
    (payload,) = codec.encode(as_batch(photograph), [LEVEL], 1)
    fewer = Parameters.of(payload)._replace(directions=1)
    with pytest.raises(DecodeError, match="goes on after the last symbol"):
        codec.decode([payload._replace(parameters=fewer.to_bytes())], *photograph.size)


def test_a_strength_out_of_range(
    codec: Nic2026, photograph: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    (payload,) = codec.encode(as_batch(photograph), [LEVEL], 1)
    monkeypatch.setattr(nic2026, "LARGEST", 0)
    with pytest.raises(DecodeError, match="out of range"):
        codec.decode([payload], *photograph.size)


@pytest.mark.usefixtures("in_float32")
def test_a_batch_has_the_directions_of_each_picture(codec: Nic2026, photograph: Image.Image) -> None:
    both = torch.cat([as_batch(photograph), as_batch(photograph).flip(3)])
    payloads = codec.encode(both, [20_000, 40_000], 1)
    payloads.append(codec.encode(both[:1], [20_000])[0])
    together = codec.decode(payloads, *photograph.size)
    for each, found in zip(payloads, together, strict=True):
        difference = codec.decode([each], *photograph.size)[0].int() - found.int()
        assert difference.abs().max() <= 1
        assert difference.count_nonzero() < 0.001 * difference.numel()
