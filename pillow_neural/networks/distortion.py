"""Distortion of 8x8 blocks: absolute error, and its weight by structural dissimilarity.

Johnston et al. 2018 (arXiv 1703.10114, section 3) weigh the L1 error of each 8x8 block by S, the
structural dissimilarity (1 - SSIM) / 2 of Wang et al. 2004 over that block.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

SIDE = 8
LUMINANCE_CONSTANT = 0.01**2
CONTRAST_CONSTANT = 0.03**2


def absolute_error(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference of 8x8 blocks: two [B, 3, 8h, 8w] -> [B, h, w]."""
    return F.avg_pool2d((first - second).abs().mean(dim=1), SIDE)


def dissimilarity(first: Tensor, second: Tensor) -> Tensor:
    """(1 - SSIM) / 2 of 8x8 blocks, mean of the channels: pixels in 0..1, [B, 3, 8h, 8w] -> [B, h, w]."""
    products = (first, second, first * first, second * second, first * second)
    mean_1, mean_2, square_1, square_2, product = (F.avg_pool2d(values, SIDE) for values in products)
    covariance = product - mean_1 * mean_2
    variances = square_1 - mean_1.square() + square_2 - mean_2.square()
    luminance = (2 * mean_1 * mean_2 + LUMINANCE_CONSTANT) / (
        mean_1.square() + mean_2.square() + LUMINANCE_CONSTANT
    )
    structure = (2 * covariance + CONTRAST_CONSTANT) / (variances + CONTRAST_CONSTANT)
    blocks: Tensor = ((1 - luminance * structure) / 2).clamp(0, 1).mean(dim=1)
    return blocks
