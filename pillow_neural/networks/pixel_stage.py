"""The last stage of the synthesis: convolutions at half the picture's resolution, after the filter. And,
where a network has that, the first stage of the analysis, likewise.

    pixels --2x2 cells--> head --> residual layers --features--> tail --> change
       |        rate position ^                                                  |
       +------------------------------(+)<---------------------------------------+

A synthesis whose layers have cells of 8x8 and 16x16 pixels has to learn an edge for every place in such a
cell. This stage sees pixels, so that it learns fast what there is to do about edges, lines and colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.planes import (
    INPUT_UNIT,
    OUTPUT_UNIT,
    added_planes,
    averaged_planes,
    from_cells,
    to_cells,
)
from pillow_neural.networks.precision import small_shares
from pillow_neural.networks.residual import LEAK, added

CELL = 2
SAMPLES = 3 * CELL * CELL


class Tail(NamedTuple):
    """What a picture adds to the last layer: kernels [12, features, 3, 3] and biases [12]."""

    kernels: Tensor
    biases: Tensor


class PixelStage(nn.Module):
    """Pixels [B, 3 or 1, 2h, 2w] in 0..1, not clamped, rate [B] -> better ones.

    Args:
        features: channels of its layers.
        layers: number of residual layers between head and tail.
    """

    def __init__(self, features: int, layers: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(SAMPLES + 1, features, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(features, features, 3, padding=1) for _ in range(layers))
        self.tail = nn.Conv2d(features, SAMPLES, 3, padding=1)
        assert self.tail.bias is not None
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    @property
    def halo(self) -> int:
        """Pixels around its own that a pixel depends on."""
        return CELL * (len(self.layers) + 2) + CELL - 1

    def forward(self, pixels: Tensor, rate: Tensor) -> Tensor:
        """Pixels plus the network's share."""
        return pixels + self.change(self.features(pixels, rate), pixels.shape[1])

    def features(self, pixels: Tensor, rate: Tensor) -> Tensor:
        """What the tail sees of pixels, [B, features, h, w]."""
        head = self.head.weight
        if pixels.shape[1] == 1:
            head = torch.cat([added_planes(head[:, :-1]), head[:, -1:]], 1)
        cells = to_cells((pixels - 0.5) / INPUT_UNIT, CELL)
        position = ((rate - 0.5) / INPUT_UNIT)[:, None, None, None].expand(-1, 1, *cells.shape[2:])
        seen = torch.cat([cells, position], 1).contiguous(memory_format=torch.channels_last)
        with small_shares(pixels.device):
            features = F.leaky_relu_(F.conv2d(seen, head, self.head.bias, padding=1), LEAK)
            for layer in self.layers:
                features = added(F.leaky_relu_(layer(features), LEAK), features)
        return features

    def change(self, features: Tensor, planes: int, own: Sequence[Tail] = ()) -> Tensor:
        """What is added to pixels of so many planes, [B, P, 2h, 2w].

        own: what each picture adds to the tail, or nothing.
        """
        assert self.tail.bias is not None
        tail = Tail(self.tail.weight, self.tail.bias)
        if not own:
            return _change(features, tail, planes)
        tails = (Tail(tail.kernels + more.kernels, tail.biases + more.biases) for more in own)
        parts = zip(torch.split(features, 1), tails, strict=True)
        return torch.cat([_change(part, changed, planes) for part, changed in parts])


def _change(features: Tensor, tail: Tail, planes: int) -> Tensor:
    kernels, biases = map(averaged_planes, tail) if planes == 1 else tail
    with small_shares(features.device):
        change = F.conv2d(features, kernels, biases, padding=1)
    return OUTPUT_UNIT * from_cells(change.float(), CELL)
