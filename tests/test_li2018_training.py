"""Recipe of li2018: loss, contexts, and the way from a network to a weights file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch.nn import functional as F

from pillow_neural.codecs import li2018
from pillow_neural.codecs.li2018 import CodecNetwork, Volume, bit_sections, map_sections
from pillow_neural.networks.importance import leading_channels
from pillow_neural.networks.li2018 import Li2018Shape, share_of_rate
from pillow_neural.training import refinement
from pillow_neural.training.data import CropSampler
from pillow_neural.training.recipe import find_recipe
from pillow_neural.training.recipes import li2018 as recipe
from pillow_neural.training.recipes import li2018_weights
from pillow_neural.training.tables import tables_of
from tests.codec_helpers import picture_sampler, pictures, train
from tests.li2018_helpers import DIGITS as TINY_DIGITS
from tests.li2018_helpers import TINY, random_codec
from tests.recurrent_helpers import shorten

SMALL = Li2018Shape(bits=32, head=8, body=16, synthesis=16, fine=8, hidden=8, knots=2)


@pytest.fixture
def sampler() -> CropSampler:
    return picture_sampler(160, 192, 64)


DIGITS = replace(SMALL, bits=64, components=64)


@pytest.mark.parametrize("shape", [SMALL, replace(SMALL, importance=False)], ids=["map", "uniform"])
def test_training_lowers_the_loss(shape: Li2018Shape, sampler: CropSampler) -> None:
    torch.manual_seed(0)
    network = recipe.recipe_for(shape).build()
    batch = sampler.with_crop(32, seed=0).batch(4)
    losses, result = train(recipe.step, network, batch, learning_rate=5e-3, count=40)
    assert np.mean(losses[-3:]) < 0.6 * np.mean(losses[:3])
    assert 0 < result.bpp <= 15 / 32


def test_loss_is_squared_error_and_what_the_map_exceeds_its_target_by() -> None:
    torch.manual_seed(0)
    network = CodecNetwork(SMALL)
    threshold = network.transforms.analysis.importance.threshold
    batch = pictures(6, 32, 32)
    rate = torch.rand(6, generator=torch.Generator().manual_seed(3))
    target = 0.5 * share_of_rate(rate)
    for shift in (0.0, 2.0):
        threshold.log_gains.data += shift
        output = network.transforms(batch.float() / 255, rate)
        mse = F.mse_loss(output.reconstruction, batch / 255, reduction="none").mean(dim=(1, 2, 3))
        excess = (0.5 * output.share - target).clamp_min(0)
        weight = 1900 * target**1.9
        expected = ((6 * excess + weight * mse) / weight.sqrt()).mean()
        result = recipe.step(network, batch, torch.Generator().manual_seed(3))
        assert result.loss.item() == pytest.approx(expected.item(), rel=1e-4)
        assert result.bpp.item() == pytest.approx(0.5 * output.share.mean().item(), rel=1e-4)
    assert (excess > 0).all()


def test_the_hinge_brings_a_map_down_to_its_target(sampler: CropSampler) -> None:
    torch.manual_seed(0)
    network = CodecNetwork(SMALL)
    importance = network.transforms.analysis.importance
    importance.threshold.log_gains.data += 1.5
    batch, rate = sampler.batch(4), torch.full((4,), 0.5)
    pixels = batch.float() / 255
    optimiser = torch.optim.Adam(importance.parameters(), 2e-2)
    shares = []
    for step in range(60):
        result = recipe.step(network, batch, torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        result.loss.backward()
        optimiser.step()
        with torch.no_grad():
            shares.append(network.transforms(pixels, rate).share.mean().item())
    target = share_of_rate(rate)[0].item()
    assert shares[0] > 1.8 * target
    assert shares[-1] <= target


@pytest.mark.parametrize(
    ("worth", "rates", "decibels"),
    [
        (recipe.LEARNED_WORTH, [0.20, 0.39, 0.69, 1.12, 1.83], [26.5, 28.8, 31.2, 33.5, 35.7]),
        (recipe.DIGIT_WORTH, [0.5, 1, 2, 3, 3.75], [23.6, 25.9, 28.8, 30.6, 31.8]),
    ],
)
def test_weight_of_the_error_is_that_of_typical_slopes(
    worth: tuple[float, float], rates: list[float], decibels: list[float]
) -> None:
    rate, mse = torch.tensor(rates), 10 ** (-torch.tensor(decibels) / 10)
    weights = recipe.error_weight((rate[1:] * rate[:-1]).sqrt(), worth)
    assert (weights * -mse.diff() / rate.diff()).log().abs().max() < 0.3


def test_digits_start_as_good_as_the_linear_path(
    sampler: CropSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refinement, "CROP", 64)
    monkeypatch.setattr(refinement, "CROPS", 60)
    torch.manual_seed(0)
    made = recipe.recipe_for(DIGITS)
    network = made.build()
    made.initialise(network, sampler)
    pixels, rate = sampler.batch(2).float() / 255, torch.tensor([0.1, 1.0])
    error = (network.transforms(pixels, rate).reconstruction - pixels).square().mean(dim=(1, 2, 3))
    assert error[1] < 0.5 * error[0] < 0.5 * pixels.var()
    losses, _ = train(made.step, network, sampler.with_crop(32, seed=0).batch(4), 3e-3, 40)
    assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3])


def test_settings_change_the_shape() -> None:
    network = find_recipe("li2018", ["bits=64", "body=16", "importance=false"]).build()
    assert network.shape == replace(recipe.SHAPE, bits=64, body=16, importance=False)
    with pytest.raises(ValueError, match="multiple of 64"):
        find_recipe("li2018", ["bits=100"])


def _pool(seed: int, size: int) -> Volume:
    """Pictures of level 3 or 13 throughout, and bits that groups and neighbours have in common."""
    random = torch.Generator().manual_seed(seed)
    levels = 3 + 10 * torch.randint(2, (size, 1, 1), generator=random).expand(-1, 4, 6)
    signs = torch.where(torch.rand(size, 1, 1, 1, generator=random) < 0.5, -1.0, 1.0)
    noise = torch.where(torch.rand(size, 30, 4, 6, generator=random) < 0.1, -1.0, 1.0)
    bits = signs * noise * leading_channels(2 * levels, 30)
    return Volume(levels, bits, torch.rand(size, generator=random))


def test_contexts_learn_what_map_and_bits_have_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(li2018_weights, "CONTEXT_LEARNING_RATE", 1e-2)
    monkeypatch.setattr(li2018_weights, "CONTEXT_BATCH", 8)
    torch.manual_seed(0)
    network, pool, other = CodecNetwork(TINY), _pool(0, 64), _pool(1, 12)
    li2018_weights.train_context(network.map_context, pool.map_planes(), pool.map_sides(), 200)
    li2018_weights.train_context(network.bit_context, pool.bits, pool.bit_sides(), 200)
    assert 0 < li2018_weights.prove_exact(network) < 2**24
    counts = li2018_weights.counted(network, other)
    assert sum(entries.sum() for entries in counts[:64]) == other.bits.abs().sum()
    assert sum(entries.sum() for entries in counts[64:]) == other.map_planes().abs().sum()
    costs = tables_of(li2018_weights.priors(), counts).bits()
    for sections, planes in (
        ([map_sections(network, v) for v in other.split()], other.map_planes()),
        ([bit_sections(network, v) for v in other.split()], other.bits),
    ):
        by_context = sum(li2018_weights._context_bits(costs, parts) for parts in sections)
        static = li2018_weights._static_bits(li2018_weights._plane_costs(planes), planes)
        assert by_context < 0.8 * static


def test_static_cost_is_the_entropy_of_planes_and_of_levels() -> None:
    pool = _pool(0, 64)
    planes = pool.map_planes()
    static = li2018_weights._static_bits(li2018_weights._plane_costs(planes), planes)
    shares = torch.bincount(pool.levels.flatten(), minlength=16) / pool.levels.numel()
    entropy = -torch.xlogy(shares, shares).sum().item() / np.log(2)
    assert static / pool.levels.numel() == pytest.approx(entropy, rel=0.03)


def test_cost_by_context_is_that_of_the_stream() -> None:
    codec = random_codec()
    picture = pictures(1, 96, 128)
    volume = codec.volume(picture, [60_000])
    payload = codec.encode(picture, [60_000])[0]
    costs = codec._tables.bits()
    parts = (map_sections(codec._network, volume), bit_sections(codec._network, volume))
    for section, stream in zip(parts, payload.sections, strict=True):
        assert li2018_weights._context_bits(costs, section) == pytest.approx(8 * len(stream), abs=70)


@pytest.mark.parametrize("shape", [TINY, TINY_DIGITS], ids=["paper", "digits"])
def test_network_becomes_a_codec(
    shape: Li2018Shape, tmp_path: Path, sampler: CropSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch)
    for name, value in {
        "CONTEXT_CROPS": 8,
        "POOL_BATCH": 4,
        "CONTEXT_CROP": 64,
        "MAP_STEPS": 4,
        "BIT_STEPS": 4,
        "CALIBRATION_POINTS": 3,
    }.items():
        monkeypatch.setattr(li2018_weights, name, value)
    torch.manual_seed(0)
    made = recipe.recipe_for(shape)
    network = made.build()
    made.initialise(network, sampler)
    held_out = [p.permute(1, 2, 0).numpy() for p in pictures(2, 64, 80)]
    packed = made.pack(network, sampler, held_out)
    assert 0 < int(packed.metadata["largest_integer_sum"]) < 2**24
    assert 0 < float(packed.metadata["map_share"]) < 1
    assert all(float(packed.metadata[name]) < 1 for name in ("context_saving", "map_context_saving"))
    rates = packed.tensors["calibration.bits_per_pixel"]
    assert (rates.diff() >= 0).all()
    assert rates[-1] > rates[0] > 0
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(save(packed.tensors, packed.metadata))
    codec = li2018.load(path, "cpu")
    picture = pictures(1, 50, 70)
    low, high = codec.encode(picture, [0])[0], codec.encode(picture, [65_535])[0]
    assert sum(map(len, low.sections)) < sum(map(len, high.sections))
    assert codec.decode([low, high], 70, 50).shape == (2, 3, 50, 70)
