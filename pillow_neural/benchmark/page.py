"""One HTML page to look at: a slider between a picture and what codecs made of it in files of equal size.

    comparisons -> crops -> lossless WebP in data URIs, captions -> page.html with {{data}} filled in

Browsers show the pixels that were decoded and measured here, not what they would decode themselves.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pillow_neural.benchmark.codecs import encode
from pillow_neural.benchmark.crops import Coded, Comparison, CropArea
from pillow_neural.benchmark.metrics import ms_ssim, psnr

LIMIT = 2**20 - 1
"""The most bytes that a page may have."""

_TEMPLATE = Path(__file__).with_name("page.html")
_WIDTHS = range(384, 95, -16)
_ASPECT = 3 / 2


def write_page(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write the page, with the largest crops of 384x256 and less for which it has at most LIMIT bytes.

    Each comparison becomes a picture to choose, by its name. Raises ValueError when even crops of 96x64 are
    too many.
    """
    facts = [[_facts(coded, comparison.original) for coded in comparison.coded] for comparison in comparisons]
    for width in _WIDTHS:
        pictures = [
            _picture(comparison, lines, CropArea(width, round(width / _ASPECT), comparison.middle))
            for comparison, lines in zip(comparisons, facts, strict=True)
        ]
        data = json.dumps(pictures).replace("<", "\\u003c")  # "</script>" would end the element
        page = _TEMPLATE.read_text(encoding="utf-8").replace("{{data}}", data).encode()
        if len(page) <= LIMIT:
            path.write_bytes(page)
            return
    raise ValueError(
        f"a page with {len(comparisons)} pictures would have more than {LIMIT} bytes: show fewer"
    )


def _facts(coded: Coded, original: Image.Image) -> list[str]:
    reference, pixels = np.asarray(original), np.asarray(coded.image)
    return [
        f"{coded.bytes:,} bytes",
        f"{8 * coded.bytes / (original.width * original.height):.3f} bpp",
        f"PSNR {psnr(reference, pixels):.2f} dB",
        f"MS-SSIM {ms_ssim(reference, pixels):.4f}",
    ]


def _picture(comparison: Comparison, facts: Sequence[list[str]], area: CropArea) -> dict[str, Any]:
    """What the page's script knows of a picture; facts has some lines about each coded one."""
    original = comparison.original
    left, upper, right, lower = box = area.box(original)
    original_side = {
        "id": "original",
        "label": "original",
        "facts": [],
        "source": _source(original.crop(box)),
    }
    coded_sides = [
        {
            "id": coded.codec.lower().strip(".").replace(" ", "-"),
            "label": coded.codec,
            "facts": lines,
            "source": _source(coded.image.crop(box)),
        }
        for coded, lines in zip(comparison.coded, facts, strict=True)
    ]
    return {
        "name": comparison.name,
        "width": right - left,
        "height": lower - upper,
        "note": f"You see {right - left}x{lower - upper} of the picture's {original.width}x{original.height} "
        "pixels, enlarged without smoothing. Sizes, bits per pixel (bpp), PSNR and MS-SSIM are "
        "those of the whole picture. AVIF and WebP got the lowest quality whose file isn't smaller than that "
        "of .nic.",
        "sides": [original_side, *coded_sides],
    }


def _source(crop: Image.Image) -> str:
    """A data URI with exactly these pixels."""
    data = encode(crop, "WEBP", {"lossless": True, "quality": 80, "method": 4})
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"
