"""What transforms and pixel stages share: units of their networks, cells, and grey pictures as one plane.

Grey pictures pass as one plane: first layers add up their weights over three equal planes, last ones average
theirs, which gives the mean of the three planes that would come out.
"""

from __future__ import annotations

from torch import Tensor

OUTPUT_UNIT = 0.1
INPUT_UNIT = 0.25


def added_planes(weight: Tensor) -> Tensor:
    """Weights [outputs, 3n, ...] for three equal input planes -> [outputs, n, ...] for one."""
    return weight.reshape(len(weight), 3, -1, *weight.shape[2:]).sum(dim=1)


def averaged_planes(weight: Tensor) -> Tensor:
    """Weights or biases [3n, ...] of three output planes -> [n, ...] of their mean."""
    return weight.reshape(3, -1, *weight.shape[1:]).mean(dim=0)


def to_cells(pixels: Tensor, side: int) -> Tensor:
    """`pixel_unshuffle` in half of its time or less: [B, P, side * h, side * w] -> [B, P * side**2, h, w]."""
    batch, planes, height, width = pixels.shape
    rows, columns = height // side, width // side
    cells = pixels.view(batch, planes, rows, side, columns, side).permute(0, 1, 3, 5, 2, 4)
    return cells.reshape(batch, planes * side * side, rows, columns)


def from_cells(cells: Tensor, side: int) -> Tensor:
    """`pixel_shuffle`, likewise: [B, P * side**2, h, w] -> [B, P, side * h, side * w]."""
    batch, samples, rows, columns = cells.shape
    planes = samples // side**2
    pixels = cells.view(batch, planes, side, side, rows, columns).permute(0, 1, 4, 2, 5, 3)
    return pixels.reshape(batch, planes, rows * side, columns * side)
