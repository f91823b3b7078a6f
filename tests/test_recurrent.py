"""The recurrent codecs: maps, bit planes, sections, tiles, and files through Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from pillow_neural.codecs import recurrent
from pillow_neural.codecs.bit_planes import bit_symbols
from pillow_neural.codecs.contract import Payload
from pillow_neural.codecs.iteration_map import decode_map, encode_map, map_symbols, passes, table_count
from pillow_neural.codecs.recurrent import RecurrentCodec, Tile, tiles
from pillow_neural.codecs.registry import codec_info
from pillow_neural.entropy import DecodeError, SymbolDecoder, SymbolEncoder
from pillow_neural.networks.packing import channels_last
from pillow_neural.training.recipes.recurrent_weights import priors
from pillow_neural.training.tables import tables_of
from tests.codec_helpers import install, pictures
from tests.recurrent_helpers import PATH, TINY, random_codec

MOST = TINY.iterations
MAP_TABLES = tables_of(priors(16)[64:])


@pytest.fixture(scope="module")
def codec() -> RecurrentCodec:
    return random_codec()


@pytest.fixture(scope="module")
def path_codec() -> RecurrentCodec:
    return random_codec(PATH)


@pytest.fixture(params=["adaptive", "fixed", "path-adaptive", "path-fixed"])
def either(
    codec: RecurrentCodec, path_codec: RecurrentCodec, request: pytest.FixtureRequest
) -> RecurrentCodec:
    """One of the papers' networks or one with a linear path, with either kind of rates."""
    chosen = path_codec if request.param.startswith("path") else codec
    return chosen.with_rates(adaptive=request.param.endswith("adaptive"))


@pytest.mark.parametrize(("name", "maps"), [("toderici2016", False), ("johnston2018", True)])
def test_codecs_are_registered_as_progressive(name: str, maps: bool) -> None:
    assert codec_info(name).progressive
    assert codec_info(name).importance_map == maps


def test_a_map_visits_every_block_once() -> None:
    visits = np.zeros((5, 9), int)
    visits[0, 0] += 1
    for part in passes(5, 9):
        visits[part.rows, part.columns] += 1
    assert np.all(visits == 1)


@given(st.integers(1, 9), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_maps_come_back(height: int, width: int, seed: int) -> None:
    counts = np.random.default_rng(seed).integers(1, 17, (height, width))
    encoder = SymbolEncoder(MAP_TABLES)
    encode_map(encoder, 0, counts, 16)
    decoder = SymbolDecoder(MAP_TABLES, encoder.finish())
    assert np.array_equal(decode_map(decoder, 0, height, width, 16), counts)
    decoder.finish()


def test_map_tables_tell_even_regions_from_busy_ones() -> None:
    even, busy = np.full((16, 16), 3), np.random.default_rng(0).integers(1, 17, (16, 16))
    tables = [np.concatenate([t[1] for t in map_symbols(counts, 16)][1:]) for counts in (even, busy)]
    assert all(t.max() < table_count(16) for t in tables)
    assert np.mean((tables[0] - 1) % 4 == 0) > 0.9
    assert np.all((tables[0] - 1) // 4 == 3 - 1)
    assert np.mean((tables[1] - 1) % 4 == 3) > 0.9


def test_map_with_counts_outside_the_range_is_refused() -> None:
    encoder = SymbolEncoder(MAP_TABLES)
    encode_map(encoder, 0, np.full((3, 3), 16), 16)
    with pytest.raises(DecodeError, match=r"outside 1\.\.8"):
        decode_map(SymbolDecoder(MAP_TABLES, encoder.finish()), 0, 3, 3, 8)


@pytest.mark.parametrize("size", [(1, 1), (7, 1), (33, 17), (70, 50), (96, 64)])
def test_what_is_decoded_is_what_was_encoded(either: RecurrentCodec, size: tuple[int, int]) -> None:
    width, height = size
    batch = pictures(2, height, width)
    levels = [20_000, 60_000]
    planes, payloads = either.planes(batch, levels), either.encode(batch, levels)
    for number, payload in enumerate(payloads):
        decoded = either.decode_planes([payload], width, height)
        most = len(payload.sections) - 1
        assert most == planes.counts[number].max()
        assert torch.equal(decoded.counts[0], planes.counts[number])
        assert torch.equal(decoded.bits[:, 0], planes.bits[:most, number])
    assert either.decode(payloads, width, height).shape == (2, 3, height, width)


def test_pictures_of_a_batch_decode_as_alone(codec: RecurrentCodec) -> None:
    batch = pictures(3, 50, 70)
    payloads = codec.encode(batch, [0, 30_000, 65_535])
    assert len({len(payload.sections) for payload in payloads}) > 1
    together = codec.decode(payloads, 70, 50).int()
    alone = torch.cat([codec.decode([payload], 70, 50) for payload in payloads]).int()
    assert (together - alone).abs().max() <= 1


@pytest.mark.parametrize("reconstruction", ["one_shot", "scaled_additive"])
def test_first_sections_are_the_picture_after_as_many_iterations(reconstruction: str) -> None:
    codec = random_codec(replace(TINY, reconstruction=reconstruction, adaptive=False))
    batch = pictures(1, 50, 70)
    whole = codec.encode(batch, [65_535])[0]
    for count in range(1, MOST + 1):
        fewer = codec.encode(batch, [round((count - 1) / (MOST - 1) * 65_535)])[0]
        assert len(fewer.sections) == 1 + count
        prefix = whole._replace(sections=whole.sections[: 1 + count])
        assert torch.equal(codec.decode([prefix], 70, 50), codec.decode([fewer], 70, 50))


def test_pictures_are_filtered_by_their_number_of_iterations(path_codec: RecurrentCodec) -> None:
    fixed = path_codec.with_rates(adaptive=False)
    batch = pictures(2, 64, 96)
    few, many = (fixed.encode(batch[n : n + 1], [level])[0] for n, level in enumerate((0, 65_535)))
    shown = fixed.decode([few, many], 96, 64)
    for number, (payload, rate) in enumerate(((few, 0.0), (many, 1.0))):
        bare = fixed._decode_tile(fixed.decode_planes([payload], 96, 64), Tile(0, 64, 0, 96))
        filtered = fixed._filter(bare, torch.tensor([rate]))
        expected = (filtered.clamp(0, 1) * 255).round()
        assert (filtered - bare).abs().max() > 0.01
        assert (shown[number] - expected[0]).abs().max() <= 1


def test_every_prefix_with_an_iteration_decodes(codec: RecurrentCodec) -> None:
    payload = codec.encode(pictures(1, 50, 70), [40_000])[0]
    assert len(payload.sections) == 1 + MOST
    counts = codec.planes(pictures(1, 50, 70), [40_000]).counts[0, :4, :5]
    shown = [codec.decode([payload._replace(sections=payload.sections[:n])], 70, 50) for n in (2, 3, 4, 5)]
    for count, (before, after) in enumerate(pairwise(shown), start=1):
        changed = (before != after).any(dim=1).float()
        blocks = F.max_pool2d(changed, 16, ceil_mode=True)[0].bool()
        assert not (blocks & (counts <= count)).any()
        assert blocks.any()


def test_importance_is_the_share_of_iterations(codec: RecurrentCodec) -> None:
    batch = pictures(1, 50, 70)
    payload = codec.encode(batch, [40_000])[0]
    shares = codec.importance_map(payload._replace(sections=payload.sections[:2]), 70, 50)
    assert (shares.shape, shares.dtype) == ((4, 5), torch.float32)
    assert torch.equal(MOST * shares, codec.planes(batch, [40_000]).counts[0, :4, :5].float())
    fixed = codec.with_rates(adaptive=False).encode(batch, [0])[0]
    assert torch.equal(codec.importance_map(fixed, 70, 50), torch.full((4, 5), 1 / MOST))
    with pytest.raises(DecodeError):
        codec.importance_map(payload._replace(sections=(b"", b"")), 700, 500)


def test_sizes_rise_with_the_level(either: RecurrentCodec) -> None:
    batch = pictures(1, 96, 96)
    sizes = [sum(map(len, either.encode(batch, [n])[0].sections)) for n in range(0, 65_536, 13_107)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_quality_gives_the_level_of_the_calibration(codec: RecurrentCodec) -> None:
    assert codec.level_of_quality(0.1) == 0
    assert codec.level_of_quality(9.0) == 65_535
    assert codec.level_of_quality((0.1 * 0.5) ** 0.5) == pytest.approx(32_768, abs=1)
    fixed = codec.with_rates(adaptive=False)
    assert len(fixed.encode(pictures(1, 32, 32), [fixed.level_of_quality(0.3)])[0].sections) == 1 + 3


def test_bits_are_the_same_with_one_and_two_threads(
    either: RecurrentCodec, threads: Callable[[int], None]
) -> None:
    batch = pictures(2, 192, 160)
    threads(1)
    payloads, alone = either.encode(batch, [65_535, 30_000]), either.encode(batch[:1], [65_535])
    threads(2)
    assert either.encode(batch, [65_535, 30_000]) == payloads
    assert alone[0] == payloads[0]


def test_indices_are_the_same_in_every_layout_and_on_every_run(
    either: RecurrentCodec, threads: Callable[[int], None]
) -> None:
    planes = either.planes(pictures(1, 96, 160), [65_535])
    context, bits, counts = either._network.context, list(planes.bits[:, 0]), planes.counts[0]
    results = []
    for count, layout in ((1, torch.contiguous_format), (2, torch.channels_last)):
        threads(count)
        for parameter in context.parameters():
            parameter.data = (
                parameter.data.contiguous(memory_format=layout) if parameter.dim() == 4 else parameter
            )
        with torch.no_grad():
            sections = [section for phases in bit_symbols(context, bits, counts) for section in phases]
        results.append(np.concatenate([section.tables for section in sections]))
    channels_last(context)
    assert np.array_equal(*results)
    assert len(np.unique(results[0])) > 20


def test_reduced_pictures_are_means(codec: RecurrentCodec) -> None:
    payloads = codec.encode(pictures(1, 50, 70), [40_000])
    whole = codec.decode(payloads, 70, 50).float()
    for reduction in (2, 4, 8):
        reduced = codec.decode(payloads, 70, 50, reduction)
        mean = F.avg_pool2d(whole, reduction, ceil_mode=True, count_include_pad=False)
        assert reduced.shape == mean.shape
        assert (reduced - mean).abs().max() <= 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1024, 1025), (3000, 4000), (2049, 33)])
def test_tiles_cover_a_picture_once(height: int, width: int) -> None:
    covered = torch.zeros(-(-height // 32), -(-width // 32), dtype=torch.int)
    for tile in tiles(height, width):
        assert max(tile.bottom - tile.top, tile.right - tile.left) <= recurrent.TILE
        assert not any(edge % 32 for edge in tile)
        covered[tile.top // 32 : tile.bottom // 32, tile.left // 32 : tile.right // 32] += 1
    assert covered.eq(1).all()


def test_large_pictures_are_coded_in_tiles(codec: RecurrentCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent, "TILE", 64)
    batch = pictures(1, 100, 150)
    decoded = codec.decode(codec.encode(batch, [40_000]), 150, 100)
    assert len(list(tiles(100, 150))) == 6
    for tile in tiles(100, 150):
        rows, columns = tile.pixels()
        part = batch[..., rows, columns]
        alone = codec.decode(codec.encode(part, [40_000]), part.shape[3], part.shape[2])
        assert (alone.int() - decoded[..., rows, columns].int()).abs().max() <= 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda payload: payload._replace(parameters=b""),
        lambda payload: payload._replace(parameters=b"\2"),
        lambda payload: payload._replace(sections=()),
        lambda payload: payload._replace(sections=payload.sections[:1]),
        lambda payload: payload._replace(sections=(*payload.sections, b"")),
        lambda payload: payload._replace(sections=(*payload.sections, *payload.sections[1:] * 9)),
        lambda payload: payload._replace(sections=(b"", *payload.sections[1:])),
        lambda payload: payload._replace(sections=(bytes(range(99)), *payload.sections[1:])),
        lambda payload: payload._replace(sections=(payload.sections[0], bytes(range(200)))),
        lambda payload: payload._replace(sections=(payload.sections[0], payload.sections[1] + b"\1" * 8)),
        lambda payload: payload._replace(sections=payload.sections[1:]),
        lambda payload: payload._replace(parameters=bytes([1 - payload.parameters[0]])),
    ],
)
def test_streams_that_no_encoder_wrote_are_refused(
    either: RecurrentCodec, damage: Callable[[Payload], Payload]
) -> None:
    payload = either.encode(pictures(1, 64, 64), [65_535])[0]
    with pytest.raises(DecodeError):
        either.decode([damage(payload)], 64, 64)


def test_a_map_that_contradicts_the_bits_is_refused(codec: RecurrentCodec) -> None:
    few = codec.encode(pictures(1, 64, 64), [0])[0]
    many = codec.encode(pictures(1, 64, 64), [65_535])[0]
    assert few.sections[0] != many.sections[0]
    with pytest.raises(DecodeError):
        codec.decode([few._replace(sections=(few.sections[0], *many.sections[1:]))], 64, 64)
    with pytest.raises(DecodeError):
        codec.decode([many._replace(sections=(many.sections[0], *few.sections[1:]))], 64, 64)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_files_open_in_their_mode(
    codec: RecurrentCodec,
    mode: str,
    make_picture: Callable[..., Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, "johnston2018", codec)
    buffer = io.BytesIO()
    make_picture(mode).save(buffer, "NIC", codec="johnston2018", quality=0.3)
    with Image.open(buffer) as opened:
        assert opened.size == make_picture(mode).size
        assert opened.mode == mode
        opened.load()
