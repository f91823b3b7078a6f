"""Where in a picture its codec may spend bits, as a grey picture."""

from __future__ import annotations

import math
from typing import BinaryIO, cast

from PIL import Image

from pillow_neural.codecs import loading
from pillow_neural.codecs.contract import MapsImportance
from pillow_neural.codecs.registry import codecs_with_maps
from pillow_neural.coding import decoding
from pillow_neural.container import Index
from pillow_neural.devices import device
from pillow_neural.layers import is_progressive, read_payload


def importance_picture(fp: BinaryIO, index: Index, start: int = 0, frame: int = 0) -> Image.Image:
    """Return a frame's map in the size of the picture: mode L, 0 for no bits to 255 for the most.

    Args:
        fp: a seekable file; of a progressive codec the first layer is enough.
        index: what `container.read_index` found in it.
        start: position in `fp` of the file's magic.
        frame: 0 to len(index.frames) - 1.

    Raises:
        OSError: the file is damaged or truncated, or its weights are not available.
        ValueError: its codec has no such maps, or the device chosen for codecs does not exist.
        IndexError: no such frame.
    """
    header = index.header
    if header.codec not in codecs_with_maps():
        raise ValueError(
            f"codec {header.codec} has no importance maps; those that have: {', '.join(codecs_with_maps())}"
        )
    entry = loading.weights_for_opening(header.codec, header.weights)
    layers = 1 if is_progressive(header.codec) else None
    payload = read_payload(fp, header, index.frames[frame], start, layers)
    codec = cast(MapsImportance, loading.load_codec(entry, device()))
    with decoding(header):
        shares = codec.importance_map(payload, header.width, header.height)
    rows, columns = shares.shape
    # The side of a block is the only power of two that gives so many rows and columns, or there is one block.
    side = 1 << (math.ceil(max(header.height / rows, header.width / columns)) - 1).bit_length()
    blocks = Image.fromarray((255 * shares).round().byte().numpy())
    whole = blocks.resize((columns * side, rows * side), Image.Resampling.NEAREST)
    return whole.crop((0, 0, header.width, header.height))
