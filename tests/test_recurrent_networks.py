"""Recurrent units, the binarizer, block distortions and the loop of a recurrent codec."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pillow_neural.networks.binarizer import Binarizer, sign, stochastic_sign
from pillow_neural.networks.distortion import absolute_error, dissimilarity
from pillow_neural.networks.recurrent import UNITS, ConvGRU, ConvLSTM, ResidualGRU, Stack
from pillow_neural.networks.recurrent_codec import DecoderLoop, Iteration, RecurrentNetwork
from pillow_neural.networks.recurrent_transforms import RecurrentShape
from tests.codec_helpers import pictures
from tests.recurrent_helpers import TINY

NEVER = -1.0


def _network(shape: RecurrentShape = TINY) -> RecurrentNetwork:
    torch.manual_seed(0)
    return RecurrentNetwork(shape).eval()


def _pixels(height: int = 64, width: int = 64) -> Tensor:
    return pictures(2, height, width).float() / 255


@torch.no_grad()
def _coded(network: RecurrentNetwork, pixels: Tensor, target: float = NEVER) -> list[Iteration]:
    return list(network(pixels, pixels.new_full((len(pixels),), target)))


@pytest.mark.parametrize("name", UNITS)
def test_first_step_is_one_from_a_state_of_zeros(name: str) -> None:
    torch.manual_seed(0)
    unit = UNITS[name](6, 4, hidden_kernel=3, stride=2)
    features = torch.randn(2, 6, 8, 10)
    output, state = unit(features, None)
    assert output.shape == (2, 4, 4, 5)
    from_zeros, state_from_zeros = unit(features, tuple(torch.zeros_like(part) for part in state))
    assert torch.allclose(output, from_zeros, atol=1e-6)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(state, state_from_zeros, strict=True))
    assert not torch.allclose(unit(features, state)[0], output, atol=1e-2)


def test_gru_follows_its_equation() -> None:
    torch.manual_seed(0)
    unit = ConvGRU(3, 2, hidden_kernel=3, stride=1)
    features, hidden = torch.randn(1, 3, 5, 5), torch.randn(1, 2, 5, 5)
    z_x, r_x, value = unit.input(features).chunk(3, dim=1)
    z_h, r_h = unit.hidden(hidden).chunk(2, dim=1)
    z, r = torch.sigmoid(z_x + z_h), torch.sigmoid(r_x + r_h)
    expected = (1 - z) * hidden + z * torch.tanh(value + unit.candidate(r * hidden))
    assert torch.allclose(unit(features, (hidden,))[0], expected, atol=1e-6)


def test_lstm_follows_its_equation() -> None:
    torch.manual_seed(0)
    unit = ConvLSTM(3, 2, hidden_kernel=1, stride=1)
    features, hidden, cell = torch.randn(1, 3, 5, 5), torch.randn(1, 2, 5, 5), torch.randn(1, 2, 5, 5)
    f, i, o, j = (unit.input(features) + unit.hidden(hidden)).chunk(4, dim=1)
    new_cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(j)
    output, state = unit(features, (hidden, cell))
    assert torch.allclose(output, torch.sigmoid(o) * torch.tanh(new_cell), atol=1e-6)
    assert torch.allclose(state[1], new_cell, atol=1e-6)


def test_residual_gru_adds_a_tenth_of_its_shortcuts() -> None:
    torch.manual_seed(0)
    unit = ResidualGRU(3, 2, hidden_kernel=1, stride=2)
    features, hidden = torch.randn(1, 3, 6, 6), torch.randn(1, 2, 3, 3)
    expected = unit.updated(features, hidden) + 0.1 * unit.carry(hidden)
    output, state = unit(features, (hidden,))
    assert torch.allclose(state[0], expected, atol=1e-6)
    assert torch.allclose(output, expected + 0.1 * unit.shortcut(features), atol=1e-6)


def test_stacks_go_down_and_up_by_two_a_unit() -> None:
    down = Stack("gru", 3, (8, 12), (1, 1), upsampling=False)
    up = Stack("gru", 12, (16, 8), (1, 3), upsampling=True)
    features, _ = down(torch.randn(1, 3, 16, 8), None)
    assert features.shape == (1, 12, 4, 2)
    assert up(features, None)[0].shape == (1, 2, 16, 8)


def test_stochastic_sign_has_the_value_as_its_mean_and_its_gradient() -> None:
    torch.manual_seed(0)
    values = torch.tensor([-1.0, -0.6, 0.0, 0.3, 1.0]).repeat(20_000, 1).requires_grad_()
    bits = stochastic_sign(values)
    assert bits.detach().round().abs().eq(1).all()
    assert torch.allclose(bits.detach().mean(0), values[0].detach(), atol=0.03)
    (bits * 3).sum().backward()
    assert values.grad is not None
    assert values.grad.eq(3).all()


def test_binarizer_is_random_only_in_training() -> None:
    torch.manual_seed(0)
    binarizer = Binarizer(4, 8)
    features = 0.1 * torch.randn(1, 4, 6, 6)
    assert not torch.equal(binarizer(features), binarizer(features))
    binarizer.eval()
    assert torch.equal(binarizer(features), sign(binarizer.convolution(features)))
    assert sign(torch.tensor([0.0, -1e-9])).tolist() == [1, -1]


def test_dissimilarity_of_a_block_is_that_of_its_definition() -> None:
    first, second = _pixels(16, 24)[:1], _pixels(16, 24)[1:]
    x, y = (picture[0, :, 8:16, 16:24].numpy().astype(np.float64) for picture in (first, second))
    mean_x, mean_y = x.mean((1, 2)), y.mean((1, 2))
    covariance = (x * y).mean((1, 2)) - mean_x * mean_y
    ssim = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    ssim *= (2 * covariance + 9e-4) / (x.var((1, 2)) + y.var((1, 2)) + 9e-4)
    assert dissimilarity(first, second)[0, 1, 2].item() == pytest.approx((1 - ssim).mean() / 2, abs=1e-4)
    assert dissimilarity(first, first).max() < 1e-4
    assert absolute_error(first, second)[0, 1, 2].item() == pytest.approx(np.abs(x - y).mean(), abs=1e-5)


@pytest.mark.parametrize("reconstruction", ["one_shot", "additive", "scaled_additive"])
@pytest.mark.parametrize("extra", [(0, 0), (2, 1)])
def test_decoder_repeats_what_the_encoder_saw(reconstruction: str, extra: tuple[int, int]) -> None:
    shape = replace(TINY, reconstruction=reconstruction, priming=extra[0], diffusion=extra[1])
    network = _network(shape)
    iterations = _coded(network, _pixels())
    decoder = DecoderLoop(network, 2, 64, 64)
    assert len(iterations) == shape.iterations
    for iteration in iterations:
        with torch.no_grad():
            picture = decoder.step(iteration.bits, iteration.active)
        assert torch.equal(picture, iteration.picture)


@pytest.mark.parametrize(
    ("reconstruction", "pictures_expected"),
    [
        ("one_shot", [0.6, 0.6, 0.6]),
        ("additive", [0.6, 0.7, 0.8]),
        ("scaled_additive", [0.6, 0.65, 0.7]),
    ],
)
def test_outputs_become_pictures(
    reconstruction: str, pictures_expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _network(replace(TINY, reconstruction=reconstruction))
    monkeypatch.setattr(network.decoder, "forward", lambda *_: (torch.full((1, 3, 32, 32), 0.1), []))
    if network.gain is not None:
        monkeypatch.setattr(network.gain, "forward", lambda picture: torch.full((1, 1, 32, 32), 2.0))
    decoder = DecoderLoop(network, 1, 32, 32)
    active = torch.ones(1, 2, 2, dtype=torch.bool)
    means = [decoder.step(torch.ones(1, 32, 2, 2), active).mean().item() for _ in pictures_expected]
    assert means == pytest.approx(pictures_expected)


def test_gains_are_above_one_for_every_square() -> None:
    network = _network(replace(TINY, reconstruction="scaled_additive"))
    assert network.gain is not None
    gains = network.gain(_pixels(64, 96))
    assert gains.shape == (2, 1, 64, 96)
    assert gains.min() > 1
    assert gains[0, 0, :32, 32:64].unique().numel() == 1


def test_priming_and_diffusion_are_additional_steps_of_both_sides() -> None:
    network = _network(replace(TINY, priming=3, diffusion=2, iterations=3))
    calls: Counter[str] = Counter()
    for name in ("encoder", "decoder"):
        module = network.get_submodule(name)
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    _coded(network, _pixels())
    assert calls == {"encoder": 4 + 3 + 3, "decoder": 4 + 3 + 3}


def test_blocks_stop_at_their_target_and_keep_their_pixels() -> None:
    network = _network(replace(TINY, iterations=6))
    pixels = _pixels()
    distortion = network.distortion(pixels, _coded(network, pixels)[1].picture)
    iterations = _coded(network, pixels, target=distortion.median().item())
    for before, after in pairwise(iterations):
        assert not (after.active & ~before.active).any()
        stopped = ~after.active
        assert after.bits.abs().amax(dim=1).eq(after.active.float()).all()
        pixel = stopped.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, None].expand_as(pixels)
        assert torch.equal(after.picture[pixel], before.picture[pixel])
        enough = network.distortion(pixels, before.picture) <= distortion.median()
        assert torch.equal(after.active, before.active & ~enough)
    counts = sum(iteration.active.int() for iteration in iterations)
    assert 1 <= counts.min() < counts.max()


def test_coding_ends_when_no_block_needs_more() -> None:
    assert len(_coded(_network(), _pixels(), target=1e9)) == 1


def test_blocks_outside_the_picture_have_no_bits() -> None:
    network = _network()
    inside = torch.ones(2, 4, 4, dtype=torch.bool)
    inside[:, 3] = False
    with torch.no_grad():
        for iteration in network(_pixels(), torch.full((2,), NEVER), inside):
            assert torch.equal(iteration.active, inside)
            assert iteration.bits[:, :, 3].eq(0).all()


def test_full_width_has_the_cost_that_the_paper_s_layers_have() -> None:
    network = RecurrentNetwork(RecurrentShape(unit="lstm", width=1, iterations=2)).eval()
    pixels = torch.rand(1, 3, 32, 32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        loop = network(pixels, torch.full((1,), NEVER))
        next(loop)
        first = counter.get_total_flops()
        assert next(loop).bits.shape == (1, 32, 2, 2)
        second = counter.get_total_flops() - first
    assert second / 2 / 1024 == pytest.approx(722_000, rel=0.01)
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(35.4e6, rel=0.01)


@pytest.mark.parametrize(
    "change",
    [{"unit": "rnn"}, {"reconstruction": "two_shot"}, {"width": 0}, {"iterations": 0}, {"priming": -1}],
)
def test_impossible_shapes_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not one of|out of range|fewer than 0"):
        replace(TINY, **change)
