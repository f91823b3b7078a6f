"""Networks of mentzer2018: causal convolutions in integers, context model, quantiser, map."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.networks.causal import CAUSAL_TAPS, CausalConv3d, Integers, Places, fronts
from pillow_neural.networks.centres import REACH, CentreQuantiser
from pillow_neural.networks.mentzer2018 import Mentzer2018Network, Mentzer2018Shape
from pillow_neural.networks.symbol_tree import SymbolTree
from pillow_neural.networks.volume_context import VolumeContext
from pillow_neural.training.context import prove_exact
from tests.codec_helpers import pictures
from tests.mentzer2018_helpers import TINY, random_context, random_network

RATE = torch.tensor([77.0])


def _volume(channels: int, height: int, width: int, centres: int = 6) -> Tensor:
    random = torch.Generator().manual_seed(3)
    return torch.randint(0, centres, (1, channels, height, width), generator=random)


def _indices(context: VolumeContext, volume: Tensor, rate: Tensor = RATE) -> Tensor:
    with torch.no_grad():
        index: Tensor = context((volume - context.tree.home).float(), rate)[0]
    return index


@pytest.mark.parametrize("size", [3, 4, 6, 11, 65])
def test_walks_of_a_tree_come_back(size: int) -> None:
    tree = SymbolTree(size)
    symbols = np.random.default_rng(0).integers(0, size, 100)
    asked = np.zeros(100, int)

    def decide(number: Integers, node: Integers) -> Integers:
        asked[number] += 1
        decisions = tree.decisions[node, symbols[number]]
        assert (decisions != 0).all()
        return decisions

    assert np.array_equal(tree.walk(100, decide), symbols)
    assert asked[symbols == tree.home].tolist() == [1] * np.count_nonzero(symbols == tree.home)
    assert np.array_equal(asked, np.count_nonzero(tree.decisions, axis=0)[symbols])


def test_two_symbols_have_no_tree() -> None:
    with pytest.raises(ValueError, match="2 symbols"):
        SymbolTree(2)


@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 5, 9), (4, 9, 2)])
def test_fronts_visit_every_place_once_after_what_its_taps_see(shape: tuple[int, int, int]) -> None:
    number = np.full(shape, -1)
    for step, places in enumerate(fronts(*shape)):
        assert (number[places] == -1).all()
        number[places] = step
    assert number.min() >= 0
    padded = np.pad(number, 1, constant_values=-1)
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3)).reshape(*shape, 27)[..., :CAUSAL_TAPS]
    assert (seen < number[..., None]).all()
    assert (number[..., None] - seen)[seen >= 0].max(initial=0) <= 7


@pytest.mark.parametrize("sees_itself", [False, True])
def test_causal_convolution_equals_integer_arithmetic(sees_itself: bool) -> None:
    torch.manual_seed(0)
    layer = CausalConv3d(5, 4, 6, sees_itself)
    torch.nn.init.normal_(layer.bias)
    torch.nn.init.normal_(layer.weight[:, -6:].detach(), std=0.1)
    weight, bias, shift = (part.double() for part in layer.integers())
    features = torch.randint(-127, 128, (2, 5, 6, 4, 3)).double()
    kernel = F.pad(weight[:, :-6].view(4, 5, layer.taps), (0, 27 - layer.taps)).view(4, 5, 3, 3, 3)
    rate = torch.tensor([0.0, 127.0])
    added = bias + weight[:, -6:] * rate[:, None, None]
    expected = F.conv3d(features, kernel, padding=1) + added[..., None, None]
    with torch.no_grad():
        result = layer(features.float(), rate).double() * torch.exp2(shift)[:, None, None, None]
    assert torch.equal(result, expected)
    trained = layer(features.float(), rate) * torch.exp2(shift.float())[:, None, None, None]
    assert torch.allclose(trained.double(), expected, rtol=1e-5, atol=0.5)
    trained.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.ne(0).all()


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 3)])
def test_front_by_front_indices_are_those_of_all_at_once(size: tuple[int, int]) -> None:
    context, volume = random_context(), _volume(6, *size)
    expected = _indices(context, volume).numpy()
    symbols, found = volume[0].numpy(), np.empty(expected.shape, int)

    def take(places: Places, index: Integers) -> Integers:
        found[:, places.channels, places.rows, places.columns] = index.T
        return symbols[places]

    walked = context.walk(*size, RATE, take)
    assert np.array_equal(walked, symbols)
    assert np.array_equal(found, expected)
    assert 0 <= found.min() <= found.max() <= 63


def test_indices_are_whole_and_from_all_over_the_range() -> None:
    index = _indices(random_context(), _volume(6, 16, 20))
    assert torch.equal(index, index.round())
    assert len(index.unique()) > 40


def test_indices_are_the_same_in_every_layout_batch_and_number_of_threads() -> None:
    context, volumes = random_context(), _volume(6, 24, 20).expand(3, -1, -1, -1).contiguous()
    volumes[1:] = volumes[1:].flip(2)
    rates = torch.tensor([0.0, 77.0, 127.0])
    offsets = (volumes - context.tree.home).float()
    before = torch.get_num_threads()
    with torch.no_grad():
        alone = torch.cat([context(*parts) for parts in zip(offsets.split(1), rates.split(1), strict=True)])
        torch.set_num_threads(1 + before % 2)
        together = context(offsets.contiguous(memory_format=torch.channels_last), rates)
    torch.set_num_threads(before)
    assert torch.equal(alone, together)


def test_no_symbol_is_seen_before_it_is_decoded() -> None:
    context, volume = random_context(), _volume(6, 5, 6)
    index = _indices(context, volume)
    reached = torch.zeros(6, 5, 6, dtype=torch.bool)
    for place in range(0, volume.numel(), 7):
        changed = volume.flatten().clone()
        changed[place] = (changed[place] + 3) % 6
        differs = (_indices(context, changed.view_as(volume)) != index).any(dim=0)
        assert not differs.flatten()[: place + 1].any()
        reached |= differs
    assert reached.float().mean() > 0.5


def test_indices_follow_the_rate_and_the_channel() -> None:
    context, empty = random_context(), torch.full((1, 6, 3, 3), 2)
    low, high = (_indices(context, empty, torch.tensor([rate])) for rate in (0.0, 127.0))
    assert (low != high).any()
    assert len(high[:, :, 1, 1].unique(dim=1).T) > 1


def test_costs_of_all_symbols_are_those_of_a_distribution() -> None:
    context = random_context()
    costs = context.symbol_bits(_indices(context, _volume(6, 8, 8))[None])
    assert torch.allclose(torch.exp2(-costs).sum(dim=1), torch.ones(1, 6, 8, 8), atol=1e-5)


def test_largest_context_is_exact() -> None:
    assert 0 < prove_exact(VolumeContext(32, 6, 64)) < 2**24


def test_centres_rise_from_a_fixed_home() -> None:
    quantiser = CentreQuantiser(6, 2)
    assert quantiser.centres().tolist() == [-2, -1, 0, 1, 2, 3]
    torch.nn.init.normal_(quantiser.log_gaps)
    centres = quantiser.centres()
    assert (centres.diff() > 0).all()
    assert centres[2] == 0


def test_quantiser_takes_the_nearest_centre_with_the_gradient_of_the_soft_one() -> None:
    quantiser = CentreQuantiser(6, 2)
    values = torch.linspace(-4, 5, 40).view(1, 2, 4, 5).requires_grad_()
    quantised = quantiser(values)
    assert torch.allclose(quantised.values, values.clamp(-2, 3).round(), atol=1e-5)
    assert torch.equal(quantised.symbols - 2, quantised.values.round().long())
    quantised.values.sum().backward()
    centres = torch.arange(-2.0, 4.0)
    distances = (values.detach()[..., None] - centres) ** 2
    far = (torch.arange(6) - quantised.symbols[..., None]).abs() > REACH
    shares = torch.softmax(torch.where(far, -math.inf, -distances), dim=-1)
    mean = (shares * centres).sum(dim=-1)
    variance = (shares * centres**2).sum(dim=-1) - mean**2
    assert values.grad is not None
    assert torch.allclose(values.grad, 2 * variance, atol=1e-5)
    assert quantiser.log_gaps.grad is not None
    assert quantiser.log_gaps.grad.ne(0).all()


def test_mask_keeps_leading_channels_with_the_gradient_of_the_ramp() -> None:
    network = random_network()
    pixels = pictures(2, 64, 64).float() / 255
    rate = torch.tensor([0.2, 0.9])
    with torch.no_grad():
        assert network.analysis.tail_of_map is not None
        network.analysis.tail_of_map.weight.mul_(4)
        _, mask = network.analyse(pixels, rate)
    assert set(mask.unique().tolist()) == {0, 1}
    assert (mask.diff(dim=1) <= 0).all()
    counts = mask.sum(dim=1)
    assert len(counts.unique()) > 2
    assert network.importance is not None
    network.analyse(pixels, rate)[1].sum().backward()
    gradient = network.importance.log_gains.grad
    assert gradient is not None
    assert (gradient > 0).all()


@pytest.mark.parametrize("kept", [0, 4])
def test_channels_that_are_always_kept_are_so_where_nothing_is_important(kept: int) -> None:
    network = random_network(replace(TINY, kept=kept))
    assert network.importance is not None
    rate = torch.tensor([0.2, 0.9])
    with torch.no_grad():
        network.importance.log_gains[0].fill_(-200)
        network.importance.log_gains[1].fill_(200)
        masks = [network.analyse(pictures(1, 32, 32).float() / 255, rate[n : n + 1])[1] for n in (0, 1)]
    assert (masks[0].sum(dim=1) == kept).all()
    assert (masks[1].sum(dim=1) == TINY.channels).all()


def test_masked_symbols_are_home_and_their_bits_do_not_count() -> None:
    network = random_network()
    pixels, rate = pictures(2, 64, 64).float() / 255, torch.tensor([0.1, 0.9])
    with torch.no_grad():
        values, mask = network.analyse(pixels, rate)
        symbols = network.quantiser(values * mask).symbols
        output = network(pixels, rate)
        offsets = (symbols - network.quantiser.home).float()
        costs = network.context.symbol_bits(network.context(offsets, network.whole_rate(rate)))
    bits = costs.gather(1, symbols[:, None])[:, 0]
    assert symbols[mask == 0].eq(network.quantiser.home).all()
    assert torch.allclose(output.bits, bits.sum(dim=(1, 2, 3)))
    assert torch.allclose(output.masked_bits, (bits * mask).sum(dim=(1, 2, 3)))
    assert output.masked_bits[0] < output.bits[0]


def test_rate_lowers_by_moving_values_to_cheaper_centres() -> None:
    torch.manual_seed(0)
    network = Mentzer2018Network(replace(TINY, importance=False))
    with torch.no_grad():
        network.analysis.linear.weight.mul_(12)
        network.context.to_index.bias[0] += 1
    output = network(pictures(1, 64, 64).float() / 255, torch.ones(1))
    output.bits.sum().backward()
    gains = network.gains.log_gains.grad
    assert gains is not None
    assert gains[-1].sum() > 0


@pytest.mark.parametrize(
    "change",
    [
        {"features": 7},
        {"features": 0},
        {"groups": 0},
        {"channels": 0},
        {"centres": 2},
        {"centres": 66},
        {"context": 0},
        {"context": 65},
        {"knots": 1},
        {"kept": -1},
        {"kept": 32},
    ],
)
def test_impossible_shapes_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"out of range|are not 3 to 65|cannot be kept"):
        replace(Mentzer2018Shape(), **change)
