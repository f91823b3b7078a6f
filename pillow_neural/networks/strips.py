"""Transforms of large pictures in strips: memory and caches see a strip at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STRIP_BLOCKS = 16_384
"""About as many 16x16 blocks, four megapixels, are in a strip."""

HALOS = 8
"""A strip has at least so many times the rows that it shares with one neighbour, which are computed twice."""


def in_strips(
    transform: Callable[[Tensor], Tensor], whole: Tensor, rows_in: int, rows_out: int, halo: int
) -> Tensor:
    """What a transform gives for the whole, computed for strips of rows of blocks and put together.

    Args:
        transform: [B, C, n * rows_in, W] -> [B, C', n * rows_out, W'], for any n.
        whole: its input.
        rows_in, rows_out: rows of the input and of the output that make a row of blocks.
        halo: how many rows of blocks of the input above and below its own a row of the output depends on.
    """
    rows = whole.shape[2] // rows_in
    columns = whole.shape[3] // rows_in
    most = max(HALOS * halo, STRIP_BLOCKS // columns, 1)
    parts = []
    for first in range(0, rows, most):
        last = min(first + most, rows)
        top, bottom = max(0, first - halo), min(rows, last + halo)
        strip = transform(whole[:, :, top * rows_in : bottom * rows_in])
        parts.append(strip[:, :, (first - top) * rows_out : (last - top) * rows_out])
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
