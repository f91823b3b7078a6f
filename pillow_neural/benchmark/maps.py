"""Where a codec spends its bits, at several rates: pictures and their importance maps side by side."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from pillow_neural.benchmark.codecs import nic_codec
from pillow_neural.benchmark.crops import encoder, labelled, sheet
from pillow_neural.container import read_index
from pillow_neural.importance import importance_picture


def map_sheet(paths: Sequence[Path], codec: str, qualities: Sequence[float], width: int) -> Image.Image:
    """One row a picture: itself, then its map at each quality, white where it may have all its bits.

    Args:
        paths: pictures, all of one shape.
        codec: registered name of a codec with importance maps.
        qualities: as in `Image.save`.
        width: of each tile, in pixels.

    Raises:
        ValueError: the codec has no such maps.
        OSError: it has no weights, or a picture cannot be read.
    """
    rows = []
    encode = encoder(nic_codec(codec))
    for path in paths:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        size = (width, round(width * image.height / image.width))
        row = [labelled(image.resize(size), path.stem)]
        for quality in qualities:
            data = encode(image, quality)
            file = io.BytesIO(data)
            shares = importance_picture(file, read_index(file))
            bpp = 8 * len(data) / (image.width * image.height)
            row.append(labelled(shares.resize(size).convert("RGB"), f"{bpp:.3f} bpp"))
        rows.append(row)
    return sheet(rows)
