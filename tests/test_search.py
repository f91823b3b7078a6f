"""The search for better symbols of the default codec, on its bundled weights."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pillow_neural import picture
from pillow_neural.benchmark.metrics import ms_ssim, psnr
from pillow_neural.codecs.contract import Codec, Payload
from pillow_neural.codecs.nic2026 import Nic2026
from pillow_neural.codecs.nic2026_symbols import Choice, SymbolChooser
from pillow_neural.coding import Coded, Planes, code
from pillow_neural.networks import search
from pillow_neural.networks.adaptive_filter import AdaptiveFilter
from pillow_neural.networks.directions import Directions
from pillow_neural.networks.prior_layers import MeanPhase
from pillow_neural.networks.search import Search, errors_of, rest_of
from pillow_neural.networks.search_tiles import Picture, tiles
from pillow_neural.networks.transform_codec import TransformCodec
from pillow_neural.settings import DEFAULT_EFFORT
from tests.codec_helpers import EXAMPLE, default_codec

LEVEL = 30_000


@pytest.fixture(scope="module", params=["psnr", "ssim"])
def codec(request: pytest.FixtureRequest) -> Nic2026:
    return default_codec(request.param)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """Two pictures, uint8 [2, 3, 200, 190]."""
    whole = torch.from_numpy(np.array(Image.open(EXAMPLE).convert("RGB"))).permute(2, 0, 1)
    return torch.stack([whole[:, 100:300, x : x + 190] for x in (130, 430)])


@torch.inference_mode()
def _chosen(codec: Nic2026, pixels: Tensor) -> tuple[SymbolChooser, Picture, Choice]:
    chooser = codec._chooser
    picture = chooser.prepare(pixels, [LEVEL] * len(pixels))
    weight = picture.weight * codec._network.choice_value()
    return chooser, picture, chooser._choose(picture, picture.latents, weight)


@pytest.mark.usefixtures("in_float32")
def test_means_all_at_once_are_those_of_the_phases(codec: Nic2026, pixels: Tensor) -> None:
    _, picture, choice = _chosen(codec, pixels)
    symbols = choice.symbols
    with torch.no_grad():
        means = codec._network.prior.means_after(
            picture.hyper, choice.decoded / picture.unit, picture.unit, picture.rate
        )
    assert symbols.abs().sum() > 1000
    assert torch.allclose(means * picture.unit + symbols, choice.decoded, atol=1e-3)


@pytest.mark.parametrize("numbers", [(), (20, 30, 40, 30, -20, 60, -60)])
def test_derivative_is_that_of_what_is_paid_and_lost(
    codec: Nic2026, pixels: Tensor, numbers: tuple[int, ...]
) -> None:
    """Finite differences along the derivative; slopes are constants of it."""
    chooser, picture, choice = _chosen(codec, pixels)
    network = codec._network
    slope, strengths = chooser._slope(picture, choice), network.strengths_of([(), numbers], picture.rate)

    def loss(decoded: Tensor) -> float:
        with torch.no_grad():
            means = network.prior.means_after(
                picture.hyper, decoded / picture.unit, picture.unit, picture.rate
            )
            errors = errors_of(network, picture, decoded, strengths) / search.WORTH
            own = (picture.weight * (picture.latents - decoded).square()).double().sum()
            rest = search.WORTH * (errors.double().sum() - own)
            return float(rest - (slope * means * picture.unit).double().sum())

    derivative = rest_of(network, picture, choice.decoded, slope, strengths=strengths).derivative
    plain = rest_of(network, picture, choice.decoded, slope).derivative
    assert torch.equal(derivative, plain) == (not numbers)
    direction = derivative * (0.05 / derivative.abs().max())
    found = loss(choice.decoded + direction) - loss(choice.decoded - direction)
    assert found == pytest.approx(2 * float((derivative * direction).sum()), rel=0.05)


def _in_float64(
    codec: Nic2026, picture: Picture, choice: Choice, monkeypatch: pytest.MonkeyPatch
) -> tuple[TransformCodec, Picture, Choice]:
    """All as it is, in a precision whose rounding turns no slope of an activation or class of the filter."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    network = copy.deepcopy(codec._network).double()
    assert network.post_filter is not None
    network.post_filter = AdaptiveFilter(*(part.double() for part in network.post_filter))
    if network.directions is not None:
        network.directions = Directions(*(part.double() for part in network.directions))
    exact = picture._replace(
        **{name: value.double() for name, value in picture._asdict().items() if name != "pixels"}
    )
    return network, exact, choice._replace(decoded=choice.decoded.double())


@pytest.mark.usefixtures("in_float32")
def test_where_all_is_linear_linear_derivatives_are_exact(codec: Nic2026, pixels: Tensor) -> None:
    """Pictures too small for MS-SSIM, whose finest scale one of both leaves out."""
    chooser, picture, choice = _chosen(codec, pixels[:, :, :150, :140])
    slope = chooser._slope(picture, choice)
    network = copy.deepcopy(codec._network)
    network.post_filter = network.pixel_stage = network.directions = None
    torch.nn.init.zeros_(network.synthesis.tail.weight)
    for mean in network.prior.means:
        assert isinstance(mean, MeanPhase)
        torch.nn.init.zeros_(mean.to_mean.weight)
    exact, linear = (rest_of(network, picture, choice.decoded, slope, linear) for linear in (False, True))
    assert torch.equal(linear.outcome.errors, exact.outcome.errors)
    assert torch.allclose(linear.derivative, exact.derivative, atol=1e-3 * float(exact.derivative.std()))
    other = rest_of(codec._network, picture, choice.decoded, slope, linear=True)
    assert not torch.allclose(other.derivative, exact.derivative, atol=0.1 * float(exact.derivative.std()))


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.usefixtures("in_float32")
def test_tiles_differentiate_as_the_whole(
    codec: Nic2026, pixels: Tensor, linear: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if codec._network.shape.masking:
        pytest.skip("MS-SSIM of tiles is not that of the whole")
    tall = torch.cat([pixels, pixels.flip(2)], dim=2)
    chooser, picture, choice = _chosen(codec, tall)
    slope = chooser._slope(picture, choice).double()
    network, picture, choice = _in_float64(codec, picture, choice, monkeypatch)
    whole = rest_of(network, picture, choice.decoded, slope, linear)
    assert [tile.pixels.shape[2:] for tile in tiles(picture, choice.decoded, 3)] == [
        (128, 190),
        (128, 190),
        (144, 190),
    ]
    assert len(list(tiles(picture, choice.decoded, 2))) == 8
    monkeypatch.setattr(search, "LARGEST_LINEAR_TILE" if linear else "LARGEST_TILE", 2)
    parts = rest_of(network, picture, choice.decoded, slope, linear)
    assert torch.allclose(parts.outcome.errors, whole.outcome.errors, rtol=1e-4)
    assert torch.allclose(parts.derivative, whole.derivative, atol=1e-3 * float(whole.derivative.std()))


def test_latents_move_against_the_mean_derivative(codec: Nic2026, pixels: Tensor) -> None:
    _, picture, _ = _chosen(codec, pixels)
    moving = Search(codec._network, picture, 4)
    assert torch.equal(moving.moved(torch.zeros_like(picture.latents)), picture.latents)
    moving = Search(codec._network, picture, 4)
    one = 0.1 * moving.weight.expand_as(picture.latents)
    first, same, third = (moving.moved(d) - picture.latents for d in (one, one, torch.zeros_like(one)))
    assert (first < 0).all()
    torch.testing.assert_close(same, first, rtol=1e-3, atol=1e-4)
    assert (first < third).all()
    assert (third < 0.5 * first).all()


def test_latents_move_by_a_part_of_a_step_at_most(codec: Nic2026, pixels: Tensor) -> None:
    _, picture, _ = _chosen(codec, pixels)
    moving = Search(codec._network, picture, 4)
    derivative = 1e6 * moving.weight.expand_as(picture.latents)
    moved = moving.moved(derivative) - picture.latents
    pace = search.MASKED_PACE if codec._network.shape.masking else search.PACE
    torch.testing.assert_close(moved, torch.full_like(moved, -pace.largest_move), rtol=1e-3, atol=1e-4)


def _costs(codec: Nic2026, pixels: Tensor, levels: list[int], payloads: list[Payload]) -> Tensor:
    picture = codec._chooser.prepare(pixels, levels)
    decoded = codec.decode_streams(payloads, 190, 200).latents
    bits = torch.tensor([8.0 * len(payload.sections[0]) for payload in payloads])
    return bits + errors_of(codec._network, picture, decoded)


@torch.inference_mode()
def test_every_effort_costs_each_picture_no_more_than_a_smaller_one(codec: Nic2026, pixels: Tensor) -> None:
    levels = [LEVEL, 2 * LEVEL]
    costs = [_costs(codec, pixels, levels, codec.encode(pixels, levels, effort)) for effort in (0, 1, 7)]
    assert (costs[1] < costs[0] + 32).all()
    assert (costs[2] < 0.997 * costs[0]).all()


@pytest.mark.usefixtures("in_float32")
@torch.inference_mode()
def test_a_picture_is_searched_as_if_it_were_alone(codec: Nic2026, pixels: Tensor) -> None:
    """Sums of floats in another order may end in another choice, which costs as much."""
    together = codec.encode(pixels, [LEVEL, LEVEL], 3)
    alone = [codec.encode(pixels[n : n + 1], [LEVEL], 3)[0] for n in range(2)]
    for one, other in zip(together, alone, strict=True):
        assert len(one.sections[0]) == pytest.approx(len(other.sections[0]), rel=0.01)
    costs = (_costs(codec, pixels, [LEVEL, LEVEL], payloads) for payloads in (together, alone))
    torch.testing.assert_close(*costs, rtol=0.003, atol=0)


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (150, 300)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_effort_with_any_size_and_mode(codec: Nic2026, mode: str, size: tuple[int, int]) -> None:
    image = Image.open(EXAMPLE).convert(mode).crop((200, 100, 200 + size[0], 100 + size[1]))
    planes = torch.from_numpy(np.array(image)).reshape(size[1], size[0], -1).permute(2, 0, 1)[None]
    payload = codec.encode(planes, [LEVEL], 3)
    assert codec.decode(payload, *size).shape == planes.shape


def test_saving_with_effort_is_better_at_equal_size() -> None:
    image = Image.open(EXAMPLE).convert("RGB").crop((96, 64, 416, 320))
    for tune, metric in (("psnr", psnr), ("ssim", ms_ssim)):
        found = []
        for effort in (0, 5):
            file = io.BytesIO()
            image.save(file, "NIC", target_size=3_000, tune=tune, effort=effort)
            assert 2_900 < len(file.getvalue()) <= 3_000
            found.append(metric(np.asarray(image), np.asarray(Image.open(file))))
        assert found[1] > found[0]


def test_a_target_size_is_looked_for_with_less_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    efforts = []

    def noted(frame: Planes, codec: Codec, level: int, effort: int) -> Coded:
        efforts.append(effort)
        return code(frame, codec, level, effort)

    monkeypatch.setattr(picture, "code", noted)
    file = io.BytesIO()
    Image.open(EXAMPLE).convert("RGB").crop((96, 64, 416, 320)).save(file, "NIC", target_size=4_000, effort=5)
    assert 3_900 < len(file.getvalue()) <= 4_000
    assert efforts.count(5) <= 2 < efforts.count(DEFAULT_EFFORT)
    with pytest.raises(ValueError, match="target_size 90 is too small"):
        Image.effect_noise((300, 300), 90).convert("RGB").save(file, "NIC", target_size=90, effort=3)
