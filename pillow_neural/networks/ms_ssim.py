"""MS-SSIM to differentiate: the metric of pillow_neural.benchmark.metrics, which needs no torch, as a
loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.networks.box import halved
from pillow_neural.networks.integer import restoring_clamp

SMALLEST_SIDE = 161
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
LUMINANCE_CONSTANT = 0.01**2
CONTRAST_CONSTANT = 0.03**2
WINDOW = 11
SIGMA = 1.5
FLOOR = 0.05


def smallest_side(halvings: int = 0) -> int:
    """Pixels a side that pictures need for `ms_ssim`."""
    return -(-SMALLEST_SIDE >> halvings)


def ms_ssim(first: Tensor, second: Tensor, halvings: int = 0) -> Tensor:
    """Multi-scale structural similarity of pictures, mean of the channels, at most 1: [B].

    Wang, Simoncelli and Bovik 2003, equation 7, with five scales, an 11x11 Gaussian window of sigma 1.5,
    valid convolutions and 2x2 means between the scales. The mean of a scale counts as 0.05 at least:
    near 0 the root makes gradients so large that one smooth crop would steer a step.

    Args:
        first, second: pixels in 0..1 and somewhat beyond, [B, C, H, W].
        halvings: how often both were halved before. The scales that are lost count as alike.

    Raises:
        ValueError: a side is shorter than 161 pixels, halved so often.
    """
    smallest = smallest_side(halvings)
    if min(first.shape[2:]) < smallest:
        raise ValueError(f"MS-SSIM needs {smallest} pixels a side, these have {tuple(first.shape[2:])}")
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        product = torch.ones_like(first[:, :, 0, 0])
        for scale, weight in enumerate(SCALE_WEIGHTS[halvings:], halvings):
            last = scale == len(SCALE_WEIGHTS) - 1
            product = product * restoring_clamp(_similarity(first, second, last), FLOOR, 1) ** weight
            if not last:
                first, second = _halved(first), _halved(second)
        return product.mean(dim=1)


def _similarity(first: Tensor, second: Tensor, with_luminance: bool) -> Tensor:
    """Mean of the contrast and structure term, times luminance if wanted: [B, C]."""
    statistics = _blurred(torch.cat([first, second, first * first + second * second, first * second], 1))
    mean_1, mean_2, squares, product = statistics.chunk(4, dim=1)
    mean_squares, mean_product = mean_1 * mean_1 + mean_2 * mean_2, mean_1 * mean_2
    contrast = (2 * (product - mean_product) + CONTRAST_CONSTANT) / (
        squares - mean_squares + CONTRAST_CONSTANT
    )
    if with_luminance:
        contrast = contrast * (2 * mean_product + LUMINANCE_CONSTANT) / (mean_squares + LUMINANCE_CONSTANT)
    return contrast.mean(dim=(2, 3))


def _blurred(planes: Tensor) -> Tensor:
    """Valid convolution of each plane with the window, at once: on CPUs faster than rows, then columns."""
    distances = torch.arange(WINDOW, device=planes.device) - WINDOW // 2
    taps = torch.exp(-0.5 * (distances / SIGMA).square())
    window = torch.outer(taps, taps) / taps.sum().square()
    return F.conv2d(planes, window.expand(planes.shape[1], 1, -1, -1), groups=planes.shape[1])


def _halved(planes: Tensor) -> Tensor:
    """2x2 means; an odd side repeats its last row or column."""
    height, width = planes.shape[2:]
    return halved(F.pad(planes, (0, width % 2, 0, height % 2), mode="replicate"))
