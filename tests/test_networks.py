"""Layers: phases, integer convolutions, rate curves, quantisation, packing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from pillow_neural.entropy.gaussian import gaussian_bits, index_of_scale, logistic_bits, scale_of_index
from pillow_neural.networks import integer, precision, transform_codec
from pillow_neural.networks.adaptive_filter import AdaptiveFilter
from pillow_neural.networks.integer import (
    ACTIVATION_LIMIT,
    IntegerConv2d,
    exact_convolution,
    integer_activation,
    restoring_clamp,
    round_half_up,
)
from pillow_neural.networks.packing import pack, thaw, unpack
from pillow_neural.networks.phases import GROUPS, PHASES, group_at, phase_mask
from pillow_neural.networks.pixel_stage import CELL, PixelStage
from pillow_neural.networks.prior_layers import MeanPhase
from pillow_neural.networks.quantise import other_parity, rate_distortion_round, response
from pillow_neural.networks.rate import RateCurve, rate_plane
from pillow_neural.networks.residual import RateResidualBlock
from pillow_neural.networks.transform_codec import (
    SLOPE,
    NetworkShape,
    TransformCodec,
    lambda_of_rate,
    squared_error,
)

SMALL = NetworkShape(
    latents=16, features=8, analysis_blocks=1, synthesis_blocks=1, hyper=4,
    mean_features=8, mean_hidden=8, scale_features=8, scale_hidden=8, knots=3,
)  # fmt: skip


def test_phases_decode_every_latent_once() -> None:
    masks = [phase_mask(k, 8, 4, 6, torch.device("cpu")) for k in range(PHASES)]
    assert torch.stack(masks).sum(0).eq(1).all()


def test_every_place_decodes_a_quarter_of_its_channels_in_each_phase() -> None:
    for phase in range(PHASES):
        mask = phase_mask(phase, 8, 2, 2, torch.device("cpu"))
        assert mask.sum(0).eq(8 // GROUPS).all()
        for parity in range(4):
            row, column = divmod(parity, 2)
            assert mask[group_at(phase, parity), row, column]


def test_linear_prediction_fills_exactly_the_latents_of_its_phase() -> None:
    mean = MeanPhase(2, latents=8, features=4, hidden=4, knots=2)
    assert mean.linear is not None
    torch.nn.init.ones_(mean.linear)
    predicted = mean.linear_prediction(torch.ones(1, 8, 4, 4))[0]
    assert torch.equal(predicted != 0, phase_mask(2, 8, 4, 4, torch.device("cpu")))


def _integer_inputs(channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, channels, 9, 7)
    return torch.randint(-ACTIVATION_LIMIT, ACTIVATION_LIMIT + 1, shape, generator=generator).float()


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kernel", [1, 3])
def test_integer_convolution_equals_integer_arithmetic(kernel: int, frozen: bool) -> None:
    torch.manual_seed(0)
    layer = IntegerConv2d(24, 10, kernel)
    torch.nn.init.normal_(layer.bias)
    weight, bias, shift = layer.integers()
    if frozen:
        layer.freeze(weight, bias, shift)
    inputs = _integer_inputs(24)
    expected = F.conv2d(inputs.double(), weight.double(), bias.double(), padding=kernel // 2)
    with torch.no_grad():
        result = layer(inputs).double() * torch.exp2(shift.double())[:, None, None]
    assert torch.equal(result, expected)
    assert torch.equal(result, result.round())


def test_integer_convolution_is_the_same_in_every_layout_and_after_freezing() -> None:
    torch.manual_seed(0)
    layer = IntegerConv2d(24, 10, 3)
    inputs = _integer_inputs(24)
    with torch.no_grad():
        expected = layer(inputs)
        assert torch.equal(layer(inputs.to(memory_format=torch.channels_last)), expected)
        assert torch.equal(torch.cat([layer(part) for part in inputs.split(1)]), expected)
        frozen = IntegerConv2d(24, 10, 3)
        frozen.freeze(*layer.integers())
        assert torch.equal(frozen(inputs), expected)


def test_products_of_bytes_are_those_of_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of layers as frozen, with all that there can be in an activation."""
    torch.manual_seed(0)
    for kernel in (1, 3):
        layer = IntegerConv2d(130, 33, kernel)
        layer.freeze(*layer.integers())
        inputs = _integer_inputs(130)
        found = []
        for bytes_are_exact in (False, precision.multiplies_bytes()):
            monkeypatch.setattr(integer, "multiplies_bytes", lambda exact=bytes_are_exact: exact)
            with torch.no_grad():
                found.append(layer(inputs))
        assert torch.equal(*found)
        layer.thaw()
        with torch.no_grad():
            assert torch.equal(layer(inputs), found[0])


def test_products_of_bytes_that_overflow_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)

    def multiplied(limit: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Pairs of products are added up to at most a limit, then all pairs."""

        def multiply(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
            products = rows.int()[:, :, None] * columns.int()[None]
            return products.unflatten(1, (-1, 2)).sum(dim=2).clamp(-limit, limit).sum(dim=1).int()

        return multiply

    for limit, expected in ((2**15 - 1, True), (2**15 - 600, False)):
        monkeypatch.setattr(torch, "_int_mm", multiplied(limit))
        assert precision.multiplies_bytes.__wrapped__() is expected
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert not precision.multiplies_bytes.__wrapped__()


def test_training_and_exact_convolution_agree() -> None:
    torch.manual_seed(0)
    layer = IntegerConv2d(24, 10, 3)
    inputs = _integer_inputs(24)
    trained = layer(inputs)
    with torch.no_grad():
        assert torch.allclose(trained, layer(inputs), rtol=1e-4, atol=1e-3)
    trained.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0


def test_largest_sum_is_reached_by_the_worst_input() -> None:
    torch.manual_seed(0)
    layer = IntegerConv2d(5, 3, 1)
    weight, _, _ = layer.integers()
    row = int(weight.double().abs().sum(dim=(1, 2, 3)).argmax())
    inputs = torch.sign(weight[row].double()) * 7
    reached = (weight[row].double() * inputs).sum().item()
    assert layer.largest_sums(7)[row] == reached


def test_exact_convolution_matches_the_library() -> None:
    torch.manual_seed(0)
    features, weight, bias = torch.randn(2, 3, 8, 5), torch.randn(4, 3, 3, 3), torch.randn(4)
    assert torch.allclose(
        exact_convolution(features, weight, bias), F.conv2d(features, weight, bias, padding=1), atol=1e-5
    )


def test_activation_gives_whole_numbers_in_range() -> None:
    values = torch.tensor([-3.0, 0.4, 0.5, 1.5, 126.6, 300.0])
    with torch.no_grad():
        assert integer_activation(values).tolist() == [0, 0, 1, 2, 127, 127]
    assert round_half_up(torch.tensor([-0.5, 2.5])).tolist() == [0, 3]


def test_clamp_keeps_gradients_that_lead_back() -> None:
    values = torch.tensor([-1.0, -1.0, 2.0, 2.0], requires_grad=True)
    (restoring_clamp(values, 0, 1) * torch.tensor([1.0, -1.0, 1.0, -1.0])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, -1, 1, 0]


def test_rate_curve_passes_through_its_knots_and_between_them() -> None:
    curve = RateCurve(torch.tensor([[0.0], [1.0], [3.0]]))
    logs = curve.log(torch.tensor([0.0, 0.25, 0.5, 1.0])).flatten()
    assert logs.tolist() == pytest.approx([0, 0.5, 1, 3])


def test_rate_plane_covers_the_whole_range_in_whole_numbers() -> None:
    plane = rate_plane(torch.tensor([0.0, 0.5, 1.0]), torch.zeros(3, 1, 2, 2))
    assert plane[:, 0, 0, 0].tolist() == [0, 64, 127]


def test_new_residual_block_changes_nothing() -> None:
    features = torch.randn(2, 8, 5, 5)
    block = RateResidualBlock(8, knots=3)
    assert torch.equal(block(features, torch.tensor([0.1, 0.9])), features)


def test_scale_index_inverts_scale() -> None:
    index = torch.arange(64.0)
    assert torch.allclose(index_of_scale(scale_of_index(index)), index, atol=1e-3)


@pytest.mark.parametrize("scale", [0.2, 1.0, 9.0])
def test_bits_are_those_of_a_distribution(scale: float) -> None:
    values = torch.arange(-200.0, 201.0, dtype=torch.float64)
    gaussian = torch.exp2(-gaussian_bits(values, torch.tensor(scale, dtype=torch.float64))).sum()
    logistic = torch.exp2(-logistic_bits(values, torch.tensor(0.3), torch.tensor(scale))).sum()
    assert gaussian.item() == pytest.approx(1, abs=1e-4)
    assert logistic.item() == pytest.approx(1, abs=1e-4)


def test_rate_distortion_rounding_trades_bits_for_error() -> None:
    residual = torch.tensor([0.6, -0.6, 0.4, 2.9])

    def expensive(symbols: torch.Tensor) -> torch.Tensor:
        return symbols.abs() * 5

    heavy, light = torch.tensor(1e6), torch.tensor(1.0)
    assert rate_distortion_round(residual, heavy, expensive).tolist() == [1, -1, 0, 3]
    assert rate_distortion_round(residual, light, expensive).abs().tolist() == [0, 0, 0, 2]


def _mean_response(scale: float, latents: torch.Tensor) -> float:
    weight = torch.tensor(20.0)

    def bits_of(symbols: torch.Tensor) -> torch.Tensor:
        return gaussian_bits(symbols, torch.tensor(scale).expand_as(symbols))

    symbols = rate_distortion_round(latents, weight, bits_of)
    _, costs = other_parity(symbols, latents, weight, bits_of)
    return response(costs, weight).mean().item()


def test_symbols_follow_latents_that_are_spread_evenly_and_no_sure_zeros() -> None:
    assert _mean_response(20.0, torch.linspace(3.0, 6.0, 301)) == pytest.approx(1, abs=0.02)
    assert _mean_response(0.1, torch.linspace(-0.2, 0.2, 101)) < 0.01


def test_packed_network_computes_the_same_integers() -> None:
    torch.manual_seed(0)
    network, copy = TransformCodec(SMALL), TransformCodec(SMALL)
    unpack(copy, pack(network))
    hyper = torch.randint(-15, 16, (1, 4, 2, 2)).float()
    rate = torch.tensor([0.3])
    magnitudes = torch.randint(0, 5, (1, 16, 8, 8)).float()
    with torch.no_grad():
        features = network.prior.scale_synthesis(hyper, rate)
        assert torch.equal(copy.prior.scale_synthesis(hyper, rate), features)
        for phase, scale in enumerate(network.prior.scales):
            again = copy.prior.scales[phase](features, magnitudes, rate)
            assert torch.equal(again, scale(features, magnitudes, rate))
            assert torch.equal(again, again.round())


def test_eight_bits_are_within_half_a_step_and_pack_into_the_same_again() -> None:
    torch.manual_seed(0)
    network, copy = TransformCodec(SMALL), TransformCodec(SMALL)
    name, other = "analysis.blocks.0.first.weight", "analysis.linear.weight"
    weight = network.get_parameter(name)
    with torch.no_grad():
        weight[0], weight[1] = 0, 1e-6 * weight[1]
    tensors = pack(network, ["blocks."])
    assert tensors[name].dtype == torch.int8
    assert tensors[other].dtype == torch.float16
    assert tensors["analysis.blocks.0.first.bias"].dtype == torch.float16
    unpack(copy, tensors)
    error = (copy.get_parameter(name) - weight).flatten(1).abs().amax(dim=1)
    assert (error <= weight.flatten(1).abs().amax(dim=1) / 250).all()
    assert error[2:].min() > 0
    again = pack(copy, ["blocks."])
    assert all(torch.equal(again[key], value) for key, value in tensors.items())


def test_thawed_network_computes_the_same_and_learns_again() -> None:
    torch.manual_seed(0)
    network, copy = TransformCodec(SMALL), TransformCodec(SMALL)
    unpack(copy, pack(network))
    thaw(copy)
    again, stored = pack(copy), pack(network)
    assert all(torch.equal(again[name], stored[name]) for name in stored)
    layer = copy.prior.scales[1].mix
    before = layer.integers()[0]
    with torch.no_grad():
        layer.weight.mul_(-0.7)
    assert not torch.equal(layer.integers()[0], before)


def test_lambda_rises_over_the_range() -> None:
    weights = lambda_of_rate(torch.linspace(0, 1, 5))
    assert (weights.diff() > 0).all()


@pytest.fixture
def uneven_transforms() -> TransformCodec:
    network = TransformCodec(SMALL)
    for tail in (network.analysis.tail, network.synthesis.tail):
        torch.nn.init.normal_(tail.weight)
        torch.nn.init.normal_(tail.bias)
    return network


@torch.no_grad()
@pytest.mark.usefixtures("in_float32")
def test_one_plane_gives_the_latents_of_three_equal_ones(uneven_transforms: TransformCodec) -> None:
    grey, rate = torch.rand(2, 1, 64, 32) - 0.5, torch.tensor([0.2, 0.9])
    expected = uneven_transforms.analysis(grey.repeat(1, 3, 1, 1), rate)
    torch.testing.assert_close(uneven_transforms.analysis(grey, rate), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("reduction", [1, 2, 8])
def test_one_plane_is_the_mean_of_three(uneven_transforms: TransformCodec, reduction: int) -> None:
    decoded, rate = torch.randn(2, 16, 4, 2), torch.tensor([0.2, 0.9])
    expected = uneven_transforms.reconstruct(decoded, rate, reduction).mean(dim=1, keepdim=True)
    grey = uneven_transforms.reconstruct(decoded, rate, reduction, planes=1)
    torch.testing.assert_close(grey, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def stage() -> PixelStage:
    stage = PixelStage(6, 2)
    torch.nn.init.normal_(stage.tail.weight, std=0.3)
    return stage


def test_an_untrained_pixel_stage_changes_nothing() -> None:
    pixels = torch.rand(2, 3, 8, 6)
    assert torch.equal(PixelStage(6, 2)(pixels, torch.tensor([0.1, 0.7])), pixels)


@torch.no_grad()
@pytest.mark.usefixtures("in_float32")
def test_one_plane_in_the_pixel_stage_is_the_mean_of_three_equal_ones(stage: PixelStage) -> None:
    grey, rate = torch.rand(2, 1, 12, 8), torch.tensor([0.2, 0.9])
    expected = stage(grey.repeat(1, 3, 1, 1), rate).mean(dim=1, keepdim=True)
    assert not torch.allclose(expected, grey, atol=0.01)
    torch.testing.assert_close(stage(grey, rate), expected, rtol=1e-4, atol=1e-5)


def test_a_pixel_behind_the_pixel_stage_depends_on_its_halo_alone(stage: PixelStage) -> None:
    pixels = torch.rand(1, 3, 40, 2, requires_grad=True)
    stage(pixels, torch.tensor([0.5]))[:, :, 20].sum().backward()
    assert pixels.grad is not None
    rows = pixels.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    assert 20 - stage.halo <= rows.min() < 20 - stage.halo + CELL
    assert 20 + stage.halo - CELL < rows.max() <= 20 + stage.halo


def test_finishing_waits_for_a_filter() -> None:
    network = TransformCodec(replace(SMALL, pixel_features=6))
    assert network.pixel_stage is not None
    torch.nn.init.normal_(network.pixel_stage.tail.weight)
    pixels, rate = torch.rand(1, 3, 16, 16), torch.tensor([0.5])
    assert network.finish(pixels, rate) is pixels
    network.post_filter = AdaptiveFilter(torch.zeros(2, 8, 20), torch.zeros(2, 0), torch.zeros(2, 0))
    assert torch.equal(network.finish(pixels, rate), network.pixel_stage(pixels, rate))
    assert network.finish_halo > TransformCodec(SMALL).finish_halo


def test_colour_channels_are_those_whose_planes_cancel() -> None:
    synthesis = TransformCodec(SMALL).synthesis
    kernels = torch.randn(16, 256)
    grey, colour = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1.0, 0.2, -1.2])
    planes = torch.where(torch.arange(16)[:, None] % 3 == 0, colour, grey)
    weight = planes[:, :, None] * kernels[:, None]
    synthesis.linear.weight.data = weight.reshape(16, 768).T[:, :, None, None]
    assert torch.equal(synthesis.colour_channels(), torch.arange(16) % 3 == 0)


def _cost_as_coded(scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Bits + SLOPE * lambda * D by an analysis that is `scale` times the exact one, and its weights."""
    torch.manual_seed(0)
    network = TransformCodec(SMALL)
    basis = torch.linalg.qr(torch.randn(768, 16)).Q
    network.synthesis.linear.weight.data = basis[:, :, None, None]
    network.analysis.linear.weight.data = scale * basis.T[:, :, None, None]
    tails = network.analysis.tail, network.synthesis.tail
    for silent in (*(tail.bias for tail in tails), network.prior.hyper_analysis[-1].weight):
        torch.nn.init.zeros_(silent)
    rate = torch.tensor([0.3, 0.6])
    with torch.no_grad():
        pixels = network.reconstruct(3 * torch.randn(2, 16, 16, 16), rate)
    torch.manual_seed(1)
    output = network(pixels, rate, as_coded=True)
    errors = lambda_of_rate(rate) * squared_error(output.reconstruction, pixels) * 256**2
    return output.bits.sum() + SLOPE * errors.sum(), network.analysis.linear.weight


def _gradient_as_coded(scale: float) -> float:
    cost, weight = _cost_as_coded(scale)
    (gradient,) = torch.autograd.grad(cost, weight)
    return (gradient * weight).sum().item() / scale


@pytest.fixture
def _nothing_mends_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform_codec, "CURVATURE", 1.0)


@pytest.mark.usefixtures("_nothing_mends_errors")
@pytest.mark.parametrize("scale", [0.8, 0.9, 1.0, 1.1, 1.2])
def test_as_coded_an_analysis_has_the_derivative_of_what_is_coded(scale: float) -> None:
    with torch.no_grad():
        expected = (_cost_as_coded(scale + 0.04)[0] - _cost_as_coded(scale - 0.04)[0]).item() / 0.08
    assert _gradient_as_coded(scale) == pytest.approx(expected, rel=0.08)


@pytest.mark.usefixtures("_nothing_mends_errors")
def test_as_coded_an_analysis_comes_back_to_the_exact_one() -> None:
    assert _gradient_as_coded(1.1) > 0
    assert _gradient_as_coded(0.9) < 0
