"""AVIF in .nic files: what graphics fall back to where neither network nor exactness is best."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from pillow_neural import container
from pillow_neural.benchmark.graphics_set import graphics_set
from pillow_neural.cli import main
from pillow_neural.codecs import avif, lossless
from pillow_neural.codecs.contract import Payload
from pillow_neural.coding import code_avif
from pillow_neural.container import Chunk, DamagedFileError
from pillow_neural.fallback import Fallback, is_wanted
from pillow_neural.frames import Source, file_of
from pillow_neural.graphics import visible_squared_error
from pillow_neural.header import AVIF_CODEC, NO_WEIGHTS, Header
from pillow_neural.settings import SaveOptions
from tests.codec_helpers import default_codec
from tests.conftest import opened, picture, saved

SET = graphics_set(Path(__file__).parents[1] / "examples" / "kodim23.png")
PAGE = SET["page with photograph"].crop((400, 200, 800, 600))
MAP = SET["map"].crop((100, 100, 400, 340))
ICON = SET["icon 256"].crop((0, 0, 200, 200))


def avif_file(im: Image.Image, quality: int = 90, **options: object) -> bytes:
    header = Header(*im.size, im.mode, AVIF_CODEC, NO_WEIGHTS, b"")
    return file_of(header, [code_avif(Source(im, 0), quality, 0)], SaveOptions(**options))  # type: ignore[arg-type]


def with_chunks(*chunks: Chunk, size: tuple[int, int] = (40, 30), mode: str = "RGB", **more: bytes) -> bytes:
    header = Header(*size, mode, AVIF_CODEC, NO_WEIGHTS, b"")._replace(**more)  # type: ignore[arg-type]
    return container.write(header, chunks)


def codec_of(data: bytes) -> str:
    return container.read_index(io.BytesIO(data)).header.codec


def error_of(im: Image.Image, data: bytes) -> float:
    return visible_squared_error(im, opened(data))


STREAM = avif.encode(picture(), 60).sections[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (40, 30), (300, 257)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_alpha_is_kept_and_colours_nearly(mode: str, size: tuple[int, int]) -> None:
    im = picture(mode, *size)
    back = opened(avif_file(im, 95))
    assert (back.mode, back.size, back.info) == (mode, size, {"codec": "avif"})
    samples, found = (np.asarray(each).reshape(size[1], size[0], -1).astype(int) for each in (im, back))
    assert np.abs(found - samples).mean() < 3
    if mode.endswith("A"):
        assert np.array_equal(found[..., -1], samples[..., -1])


def test_the_section_is_an_avif_file_without_metadata() -> None:
    im = picture()
    im.info |= {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", "icc_profile": b"profile"}
    index = container.read_index(io.BytesIO(data := avif_file(im, icc_profile=b"profile")))
    assert index.header == Header(40, 30, "RGB", "avif", NO_WEIGHTS, b"")
    stored = Image.open(io.BytesIO(container.read_chunk(io.BytesIO(data), index.entries[-1])))
    assert stored.format == "AVIF"
    assert not {"exif", "icc_profile", "xmp"} & set(stored.info)
    assert stored.convert("RGB").tobytes() == opened(data).tobytes()
    assert opened(data).info == {"codec": "avif", "icc_profile": b"profile"}
    assert im.info["icc_profile"] == b"profile"


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_draft_gives_means(mode: str) -> None:
    data = avif_file(picture(mode, 41, 30))
    with Image.open(io.BytesIO(data)) as back:
        back.draft(None, (10, 7))
        assert back.size == (11, 8)
        assert back.tobytes() == opened(data).reduce(4).tobytes()


def test_opening_imports_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "a.nic"
    path.write_bytes(avif_file(picture("RGBA")))
    program = f"""
import sys
import pillow_neural
from PIL import Image
Image.open({str(path)!r}).load()
assert not {{"torch", "safetensors", "constriction"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_chunks(Chunk("DATA", b"")), "cannot be decoded"),
        (with_chunks(Chunk("DATA", STREAM[:40])), "cannot be decoded"),
        (with_chunks(Chunk("DATA", STREAM[: len(STREAM) // 2])), "cannot be decoded"),
        (with_chunks(Chunk("DATA", STREAM), size=(40, 31)), "has 40x30 pixels"),
        (with_chunks(Chunk("DATA", STREAM), size=(16_384, 1)), "at most 16383 pixels a side"),
        (with_chunks(Chunk("DATA", STREAM), Chunk("DATA", STREAM)), "exactly one DATA"),
        (with_chunks(), "exactly one DATA"),
        (with_chunks(Chunk("DATA", STREAM), parameters=b"\0"), "no parameters"),
        (with_chunks(Chunk("DATA", STREAM), mode="RGBA"), "no alpha channel"),
    ],
)
def test_files_that_are_refused(data: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DamagedFileError, match=message):
        opened(data)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert opened(data).size == container.read_index(io.BytesIO(data)).header[:2]


def test_without_avif(monkeypatch: pytest.MonkeyPatch) -> None:
    data = avif_file(picture())
    assert codec_of(saved(PAGE, quality=1.0)) == "avif"
    monkeypatch.setattr(features, "check", lambda feature: feature != "avif")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(OSError, match="built with AVIF"):
        opened(data)
    assert codec_of(saved(PAGE, quality=1.0)) == "nic2026"
    assert codec_of(saved(PAGE, target_size=8000)) == "nic2026"


def test_it_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="unknown codec 'avif'"):
        saved(PAGE, codec="avif")


def test_the_command_line_knows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.nic"
    path.write_bytes(avif_file(picture()))
    assert main(["info", str(path)]) == 0
    assert "codec       avif, weights none, parameters none" in capsys.readouterr().out
    assert main(["verify", str(path), "--decode"]) == 0


# The fall-back


@pytest.mark.parametrize(("im", "quality"), [(PAGE, 1.0), (MAP, 0.5), (ICON, 0.25)])
def test_what_is_saved_costs_less_than_the_network_and_is_no_worse(im: Image.Image, quality: float) -> None:
    data = saved(im, quality=quality)
    network = saved(im, quality=quality, codec="nic2026")
    assert codec_of(data) == "avif"
    assert error_of(im, data) <= error_of(im, network)
    codec = default_codec()
    weight = codec.error_weight(codec.level_of_quality(quality))
    costs = [
        8 * len(each) + weight * error_of(im, each) for each in (data, network, saved(im, lossless=True))
    ]
    assert costs[0] == min(costs)
    assert costs[0] < 0.97 * costs[1]


@pytest.mark.parametrize(("im", "size"), [(PAGE, 8000), (MAP, 3000)])
def test_a_target_size_takes_the_smaller_errors(im: Image.Image, size: int) -> None:
    data = saved(im, target_size=size)
    network = saved(im, target_size=size, codec="nic2026")
    assert codec_of(data) == "avif"
    assert 0.9 * size < len(data) <= size
    assert error_of(im, data) < 0.8 * error_of(im, network)


def test_a_target_size_that_only_the_network_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avif, "encode", lambda im, quality, effort: Payload(b"", (bytes(9000),)))
    assert codec_of(saved(PAGE, target_size=8000)) == "nic2026"


def fallback(im: Image.Image) -> Fallback:
    header = Header(*im.size, im.mode, "nic2026", b"weights.", b"")
    return Fallback(Source(im, 0), header, SaveOptions(), lambda data: error_of(im, data))


def test_quality_rises_until_avif_is_no_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    encode = avif.encode
    monkeypatch.setattr(lossless, "can_encode", lambda im: False)
    network = avif_file(PAGE, 70)

    def trying(im: Image.Image, quality: int, effort: int) -> Payload:
        tried.append(quality)
        return encode(im, quality, effort)

    monkeypatch.setattr(avif, "encode", trying)
    data = fallback(PAGE).cheapest(network + bytes(50_000), 1e-4)
    assert tried[0] == avif.LOWEST
    assert tried == sorted(set(tried))
    assert error_of(PAGE, data) <= error_of(PAGE, network)
    assert 1 < len(tried) < 8


def test_what_avif_cannot_do_as_well_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lossless, "can_encode", lambda im: False)
    network = saved(PAGE, lossless=True)
    assert fallback(PAGE).cheapest(network, 1e-4) == network


def test_quality_follows_the_weight_of_errors() -> None:
    qualities = [avif.quality_for(weight) for weight in (1e-9, 1e-3, 1e-2, 1e-1, 1e3)]
    assert qualities == sorted(set(qualities))
    assert (qualities[0], qualities[-1]) == (avif.LOWEST, avif.HIGHEST)


def test_effort_finds_smaller_files() -> None:
    fast, thorough = (avif.encode(MAP, 45, effort).sections[0] for effort in (0, 9))
    assert len(thorough) < 0.97 * len(fast)
    data, usual = (saved(MAP, target_size=3000, effort=effort) for effort in (5, 0))
    assert codec_of(data) == codec_of(usual) == "avif"
    assert error_of(MAP, data) < error_of(MAP, usual)


def test_photographs_and_named_codecs_are_left_alone() -> None:
    codec = default_codec()
    assert is_wanted(PAGE, codec, SaveOptions())
    assert not is_wanted(PAGE, codec, SaveOptions(codec="nic2026"))
    assert not is_wanted(picture(width=200, height=100), codec, SaveOptions())


def test_a_payload_has_no_parameters() -> None:
    payload = avif.encode(picture("LA"), 50)
    assert isinstance(payload, Payload)
    assert payload.parameters == b""
    with Image.open(io.BytesIO(payload.sections[0])) as stored:
        assert not stored.has_transparency_data
