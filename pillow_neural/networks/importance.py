"""Importance maps: how many channels of a code each place keeps.

    importance p of a place, 0..1 --quantised--> level 0..15 --> mask: the first level * n / 16 of n channels

Li et al. 2018 (arXiv 1703.10553, section 3.1, "Importance map"). Levels end at 15, so the last n / 16
channels would never be kept and are left out: masks have 15 groups of channels, one for each level above 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LEVELS = 16
GROUPS = LEVELS - 1


def leading_channels(counts: Tensor, channels: int) -> Tensor:
    """Mask of the first channels of each place: counts [B, h, w] -> bool [B, channels, h, w]."""
    return torch.arange(channels, device=counts.device)[:, None, None] < counts[:, None]


def level_of_importance(importance: Tensor) -> Tensor:
    """Level of an importance of 0..1: the whole part of its 16-fold, int64 0..15."""
    return (importance * LEVELS).floor().clamp(0, GROUPS).long()


class _Mask(torch.autograd.Function):
    """The mask of a map, with the proxy gradient of the paper."""

    @staticmethod
    def forward(ctx: Any, importance: Tensor, width: int) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(importance)
        mask = leading_channels(level_of_importance(importance) * width, GROUPS * width)
        return mask.to(importance.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (importance,) = ctx.saved_tensors
        scaled = LEVELS * importance[:, None]
        group = torch.arange(1, LEVELS, device=importance.device)[:, None, None]
        near = (scaled - 1 <= group) & (group < scaled + 2)
        batch, _, height, width = gradients[0].shape
        by_group = gradients[0].view(batch, GROUPS, -1, height, width).sum(dim=2)
        return LEVELS * (by_group * near).sum(dim=1), None


def importance_mask(importance: Tensor, width: int) -> Tensor:
    """Mask of the channels that each place keeps, 0 or 1: [B, h, w] in 0..1 -> [B, 15 * width, h, w].

    Channel k, counted from 1, is kept if g = ceil(k / width) is at most the level of its place. The
    gradient by the importance p is the paper's: 16 where 16 p - 1 <= g < 16 p + 2, and 0 elsewhere.

    Args:
        importance: the map.
        width: channels of a level.
    """
    mask: Tensor = _Mask.apply(importance, width)  # type: ignore[no-untyped-call]
    return mask
