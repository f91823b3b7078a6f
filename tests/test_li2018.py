"""li2018: transforms, importance maps, trimmed contexts, streams, and files through Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.codecs.contract import Payload
from pillow_neural.codecs.li2018 import Li2018, Volume, bit_sections, map_sections
from pillow_neural.codecs.registry import codec_info
from pillow_neural.entropy import DecodeError
from pillow_neural.networks.bit_statistics import BitStatistics
from pillow_neural.networks.importance import importance_mask, leading_channels, level_of_importance
from pillow_neural.networks.li2018 import PAPER, Li2018Network, Li2018Shape, share_of_rate, signs
from pillow_neural.networks.linear_path import LinearEncoder
from pillow_neural.networks.packing import channels_last
from pillow_neural.networks.trimmed_context import TrimmedContext
from tests.codec_helpers import install, pictures
from tests.li2018_helpers import DIGITS, TINY, random_codec
from tests.recurrent_helpers import fill_path

LEVELS = [0, 30_000, 65_535]


@pytest.fixture(scope="module")
def codec() -> Li2018:
    return random_codec()


@pytest.fixture(scope="module")
def uniform() -> Li2018:
    return random_codec(replace(TINY, importance=False))


@pytest.fixture(scope="module")
def digits() -> Li2018:
    return random_codec(DIGITS)


@pytest.fixture(params=["codec", "uniform", "digits"])
def either(request: pytest.FixtureRequest) -> Li2018:
    found: Li2018 = request.getfixturevalue(request.param)
    return found


def _sections(codec: Li2018, volume: Volume) -> list[npt.NDArray[np.int32]]:
    """Tables of a picture's symbols, by step, the map's first."""
    parts = map_sections(codec._network, volume) + bit_sections(codec._network, volume)
    return [part.tables for part in parts]


def test_mask_keeps_the_channels_of_the_levels_up_to_a_place_s_own() -> None:
    importance = torch.tensor([[[0.0, 1 / 16 - 1e-4, 1 / 16], [0.5, 0.999, 1.0]]])
    assert level_of_importance(importance).tolist() == [[[0, 0, 1], [8, 15, 15]]]
    mask = importance_mask(importance, 4)
    assert mask.shape == (1, 60, 2, 3)
    assert mask.sum(dim=1).tolist() == [[[0, 0, 4], [32, 60, 60]]]
    assert torch.equal(mask, leading_channels(4 * level_of_importance(importance), 60).float())
    assert mask[0, :, 1, 0].tolist() == [1.0] * 32 + [0.0] * 28


def test_gradient_of_the_mask_is_that_of_the_paper() -> None:
    values = torch.cat([torch.linspace(0, 1, 49), torch.rand(50, generator=torch.Generator().manual_seed(0))])
    importance = values[None, None].clone().requires_grad_()
    mask = importance_mask(importance, 2)
    for channel in range(1, 31):
        (gradient,) = torch.autograd.grad(mask[:, channel - 1].sum(), importance, retain_graph=True)
        group = -(-channel * 16 // 32)
        window = (16 * values - 1 <= group) & (group < 16 * values + 2)
        assert torch.equal(gradient[0, 0], 16.0 * window)


def test_signs_have_the_clipped_gradient_of_their_values() -> None:
    values = torch.tensor([-0.1, 0.0, 0.3, 0.5, 0.51, 1.0, 1.1], requires_grad=True)
    bits = signs(values)
    assert bits.detach().tolist() == pytest.approx([-1, -1, -1, -1, 1, 1, 1])
    (3 * bits).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, 6, 6, 6, 6, 6, 0]


@pytest.mark.parametrize(("lowest_level", "lowest"), [(0, 0.04), (1, 0.1025)])
def test_targets_are_log_linear(lowest_level: int, lowest: float) -> None:
    shares = share_of_rate(torch.linspace(0, 1, 5), lowest_level)
    assert shares[[0, -1]].tolist() == pytest.approx([lowest, 0.85])
    assert torch.allclose(shares[1:] / shares[:-1], shares[1] / shares[0])


@pytest.mark.parametrize(
    "change",
    [
        {"bits": 40},
        {"synthesis": 6},
        {"body": 0},
        {"knots": 1},
        {"components": -1},
        {"components": 193},
        {"components": 1, "bits": 32},
    ],
)
def test_impossible_shapes_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"multiple of|at least|not in"):
        replace(TINY, **change)


@pytest.mark.parametrize(
    "shape", [TINY, replace(TINY, importance=False), DIGITS], ids=["map", "uniform", "digits"]
)
def test_training_sees_what_is_coded(shape: Li2018Shape) -> None:
    torch.manual_seed(0)
    network = Li2018Network(shape)
    torch.nn.init.normal_(network.synthesis.tail.weight)
    pixels, rate = pictures(2, 24, 40).float() / 255, torch.tensor([0.2, 0.9])
    output = network(pixels, rate)
    code = network.code(pixels, rate)
    levels = level_of_importance(code.importance)
    kept = code.signs.detach() * leading_channels(levels * shape.width, shape.channels)
    assert output.reconstruction.shape == pixels.shape
    assert torch.allclose(output.reconstruction, network.reconstruction(kept, rate), atol=1e-4)
    assert torch.allclose(output.share, levels.float().mean(dim=(1, 2)) / 16, atol=1e-5)
    output.share.sum().backward() if shape.importance else output.reconstruction.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_new_synthesis_adds_nothing_to_the_digits() -> None:
    torch.manual_seed(0)
    network = Li2018Network(DIGITS)
    fill_path(network.path, BitStatistics(4, 15))
    pixels, rate = pictures(1, 24, 40).float() / 255, torch.tensor([1.0])
    code = network.code(pixels, rate)
    levels = torch.randint(16, (1, 3, 5))
    kept = code.signs * leading_channels(4 * levels, 60)
    encoder, known = LinearEncoder(network.path, pixels, 0.5), pixels
    for group in range(15):
        bits, known = encoder.step(levels > group)
        assert torch.equal(bits, kept[:, 4 * group : 4 * group + 4])
    assert torch.allclose(network.reconstruction(kept, rate), known, atol=1e-5)


def test_the_map_of_digits_learns_by_what_they_add() -> None:
    torch.manual_seed(0)
    network = Li2018Network(DIGITS)
    fill_path(network.path, BitStatistics(4, 15))
    pixels = pictures(1, 24, 40).float() / 255
    F.mse_loss(network(pixels, torch.tensor([0.7])).reconstruction, pixels).backward()
    gradient = network.analysis.importance.last.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_without_importance_all_places_keep_the_same_share() -> None:
    network = Li2018Network(replace(TINY, importance=False))
    rate = torch.linspace(0, 1, 30)
    output = network(torch.rand(30, 3, 16, 16), rate)
    assert (output.share - share_of_rate(rate)).abs().max() <= 0.5 / 16 + 1e-6
    assert output.share.min() == pytest.approx(1 / 16)


@pytest.mark.parametrize("shape", [TINY, DIGITS], ids=["paper", "digits"])
def test_an_untrained_map_starts_near_the_share_of_the_rate(shape: Li2018Shape) -> None:
    torch.manual_seed(0)
    rate = torch.linspace(0.2, 1, 5)
    network = Li2018Network(replace(shape, knots=6, hidden=32))
    share = network(pictures(1, 64, 64).repeat(5, 1, 1, 1).float() / 255, rate).share
    assert (share - share_of_rate(rate, shape.lowest_level)).abs().max() < 1 / 16


def test_every_place_has_the_first_digits() -> None:
    codec = random_codec(DIGITS)
    importance = codec._network.transforms.analysis.importance
    importance.threshold.log_gains.data -= 50
    assert torch.equal(codec.volume(pictures(1, 24, 40), [0]).levels, torch.ones(1, 3, 5, dtype=torch.int64))


def test_the_paper_s_widths_work() -> None:
    codec = random_codec(PAPER)
    transforms = codec._network.transforms
    assert sum(parameter.numel() for parameter in transforms.parameters()) == pytest.approx(9.08e6, rel=0.01)
    batch = pictures(1, 20, 33)
    payload = codec.encode(batch, [65_535])[0]
    assert torch.equal(codec.decode_volume(payload, 33, 20).bits, codec.volume(batch, [65_535]).bits)
    assert codec.decode([payload], 33, 20).shape == (1, 3, 20, 33)


def _order(context: TrimmedContext, height: int, width: int) -> Tensor:
    return context.times(height, width, torch.device("cpu"))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
def test_every_bit_has_one_step_after_its_earlier_groups(size: tuple[int, int]) -> None:
    context = TrimmedContext(3, 2, sides=1, hidden=4)
    times = _order(context, *size)
    assert times.shape == (6, *size)
    assert torch.equal(times[2:], times[:-2] + 1)
    assert times[:2].min() == 0
    for step in range(6):
        due = (times == step).any(dim=2).any(dim=1).nonzero()
        assert all(context.channels(step).start <= number < context.channels(step).stop for number in due)


def test_a_bit_s_index_depends_on_no_bit_of_its_step_or_later() -> None:
    torch.manual_seed(0)
    context = TrimmedContext(3, 2, sides=1, hidden=8)
    bits = torch.where(torch.rand(1, 6, 6, 6) < 0.5, -1.0, 1.0)
    sides, times = torch.zeros(1, 1, 6, 6), _order(context, 6, 6)
    seen: dict[int, Tensor] = {}

    def indices(bits: Tensor) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}

        def take(channels: slice, coded: Tensor, index: Tensor) -> Tensor:
            found[len(found)] = index[coded]
            return bits[:, channels] * coded

        with torch.no_grad():
            assert torch.equal(context.walk(sides, lambda known: bits != 0, take), bits)
        return found

    seen = indices(bits)
    for step in range(6):
        changed = indices(torch.where(times >= step, -bits, bits))
        assert all(torch.equal(changed[earlier], seen[earlier]) for earlier in range(step + 1))
        if step < 5:
            assert any(not torch.equal(changed[later], seen[later]) for later in range(step + 1, 6))


def test_cost_is_that_of_the_steps_of_a_walk(codec: Li2018) -> None:
    volume = codec.volume(pictures(1, 50, 70), [40_000])
    context = codec._network.bit_context
    walked = bit_sections(codec._network, volume)
    total = 0.0
    for step in range(len(context.steps)):
        with torch.no_grad():
            cost, count = context.cost(volume.bits, volume.bit_sides(), step)
        expected = walked.pop(0) if count else None
        total += cost.item()
        if expected is not None:
            assert count.item() == len(expected.symbols)
            ones = torch.from_numpy(expected.tables).float()
            odds = (ones - 31.5) * 0.17 * torch.from_numpy(expected.symbols)
            assert cost.item() == pytest.approx(F.softplus(-odds).sum().item() / np.log(2), rel=1e-4)
    assert not walked
    assert total > 0


def test_registered_with_an_importance_map() -> None:
    assert codec_info("li2018").importance_map


@pytest.mark.parametrize("size", [(1, 1), (7, 1), (8, 9), (33, 17), (70, 50)])
def test_what_is_decoded_is_what_was_encoded(either: Li2018, size: tuple[int, int]) -> None:
    width, height = size
    batch = pictures(len(LEVELS), height, width)
    volumes, payloads = either.volume(batch, LEVELS).split(), either.encode(batch, LEVELS)
    for volume, payload in zip(volumes, payloads, strict=True):
        decoded = either.decode_volume(payload, width, height)
        assert all(torch.equal(*parts) for parts in zip(decoded, volume, strict=True))
        assert torch.equal(either.importance_map(payload, width, height), volume.levels[0] / 15)
        assert volume.levels.shape == (1, -(-height // 8), -(-width // 8))
    assert either.decode(payloads, width, height).shape == (3, 3, height, width)


def test_every_level_of_a_map_can_be_coded(codec: Li2018) -> None:
    levels = torch.arange(16).reshape(1, 2, 8)
    bits = torch.where(leading_channels(2 * levels, 30), 1.0, 0.0)
    volume = Volume(levels, bits, torch.tensor([0.5]))
    planes = volume.map_planes()[0].flatten(1).T
    for level, answers in enumerate(planes.tolist()):
        assert answers == ([1.0] * level + [-1.0] + [0.0] * 15)[:15]
    assert (planes > 0).sum(dim=1).tolist() == list(range(16))


def test_maps_are_uneven_and_grow_with_the_rate(codec: Li2018) -> None:
    volume = codec.volume(pictures(1, 96, 96).repeat(3, 1, 1, 1), LEVELS)
    means = volume.levels.float().mean(dim=(1, 2))
    assert (means.diff() > 0).all()
    assert len(volume.levels[1].unique()) > 3


def test_pictures_of_a_batch_decode_as_alone(codec: Li2018) -> None:
    payloads = codec.encode(pictures(3, 50, 70), LEVELS)
    together = codec.decode(payloads, 70, 50).int()
    alone = torch.cat([codec.decode([payload], 70, 50) for payload in payloads]).int()
    assert (together - alone).abs().max() <= 1


def test_symbols_of_a_batch_are_those_of_its_pictures(codec: Li2018) -> None:
    volume = codec.volume(pictures(3, 50, 70), LEVELS)
    together = [np.sort(tables) for tables in _sections(codec, volume)]
    alone = [_sections(codec, part) for part in volume.split()]
    tables = np.concatenate([tables for parts in alone for tables in parts])
    assert np.array_equal(np.sort(np.concatenate(together)), np.sort(tables))


@pytest.mark.parametrize("name", ["codec", "digits"])
def test_symbols_are_the_same_with_any_threads_and_layout(
    name: str, threads: Callable[[int], None], request: pytest.FixtureRequest
) -> None:
    codec: Li2018 = request.getfixturevalue(name)
    threads(1)
    batch = pictures(2, 192, 160)
    volume = codec.volume(batch, [65_535, 50_000])
    payload = codec.encode(batch[:1], [65_535])[0]
    expected = _sections(codec, volume.split()[0])
    for count, layout in ((2, torch.contiguous_format), (2, torch.channels_last), (1, torch.channels_last)):
        threads(count)
        for parameter in codec._network.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=layout)
        found = _sections(codec, volume.split()[0])
        assert all(np.array_equal(*pair) for pair in zip(expected, found, strict=True))
        bits = volume.bits[:1].contiguous(memory_format=layout)
        again = _sections(codec, Volume(volume.levels[:1], bits, volume.rate[:1]))
        assert all(np.array_equal(*pair) for pair in zip(expected, again, strict=True))
        assert torch.equal(codec.decode_volume(payload, 160, 192).bits, volume.bits[:1])
    channels_last(codec._network)
    assert len(np.unique(np.concatenate(expected))) > 60


def _integer_index(codec: Li2018, step: int, inputs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Indices of a step of the bits as FORMAT.md has them, in Python's integers: [C, h, w] -> [c, h, w]."""

    def layer(name: str, values: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
        module = codec._network.bit_context.steps[step].get_submodule(name)
        weight, bias, shift = (part.numpy().astype(object) for part in module.integers())
        margin = weight.shape[2] // 2
        padded = np.pad(values, ((0, 0), (margin, margin), (margin, margin))).astype(object)
        height, width = values.shape[1:]
        total = bias[:, None, None]
        for row in range(weight.shape[2]):
            for column in range(weight.shape[3]):
                tap = padded[:, row : row + height, column : column + width]
                total = total + np.tensordot(weight[:, :, row, column], tap, 1)
        half = [2**s for s in shift]
        return (2 * total + np.array(half)[:, None, None]) // (2 * np.array(half)[:, None, None])

    hidden = np.clip(layer("first", inputs), 0, 127)
    hidden = np.clip(layer("mix", hidden), 0, 127)
    return np.clip(layer("to_index", hidden), 0, 63).astype(np.int64)


def test_indices_are_those_of_the_format(codec: Li2018) -> None:
    volume = codec.volume(pictures(1, 40, 56), [40_000])
    levels, bits = volume.levels[0].numpy(), volume.bits[0].numpy().astype(np.int64)
    rows, columns = np.indices(levels.shape)
    delay = np.array([[0, 2], [3, 1]])[rows % 2, columns % 2]
    times = np.repeat(np.arange(15), 2)[:, None, None] + delay
    rate = np.full_like(levels, (127 * 40_000 + 32_767) // 65_535)
    found = iter(bit_sections(codec._network, volume))
    for step in range(18):
        last, first = 2 * min(step, 14) + 2, 2 * max(step - 3, 0)
        known = np.where(times < step, bits, 0)[:last]
        coded = ((times == step) & (bits != 0))[first:last]
        if coded.any():
            index = _integer_index(codec, step, np.concatenate([32 * known, [8 * levels, rate]]))
            section = next(found)
            assert np.array_equal(section.tables, index[coded])
            assert np.array_equal(section.symbols, bits[first:last][coded])
    assert next(found, None) is None


def test_reduced_pictures_are_means(codec: Li2018) -> None:
    payloads = codec.encode(pictures(1, 50, 70), [40_000])
    whole = codec.decode(payloads, 70, 50).float()
    for reduction in (2, 4, 8):
        reduced = codec.decode(payloads, 70, 50, reduction)
        mean = F.avg_pool2d(whole, reduction, ceil_mode=True, count_include_pad=False)
        assert reduced.shape == mean.shape
        assert (reduced - mean).abs().max() <= 1


def test_quality_gives_the_level_of_the_calibration(codec: Li2018) -> None:
    assert codec.level_of_quality(0.01) == 0
    assert codec.level_of_quality(9.0) == 65_535
    assert codec.level_of_quality((0.1 * 0.8) ** 0.5) == pytest.approx(32_768, abs=1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda payload: payload._replace(parameters=b""),
        lambda payload: payload._replace(parameters=b"\1\2\3"),
        lambda payload: payload._replace(sections=()),
        lambda payload: payload._replace(sections=payload.sections[:1]),
        lambda payload: payload._replace(sections=(*payload.sections, b"")),
        lambda payload: payload._replace(sections=(b"", payload.sections[1])),
        lambda payload: payload._replace(sections=(bytes(range(99)), payload.sections[1])),
        lambda payload: payload._replace(sections=(payload.sections[0], bytes(range(200)))),
        lambda payload: payload._replace(sections=(payload.sections[0], payload.sections[1] + b"\1" * 8)),
        lambda payload: payload._replace(sections=(payload.sections[0] + b"\1" * 8, payload.sections[1])),
        lambda payload: payload._replace(sections=payload.sections[::-1]),
        lambda payload: payload._replace(parameters=b"\0\0"),
    ],
)
def test_streams_that_no_encoder_wrote_are_refused(
    codec: Li2018, digits: Li2018, damage: Callable[[Payload], Payload]
) -> None:
    for each in (codec, digits):
        payload = each.encode(pictures(1, 64, 64), [50_000])[0]
        with pytest.raises(DecodeError):
            each.decode([damage(payload)], 64, 64)


def test_damaged_maps_are_refused_before_the_bits(codec: Li2018) -> None:
    payload = codec.encode(pictures(1, 64, 64), [50_000])[0]
    with pytest.raises(DecodeError):
        codec.importance_map(payload._replace(sections=(b"\1" * 40, payload.sections[1])), 64, 64)
    with pytest.raises(DecodeError, match="sections"):
        codec.importance_map(payload._replace(sections=payload.sections[:1]), 64, 64)


def test_a_map_that_contradicts_the_bits_is_refused(either: Li2018) -> None:
    few, many = either.encode(pictures(1, 64, 64).repeat(2, 1, 1, 1), [20_000, 60_000])
    for one, other in ((few, many), (many, few)):
        with pytest.raises(DecodeError):
            either.decode([one._replace(sections=(one.sections[0], other.sections[1]))], 64, 64)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_files_open_in_their_mode(
    codec: Li2018,
    mode: str,
    make_picture: Callable[..., Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, "li2018", codec)
    buffer = io.BytesIO()
    make_picture(mode).save(buffer, "NIC", codec="li2018", quality=0.3)
    with Image.open(buffer) as opened:
        assert opened.size == make_picture(mode).size
        assert opened.mode == mode
        opened.load()
