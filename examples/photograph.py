"""Save a photograph as .nic and open it again: python examples/photograph.py [PICTURE] [BITS_PER_PIXEL]."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

import pillow_neural  # noqa: F401  (registers the format)

source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("kodim23.png")
quality = float(sys.argv[2]) if len(sys.argv) > 2 else 0.25

picture = Image.open(source).convert("RGB")
target = Path(source.stem).with_suffix(".nic")
picture.save(target, quality=quality)

opened = Image.open(target)
opened.save(target.with_suffix(".decoded.png"))
size = target.stat().st_size
print(f"{source.name}: {picture.width}x{picture.height}, {source.stat().st_size:,} bytes")
print(f"{target}: {size:,} bytes, {8 * size / (picture.width * picture.height):.3f} bits per pixel")
print(f"decoded to {target.with_suffix('.decoded.png')}")
