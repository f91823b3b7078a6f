"""Side by side: a crop of a picture, of ours, and of AVIF and WebP in files of the same size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pillow_neural.benchmark.codecs import Codec, SaveArgs, decode, encode, register_formats
from pillow_neural.benchmark.metrics import psnr

EncodeOurs = Callable[[Image.Image, float], bytes]
"""Writes a picture, RGB, at a nominal number of bits per pixel."""

_RIVALS: tuple[tuple[str, str, SaveArgs], ...] = (
    ("AVIF", "AVIF", {"speed": 4, "subsampling": "4:2:0"}),
    ("WebP", "WEBP", {"method": 6}),
)
_LABEL_HEIGHT = 24
_GAP = 6


@dataclass(frozen=True)
class CropArea:
    """A rectangle of so many pixels with its middle at `middle`, or in the picture's."""

    width: int = 256
    height: int = 256
    middle: tuple[int, int] | None = None

    def box(self, image: Image.Image) -> tuple[int, int, int, int]:
        """(left, upper, right, lower) in the picture, moved and cut to lie within it."""
        x, y = self.middle or (image.width // 2, image.height // 2)
        left = max(0, min(x - self.width // 2, image.width - self.width))
        upper = max(0, min(y - self.height // 2, image.height - self.height))
        return left, upper, min(left + self.width, image.width), min(upper + self.height, image.height)


@dataclass(frozen=True)
class Coded:
    """A codec's name, the bytes of the whole file that it wrote, and the picture decoded from it, RGB."""

    codec: str
    bytes: int
    image: Image.Image


@dataclass(frozen=True)
class Comparison:
    """A picture, RGB, and what ours, AVIF and WebP make of it in files of equal size.

    bpp is the nominal rate of ours, middle the place that is worth looking at, None for the picture's middle.
    """

    name: str
    bpp: float
    middle: tuple[int, int] | None
    original: Image.Image
    coded: list[Coded]


def encoders(ours: Sequence[Codec]) -> dict[str, EncodeOurs]:
    """How codecs of ours write a picture, by the names that they are shown under, such as ".nic ssim"."""
    return {f".{codec.name.replace(':', ' ')}": encoder(codec) for codec in ours}


def encoder(ours: Codec) -> EncodeOurs:
    """How a codec of ours writes a picture at a nominal number of bits per pixel."""
    fixed = {key: value for key, value in ours.settings[0].items() if key != "quality"}
    return lambda image, bpp: encode(image, ours.format, {**fixed, "quality": bpp})


def compare(
    path: Path,
    bpps: Sequence[float],
    ours: Mapping[str, EncodeOurs],
    middle: tuple[int, int] | None = None,
) -> Iterator[Comparison]:
    """One comparison of a picture for each target in bits per pixel.

    AVIF and WebP get the lowest quality whose file isn't smaller than the first of ours, so they never have
    fewer bytes, unless quality 100 is still smaller; one that Pillow can't save here is left out.
    """
    register_formats()
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    for bpp in bpps:
        files = {name: encode_ours(image, bpp) for name, encode_ours in ours.items()}
        size = len(next(iter(files.values())))
        for name, pillow_format, args in _RIVALS:
            if pillow_format in Image.SAVE:
                files[name] = smallest_not_below(image, size, pillow_format, args)
        coded = [Coded(name, len(data), decode(data).convert("RGB")) for name, data in files.items()]
        yield Comparison(path.stem, bpp, middle, image, coded)


def crop_sheet(comparisons: Sequence[Comparison], size: int) -> Image.Image:
    """One row for each comparison: square crops of `size` pixels of the original, of ours, AVIF, WebP.

    Labels give bits per pixel and PSNR of the whole picture.
    """
    return sheet([_row(comparison, size) for comparison in comparisons])


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


def _row(comparison: Comparison, size: int) -> list[Image.Image]:
    original, area = comparison.original, CropArea(size, size, comparison.middle)
    tiles = [_tile(original, "original", area)]
    for coded in comparison.coded:
        bpp = 8 * coded.bytes / (original.width * original.height)
        decibels = psnr(np.asarray(original), np.asarray(coded.image))
        tiles.append(_tile(coded.image, f"{coded.codec}: {bpp:.3f} bpp, {decibels:.2f} dB", area))
    return tiles


def _tile(image: Image.Image, label: str, area: CropArea) -> Image.Image:
    crop = Image.new("RGB", (area.width, area.height), "white")
    crop.paste(image.crop(area.box(image)))
    return labelled(crop, label)


def labelled(image: Image.Image, label: str) -> Image.Image:
    """A picture, RGB, with a line of text above it."""
    tile = Image.new("RGB", (image.width, image.height + _LABEL_HEIGHT), "white")
    tile.paste(image, (0, _LABEL_HEIGHT))
    ImageDraw.Draw(tile).text((2, 4), label, fill="black", font=ImageFont.load_default(14))
    return tile


def sheet(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Rows of tiles that all have the size of the first."""
    width, height = rows[0][0].width + _GAP, rows[0][0].height + _GAP
    whole = Image.new("RGB", (width * len(rows[0]) - _GAP, height * len(rows) - _GAP), "white")
    for down, row in enumerate(rows):
        for across, tile in enumerate(row):
            whole.paste(tile, (across * width, down * height))
    return whole
