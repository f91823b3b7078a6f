"""Which pictures are tried without loss, and what errors count."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pillow_neural.benchmark import __main__ as benchmark
from pillow_neural.benchmark.graphics_set import graphics_set
from pillow_neural.graphics import looks_like_graphics, visible_squared_error

EXAMPLE = Path(__file__).parents[1] / "examples" / "kodim23.png"
SET = graphics_set(EXAMPLE)
LIKE_PHOTOGRAPHS = {"gradient, linear", "gradient, radial", "noise"}


def _as_jpeg(im: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    im.save(out, "JPEG", quality=quality)
    return Image.open(out)


def _noisy(im: Image.Image) -> Image.Image:
    noise = np.random.default_rng(1).normal(0, 10, (im.height, im.width, 3))
    return Image.fromarray(np.clip(np.asarray(im) + noise, 0, 255).astype(np.uint8))


PHOTOGRAPHS = {
    "as it is": lambda im: im,
    "grey": lambda im: im.convert("L"),
    "upright": lambda im: im.transpose(Image.Transpose.ROTATE_90),
    "with alpha": lambda im: im.convert("RGBA"),
    "noisy": _noisy,
    "dark": lambda im: im.point(lambda level: level // 4),
    "JPEG 90": lambda im: _as_jpeg(im, 90),
    "JPEG 10": lambda im: _as_jpeg(im, 10),
    "enlarged": lambda im: im.resize((1536, 1024), Image.Resampling.BICUBIC),
    "65x65": lambda im: im.crop((200, 200, 265, 265)),
}


@pytest.mark.parametrize("kind", PHOTOGRAPHS)
def test_photographs_are_not_tried(kind: str) -> None:
    with Image.open(EXAMPLE) as im:
        assert not looks_like_graphics(PHOTOGRAPHS[kind](im.convert("RGB")))


@pytest.mark.parametrize("name", SET)
def test_graphics_are_tried(name: str) -> None:
    assert looks_like_graphics(SET[name]) == (name not in LIKE_PHOTOGRAPHS)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (16, 300), (4097, 1)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_narrow_pictures(mode: str, size: tuple[int, int]) -> None:
    assert looks_like_graphics(Image.new(mode, size))
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    assert not looks_like_graphics(Image.fromarray(noise).convert(mode))


def test_tiny_pictures_are_tried_whatever_they_are() -> None:
    with Image.open(EXAMPLE) as im:
        assert looks_like_graphics(im.crop((200, 200, 264, 264)))


def test_errors_count_in_three_colours_and_as_far_as_they_are_seen() -> None:
    assert visible_squared_error(Image.new("L", (5, 3), 10), Image.new("L", (5, 3), 13)) == 15 * 27
    decoded = Image.new("RGB", (1, 3), (7, 3, 2))
    original = Image.new("RGBA", (1, 3), (5, 3, 3, 0))
    original.putpixel((0, 1), (5, 3, 3, 255))
    original.putpixel((0, 2), (5, 3, 3, 51))
    assert visible_squared_error(original, decoded) == pytest.approx(5 + 5 / 25)


def test_errors_of_large_pictures_are_summed_in_bands() -> None:
    original = Image.new("L", (2**20 + 1, 3), 255)
    assert visible_squared_error(original, Image.new("L", original.size)) == 3 * 3 * (2**20 + 1) * 255**2


def test_the_set_is_the_same_each_time() -> None:
    again = graphics_set(EXAMPLE)
    assert {name: im.tobytes() for name, im in again.items()} == {
        name: im.tobytes() for name, im in SET.items()
    }


def test_the_benchmark_compares_with_webp_and_avif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photograph = SET["page with photograph"].crop((250, 200, 350, 280))
    pictures = {
        "icon 64": SET["icon 64"],
        "photograph": photograph,
        "window": SET["window"].crop((0, 0, 90, 70)),
    }
    monkeypatch.setattr(benchmark, "graphics_set", lambda path: pictures)
    assert benchmark.main(["graphics", "-o", str(tmp_path / "out"), "--photograph", str(EXAMPLE)]) == 0
    results = json.loads((tmp_path / "out" / "graphics.json").read_text())
    icon, photo, window = results["drawings"]
    assert (icon["width"], icon["height"], icon["mode"]) == (64, 64, "RGBA")
    best = icon["saved"][-1]
    assert best["codec"] == "avif"
    assert 30 < best["psnr"] < 50
    assert {(saved["codec"], saved["psnr"]) for saved in window["saved"]} == {("lossless", None)}
    assert all(saved["codec"] == "nic2026" and 20 < saved["psnr"] < 45 for saved in photo["saved"])
    assert all(saved["bytes"] < photo["webp_bytes"] for saved in photo["saved"])
    assert all(saved["avif_bytes"] >= saved["bytes"] for saved in photo["saved"])
    report = (tmp_path / "out" / "graphics.md").read_text()
    assert best["bytes"] <= icon["webp_bytes"]
    codecs = [saved["codec"] for each in results["drawings"] for saved in each["saved"]]
    kept = f"{codecs.count('lossless')} are lossless and {codecs.count('avif')} AVIF"
    assert f"Of 9 files {kept}. Larger than lossless WebP: 0." in report
    assert "| photograph | 100x80 | 0.25 | nic2026 |" in report
