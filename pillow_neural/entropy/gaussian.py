"""Gaussian bins: the training-time estimate of what the integer tables will cost.

The scale of a latent is an index into SCALES; its frequency table is built from the same scale at export.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SCALE_COUNT = 64
SMALLEST_SCALE = 0.11
SCALE_RATIO = 1.12
LIKELIHOOD_FLOOR = 1e-9


def scale_of_index(index: Tensor) -> Tensor:
    """Standard deviation in quantisation steps, 0.11 * 1.12**index; fractions allowed in training."""
    return SMALLEST_SCALE * torch.exp(index * math.log(SCALE_RATIO))


def index_of_scale(scale: Tensor) -> Tensor:
    """Inverse of scale_of_index, as a real number."""
    return torch.log(scale / SMALLEST_SCALE) / math.log(SCALE_RATIO)


def gaussian_bits(value: Tensor, scale: Tensor) -> Tensor:
    """Bits of the unit bin around value under N(0, scale**2) (Balle et al. 2018, eq. 6), elementwise."""
    value = value.abs()
    half = math.sqrt(0.5)
    upper = torch.erfc((value - 0.5) * half / scale)
    lower = torch.erfc((value + 0.5) * half / scale)
    return -torch.log2((0.5 * (upper - lower)).clamp_min(LIKELIHOOD_FLOOR))


def logistic_bits(value: Tensor, location: Tensor, scale: Tensor) -> Tensor:
    """Bits of the unit bin around value under a logistic distribution, elementwise."""
    distance = (value - location).abs()
    likelihood = torch.sigmoid((0.5 - distance) / scale) - torch.sigmoid((-0.5 - distance) / scale)
    return -torch.log2(likelihood.clamp_min(LIKELIHOOD_FLOOR))
