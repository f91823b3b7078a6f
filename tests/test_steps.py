"""Balancing quantisation steps by what errors in them cost."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pillow_neural.entropy.gaussian import SCALE_RATIO
from pillow_neural.networks.transform_codec import TransformCodec
from pillow_neural.training import steps
from pillow_neural.training.data import CropSampler
from pillow_neural.training.loop import LoopOptions, Trainer
from pillow_neural.training.recipe import Recipe, find_recipe
from pillow_neural.training.recipes import nic2026
from pillow_neural.training.steps import balance_steps, measured_errors
from tests.codec_helpers import picture_sampler
from tests.test_networks import SMALL

CHANNELS = 64
TWICE = slice(CHANNELS // 2, None)


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> CropSampler:
    monkeypatch.setattr(nic2026, "KLT_CROPS", 20)
    monkeypatch.setattr(nic2026, "PREDICTION_CROPS", 8)
    monkeypatch.setattr(steps, "CROPS", 4)
    return picture_sampler(160, 160, 128)


@pytest.fixture
def network(sampler: CropSampler) -> TransformCodec:
    """Linear, with errors in half of its channels that cost four times as much as those in the others."""
    torch.manual_seed(1)
    network = TransformCodec(replace(SMALL, latents=CHANNELS))
    nic2026.initialise(network, sampler)
    with torch.no_grad():
        network.analysis.linear.weight[TWICE] /= 2
        network.synthesis.linear.weight[:, TWICE] *= 2
        network.synthesis.spread[TWICE] /= 2
    return network


def _ratios(network: TransformCodec, sampler: CropSampler) -> tuple[float, float]:
    """What errors of the first and the last quarter of the channels cost, over what they are taken for."""
    errors, costs = (values[1] for values in measured_errors(network, sampler))
    quarter = CHANNELS // 4
    first, last = slice(0, quarter), slice(-quarter, None)
    return (costs[first].sum() / errors[first].sum()).item(), (costs[last].sum() / errors[last].sum()).item()


def test_what_errors_cost_is_measured_where_the_synthesis_makes_them_larger(
    network: TransformCodec, sampler: CropSampler
) -> None:
    first, last = _ratios(network, sampler)
    assert last / first == pytest.approx(4, rel=0.1)


def test_steps_move_to_where_errors_cost_the_same(network: TransformCodec, sampler: CropSampler) -> None:
    rate = torch.tensor([0.5])
    with torch.no_grad():
        before = network.gains(rate) * network.inverse_gains(rate)
        change = balance_steps(network, sampler)
        torch.testing.assert_close(network.gains(rate) * network.inverse_gains(rate), before)
    assert (change[1, -1] / change[1, 0]).item() == pytest.approx(2, rel=0.15)


def test_scale_indices_follow_the_steps(network: TransformCodec, sampler: CropSampler) -> None:
    features = torch.randint(0, 128, (3, SMALL.scale_features, 4, 4)).float()
    rate = torch.linspace(0, 1, 3)

    def indices() -> torch.Tensor:
        found: torch.Tensor = network.prior.scales[0](features, torch.zeros(3, CHANNELS, 4, 4), rate)
        return found.detach()

    before = indices()
    expected = balance_steps(network, sampler).log() / math.log(SCALE_RATIO)
    moved = (indices() - before).mean(dim=(2, 3))
    assert expected.abs().max() > 3
    assert (moved - expected).abs().mean() < 0.2 * expected.abs().mean()


def test_training_balances_first_if_told_to(
    network: TransformCodec, sampler: CropSampler, tmp_path: Path
) -> None:
    recipe = replace(nic2026.RECIPE, build=lambda: network)
    trainer = Trainer(recipe, network, LoopOptions(0, tmp_path, 0, 1, 1e-4, False, torch.device("cpu")))
    before = network.gains.log_gains.detach().clone()
    trainer.balance(sampler)
    assert not torch.equal(network.gains.log_gains, before)
    torch.testing.assert_close(trainer.average["gains.log_gains"], network.gains.log_gains.detach())


def test_a_recipe_that_cannot_balance_says_so(sampler: CropSampler, tmp_path: Path) -> None:
    recipe: Recipe = find_recipe("toderici2016")
    options = LoopOptions(0, tmp_path, 0, 1, 1e-4, False, torch.device("cpu"))
    with pytest.raises(ValueError, match="cannot balance"):
        Trainer(recipe, recipe.build(), options).balance(sampler)
