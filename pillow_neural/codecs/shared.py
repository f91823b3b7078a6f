"""What codecs do alike: padding, reducing, rate levels, and reading a weights file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.codecs.contract import Payload
from pillow_neural.entropy import DecodeError
from pillow_neural.entropy.tables import FrequencyTables

RATE_BYTES = 2


class StoredWeights(NamedTuple):
    """Contents of a weights file.

    Attributes:
        tensors: all of them, by name.
        shape: the fields of the network's shape.
        tables: the frequency tables that are among the tensors.
    """

    tensors: dict[str, Tensor]
    shape: dict[str, Any]
    tables: FrequencyTables


def read_weights(path: Path) -> StoredWeights:
    """Read a safetensors file that a recipe of pillow_neural.training packed, its sha256 checked before."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        shape = json.loads(file.metadata()["network_shape"])
    frequencies, lengths = (tensors[f"tables.{part}"].numpy() for part in ("frequencies", "lengths"))
    return StoredWeights(tensors, shape, FrequencyTables.from_arrays(frequencies, lengths))


def pad_to_multiples(pixels: Tensor, side: int) -> Tensor:
    """Repeat the last row and column of [B, 3, H, W] up to multiples of `side`."""
    height, width = pixels.shape[2:]
    return F.pad(pixels, (0, -width % side, 0, -height % side), mode="replicate")


def mean_pixels(pixels: Tensor, reduction: int) -> Tensor:
    """Means over reduction x reduction pixels each, fewer at the right and the bottom, of [B, P, H, W]."""
    if reduction == 1:
        return pixels
    return F.avg_pool2d(pixels, reduction, ceil_mode=True, count_include_pad=False)


def rate_parameters(level: int) -> bytes:
    """The parameters of a codec that has nothing but a rate level in them."""
    return level.to_bytes(RATE_BYTES)


def parameter_level(payload: Payload) -> int:
    """The rate level of such parameters.

    Raises:
        DecodeError: they are not two bytes.
    """
    if len(payload.parameters) != RATE_BYTES:
        raise DecodeError(f"the parameters are a rate level of two bytes, not {payload.parameters.hex()!r}")
    return int.from_bytes(payload.parameters)


def calibrated_level(bits_per_pixel: float, rates: Sequence[float], levels: Sequence[int | float]) -> int:
    """The rate level with this mean rate over photographs, log-linear between calibrated levels."""
    return round(float(np.interp(np.log(bits_per_pixel), np.log(rates), levels)))
