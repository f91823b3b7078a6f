"""Recipe of mentzer2018: MS-SSIM as a loss, the start, and the way from a network to a weights file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from pillow_neural.benchmark.metrics import ms_ssim as measured_ms_ssim
from pillow_neural.codecs import mentzer2018 as codec_module
from pillow_neural.networks.mentzer2018 import Mentzer2018Network, weight_of_rate
from pillow_neural.networks.ms_ssim import ms_ssim
from pillow_neural.training.data import CropSampler
from pillow_neural.training.recipe import find_recipe
from pillow_neural.training.recipes import mentzer2018, mentzer2018_weights
from pillow_neural.training.staggered import staggered_start
from tests.codec_helpers import picture_sampler, pictures
from tests.mentzer2018_helpers import TINY, random_context


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> CropSampler:
    monkeypatch.setattr(mentzer2018, "KLT_CROPS", 8)
    return picture_sampler(200, 220, 168)


def test_loss_is_the_measured_ms_ssim() -> None:
    random = torch.Generator().manual_seed(0)
    first = pictures(2, 187, 202)
    noise = torch.randn(first.shape, generator=random) * torch.tensor([5, 30])[:, None, None, None]
    second = (first + noise).clamp(0, 255).to(torch.uint8)
    expected = [
        measured_ms_ssim(*(picture.permute(1, 2, 0).numpy() for picture in pair))
        for pair in zip(first, second, strict=True)
    ]
    assert ms_ssim(first / 255, second / 255).tolist() == pytest.approx(expected, abs=1e-4)
    assert expected[0] > expected[1] + 0.05


def test_ms_ssim_of_unlike_pictures_has_finite_gradients() -> None:
    first = pictures(1, 161, 161).float() / 255
    assert ms_ssim(first, first).item() == pytest.approx(1)
    second = (1 - first).requires_grad_()
    ms_ssim(first, second).sum().backward()
    assert second.grad is not None
    assert second.grad.isfinite().all()
    with pytest.raises(ValueError, match="161 pixels"):
        ms_ssim(first[..., :160], first[..., :160])


def test_strong_components_are_staggered_over_several_channels() -> None:
    spread, steps = torch.tensor([4.0, 0.5, 0.3, 0.01]), torch.tensor([6.0, 0.1])
    start = staggered_start(spread, 6, 6, steps)
    assert start.component.tolist() == [0, 0, 1, 0, 2, 0]
    several = start.component == 0
    values = torch.linspace(-6, 6, 200)

    def errors(knot: int, chosen: Tensor) -> Tensor:
        gains, offsets = start.gains[knot, chosen, None], start.offsets[chosen, None]
        centres = ((values + offsets) * gains).round().clamp(-2, 3)
        return ((centres - offsets * gains) * start.inverse_gains[knot, chosen, None]).sum(dim=0) - values

    assert errors(1, several).square().mean() < 0.2 * 4.0**2 / 12
    assert start.gains[0, several][1:].max() < 0.5 * start.gains[1, several].min()
    assert (start.gains[1] * spread[start.component]).max() <= 1
    weights = start.gains[1] * start.inverse_gains[1]
    assert torch.allclose(torch.zeros(3).index_add(0, start.component, weights), torch.ones(3))


def test_start_is_a_working_transform_codec(sampler: CropSampler) -> None:
    network = mentzer2018.recipe_for(replace(TINY, channels=32)).build()
    assert isinstance(network, Mentzer2018Network)
    mentzer2018.initialise(network, sampler)
    pixels = sampler.batch(2).float() / 255
    with torch.no_grad():
        output = network(pixels, torch.ones(2))
        similarity = ms_ssim(output.reconstruction, pixels)
    assert similarity.min() > 0.6


def test_training_lowers_the_loss(sampler: CropSampler) -> None:
    torch.manual_seed(0)
    network = mentzer2018.recipe_for(TINY).build()
    mentzer2018.initialise(network, sampler)
    batch = sampler.batch(2)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        result = mentzer2018.step(network, batch, torch.Generator().manual_seed(1))
        optimiser.zero_grad()
        result.loss.backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        optimiser.step()
        losses.append(result.loss.item())
    assert np.mean(losses[-2:]) < 0.9 * np.mean(losses[:2])
    assert result.bpp > 0


def test_rates_weigh_distortion_over_the_whole_range() -> None:
    weights = weight_of_rate(torch.linspace(0, 1, 5))
    assert (weights.diff() > 0).all()
    assert weights[[0, -1]].tolist() == pytest.approx([0.8, 200])


def test_settings_change_the_shape() -> None:
    network = find_recipe("mentzer2018", ["importance=false", "features=8", "groups=1"]).build()
    assert isinstance(network, Mentzer2018Network)
    assert network.importance is None
    assert len(network.analysis.trunk.groups) == 1


def test_context_learns_what_symbols_have_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mentzer2018_weights, "CONTEXT_STEPS", 40)
    context = random_context()
    volumes = torch.randint(0, 6, (16, 1, 4, 4)).repeat(1, 6, 1, 1)
    pool = mentzer2018_weights.Pool(volumes, torch.full((16,), 50.0))

    def cost() -> float:
        with torch.no_grad():
            costs = context.symbol_bits(context((volumes - context.tree.home).float(), pool.rates))
        return costs.gather(1, volumes[:, None]).mean().item()

    before = cost()
    mentzer2018_weights.train_context(context, pool)
    assert cost() < 0.7 * before


def test_static_bits_are_entropies_of_channels() -> None:
    symbols = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1, 0, 1], [0, 1, 2, 3, 0, 1, 2, 3]])
    assert mentzer2018_weights.static_bits(symbols.to(torch.int8)) == pytest.approx(8 * (0 + 1 + 2))


def test_network_becomes_a_codec(
    tmp_path: Path, sampler: CropSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mentzer2018_weights, "CONTEXT_CROPS", 8)
    monkeypatch.setattr(mentzer2018_weights, "POOL_BATCH", 8)
    monkeypatch.setattr(mentzer2018_weights, "CONTEXT_CROP", 64)
    monkeypatch.setattr(mentzer2018_weights, "CONTEXT_STEPS", 8)
    monkeypatch.setattr(mentzer2018_weights, "CALIBRATION_POINTS", 3)
    torch.manual_seed(0)
    recipe = mentzer2018.recipe_for(replace(TINY, channels=12))
    network = recipe.build()
    recipe.initialise(network, sampler)
    held_out = [p.permute(1, 2, 0).numpy() for p in pictures(1, 96, 112)]
    packed = recipe.pack(network, sampler, held_out)
    assert 0 < int(packed.metadata["largest_integer_sum"]) < 2**24
    assert float(packed.metadata["estimated_to_real"]) == pytest.approx(1, abs=0.1)
    assert -1 < float(packed.metadata["context_saving"]) < 1
    rates = packed.tensors["calibration.bits_per_pixel"]
    assert (rates.diff() >= 0).all()
    assert rates[-1] > rates[0] > 0
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(save(packed.tensors, packed.metadata))
    codec = codec_module.load(path, "cpu")
    picture = pictures(1, 50, 70)
    payload = codec.encode(picture, [50_000])[0]
    assert torch.equal(codec.decode_volume(payload, 70, 50), codec.volumes(picture, [50_000])[0])
    assert codec.decode([payload], 70, 50).shape == (1, 3, 50, 70)
