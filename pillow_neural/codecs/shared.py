"""What codecs do alike: padding, reducing, rate levels, and reading a weights file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.codecs.contract import RATE_LEVELS, Payload
from pillow_neural.entropy import DecodeError
from pillow_neural.entropy.tables import FrequencyTables

RATE_BYTES = 2


class RateCalibration(NamedTuple):
    """What rate levels mean to a codec: mean bits per pixel of photographs at some of them, both rising."""

    levels: Sequence[int] = ()
    bits_per_pixel: Sequence[float] = ()

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> RateCalibration:
        """That of a weights file."""
        return cls(*(tensors[f"calibration.{name}"].tolist() for name in cls._fields))

    def tensors(self) -> dict[str, Tensor]:
        """As it is in a weights file."""
        return {
            "calibration.levels": torch.tensor(self.levels, dtype=torch.int32),
            "calibration.bits_per_pixel": torch.tensor(self.bits_per_pixel, dtype=torch.float32),
        }

    def level_of(self, bits_per_pixel: float) -> int:
        """The rate level with this mean rate over photographs, log-linear between calibrated levels."""
        return calibrated_level(bits_per_pixel, self.bits_per_pixel, self.levels)


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
    """Repeat the last row and column of [B, P, H, W], of any type, up to multiples of `side`."""
    for axis in (2, 3):
        length = pixels.shape[axis]
        if length % side:
            places = torch.arange(length + -length % side, device=pixels.device).clamp_(max=length - 1)
            pixels = pixels.index_select(axis, places)
    return pixels


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


def rate_positions(levels: Sequence[int], device: torch.device) -> Tensor:
    """Rate levels 0..65535 as positions 0..1, float32 [B]."""
    return torch.tensor(levels, dtype=torch.float32, device=device) / RATE_LEVELS


def calibrated_level(bits_per_pixel: float, rates: Sequence[float], levels: Sequence[int | float]) -> int:
    """The rate level with this mean rate over photographs, log-linear between calibrated levels."""
    return round(float(np.interp(np.log(bits_per_pixel), np.log(rates), levels)))
