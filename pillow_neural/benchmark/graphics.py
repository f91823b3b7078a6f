"""Pictures that are drawn: .nic as it is saved by default, beside lossless WebP and AVIF.

Pictures with alpha are compared on white. AVIF has full colour resolution here (4:4:4), which suits drawings
better than Pillow's default.
"""

import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pillow_neural.benchmark.codecs import decode, encode, nic_codec, register_formats, weights_measured
from pillow_neural.benchmark.crops import smallest_not_below
from pillow_neural.benchmark.metrics import psnr
from pillow_neural.benchmark.report import markdown_table
from pillow_neural.benchmark.results import Environment, describe_environment
from pillow_neural.container import read_index
from pillow_neural.header import AVIF_CODEC, LOSSLESS_CODEC

QUALITIES = (0.25, 0.5, 1.0)
_AVIF = {"speed": 4, "subsampling": "4:4:4"}


@dataclass(frozen=True)
class Saved:
    """One file of ours and the AVIF file nearest above its size; PSNR in dB, None where no pixel differs."""

    quality: float
    codec: str
    bytes: int
    psnr: float | None
    avif_bytes: int
    avif_psnr: float | None


@dataclass(frozen=True)
class Drawing:
    """A picture, the bytes of Pillow's lossless WebP at its default settings, and ours at each quality."""

    name: str
    width: int
    height: int
    mode: str
    webp_bytes: int
    saved: list[Saved]


@dataclass(frozen=True)
class GraphicsResults:
    """What was measured, where."""

    environment: Environment
    drawings: list[Drawing]

    def save(self, folder: Path) -> None:
        """Write graphics.json and graphics.md."""
        text = json.dumps(asdict(self), indent=1, allow_nan=False)
        (folder / "graphics.json").write_text(text + "\n", encoding="utf-8")
        (folder / "graphics.md").write_text(_report(self), encoding="utf-8")


def measure_graphics(
    pictures: Mapping[str, Image.Image], qualities: Sequence[float] = QUALITIES
) -> GraphicsResults:
    """Save each picture in memory at each quality, open it again and compare.

    Raises:
        OSError: Pillow cannot save WebP or AVIF here.
    """
    register_formats()
    for needed in ("WEBP", "AVIF"):
        if needed not in Image.SAVE:
            raise OSError(f"Pillow cannot save {needed} here")
    environment = {**describe_environment(), **weights_measured(nic_codec())}
    drawings = [
        Drawing(
            name,
            im.width,
            im.height,
            im.mode,
            len(encode(im, "WEBP", {"lossless": True})),
            list(_saved(im, qualities)),
        )
        for name, im in tqdm(pictures.items(), unit="picture")
    ]
    return GraphicsResults(environment, drawings)


def _saved(im: Image.Image, qualities: Sequence[float]) -> Iterator[Saved]:
    @cache
    def avif(size: int) -> tuple[int, float | None]:
        data = smallest_not_below(im, size, "AVIF", _AVIF)
        return len(data), _psnr(im, data)

    for quality in qualities:
        data = encode(im, "NIC", {"quality": quality})
        codec = read_index(io.BytesIO(data)).header.codec
        yield Saved(quality, codec, len(data), _psnr(im, data), *avif(len(data)))


def _psnr(im: Image.Image, data: bytes) -> float | None:
    decibels = psnr(*(np.asarray(_on_white(each)) for each in (im, decode(data))))
    return None if math.isinf(decibels) else decibels


def _on_white(im: Image.Image) -> Image.Image:
    if not im.has_transparency_data:
        return im.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", im.size, "white"), im.convert("RGBA")).convert("RGB")


def _report(results: GraphicsResults) -> str:
    header = ["picture", "size", "quality", "codec", "bytes", "PSNR", "lossless WebP", "AVIF", "its PSNR"]
    saved = [(drawing, each) for drawing in results.drawings for each in drawing.saved]
    codecs = Counter(each.codec for _, each in saved)
    larger = [(drawing, each) for drawing, each in saved if each.bytes > drawing.webp_bytes]
    lines = [
        "# Screenshots, drawings, icons and other graphics",
        "",
        "Each picture saved as .nic without naming a codec, beside Pillow's lossless WebP at its default",
        "settings and AVIF (speed 4, 4:4:4) at the lowest quality that is not smaller than ours, or 100.",
        "Bytes of whole files; PSNR over RGB in dB, on white.",
        "",
        *markdown_table(header, [_row(drawing, each) for drawing, each in saved], texts=1),
        "",
        f"Of {len(saved)} files {codecs[LOSSLESS_CODEC]} are lossless and {codecs[AVIF_CODEC]} AVIF. "
        f"Larger than lossless WebP: {len(larger)}.",
        "",
        *(f"- {drawing.name} at {each.quality}: {_excess(drawing, each)}" for drawing, each in larger),
        *([""] if larger else []),
        ", ".join(f"{key} {value}" for key, value in results.environment.items()),
    ]
    return "\n".join([*lines, ""])


def _row(drawing: Drawing, saved: Saved) -> list[str]:
    return [
        drawing.name,
        f"{drawing.width}x{drawing.height}",
        f"{saved.quality}",
        saved.codec,
        f"{saved.bytes:,}",
        _decibels(saved.psnr),
        f"{drawing.webp_bytes:,}",
        f"{saved.avif_bytes:,}",
        _decibels(saved.avif_psnr),
    ]


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.2f}"


def _excess(drawing: Drawing, saved: Saved) -> str:
    more = saved.bytes - drawing.webp_bytes
    return f"{more} bytes more ({more / drawing.webp_bytes:.1%})"
