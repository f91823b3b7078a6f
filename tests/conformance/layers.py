"""Coarser pictures from the first layers of a file: a progressive codec of ours, and JPEG 2000."""

from __future__ import annotations

import io

from PIL import Image, ImageFile

from tests.codec_helpers import install
from tests.conformance.kit import Kit
from tests.recurrent_helpers import random_codec

LAYERS = 4


def _layered(kit: Kit) -> bytes:
    """A file of four layers."""
    if kit.format == "NIC":
        install(kit.monkeypatch, "johnston2018", random_codec())
        return kit.save(codec="johnston2018")
    return kit.save(quality_mode="rates", quality_layers=[40, 20, 10, 5], irreversible=True)


def _pixels(data: bytes, layers: int = 0) -> bytes:
    with Image.open(io.BytesIO(data)) as im:
        im.layers = layers  # type: ignore[attr-defined]
        return im.tobytes()


def at_first(kit: Kit) -> str:
    return str(kit.open(_layered(kit)).layers)  # type: ignore[attr-defined]


def different(kit: Kit) -> str:
    data = _layered(kit)
    shown = [_pixels(data, number) for number in range(1, LAYERS + 1)]
    return f"{len(set(shown))} of {LAYERS}, last is all: {shown[-1] == _pixels(data)}"


def too_many(kit: Kit) -> str:
    im = kit.open(_layered(kit))
    try:
        im.layers = LAYERS + 1  # type: ignore[attr-defined]
    except ValueError as error:
        return f"{type(error).__name__}, still {im.layers}"  # type: ignore[attr-defined]
    return "ok"


def cut_but_tolerated(kit: Kit) -> str:
    data = _layered(kit)
    kit.monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    shown = _pixels(data[:-1])
    if shown == _pixels(data, LAYERS - 1):
        return "the layers before the cut"
    return "one colour" if len(set(shown)) == 1 else "something else"
