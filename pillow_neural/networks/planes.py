"""What transforms and pixel stages share: units of their networks, and grey pictures as one plane.

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
