"""How much a codec computes: multiplications a pixel, parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from PIL import Image

from pillow_neural.codecs.loading import load_codec, weights_for_saving
from pillow_neural.modes import to_planes
from pillow_neural.settings import DEFAULT_EFFORT


class Complexity(NamedTuple):
    """Multiply-accumulate operations of convolutions and matrix products, a pixel of the picture."""

    encode: float
    decode: float


def complexity(
    codec_name: str, picture: Image.Image, quality: float = 0.5, tune: str | None = None
) -> Complexity:
    """Count what encoding and decoding one picture takes, on the CPU and at the default effort.

    Raises:
        ValueError: no such codec.
        OSError: it has no weights.
    """
    codec = load_codec(weights_for_saving(codec_name, tune), "cpu")
    pixels = to_planes(picture.convert("RGB"), grey=False)
    level = codec.level_of_quality(quality)
    payloads = codec.encode(pixels, [level], DEFAULT_EFFORT)
    area = picture.width * picture.height
    return Complexity(
        _multiplications(lambda: codec.encode(pixels, [level], DEFAULT_EFFORT)) / area,
        _multiplications(lambda: codec.decode(payloads, picture.width, picture.height)) / area,
    )


def _multiplications(work: Callable[[], object]) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    products_of_bytes = {torch.ops.aten._int_mm: _operations_of_product}
    with FlopCounterMode(display=False, custom_mapping=products_of_bytes) as counter:
        work()
    return float(counter.get_total_flops()) / 2


def _operations_of_product(first: Sequence[int], second: Sequence[int], **_: object) -> int:
    """Multiplications and additions of a product of matrices of these shapes."""
    return 2 * first[0] * first[1] * second[1]
