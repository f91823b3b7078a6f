"""Contrast masking: errors count less where a picture is busy.

    pixels --variance v of 16x16 blocks--> 1 / (2 v + c) --power, over the picture's mean--> weight of errors

Structural similarity divides small squared errors by 2 v + c, with v the local variance and c = 0.03**2
(Wang, Bovik, Sheikh and Simoncelli 2004, equation 13). Where contrast is companded
(pillow_neural.networks.companding) that is half done, and 0.3 is the power that is best.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.networks.transform import BLOCK

CONTRAST_CONSTANT = 0.03**2
EXPONENT = 0.3
LARGEST = 10.0


def sensitivity(pixels: Tensor) -> Tensor:
    """1 / (2 v + c) of 16x16 blocks, mean of the planes: [B, P, 16h, 16w] in 0..1 -> [B, 1, h, w]."""
    mean = F.avg_pool2d(pixels, BLOCK)
    variance = (F.avg_pool2d(pixels.square(), BLOCK) - mean.square()).clamp_min(0)
    return (1 / (2 * variance + CONTRAST_CONSTANT)).mean(dim=1, keepdim=True)


def masking_weight(sensitivities: Tensor) -> Tensor:
    """Weight of errors in each block, 0.1 to 10, about 1 on average: [B, 1, h, w] -> [B, 1, h, w]."""
    logarithm = EXPONENT * sensitivities.log()
    relative = torch.exp(logarithm - logarithm.mean(dim=(1, 2, 3), keepdim=True))
    return relative.clamp(1 / LARGEST, LARGEST)
