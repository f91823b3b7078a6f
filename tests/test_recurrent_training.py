"""Recipes of the recurrent codecs: loss, settings, and the way from a network to a weights file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from pillow_neural.codecs import johnston2018
from pillow_neural.codecs.recurrent import NEVER_ENOUGH, CodecNetwork, Planes
from pillow_neural.networks import integer
from pillow_neural.networks.bit_context import BitContext, logit_of_index
from pillow_neural.networks.bit_statistics import agreeing_pairs, partners
from pillow_neural.networks.distortion import absolute_error, dissimilarity
from pillow_neural.training.bit_counts import count_bits
from pillow_neural.training.data import CropSampler
from pillow_neural.training.recipe import find_recipe, with_settings
from pillow_neural.training.recipes import recurrent, recurrent_weights
from pillow_neural.training.recipes.johnston2018 import SHAPE as JOHNSTON
from pillow_neural.training.recipes.toderici2016 import SHAPE as TODERICI
from tests.codec_helpers import picture_sampler, pictures, train
from tests.recurrent_helpers import TINY, shorten

SMALL = {"width": 1 / 16, "iterations": 3}


@pytest.fixture
def sampler() -> CropSampler:
    return picture_sampler(160, 192, 64)


@pytest.mark.parametrize("shape", [TODERICI, JOHNSTON], ids=["toderici2016", "johnston2018"])
def test_training_lowers_the_loss(shape: recurrent.RecurrentShape, sampler: CropSampler) -> None:
    torch.manual_seed(0)
    network = recurrent.recipe_for(replace(shape, **SMALL, components=0)).build()
    batch = sampler.with_crop(32, seed=0).batch(4)
    losses, result = train(recurrent.step, network, batch, learning_rate=1e-2, count=20)
    assert np.mean(losses[-3:]) < 0.87 * np.mean(losses[:3])
    assert 0 < result.bpp <= 3 / 8


def test_training_adds_to_the_linear_path(sampler: CropSampler, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    monkeypatch.setattr(recurrent, "FEW_ITERATIONS", 0)
    torch.manual_seed(0)
    recipe = recurrent.recipe_for(replace(TODERICI, **SMALL, components=24))
    network = recipe.build()
    assert isinstance(network, CodecNetwork)
    recipe.initialise(network, sampler)
    batch = sampler.with_crop(32, seed=0).batch(4)
    pixels, never = batch.float() / 255, torch.full((4,), NEVER_ENOUGH)
    alone = [iteration.picture for iteration in network.loop.encode(pixels, never)]
    train(recurrent.step, network, batch, learning_rate=1e-2, count=30)
    with torch.no_grad():
        for before, iteration in zip(alone, network.loop(pixels, never), strict=True):
            assert (iteration.picture - pixels).abs().mean() < 0.95 * (before - pixels).abs().mean()


def test_loss_is_the_mean_error_of_the_iterations(
    sampler: CropSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrent, "FEW_ITERATIONS", 0)
    network = CodecNetwork(replace(TODERICI, **SMALL)).eval()
    assert network.loop.path is not None
    batch = sampler.batch(2)
    pixels = batch.float() / 255
    network.loop.path.remaining.copy_(torch.tensor([1, 0.5, 0.25]))
    shares = zip(network.loop(pixels, torch.full((2,), NEVER_ENOUGH)), (1, 0.5, 0.25), strict=True)
    errors = [(iteration.picture - pixels).abs().mean() / share for iteration, share in shares]
    result = recurrent.step(network, batch, torch.Generator())
    assert result.loss.item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-4)
    assert result.bpp.item() == pytest.approx(3 / 8)


def test_a_step_goes_through_any_number_of_iterations(sampler: CropSampler) -> None:
    network = CodecNetwork(replace(TODERICI, **SMALL))
    batch, random = sampler.batch(1), torch.Generator().manual_seed(0)
    counts = {round(recurrent.step(network, batch, random).bpp.item() * 8) for _ in range(30)}
    assert counts == {1, 2, 3}


def test_weights_follow_dissimilarity_and_are_constant_for_the_gradient() -> None:
    network = CodecNetwork(replace(JOHNSTON, **SMALL))
    first, second = pictures(2, 32, 32).float().div(255).split(1)
    second.requires_grad_()
    error = recurrent._error(network.loop, first, second, 1)
    weight = dissimilarity(first, second).detach()
    average = weight.mean()
    assert torch.allclose(error, absolute_error(first, second) * weight / average)
    error.sum().backward()
    (expected,) = torch.autograd.grad((absolute_error(first, second) * weight / average).sum(), second)
    assert second.grad is not None
    assert torch.allclose(second.grad, expected)
    recurrent._error(network.loop, first, first, 1)
    same = dissimilarity(first, first).mean()
    moved = 0.99 * average + 0.01 * same
    assert network.loop.mean_dissimilarity.tolist() == pytest.approx([0, moved.item(), 0])


def test_only_adaptive_codecs_meet_stopped_blocks_in_training(sampler: CropSampler) -> None:
    random = torch.Generator().manual_seed(0)
    fixed = recurrent._targets(replace(TINY, adaptive=False), 100, random)
    assert fixed.eq(NEVER_ENOUGH).all()
    adaptive = recurrent._targets(TINY, 100, random)
    assert 30 < (adaptive > 0).sum() < 70
    assert adaptive.max() > 20 * adaptive[adaptive > 0].min()


def test_settings_change_the_shape() -> None:
    shape = with_settings(JOHNSTON, ["priming=0", "width=0.5", "adaptive=true", "unit=lstm"])
    assert shape == replace(JOHNSTON, priming=0, width=0.5, adaptive=True, unit="lstm")
    assert find_recipe("johnston2018", ["width=0.0625"]).build().shape == replace(JOHNSTON, width=1 / 16)
    assert find_recipe("nic2026").crop == 256


@pytest.mark.parametrize(
    ("codec", "setting"),
    [
        ("no_such", []),
        ("nic2026", ["priming=1"]),
        ("johnston2018", ["depth=3"]),
        ("johnston2018", ["adaptive=yes"]),
        ("johnston2018", ["priming=x"]),
        ("johnston2018", ["unit=rnn"]),
    ],
)
def test_impossible_settings_are_refused(codec: str, setting: list[str]) -> None:
    with pytest.raises(ValueError, match=r"recipe|setting|true or false|invalid literal|not one of"):
        find_recipe(codec, setting)


def test_context_learns_what_the_bits_have_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent_weights, "CONTEXT_STEPS", 40)
    torch.manual_seed(0)
    context = BitContext(bits=32, iterations=2, hidden=16)
    signs = torch.where(torch.rand(2, 64, 1, 4, 4) < 0.5, -1, 1).repeat(1, 1, 32, 1, 1).to(torch.int8)
    planes = Planes(signs, torch.full((64, 4, 4), 2))

    def cost() -> float:
        bits = signs.float()
        with torch.no_grad():
            return context.cost([bits[0]], bits[1], planes.counts, 1).sum().item() / bits[1].numel()

    assert cost() > 0.95
    recurrent_weights.train_context(context, [planes])
    assert cost() < 0.8


def test_statistics_tell_what_was_counted() -> None:
    """Of 64 places all say 1 1 first; then digits of the same component are 1, of others 0."""
    first = torch.ones(1, 64, 8, 2, 2)
    then = torch.tensor([1, 1, 1, -1, 1, 1, 1, -1]).reshape(1, 1, 8, 1, 1).expand(1, 64, 8, 2, 2)
    context = BitContext(bits=8, iterations=2, counted=True)
    components = torch.tensor([[0, 1, 2, 3], [0, 4, 1, 5]])
    count_bits(context, components, torch.cat([first, then]), torch.full((64, 2, 2), 2))
    statistics = context.statistics
    assert statistics is not None
    previous = [torch.ones(1, 8, 2, 2)]
    states, activity = statistics.seen(previous, agreeing_pairs(previous, previous[0]))
    assert states[0, :, 0, 0].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
    assert activity.eq(4 * 6 + 4 * 9).all()
    cells = statistics.cells(1, states, activity)
    unknown = statistics.offsets(1, cells, torch.zeros(1, 8, 2, 2))[0, :, 0, 0]
    assert unknown.sign().tolist() == [1, 1, 1, -1, 1, 1, 1, -1]
    known = torch.zeros(1, 8, 2, 2)
    known[:, 1] = -1
    with_partner = statistics.offsets(1, cells, known)[0, :, 0, 0]
    assert with_partner[0] == 0, "no place had such a partner"
    assert torch.equal(with_partner[1:], unknown[1:])
    assert torch.equal(partners(torch.arange(8).reshape(1, 8, 1, 1)).flatten(), torch.arange(8) ^ 1)


def test_estimated_cost_is_that_of_the_tables() -> None:
    odds = logit_of_index(torch.arange(64.0))
    frequencies = recurrent_weights.priors(4)[:64]
    ones = torch.tensor([entries[2] / entries.sum() for entries in frequencies])
    assert torch.allclose(torch.logit(ones).float(), odds, atol=1e-3)


def test_context_that_float32_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    context = BitContext(bits=32, iterations=2)
    assert 0 < recurrent_weights.prove_exact(context) < 2**24
    monkeypatch.setattr(integer, "EXACT_LIMIT", 1000)
    with pytest.raises(OverflowError):
        recurrent_weights.prove_exact(context)


@pytest.mark.parametrize("shape", [TINY, replace(TINY, components=24)], ids=["papers", "path"])
def test_network_becomes_a_codec(
    shape: recurrent.RecurrentShape, tmp_path: Path, sampler: CropSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch)
    torch.manual_seed(0)
    recipe = recurrent.recipe_for(shape)
    network = recipe.build()
    recipe.initialise(network, sampler)
    held_out = [p.permute(1, 2, 0).numpy() for p in pictures(2, 64, 80)]
    packed = recipe.pack(network, sampler, held_out)
    assert 0 < int(packed.metadata["largest_integer_sum"]) < 2**24
    rates = packed.tensors["calibration.bits_per_pixel"]
    assert (rates.diff() >= 0).all()
    assert rates[-1] > rates[0] > 0
    assert (packed.tensors["calibration.fixed_bits_per_pixel"].diff() > 0).all()
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(save(packed.tensors, packed.metadata))
    codec = johnston2018.load(path, "cpu")
    picture = pictures(1, 50, 70)
    low, high = codec.encode(picture, [0])[0], codec.encode(picture, [65_535])[0]
    assert sum(map(len, low.sections)) < sum(map(len, high.sections))
    assert codec.decode([low, high], 70, 50).shape == (2, 3, 50, 70)
