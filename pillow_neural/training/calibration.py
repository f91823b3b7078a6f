"""What rate levels mean: mean sizes of files of photographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from pillow_neural.codecs.contract import RATE_LEVELS, Codec, Payload
from pillow_neural.codecs.shared import RateCalibration
from pillow_neural.modes import to_planes
from pillow_neural.training.data import Pixels

CONTAINER_BYTES = 40
SECTION_BYTES = 10


def mean_rates(codec: Codec, pictures: Sequence[Pixels], points: int) -> RateCalibration:
    """Evenly spaced rate levels and the mean bits per pixel of whole files at them, never falling."""
    planes = photographs(pictures)
    levels = np.linspace(0, RATE_LEVELS, points).round().astype(int).tolist()
    rates = [[bits_per_pixel(p, codec.encode(p, [level])[0])[-1] for p in planes] for level in levels]
    return RateCalibration(levels, rising(np.mean(rates, axis=1)))


def photographs(pictures: Sequence[Pixels]) -> list[Tensor]:
    """Pictures uint8 [H, W, 3] as codecs take them, uint8 [1, 3, H, W]."""
    return [to_planes(Image.fromarray(picture), grey=False) for picture in pictures]


def bits_per_pixel(planes: Tensor, payload: Payload) -> list[float]:
    """Of files of a picture [1, 3, H, W] with the first 1, 2, ... sections."""
    sizes = np.cumsum([len(section) + SECTION_BYTES for section in payload.sections])
    rates: list[float] = (8 * (CONTAINER_BYTES + sizes) / planes[0, 0].numel()).tolist()
    return rates


def rising(values: np.ndarray) -> list[float]:
    """Each value, or the largest before it where that is larger."""
    largest: list[float] = np.maximum.accumulate(values).tolist()
    return largest
