"""Layers of progressive files: fewer of them, files that were cut, and what the commands make of both."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile, UnidentifiedImageError

from pillow_neural import container, layers, picture
from pillow_neural.benchmark import codecs
from pillow_neural.benchmark.__main__ import main as benchmark
from pillow_neural.benchmark.layers import LayeredPicture, Prefix, falls
from pillow_neural.codecs import loading
from pillow_neural.codecs.contract import RATE_LEVELS
from pillow_neural.codecs.recurrent import RecurrentCodec
from pillow_neural.container import Chunk, DamagedFileError, Index
from pillow_neural.header import Header
from pillow_neural.importance import importance_picture
from pillow_neural.modes import to_planes
from pillow_neural.pillow_plugin import NicImageFile
from tests.cli_helpers import run
from tests.codec_helpers import install
from tests.conftest import picture as make
from tests.fuzz import ALLOWED, Damage, Kind, damaged, forged, open_fully, outcomes
from tests.recurrent_helpers import TINY, random_codec

MOST = TINY.iterations
SIZE = (70, 50)
GREY = 128
MODES = ["RGB", "RGBA", "L"]
Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def network() -> RecurrentCodec:
    return random_codec()


@pytest.fixture(params=[True, False], ids=["adaptive", "fixed"])
def either(network: RecurrentCodec, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "johnston2018", network.with_rates(adaptive=request.param))


@pytest.fixture
def codec(network: RecurrentCodec, monkeypatch: pytest.MonkeyPatch) -> RecurrentCodec:
    install(monkeypatch, "johnston2018", network)
    return network


@pytest.fixture
def tolerant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def data(codec: RecurrentCodec) -> bytes:
    return _saved("RGB")


def _saved(mode: str) -> bytes:
    out = io.BytesIO()
    make(mode, *SIZE).save(out, "NIC", codec="johnston2018", quality=2)
    return out.getvalue()


def _frames(codec: RecurrentCodec) -> bytes:
    """Three frames of 4, 2 and 4 layers."""
    chunks: list[Chunk] = []
    for number, level in enumerate((RATE_LEVELS, RATE_LEVELS // 3, RATE_LEVELS)):
        planes = to_planes(make("RGB", 40, 30).rotate(90 * number), grey=False)
        (payload,) = codec.with_rates(adaptive=False).encode(planes, [level])
        chunks += [Chunk("FRAM", payload.parameters)] if number else []
        chunks += [Chunk("DATA", section) for section in payload.sections]
    return container.write(Header(40, 30, "RGB", "johnston2018", bytes(8), payload.parameters), chunks)


def _open(data: bytes, count: int = 0) -> NicImageFile:
    im = cast(NicImageFile, Image.open(io.BytesIO(data)))
    im.layers = count
    return im


def _index(data: bytes) -> Index:
    return container.read_index(io.BytesIO(data))


def _pixels(data: bytes, count: int = 0) -> bytes:
    return _open(data, count).tobytes()


def _changed(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("mode", MODES)
def test_a_file_cut_after_a_layer_gives_the_pixels_of_these_layers(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _saved(mode)
    sizes = layers.layer_sizes(_index(data))
    assert (_open(data).n_layers, len(sizes), sizes[-1]) == (MOST, MOST, len(data))
    fewer = [_pixels(data, count) for count in range(1, MOST + 1)]
    assert len(set(fewer)) == MOST
    assert fewer[-1] == _pixels(data)
    for count, size in enumerate(sizes, start=1):
        assert _pixels(data[:size], count) == fewer[count - 1]
        with pytest.raises(OSError, match="truncated"):
            _pixels(data[: size - 1], count)
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        assert _pixels(data[:size]) == fewer[count - 1]
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)


@pytest.mark.usefixtures("tolerant")
def test_files_cut_anywhere_show_the_layers_that_arrived(data: bytes) -> None:
    index = _index(data)
    sizes = layers.layer_sizes(index)
    grey = bytes([GREY]) * (SIZE[0] * SIZE[1] * 3)
    shown = [grey, *(_pixels(data, count) for count in range(1, MOST + 1))]
    first = index.entries[0].offset
    for end in range(first):
        with pytest.raises(UnidentifiedImageError):
            _open(data[:end])
    for end in {*range(first, len(data) + 1, 5), *(size + step for size in sizes for step in (-1, 0))}:
        assert _pixels(data[:end]) == shown[sum(size <= end for size in sizes)]


@pytest.mark.usefixtures("tolerant")
def test_layers_before_a_wrong_checksum_are_shown(data: bytes) -> None:
    entries = _index(data).frames[0].data
    for number, entry in enumerate(entries):
        harmed = _changed(data, entry.offset)
        if number < 2:
            assert _open(harmed).getextrema() == ((GREY, GREY),) * 3
        else:
            assert _pixels(harmed) == _pixels(data, number - 1)


@pytest.mark.usefixtures("codec")
def test_damage_behind_the_layers_that_are_asked_for_does_not_matter() -> None:
    data = _saved("RGBA")
    index = _index(data)
    for number, entry in enumerate(index.frames[0].data[2:], start=1):
        harmed = _changed(data, entry.offset)
        assert _pixels(harmed, number) == _pixels(data, number)
        with pytest.raises(OSError, match="checksum"):
            _pixels(harmed, number + 1)
    (alpha,) = index.of_kind("ALPH")
    with pytest.raises(OSError, match="ALPH"):
        _pixels(_changed(data, alpha.offset), 1)


def test_a_payload_is_read_up_to_the_damage_if_that_is_tolerated_and_a_layer_is_before_it(
    data: bytes,
) -> None:
    index = _index(data)
    frame = index.frames[0]
    whole = layers.read_payload(io.BytesIO(data), index.header, frame, 0)
    for number, entry in enumerate(frame.data):
        cut = io.BytesIO(data[: entry.offset])
        if number > 1:
            payload = layers.read_payload(cut, index.header, frame, 0, tolerant=True)
            assert payload == whole._replace(sections=whole.sections[:number])
        for header in (index.header, index.header._replace(codec="nic2026"))[number > 1 :]:
            with pytest.raises(DamagedFileError, match="truncated"):
                layers.read_payload(cut, header, frame, 0, tolerant=True)


@pytest.mark.usefixtures("codec", "tolerant")
def test_alpha_is_opaque_and_layers_are_shown_where_both_are_damaged() -> None:
    data = _saved("RGBA")
    index = _index(data)
    harmed = _changed(_changed(data, index.of_kind("ALPH")[0].offset), index.frames[0].data[3].offset)
    im = _open(harmed)
    assert im.getchannel("A").getextrema() == (255, 255)
    assert im.convert("RGB").tobytes() == _open(data, 2).convert("RGB").tobytes()


@pytest.mark.parametrize("count", [-1, MOST + 1, 10**9])
def test_layers_that_the_file_does_not_have(data: bytes, count: int) -> None:
    with pytest.raises(ValueError, match=f"{MOST} layers: ask for 1 to {MOST}"):
        _open(data, count)
    with pytest.raises(ValueError, match=f"{MOST} layers"):
        picture.decode_picture(io.BytesIO(data), _index(data), layers=count)
    with pytest.raises(ValueError, match="not 0"):
        picture.decode_picture(io.BytesIO(data), _index(data), layers=0)
    with pytest.raises(TypeError):
        _open(data, cast(int, 1.5))


@pytest.mark.usefixtures("fake_codec")
def test_other_codecs_have_no_layers() -> None:
    out = io.BytesIO()
    make().save(out, "NIC")
    data = out.getvalue()
    assert (_open(data).n_layers, _open(data).layers, layers.layer_sizes(_index(data))) == (0, 0, [])
    with pytest.raises(ValueError, match="not progressive"):
        _open(data, 1)
    with pytest.raises(ValueError, match="not progressive"):
        picture.decode_picture(io.BytesIO(data), _index(data), layers=1)


def test_layers_are_chosen_before_pixels_are_loaded(data: bytes) -> None:
    im = _open(data, 1)
    assert im.layers == 1
    first = im.tobytes()
    im.layers = 2
    assert im.tobytes() == first
    assert pickle.loads(pickle.dumps(im)).n_layers == 0
    small = _open(data, 1)
    small.draft(None, (35, 25))
    assert small.size == (35, 25)
    assert np.abs(np.asarray(small, int) - np.asarray(_open(data, 1).reduce(2), int)).max() <= 1


def _frame(data: bytes, number: int, count: int = 0) -> bytes:
    im = _open(data, count)
    im.seek(number)
    return im.tobytes()


def test_layers_hold_for_all_frames_and_some_have_fewer(codec: RecurrentCodec) -> None:
    data = _frames(codec)
    assert _open(data).n_layers == MOST
    for number, own in enumerate((4, 2, 4)):
        shown = [_frame(data, number, count) for count in range(1, MOST + 1)]
        assert len(set(shown)) == own
        assert set(shown[own - 1 :]) == {_frame(data, number)}
    seeking = _open(data, 1)
    for number in (2, 0, 1):
        seeking.seek(number)
        assert seeking.tobytes() == _frame(data, number, 1)
    index = _index(data)
    finer = [entry.length for frame in index.frames for entry in frame.data[2:]]
    assert layers.layer_sizes(index)[0] == len(data) - sum(finer)
    assert layers.layer_sizes(index)[-1] == len(data)


@pytest.mark.usefixtures("tolerant")
def test_a_cut_animation_shows_what_arrived_of_each_frame(codec: RecurrentCodec) -> None:
    data = _frames(codec)
    last = _index(data).frames[2]
    assert _frame(data[: last.data[2].offset + 1], 2) == _frame(data, 2, 1)
    for end in (last.data[1].offset, _index(data).entries[5].offset):
        assert set(_frame(data[:end], 2)) == {GREY}


@pytest.mark.usefixtures("codec")
@pytest.mark.parametrize("sections", [[], [b"map"], [b"map", b"bits"]])
def test_tables_with_too_few_or_wrong_sections_are_damage(
    sections: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    header = Header(40, 30, "L", "johnston2018", bytes(8), b"\1")
    data = container.write(header, [Chunk("DATA", section) for section in sections])
    assert (_open(data).n_layers, len(layers.layer_sizes(_index(data)))) == (1, 1)
    with pytest.raises(OSError, match="cannot decode"):
        _pixels(data, 1)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert _open(data, 1).getextrema() == (GREY, GREY)


@pytest.mark.usefixtures("tolerant")
@pytest.mark.parametrize("damage", [damaged, forged])
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("frames", [1, 3])
def test_tolerated_damage_gives_pixels_or_an_error_of_the_right_type(
    frames: int, count: int, damage: Damage, codec: RecurrentCodec
) -> None:
    data = _saved("RGBA") if frames == 1 else _frames(codec)
    file = Kind(f"recurrent {frames} {count}", data, open_fully(data).pixels or ())
    tolerated = list(outcomes(file, damage, 40, count))
    assert len([outcome for outcome in tolerated if outcome.pixels]) > 5
    assert all(outcome.error is None or isinstance(outcome.error, ALLOWED) for outcome in tolerated)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("count", range(1, MOST + 1))
def test_decode_writes_the_first_layers_of_whole_and_of_cut_files(data: bytes, count: int) -> None:
    Path("whole.nic").write_bytes(data)
    Path("cut.nic").write_bytes(data[: layers.layer_sizes(_index(data))[count - 1]])
    assert run("decode", "whole.nic", "cut.nic", "--layers", str(count), "-o", "out/") == 0
    for name in ("whole", "cut"):
        assert Image.open(f"out/{name}.png").tobytes() == _pixels(data, count)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("section", "arguments", "advice"),
    [
        (1, (), ""),
        (2, (), "layers that are whole: 1 of 4; --layers 1 decodes them"),
        (4, (), "layers that are whole: 3 of 4; --layers 3 decodes them"),
        (4, ("--layers", "4"), "--layers 3 decodes"),
    ],
)
def test_decode_says_which_layers_are_whole(
    data: bytes, section: int, arguments: tuple[str, ...], advice: str, capsys: Output
) -> None:
    entry = _index(data).entries[section]
    for harmed, reason in (
        (data[: entry.offset + 3], "truncated"),
        (_changed(data, entry.offset), "damaged"),
    ):
        Path("a.nic").write_bytes(harmed)
        assert run("decode", "a.nic", *arguments) == 1
        message = capsys.readouterr().err
        assert reason in message
        assert advice in message
        assert bool(advice) == ("--layers" in message)
        assert not Path("a.png").exists()


@pytest.mark.usefixtures("folder")
def test_decode_of_animations_counts_the_layers_of_the_frames_that_are_written(
    codec: RecurrentCodec, capsys: Output
) -> None:
    data = _frames(codec)
    Path("a.nic").write_bytes(_changed(data, _index(data).frames[2].data[2].offset))
    assert run("decode", "a.nic", "--format", "jpg") == 0
    assert run("decode", "a.nic", "--format", "gif") == 1
    assert "--layers 1 decodes" in capsys.readouterr().err
    assert run("decode", "a.nic", "--format", "gif", "--layers", "1") == 0
    (alpha,) = _index(_saved("RGBA")).of_kind("ALPH")
    Path("b.nic").write_bytes(_changed(_saved("RGBA"), alpha.offset))
    assert run("decode", "b.nic") == 1
    assert "--layers" not in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_decode_of_layers_that_are_not_there(data: bytes, capsys: Output) -> None:
    Path("a.nic").write_bytes(data)
    assert run("decode", "a.nic", "--layers", "5") == 1
    assert "nic: a.nic: this picture has 4 layers: ask for 1 to 4 of them, not 5" in capsys.readouterr().err
    for wrong in ("0", "-1", "all"):
        assert run("decode", "a.nic", "--layers", wrong) == 2
    assert not Path("a.png").exists()


@pytest.mark.usefixtures("fake_codec", "folder")
def test_decode_of_layers_of_other_codecs(capsys: Output) -> None:
    make().save("a.nic")
    assert run("decode", "a.nic", "--layers", "1") == 1
    assert "not progressive" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_info_lists_layers(data: bytes, capsys: Output) -> None:
    sizes = layers.layer_sizes(_index(data))
    Path("a.nic").write_bytes(data)
    assert run("info", "a.nic", "--json") == 0
    (description,) = json.loads(capsys.readouterr().out)
    assert description["layers"] == [
        {"layers": number, "bytes": size, "bpp": round(8 * size / (SIZE[0] * SIZE[1]), 4), "whole": True}
        for number, size in enumerate(sizes, start=1)
    ]
    assert run("info", "a.nic") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["layers", "bytes", "bits", "per", "pixel"] in rows
    assert ["1", f"{sizes[0]:,}", f"{8 * sizes[0] / (SIZE[0] * SIZE[1]):.4g}"] in rows
    Path("a.nic").write_bytes(data[: sizes[1]])
    assert run("info", "a.nic", "--json") == 1
    (description,) = json.loads(capsys.readouterr().out)
    assert [layer["whole"] for layer in description["layers"]] == [True, True, False, False]
    assert run("info", "a.nic") == 1
    assert capsys.readouterr().out.count("  damaged\n") == 2


@pytest.mark.usefixtures("fake_codec", "folder")
def test_info_lists_no_layers_of_other_codecs(capsys: Output) -> None:
    make().save("a.nic")
    assert run("info", "a.nic", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["layers"] == []
    assert run("info", "a.nic") == 0
    assert "layers" not in capsys.readouterr().out


def test_info_lists_layers_without_torch(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.nic").write_bytes(data)
    script = f"""
import sys
from pillow_neural.cli import main
assert main(["info", {str(tmp_path / "a.nic")!r}]) == 0
assert not {{"torch", "numpy"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("size", [(1, 1), (16, 17), (33, 1), SIZE])
def test_importance_pictures_show_blocks_in_their_place(codec: RecurrentCodec, size: tuple[int, int]) -> None:
    out = io.BytesIO()
    make("RGB", *size).save(out, "NIC", codec="johnston2018", quality=0.2)
    index = _index(out.getvalue())
    payload = layers.read_payload(out, index.header, index.frames[0], 0)
    shares = codec.importance_map(payload, *size).numpy()
    shown = importance_picture(out, index)
    assert (shown.mode, shown.size) == ("L", size)
    expected = np.rint(255 * np.kron(shares, np.ones((16, 16))))[: size[1], : size[0]]
    assert np.array_equal(np.asarray(shown), expected)


@pytest.mark.usefixtures("folder")
def test_info_writes_the_map_and_never_over_a_file(data: bytes, capsys: Output) -> None:
    Path("a.nic").write_bytes(data)
    assert run("info", "a.nic", "--map", "map.png") == 0
    written = Path("map.png").read_bytes()
    with Image.open("map.png") as im:
        assert (im.mode, im.size) == ("L", SIZE)
        assert im.tobytes() == importance_picture(io.BytesIO(data), _index(data)).tobytes()
    Path("map.png").write_bytes(b"mine")
    assert run("info", "a.nic", "--map", "map.png") == 1
    assert "nic: a.nic: map.png exists: --force overwrites it" in capsys.readouterr().err
    assert Path("map.png").read_bytes() == b"mine"
    assert run("info", "a.nic", "--map", "map.png", "--force") == 0
    assert Path("map.png").read_bytes() == written
    Path("a.nic").write_bytes(data[: layers.layer_sizes(_index(data))[0]])
    assert run("info", "a.nic", "--map", "cut.png") == 1
    assert Path("cut.png").read_bytes() == written


@pytest.mark.usefixtures("folder")
def test_maps_of_standard_input_and_of_bombs(
    data: bytes, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run("info", "-", "--map", "map.png") == 0
    assert Path("map.png").exists()
    index = _index(data)
    bomb = container.write(index.header._replace(width=2**24 - 1, height=2**24 - 1), [Chunk("DATA", b"")] * 2)
    Path("bomb.nic").write_bytes(bomb)
    assert run("info", "bomb.nic", "--map", "bomb.png") == 1
    assert "decompression bomb" in capsys.readouterr().err
    assert not Path("bomb.png").exists()


@pytest.mark.usefixtures("fake_codec", "folder")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.nic", "--map", "map.png"), "codec nic2026 has no importance maps, only johnston2018"),
        (("a.nic", "b.nic", "--map", "map.png"), "--map writes the map of one file, not of 2"),
        (("a.nic", "--map", "map.jpg"), "must end in .png"),
        (("a.nic", "--map", "-"), "must end in .png"),
    ],
)
def test_maps_that_cannot_be_made_are_wrong_usage(
    arguments: tuple[str, ...], message: str, capsys: Output
) -> None:
    make().save("a.nic")
    make().save("b.nic")
    assert run("info", *arguments) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""
    assert not Path("map.png").exists()
    index = _index(Path("a.nic").read_bytes())
    with pytest.raises(ValueError, match="no importance maps"):
        importance_picture(io.BytesIO(), index)


@pytest.mark.usefixtures("codec")
def test_benchmark_shows_maps_beside_their_picture(folder: Path, capsys: Output) -> None:
    picture = make("RGB", 192, 128)
    picture.save("a.png")
    picture.rotate(180).save("b.png")
    options = "--codec johnston2018 --quality 0.1 0.2 --width 96 --output maps.png"
    assert benchmark(["maps", "a.png", "b.png", *options.split()]) == 0
    with Image.open("maps.png") as sheet:
        assert sheet.size == (3 * (96 + 6) - 6, 2 * (24 + 64 + 6) - 6)
        shown = sheet.crop((2 * 102, 24, 2 * 102 + 96, 24 + 64))
    picture.save("a.nic", codec="johnston2018", quality=0.2)
    data = io.BytesIO(Path("a.nic").read_bytes())
    expected = importance_picture(data, _index(data.getvalue())).resize((96, 64)).convert("RGB")
    assert shown.tobytes() == expected.tobytes()
    assert len(set(shown.get_flattened_data())) > 1
    assert benchmark(["maps", "a.png", "--codec", "nic2026", "--output", "none.png"]) == 1
    assert "no importance maps" in capsys.readouterr().err
    assert not Path("none.png").exists()


def test_benchmark_measures_every_prefix(
    codec: RecurrentCodec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {"a.png": make("RGB", 192, 176), "b.png": make("RGB", 180, 200).rotate(180)}
    for name, image in pictures.items():
        image.save(name)
    monkeypatch.setattr(codecs, "weights_for_saving", loading.weights_for_saving)
    assert benchmark(["layers", ".", "--codec", "johnston2018", "-o", "out"]) == 0
    results = json.loads(Path("out/layers.json").read_text())
    assert (results["codec"], results["quality"]) == ("johnston2018", None)
    assert results["environment"]["weights"] == "0123456789abcdef"
    for measured in results["pictures"]:
        prefixes = measured["layers"]
        assert [prefix["layers"] for prefix in prefixes] == [1, 2, 3, 4]
        planes = torch.from_numpy(np.array(pictures[measured["name"]])).permute(2, 0, 1)[None]
        payload = codec.with_rates(adaptive=False).encode(planes, [65_535])[0]
        assert prefixes[-1]["bytes"] - prefixes[0]["bytes"] == sum(map(len, payload.sections[2:]))
        assert prefixes[0]["bpp"] == 8 * prefixes[0]["bytes"] / (measured["width"] * measured["height"])
    report = Path("out/layers.md").read_text()
    psnr = np.mean([measured["layers"][2]["psnr"] for measured in results["pictures"]])
    (row,) = (line for line in report.splitlines() if line.startswith("| 3 |"))
    assert f"| {psnr:.3f} |" in row
    assert row.startswith("| 3 | 2 |")
    decibels = [prefix["psnr"] for prefix in results["pictures"][0]["layers"]]
    assert ("- a.png: PSNR fell" in report) == (decibels != sorted(decibels))
    quality = ["--quality", "0.1", "--limit", "1"]
    assert benchmark(["layers", ".", "--codec", "johnston2018", "-o", "low", *quality]) == 0
    low = json.loads(Path("low/layers.json").read_text())
    assert len(low["pictures"]) == 1
    assert low["pictures"][0]["layers"][-1]["bytes"] < results["pictures"][0]["layers"][-1]["bytes"]


def test_benchmark_names_pictures_that_got_worse() -> None:
    prefixes = [Prefix(1, 10, 0.1, 20.0, 0.8), Prefix(2, 20, 0.2, 19.5, 0.9), Prefix(3, 30, 0.3, 21, 0.85)]
    assert falls(LayeredPicture("a.png", 9, 9, prefixes)) == [
        "a.png: PSNR fell from 20 to 19.5 with layer 2",
        "a.png: MS-SSIM fell from 0.9 to 0.85 with layer 3",
    ]
    assert falls(LayeredPicture("a.png", 9, 9, prefixes[::2])) == []


@pytest.mark.parametrize(("name", "message"), [("nic2026", "not progressive"), ("jpeg", "unknown codec")])
def test_benchmark_of_layers_says_what_is_wrong(
    name: str, message: str, folder: Path, capsys: Output
) -> None:
    make("RGB", 192, 176).save("a.png")
    assert benchmark(["layers", ".", "--codec", name, "-o", "out"]) == 1
    assert message in capsys.readouterr().err
