"""Side by side: a crop of a picture, of ours, and of AVIF and WebP in files of the same size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pillow_neural.benchmark.codecs import SaveArgs, decode, encode
from pillow_neural.benchmark.metrics import psnr

_RIVALS: tuple[tuple[str, str, SaveArgs], ...] = (
    ("AVIF", "AVIF", {"speed": 4, "subsampling": "4:2:0"}),
    ("WebP", "WEBP", {"method": 6}),
)
_LABEL_HEIGHT = 24
_GAP = 6


@dataclass(frozen=True)
class CropArea:
    """A square of `size` pixels a side, its left upper corner at `at`, or in the picture's middle."""

    size: int = 256
    at: tuple[int, int] | None = None

    def box(self, image: Image.Image) -> tuple[int, int, int, int]:
        """(left, upper, right, lower) in the picture, moved and cut to lie within it."""
        left, upper = self.at or ((image.width - self.size) // 2, (image.height - self.size) // 2)
        left = max(0, min(left, image.width - self.size))
        upper = max(0, min(upper, image.height - self.size))
        return left, upper, min(left + self.size, image.width), min(upper + self.size, image.height)


def crop_sheet(
    paths: Sequence[Path],
    bpps: Sequence[float],
    encode_ours: Callable[[Image.Image, float], bytes],
    area: CropArea,
) -> Image.Image:
    """One row for each picture and each target in bits per pixel: original, ours, AVIF, WebP.

    encode_ours writes a picture, RGB, at a nominal number of bits per pixel. AVIF and WebP get the lowest
    quality whose file isn't smaller than ours, so they never have fewer bytes, unless quality 100 is still
    smaller. Labels give bits per pixel and PSNR of the whole picture.
    """
    rows = []
    for path in paths:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        rows += [_row(image, bpp, encode_ours, area) for bpp in bpps]
    return _stack(rows)


def smallest_not_below(image: Image.Image, size: int, pillow_format: str, args: SaveArgs) -> bytes:
    """The file of the lowest integer quality from 0 to 100 that has at least `size` bytes.

    Bisection: files are taken to grow with quality. The file of quality 100 when none is as large.
    """
    low, high = 0, 100
    best = encode(image, pillow_format, {"quality": high, **args})
    while low < high:
        middle = (low + high) // 2
        data = encode(image, pillow_format, {"quality": middle, **args})
        if len(data) >= size:
            high, best = middle, data
        else:
            low = middle + 1
    return best


def _row(
    image: Image.Image, bpp: float, encode_ours: Callable[[Image.Image, float], bytes], area: CropArea
) -> list[Image.Image]:
    ours = encode_ours(image, bpp)
    files = {"ours": ours}
    for name, pillow_format, args in _RIVALS:
        files[name] = smallest_not_below(image, len(ours), pillow_format, args)
    tiles = [_tile(image, "original", area)]
    return tiles + [_coded_tile(image, name, data, area) for name, data in files.items()]


def _coded_tile(original: Image.Image, name: str, data: bytes, area: CropArea) -> Image.Image:
    decoded = decode(data).convert("RGB")
    bpp = 8 * len(data) / (original.width * original.height)
    decibels = psnr(np.asarray(original), np.asarray(decoded))
    return _tile(decoded, f"{name}: {bpp:.3f} bpp, {decibels:.2f} dB", area)


def _tile(image: Image.Image, label: str, area: CropArea) -> Image.Image:
    crop = image.crop(area.box(image))
    tile = Image.new("RGB", (area.size, area.size + _LABEL_HEIGHT), "white")
    tile.paste(crop, (0, _LABEL_HEIGHT))
    ImageDraw.Draw(tile).text((2, 4), label, fill="black", font=ImageFont.load_default(14))
    return tile


def _stack(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    width, height = rows[0][0].width + _GAP, rows[0][0].height + _GAP
    sheet = Image.new("RGB", (width * len(rows[0]) - _GAP, height * len(rows) - _GAP), "white")
    for down, row in enumerate(rows):
        for across, tile in enumerate(row):
            sheet.paste(tile, (across * width, down * height))
    return sheet
