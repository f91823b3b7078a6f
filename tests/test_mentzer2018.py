"""The codec mentzer2018: volumes, streams, and files through Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from pillow_neural.codecs.contract import Payload
from pillow_neural.codecs.mentzer2018 import Mentzer2018
from pillow_neural.codecs.registry import codec_info
from pillow_neural.entropy import DecodeError, SymbolDecoder
from pillow_neural.networks.mentzer2018 import Mentzer2018Shape
from pillow_neural.networks.packing import pack
from tests.codec_helpers import install, pictures
from tests.mentzer2018_helpers import TINY, random_codec

PARTS = ("weight", "bias", "shift")


@pytest.fixture(scope="module")
def codec() -> Mentzer2018:
    return random_codec()


@pytest.fixture
def saved(codec: Mentzer2018, monkeypatch: pytest.MonkeyPatch) -> Callable[[Image.Image], bytes]:
    """The bytes of the file that a picture is saved as, with this codec for saving and opening."""
    install(monkeypatch, "mentzer2018", codec)

    def save(picture: Image.Image) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, "NIC", codec="mentzer2018", quality=0.3)
        return buffer.getvalue()

    return save


def test_codec_is_registered_with_maps() -> None:
    assert codec_info("mentzer2018").importance_map


@pytest.mark.parametrize("size", [(1, 1), (9, 1), (1, 20), (33, 17), (70, 50)])
def test_what_is_decoded_is_what_was_encoded(codec: Mentzer2018, size: tuple[int, int]) -> None:
    width, height = size
    batch, levels = pictures(2, height, width), [20_000, 65_535]
    volumes, payloads = codec.volumes(batch, levels), codec.encode(batch, levels)
    assert volumes.shape == (2, TINY.channels, -(-height // 8), -(-width // 8))
    for volume, payload in zip(volumes, payloads, strict=True):
        assert torch.equal(codec.decode_volume(payload, width, height), volume)
    assert codec.decode(payloads, width, height).shape == (2, 3, height, width)


def _causal(tensors: dict[str, Tensor], name: str, inputs: np.ndarray, plane: int) -> np.ndarray:
    """A causal convolution of [I, K, h, w] as FORMAT.md has it."""
    weight, bias, shift = (tensors[f"context.{name}.{part}"].long().numpy() for part in PARTS)
    count, channels, height, width = inputs.shape
    taps = (weight.shape[1] - channels) // count
    padded = np.pad(inputs, ((0, 0), (1, 0), (1, 1), (1, 1)))
    output = np.zeros((len(weight), channels, height, width))
    for c, y, x in np.ndindex(channels, height, width):
        before = [padded[:, c, y + t // 3, x + t % 3] for t in range(9)]
        same = [padded[:, c + 1, y, x + t] for t in range(3)]
        row = [padded[:, c + 1, y + 1, x + t] for t in range(taps - 12)]
        seen = np.stack(before + same + row, axis=1).ravel()
        sums = weight[:, : len(seen)] @ seen + weight[:, len(seen) + c] * plane + bias[:, c]
        output[:, c, y, x] = sums * 2.0**-shift
    return output


def _decoded_by_the_book(codec: Mentzer2018, payload: Payload, height: int, width: int) -> np.ndarray:
    """The volume, decoded as FORMAT.md tells it, all layers anew for each front."""
    tensors, (shape, level) = pack(codec._network), (TINY, int.from_bytes(payload.parameters))
    plane, home = (127 * level + 32_767) // 65_535, (shape.centres - 1) // 2
    offsets = np.zeros((shape.channels, height, width), np.int64)
    decoder = SymbolDecoder(codec._tables, payload.sections[0])
    asks = [home, None, *range(home - 1, 0, -1), *range(home + 1, shape.centres - 1)]
    for front in range(4 * shape.channels + 2 * height + width):
        fine = np.clip(24 * offsets, -127, 127)
        so_far = np.minimum(2 * np.minimum(np.abs(offsets), 4).cumsum(axis=0), 127)
        planes = np.stack([fine, 127 // (shape.centres // 2) * offsets, np.abs(fine), so_far])
        h = _q(_causal(tensors, "first", planes, plane))
        third = _causal(tensors, "third", _q(_causal(tensors, "second", h, plane)), plane)
        hidden = _q(np.floor(third + 0.5).astype(np.int64) + h)
        index = np.clip(np.floor(_causal(tensors, "to_index", hidden, plane) + 0.5), 0, 63).astype(np.int64)
        places = [i for i in np.ndindex(offsets.shape) if 4 * i[0] + 2 * i[1] + i[2] == front]
        undecided = {place: (0, list(range(shape.centres))) for place in places}
        while undecided:
            tables = np.array([index[number, *place] for place, (number, _) in undecided.items()])
            for place, decision in zip(list(undecided), decoder.decode(tables).tolist(), strict=True):
                number, left = undecided.pop(place)
                wanted = {s for s in left if (s > home if asks[number] is None else s == asks[number])}
                left = [s for s in left if (s in wanted) == (decision == 1)]
                if len(left) == 1:
                    offsets[place] = left[0] - home
                    continue
                if number == 0:
                    following = 1
                elif number == 1:
                    following = 2 if decision < 0 else 2 + home - 1
                else:
                    following = number + 1
                undecided[place] = following, left
    decoder.finish()
    return offsets + home


def _q(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), 0, 127).astype(np.int64)


def test_a_decoder_written_from_the_specification_reads_the_same_symbols(codec: Mentzer2018) -> None:
    payload = codec.encode(pictures(1, 24, 30), [45_678])[0]
    expected = codec.decode_volume(payload, 30, 24)
    assert np.array_equal(_decoded_by_the_book(codec, payload, 3, 4), expected.numpy())


def test_all_symbols_are_in_use(codec: Mentzer2018) -> None:
    assert len(codec.volumes(pictures(1, 96, 160), [65_535]).unique()) == TINY.centres


def test_pictures_of_a_batch_decode_as_alone(codec: Mentzer2018) -> None:
    batch = pictures(3, 50, 70)
    payloads = codec.encode(batch, [0, 30_000, 65_535])
    assert payloads[1] == codec.encode(batch[1:2], [30_000])[0]
    together = codec.decode(payloads, 70, 50).int()
    alone = torch.cat([codec.decode([payload], 70, 50) for payload in payloads]).int()
    assert (together - alone).abs().max() <= 1


def test_streams_are_the_same_with_one_and_two_threads_and_in_every_layout(
    codec: Mentzer2018, threads: Callable[[int], None]
) -> None:
    batch, levels = pictures(1, 160, 192), [50_000]
    volume = codec.volumes(batch, levels)[0]
    threads(1)
    payloads = codec.encode(batch, levels)
    threads(2)
    for parameter in codec._network.context.parameters():
        parameter.data = parameter.data.t().contiguous().t()
    assert codec.encode(batch, levels) == payloads
    assert torch.equal(codec.decode_volume(payloads[0], 192, 160), volume)


def test_reduced_pictures_are_means(codec: Mentzer2018) -> None:
    payloads = codec.encode(pictures(1, 50, 70), [40_000])
    whole = codec.decode(payloads, 70, 50).float()
    for reduction in (2, 4, 8):
        reduced = codec.decode(payloads, 70, 50, reduction)
        mean = F.avg_pool2d(whole, reduction, ceil_mode=True, count_include_pad=False)
        assert reduced.shape == mean.shape
        assert (reduced - mean).abs().max() <= 1


def test_higher_levels_use_more_symbols(codec: Mentzer2018) -> None:
    volumes = [codec.volumes(pictures(1, 96, 96), [level]) for level in range(0, 65_536, 13_107)]
    used = [int((volume != codec._network.quantiser.home).sum()) for volume in volumes]
    assert used == sorted(used)
    assert used[0] < used[-1]


def test_quality_gives_the_level_of_the_calibration(codec: Mentzer2018) -> None:
    assert codec.level_of_quality(0.1) == 0
    assert codec.level_of_quality(9.0) == 65_535
    assert codec.level_of_quality(0.1**0.5) == pytest.approx(32_768, abs=1)


def test_importance_map_tells_how_far_the_channels_go(codec: Mentzer2018) -> None:
    batch = pictures(1, 50, 70)
    volume, payload = codec.volumes(batch, [20_000])[0], codec.encode(batch, [20_000])[0]
    shares = codec.importance_map(payload, 70, 50)
    assert shares.shape == (7, 9)
    assert shares.dtype == torch.float32
    assert 0 <= shares.min() < shares.max() <= 1
    beyond = torch.arange(TINY.channels)[:, None, None] >= (shares * TINY.channels).round()
    assert volume[beyond].eq(codec._network.quantiser.home).all()
    assert (volume.long()[:, shares == 1][-1] != codec._network.quantiser.home).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda payload: payload._replace(parameters=b""),
        lambda payload: payload._replace(parameters=b"\0\0\0"),
        lambda payload: payload._replace(parameters=bytes([payload.parameters[0] ^ 255, 0])),
        lambda payload: payload._replace(sections=()),
        lambda payload: payload._replace(sections=payload.sections * 2),
        lambda payload: payload._replace(sections=(bytes(range(200)),)),
        lambda payload: payload._replace(sections=(payload.sections[0] + b"\1" * 8,)),
    ],
)
def test_streams_that_no_encoder_wrote_are_refused(
    codec: Mentzer2018, damage: Callable[[Payload], Payload]
) -> None:
    damaged = damage(codec.encode(pictures(1, 64, 64), [40_000])[0])
    with pytest.raises(DecodeError):
        codec.decode([damaged], 64, 64)
    with pytest.raises(DecodeError):
        codec.importance_map(damaged, 64, 64)


def test_a_stream_of_another_size_is_refused(codec: Mentzer2018) -> None:
    payload = codec.encode(pictures(1, 64, 64), [40_000])[0]
    with pytest.raises(DecodeError):
        codec.decode([payload], 32, 64)


def test_flipped_bits_are_refused_or_decode_to_some_volume(codec: Mentzer2018) -> None:
    payload = codec.encode(pictures(1, 32, 32), [40_000])[0]
    volume, outcomes = codec.decode_volume(payload, 32, 32), set()
    for position in range(0, len(payload.sections[0]), 7):
        data = bytearray(payload.sections[0])
        data[position] ^= 16
        try:
            decoded = codec.decode_volume(payload._replace(sections=(bytes(data),)), 32, 32)
        except DecodeError:
            outcomes.add("refused")
        else:
            assert 0 <= decoded.min() <= decoded.max() < TINY.centres
            outcomes.add("same" if torch.equal(decoded, volume) else "other")
    assert "same" not in outcomes


def test_without_a_map_nothing_is_masked() -> None:
    ablated = random_codec(replace(TINY, importance=False))
    batch = pictures(1, 48, 64)
    payload = ablated.encode(batch, [65_535])[0]
    assert torch.equal(ablated.decode_volume(payload, 64, 48), ablated.volumes(batch, [65_535])[0])
    _, mask = ablated._network.analyse(batch.float() / 255, torch.ones(1))
    assert mask.eq(1).all()


def test_the_paper_s_size_builds_and_runs() -> None:
    shape = Mentzer2018Shape(features=128, groups=5, channels=32, context=24)
    codec = random_codec(shape)
    network = codec._network
    for part in (network.analysis, network.synthesis):
        assert sum(parameter.numel() for parameter in part.parameters()) == pytest.approx(5.0e6, rel=0.02)
    rate = torch.tensor([0.5])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.analyse(torch.rand(1, 3, 32, 32), rate)
    assert counter.get_total_flops() / 2 / 32**2 == pytest.approx(311_000, rel=0.01)
    payload = codec.encode(pictures(1, 24, 32), [40_000])[0]
    assert codec.decode([payload], 32, 24).shape == (1, 3, 24, 32)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_files_open_in_their_mode(
    saved: Callable[[Image.Image], bytes],
    mode: str,
    make_picture: Callable[..., Image.Image],
) -> None:
    with Image.open(io.BytesIO(saved(make_picture(mode)))) as opened:
        assert opened.size == make_picture(mode).size
        assert opened.mode == mode
        opened.load()


def test_damaged_and_truncated_files_are_errors(
    saved: Callable[[Image.Image], bytes], make_picture: Callable[..., Image.Image]
) -> None:
    data = saved(make_picture())
    flipped = bytearray(data)
    flipped[-20] ^= 1
    for damaged in (bytes(flipped), data[:-20], data[: len(data) // 2]):
        with (
            pytest.raises(OSError, match=r"damaged|truncated|cannot identify|end"),
            Image.open(io.BytesIO(damaged)) as opened,
        ):
            opened.load()
