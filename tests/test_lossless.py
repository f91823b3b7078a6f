"""Lossless pictures: files, what is refused, and the fall-back for graphics."""

import io
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image, ImageFile, features
from torch import Tensor

from pillow_neural import container
from pillow_neural.cli import main
from pillow_neural.codecs import lossless
from pillow_neural.codecs.contract import Payload
from pillow_neural.codecs.loading import load_codec, weights_for_saving
from pillow_neural.container import Chunk, DamagedFileError
from pillow_neural.header import Header
from tests.conftest import FakeCodec, opened, picture, saved

Maker = Callable[..., Image.Image]

NO_WEIGHTS = bytes(8)


def visible(mode: str, width: int = 40, height: int = 30) -> Image.Image:
    """A picture without fully transparent pixels, whose colours may change."""
    im = picture(mode, width, height)
    if mode.endswith("A"):
        im.putalpha(im.getchannel("A").point(lambda value: max(value, 1)))
    return im


def with_stream(stream: bytes, size: tuple[int, int] = (40, 30)) -> bytes:
    return container.write(Header(*size, "RGB", "lossless", NO_WEIGHTS, b""), [Chunk("DATA", stream)])


def stream_of(im: Image.Image) -> bytes:
    return lossless.encode(im).sections[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (40, 30), (300, 257)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_every_pixel_is_kept(mode: str, size: tuple[int, int]) -> None:
    im = visible(mode, *size)
    back = opened(saved(im, lossless=True))
    assert (back.mode, back.size, back.info) == (mode, size, {"codec": "lossless"})
    assert back.tobytes() == im.tobytes()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_kept_and_colours_change_only_where_it_is_zero(mode: str) -> None:
    im = picture(mode)
    back = opened(saved(im, lossless=True))
    shown = np.asarray(im.getchannel("A")) > 0
    assert back.getchannel("A").tobytes() == im.getchannel("A").tobytes()
    assert np.array_equal(np.asarray(back)[shown], np.asarray(im)[shown])
    assert not shown.all()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_opaque_alpha_channel_is_kept_as_one(mode: str) -> None:
    im = visible(mode)
    im.putalpha(255)
    assert opened(saved(im, lossless=True)).tobytes() == im.tobytes()


def test_the_file_is_one_vp8l_stream_without_headers(make_picture: Maker) -> None:
    im = make_picture("RGBA")
    data = saved(im, lossless=True)
    index = container.read_index(io.BytesIO(data))
    assert index.header == Header(40, 30, "RGBA", "lossless", NO_WEIGHTS, b"")
    assert [entry.kind for entry in index.entries] == ["DATA"]
    fields = (40 - 1) | (30 - 1) << 14 | 1 << 28
    stream = b"\x2f" + fields.to_bytes(4, "little") + container.read_chunk(io.BytesIO(data), index.entries[0])
    body = b"WEBPVP8L" + len(stream).to_bytes(4, "little") + stream + b"\0" * (len(stream) % 2)
    webp = Image.open(io.BytesIO(b"RIFF" + len(body).to_bytes(4, "little") + body))
    assert webp.format == "WEBP"
    assert webp.tobytes() == opened(data).tobytes()


def test_the_example_in_the_specification() -> None:
    text = (
        Path(container.__file__)
        .with_name("FORMAT.md")
        .read_text(encoding="utf-8")
        .split("## Codec lossless")[1]
    )
    lines = text.split("```hex")[1].split("```")[0].splitlines()
    im = opened(bytes.fromhex("".join(line.split("#")[0] for line in lines)))
    assert (im.mode, im.size, im.getcolors()) == ("L", (3, 2), [(6, 200)])


@pytest.mark.parametrize("size", [(1, 1), (20, 20), (300, 257), (1000, 200)])
def test_no_file_is_larger_than_pillows_webp(size: tuple[int, int]) -> None:
    for mode in ("L", "RGB", "RGBA"):
        im = picture(mode, *size)
        webp = io.BytesIO()
        im.save(webp, "WEBP", lossless=True)
        assert len(saved(im, lossless=True)) <= len(webp.getvalue())


def test_metadata_is_kept_once_and_not_in_the_stream(make_picture: Maker) -> None:
    im = make_picture()
    plain = stream_of(im)
    im.info |= {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", "icc_profile": b"profile", "xmp": b"<x/>"}
    info = dict(im.info)
    back = opened(saved(im, lossless=True))
    assert back.info == info | {"codec": "lossless"}
    assert stream_of(im) == plain
    assert im.info == info


def test_frames_are_lossless(make_picture: Maker) -> None:
    frames = [make_picture("L"), visible("RGBA"), make_picture("RGB")]
    first, *others = frames
    back = Image.open(
        io.BytesIO(saved(first, save_all=True, append_images=others, duration=[1, 2, 3], lossless=True))
    )
    assert (back.n_frames, back.mode) == (3, "RGBA")
    for number, frame in enumerate(frames):
        back.seek(number)
        assert back.tobytes() == frame.convert("RGBA").tobytes()
        assert back.info["duration"] == number + 1


def test_neither_saving_nor_opening_imports_torch() -> None:
    program = """
import io, sys
import pillow_neural
from PIL import Image
out = io.BytesIO()
Image.new("RGBA", (9, 5), "red").save(out, "NIC", lossless=True)
im = Image.open(out)
im.draft(None, (4, 2))
assert im.getpixel((1, 1)) == (255, 0, 0, 255)
assert not {"torch", "safetensors", "constriction"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_draft_gives_means(mode: str) -> None:
    im = visible(mode, 41, 30)
    with Image.open(io.BytesIO(saved(im, lossless=True))) as back:
        back.draft(None, (10, 7))
        assert back.size == (11, 8)
        assert back.tobytes() == im.reduce(4).tobytes()


def test_no_layers(make_picture: Maker) -> None:
    with Image.open(io.BytesIO(saved(make_picture(), lossless=True))) as im:
        assert im.n_layers == 0
        with pytest.raises(ValueError, match="not progressive"):
            im.layers = 1


def test_codec_lossless_is_the_same(make_picture: Maker) -> None:
    im = make_picture()
    data = saved(im, lossless=True)
    assert saved(im, codec="lossless") == data
    assert saved(im, codec="lossless", lossless=True) == data
    array = np.asarray(im)
    assert iio.imwrite("<bytes>", array, extension=".nic", lossless=True) == data
    assert np.array_equal(iio.imread(data, extension=".nic"), array)


@pytest.mark.parametrize("asked", [{"lossless": True}, {"codec": "lossless"}])
@pytest.mark.parametrize("other", [{"quality": 0.5}, {"target_size": 10_000}])
def test_lossless_excludes_rates(asked: dict[str, object], other: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"a lossless picture has one size, and no {next(iter(other))}"):
        saved(picture(), **asked, **other)


def test_lossless_excludes_other_codecs_and_is_true_or_false(make_picture: Maker) -> None:
    with pytest.raises(ValueError, match="codec nic2026 is not lossless"):
        saved(make_picture(), lossless=True, codec="nic2026")
    with pytest.raises(TypeError, match="lossless must be True or False, not str"):
        saved(make_picture(), lossless="yes")


def test_a_side_beyond_vp8l() -> None:
    data = saved(Image.new("L", (16_383, 1), 7), lossless=True)
    assert opened(data).getextrema() == (7, 7)
    with pytest.raises(ValueError, match="at most 16383 pixels a side, not 1x16384"):
        saved(Image.new("L", (1, 16_384)), lossless=True)


def test_without_webp(monkeypatch: pytest.MonkeyPatch, make_picture: Maker) -> None:
    data = saved(make_picture(), lossless=True)
    monkeypatch.setattr(features, "check", lambda feature: feature != "webp")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(OSError, match="built with WebP"):
        saved(make_picture(), lossless=True)
    with pytest.raises(OSError, match="built with WebP"):
        opened(data)


STREAM = stream_of(picture())


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"", "cannot be decoded"),
        (STREAM[:1], "cannot be decoded"),
        (STREAM[: len(STREAM) // 2], "cannot be decoded"),
        (bytes(100), "cannot be decoded"),
        (stream_of(picture(width=20)), "cannot be decoded"),
    ],
)
def test_streams_that_are_refused(stream: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = with_stream(stream)
    with pytest.raises(DamagedFileError, match=message):
        opened(data)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert opened(data).getcolors() == [(1200, (128, 128, 128))]


def test_a_side_that_no_stream_has_is_refused() -> None:
    with pytest.raises(DamagedFileError, match="at most 16383 pixels a side"):
        opened(with_stream(STREAM, (16_384, 1)))


@pytest.mark.parametrize(
    ("header", "chunks", "message"),
    [
        ({}, [Chunk("DATA", STREAM), Chunk("DATA", STREAM)], "exactly one DATA"),
        ({}, [], "exactly one DATA"),
        ({"parameters": b"\0"}, [Chunk("DATA", STREAM)], "no parameters"),
        ({"mode": "RGBA"}, [Chunk("ALPH", b""), Chunk("DATA", STREAM)], "alpha channel in its section"),
    ],
)
def test_files_that_are_refused(header: dict[str, object], chunks: list[Chunk], message: str) -> None:
    whole = Header(40, 30, "RGB", "lossless", NO_WEIGHTS, b"")._replace(**header)  # type: ignore[arg-type]
    with pytest.raises(OSError, match=message):
        opened(container.write(whole, chunks))


def test_damage_that_is_tolerated_is_grey_and_opaque(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(saved(picture("RGBA"), lossless=True))
    data[-9] ^= 1
    with pytest.raises(DamagedFileError, match="chunk DATA"):
        opened(bytes(data))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert opened(bytes(data)).getcolors() == [(1200, (128, 128, 128, 255))]


def test_a_warning_of_size_comes_once(monkeypatch: pytest.MonkeyPatch, make_picture: Maker) -> None:
    data = saved(make_picture(), lossless=True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        opened(data)
    assert [warning.category for warning in caught] == [Image.DecompressionBombWarning]


def test_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    im = visible("RGBA")
    im.save("a.png")
    assert main(["encode", "a.png", "--lossless"]) == 0
    assert main(["verify", "a.nic", "--decode"]) == 0
    assert main(["decode", "a.nic", "-o", "b.png"]) == 0
    assert main(["info", "a.nic"]) == 0
    assert "codec       lossless, weights none, parameters none" in capsys.readouterr().out
    with Image.open("b.png") as back:
        assert back.tobytes() == im.tobytes()
    with pytest.raises(SystemExit):
        main(["encode", "a.png", "--lossless", "-q", "0.5", "-f"])


# The fall-back


class WeighingCodec(FakeCodec):
    """Stores one grey level for the whole picture; an error weighs as much as it is told."""

    weight = 0.0
    size = 100
    decoded = 0

    def encode(self, pictures: Tensor, levels: object, effort: int = 0) -> list[Payload]:
        return [Payload(b"", (b"\0" * self.size,))]

    def decode(self, payloads: object, width: int, height: int, reduction: int = 1) -> Tensor:
        self.decoded += 1
        return Tensor([100]).byte().expand(1, 3, height, width)

    def error_weight(self, level: int) -> float:
        return self.weight


@pytest.fixture
def weighing(fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch) -> WeighingCodec:
    monkeypatch.setattr(fake_codec, "__class__", WeighingCodec)
    assert isinstance(fake_codec, WeighingCodec)
    return fake_codec


def chosen(im: Image.Image, **keywords: object) -> str:
    return container.read_index(io.BytesIO(saved(im, **keywords))).header.codec


def drawing(mode: str = "RGB") -> Image.Image:
    im = Image.new(mode, (200, 100), "white")
    im.paste("black", (20, 30, 90, 70))
    return im


def test_what_is_smaller_without_loss_is_lossless_and_not_decoded(weighing: WeighingCodec) -> None:
    assert chosen(drawing()) == "lossless"
    assert weighing.decoded == 0
    assert opened(saved(drawing())).tobytes() == drawing().tobytes()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_errors_are_weighed_against_bits(weighing: WeighingCodec, mode: str) -> None:
    weighing.size = 10
    im = drawing(mode)
    more = 8 * (len(saved(im, lossless=True)) - len(saved(im, codec="nic2026")))
    error = 3.0 * sum(count * (level - 100) ** 2 for count, level in im.convert("L").getcolors() or [])
    weighing.weight = 0.99 * more / error
    assert chosen(im) == "nic2026"
    weighing.weight = 1.01 * more / error
    assert chosen(im) == "lossless"
    assert weighing.decoded == 2


def test_a_named_codec_an_animation_and_a_photograph_are_not_tried(
    weighing: WeighingCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lossless, "encode", pytest.fail)
    assert chosen(drawing(), codec="nic2026") == "nic2026"
    assert chosen(drawing(), codec="nic2026", target_size=5000) == "nic2026"
    assert chosen(drawing(), save_all=True, append_images=[drawing()]) == "nic2026"
    assert chosen(picture(width=200, height=100)) == "nic2026"
    assert chosen(Image.new("L", (16_384, 20))) == "nic2026"
    monkeypatch.setattr(features, "check", lambda feature: feature not in ("webp", "avif"))
    assert chosen(drawing()) == "nic2026"


@pytest.mark.parametrize("save_all", [False, True])
def test_target_size_is_lossless_where_that_fits(weighing: WeighingCodec, save_all: bool) -> None:
    size = len(saved(drawing(), lossless=True))
    weighing.size = 10
    assert chosen(drawing(), target_size=size, save_all=save_all) == "lossless"
    assert chosen(drawing(), target_size=size - 1, save_all=save_all) == "nic2026"


def test_the_default_codec_weighs_errors_as_its_training_does() -> None:
    codec = load_codec(weights_for_saving("nic2026"), "cpu")
    weights = [codec.error_weight(level) for level in (0, 65_535)]  # type: ignore[attr-defined]
    assert weights == pytest.approx([10 / (3 * 255**2), 25_000 / (3 * 255**2)], rel=1e-4)
