"""Means over small windows."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pillow_neural.networks.box import box_means, halved


@pytest.mark.parametrize("side", [2, 3, 5])
def test_box_means_are_those_of_pooling(side: int) -> None:
    planes = torch.randn(2, 3, 11, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(box_means(planes, side), F.avg_pool2d(planes, side, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(12, 8), (11, 8), (12, 7)])
def test_halved_planes_are_those_of_pooling(size: tuple[int, int]) -> None:
    planes = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(halved(planes), F.avg_pool2d(planes, 2))
