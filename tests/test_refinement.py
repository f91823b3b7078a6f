"""The linear path of recurrent codecs, and the closed-form start of its bits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pillow_neural.codecs.recurrent import NEVER_ENOUGH, CodecNetwork
from pillow_neural.networks.linear_path import (
    LinearEncoder,
    LinearPath,
    bits_of_digits,
    digits_of_bits,
    ternary,
)
from pillow_neural.networks.recurrent_codec import DecoderLoop
from pillow_neural.networks.recurrent_transforms import RecurrentShape
from pillow_neural.training.recipe import find_recipe
from pillow_neural.training.recipes import recurrent
from pillow_neural.training.refinement import entropy, fit_digits, start_refinement
from tests.codec_helpers import picture_sampler
from tests.recurrent_helpers import shorten

SHAPE = RecurrentShape(unit="residual_gru", width=1 / 16, iterations=4, components=24)
BLOCK = 4


def _gaussian(count: int, components: int) -> Tensor:
    return torch.randn(count, components, generator=torch.Generator().manual_seed(0))


def _path(components: int, bits: int, iterations: int) -> LinearPath:
    """One with random orthonormal vectors."""
    path = LinearPath(components, bits, iterations, BLOCK)
    path.vectors.copy_(torch.linalg.qr(_gaussian(3 * BLOCK**2, components)).Q.T)
    return path


def test_synthesis_inverts_analysis() -> None:
    path = _path(3 * BLOCK**2, bits=8, iterations=1)
    pixels = _gaussian(3 * 8 * 12, 1).reshape(1, 3, 8, 12)
    products = path.analysis(pixels)
    assert products.shape == (1, 3 * BLOCK**2, 2, 3)
    assert torch.allclose(path.synthesis(products), pixels, atol=1e-5)


def test_ternary_digits_are_zero_between_the_thresholds() -> None:
    values = torch.tensor([-3.0, -1.0, -0.9, 0.0, 0.9, 1.0])
    assert ternary(values, torch.tensor(1.0)).tolist() == [-1, 0, 0, 0, 0, 1]


def test_digits_are_fitted_to_what_they_say() -> None:
    merits, thresholds, steps = fit_digits(torch.tensor([[-2.0, 0], [0, 0], [0, 0], [2, 4]]))
    assert entropy(torch.tensor([0.5, 2 / 3])).tolist() == pytest.approx([1.5, 1.585], abs=1e-3)
    assert merits[0].item() == pytest.approx(2 / 1.5**0.35)
    assert merits[1] > 2 * merits[0]
    assert steps.tolist() == pytest.approx([2, 4])
    assert 0 < thresholds[0] <= 2


def test_a_digit_is_two_bits() -> None:
    digits = torch.tensor([1.0, 0, -1]).reshape(1, 3, 1, 1)
    bits = bits_of_digits(digits)
    assert bits.flatten().tolist() == [1, 1, 1, -1, -1, -1]
    assert torch.equal(digits_of_bits(bits), digits)
    assert digits_of_bits(torch.zeros(1, 6, 1, 1)).eq(0).all()


def test_digits_of_one_component_refine_each_other() -> None:
    path = _path(6, bits=8, iterations=1)
    components = torch.tensor([0, 0, 1, 0])
    path.set_digits(0, components, torch.tensor([4.0, 2, 1, 0.5]), torch.tensor([8.0, 4, 2, 1]))
    digits = path.digits(torch.tensor([7.4, -2.5, 9, 0, 0, 0]).reshape(1, 6, 1, 1), 0)
    assert digits.flatten().tolist() == [1, 0, -1, -1]
    assert path.added(digits, 0).flatten().tolist() == [7, -2, 0, 0, 0, 0]


def test_more_digits_leave_less_to_say() -> None:
    products = _gaussian(2000, 6) * torch.tensor([8, 4, 2, 1, 1, 1.0])
    path = _path(6, bits=8, iterations=3)
    start_refinement(path, products @ path.vectors)
    pixels = path.synthesis(products.T[None, :, :, None].contiguous())
    encoder = LinearEncoder(path, pixels, start=0.0)
    active = torch.ones(1, 2000, 1, dtype=torch.bool)
    errors = [pixels.square().sum().item()]
    for _ in range(3):
        errors.append((pixels - encoder.step(active)[1]).square().sum().item())
    assert errors[1] < 0.2 * errors[0]
    assert errors[2] < 0.6 * errors[1]
    assert errors[3] < 0.8 * errors[2]
    assert (path.component[0] == 0).sum() >= 2
    remaining = [(error / errors[1]) ** 0.5 for error in errors[1:]]
    assert path.remaining.tolist() == pytest.approx(remaining, rel=1e-3)


def test_blocks_without_bits_stay_as_they_are() -> None:
    path = _path(6, bits=8, iterations=2)
    start_refinement(path, _gaussian(200, 6) @ path.vectors)
    encoder = LinearEncoder(path, path.synthesis(_gaussian(6, 1).reshape(1, 6, 1, 1)).repeat(1, 1, 1, 2), 0.0)
    bits, picture = encoder.step(torch.tensor([[[True, False]]]))
    assert bits[..., 0].abs().eq(1).all()
    assert picture[..., :BLOCK].ne(0).any()
    assert bits[..., 1].eq(0).all()
    assert picture[..., BLOCK:].eq(0).all()


def test_a_started_codec_gains_with_every_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    sampler = picture_sampler(160, 192, 64)
    recipe = recurrent.recipe_for(SHAPE)
    network = recipe.build()
    assert isinstance(network, CodecNetwork)
    recipe.initialise(network, sampler)
    pixels = sampler.batch(8).float() / 255
    with torch.no_grad():
        loop = network.eval().loop(pixels, torch.full((8,), NEVER_ENOUGH))
        errors = [(iteration.picture - pixels).square().mean().item() for iteration in loop]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.5 * (pixels - 0.5).square().mean()


def test_networks_of_the_papers_have_no_path() -> None:
    network = find_recipe("toderici2016", ["components=0"]).build()
    assert isinstance(network, CodecNetwork)
    assert network.loop.path is None
    assert network.loop.encoder is not None


def test_the_decoder_adds_to_what_the_path_says() -> None:
    torch.manual_seed(0)
    network = CodecNetwork(SHAPE).eval().loop
    pixels = torch.rand(2, 3, 64, 32)
    never = torch.full((2,), NEVER_ENOUGH)
    decoder = DecoderLoop(network, 2, 64, 32)
    with torch.no_grad():
        for alone, both in zip(network.encode(pixels, never), network(pixels, never), strict=True):
            assert torch.equal(alone.bits, both.bits)
            assert (alone.picture - both.picture).abs().mean() > 0.01
            assert torch.equal(decoder.step(both.bits, both.active), both.picture)
        network.decoder.tail.weight.zero_()
        for alone, both in zip(network.encode(pixels, never), network(pixels, never), strict=True):
            assert torch.allclose(alone.picture, both.picture, atol=1e-6)


@pytest.mark.parametrize("change", [{"components": -1}, {"reconstruction": "additive"}])
def test_impossible_paths_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="components out of range"):
        replace(SHAPE, **change)  # type: ignore[arg-type]
