"""Convolutions over a volume that see only what comes before a place, in exact integer arithmetic.

    tap of the kernel     channel - 1      channel, row - 1    channel, row
                          0  1  2          9 10 11             12 (13)
                          3  4  5
                          6  7  8

In raster order (channel, row, column) these taps of a 3x3x3 kernel come before its middle, number 13 (the
masks of Mentzer et al. 2018, arXiv 1801.04260, section 3.3). The first layer of a context network has taps
0 to 12, later ones also 13, whose features come from places before it.

Places with the same 4 * channel + 2 * row + column, a *front*, are independent: a tap lies 1 to 7 fronts
back. So a volume is decoded front by front, some hundreds of them, all places of a front at once and each
layer once for each place, and only the features of the last 8 fronts are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.networks.integer import IntegerLayer

Integers = npt.NDArray[np.int64]

CAUSAL_TAPS = 13
_TAPS = tuple((tap // 9 - 1, tap % 9 // 3 - 1, tap % 3 - 1) for tap in range(CAUSAL_TAPS + 1))
_LAGS = tuple(-(4 * channel + 2 * row + column) for channel, row, column in _TAPS)
_KEPT = max(_LAGS) + 1


class Places(NamedTuple):
    """Places of a volume, int64 [N] each."""

    channels: Integers
    rows: Integers
    columns: Integers


def fronts(channels: int, height: int, width: int) -> Iterator[Places]:
    """All places of a volume, front by front in the order in which they are coded; a front may be empty.

    Those of a front are in order channel, row.
    """
    channel, row = (axis.ravel() for axis in np.indices((channels, height)))
    first = 4 * channel + 2 * row
    for number in range(first[-1] + width):
        column = number - first
        inside = (column >= 0) & (column < width)
        yield Places(channel[inside], row[inside], column[inside])


class CausalConv3d(IntegerLayer):
    """A 3x3x3 convolution of causal taps, with a bias and a weight of the rate for each channel.

    Weights are stored as one matrix [outputs, inputs * taps + K]: inputs by taps, then the weights of the
    rate for the K channels of the volume. Biases are [outputs, K].

    Args:
        inputs, outputs: features of a place.
        channels: K.
        sees_itself: whether tap 13 is one.
        bias_unit: as for IntegerLayer.
    """

    def __init__(
        self, inputs: int, outputs: int, channels: int, sees_itself: bool, bias_unit: float = 64.0
    ) -> None:
        taps = CAUSAL_TAPS + sees_itself
        fan_in = inputs * taps
        weight = torch.cat([torch.randn(outputs, fan_in) / fan_in**0.5, torch.zeros(outputs, channels)], 1)
        super().__init__(weight, torch.zeros(outputs, channels), bias_unit)
        self.inputs = inputs
        self.taps = taps

    def at_rate(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        """Kernel [outputs, inputs, taps], and what is added in each channel: rate [B] -> [B, outputs, K].

        The rate is a whole number 0..127.
        """
        weight, bias = self.grid()
        kernel, slopes = torch.split(weight, [self.inputs * self.taps, bias.shape[1]], dim=1)
        return kernel.view(-1, self.inputs, self.taps), bias + slopes * rate[:, None, None]

    def forward(self, features: Tensor, rate: Tensor) -> Tensor:
        """[B, inputs, K, h, w] of whole numbers and rate [B] -> [B, outputs, K, h, w] on the grid.

        Exact without gradients, as IntegerConv2d is.
        """
        with torch.autocast(features.device.type, enabled=False):
            kernel, added = self.at_rate(rate)
            padded = F.pad(features, (1, 1, 1, 1, 1, 0))
            if torch.is_grad_enabled():
                padded = padded.contiguous(memory_format=torch.channels_last_3d)
                total = F.conv3d(padded, F.pad(kernel, (0, 18 - self.taps)).view(*kernel.shape[:2], 2, 3, 3))
            else:
                total = torch.stack([kernel.flatten(1) @ part for part in self._neighbours(padded)], 2)
                total = total.view(*total.shape[:3], *features.shape[3:])
            return total + added[..., None, None]

    def _neighbours(self, padded: Tensor) -> Iterator[Tensor]:
        """What the taps see in each channel: [B, inputs * taps, h * w], K of them."""
        height, width = (side - 2 for side in padded.shape[3:])
        for channel in range(1, padded.shape[2]):
            taps = [
                padded[:, :, channel + front, 1 + down : 1 + down + height, 1 + right : 1 + right + width]
                for front, down, right in _TAPS[: self.taps]
            ]
            yield torch.stack(taps, 2).flatten(3).flatten(1, 2)


class Front(NamedTuple):
    """Where the places of a front are remembered.

    Attributes:
        slot: which of the remembered fronts this one replaces.
        channels: of the places, int64 [N].
        places: where their features go, int64 [N].
        taps: where those that the taps see are, int64 [N, 14].
    """

    slot: int
    channels: Tensor
    places: Tensor
    taps: Tensor


class FrontMemory:
    """Where the features of the last fronts are remembered, for volumes with these channels and rows.

    A front has at most one place for each channel and row, which names it there. Where it has none, because
    the column would be outside the volume, features are zero, and so they are in a margin around.
    """

    def __init__(self, channels: int, height: int, device: torch.device) -> None:
        self._row_length = height + 2
        self.slot_length = (channels + 1) * self._row_length
        taps = torch.tensor([channel * self._row_length + row for channel, row, _ in _TAPS])
        slots = (torch.arange(_KEPT)[:, None] - torch.tensor(_LAGS)) % _KEPT
        self._taps = (slots * self.slot_length + taps).to(device)

    def front(self, number: int, places: Places) -> Front:
        """The front of this number, from 0."""
        channels, rows = (torch.from_numpy(axis).to(self._taps.device) for axis in places[:2])
        place = (channels + 1) * self._row_length + rows + 1
        slot = number % _KEPT
        return Front(slot, channels, place + slot * self.slot_length, place[:, None] + self._taps[slot])


class FrontConvolution:
    """A CausalConv3d at one rate whose inputs arrive front by front; without gradients.

    Args:
        layer: the convolution.
        rate: whole number 0..127, [1].
        memory: of the volume.
    """

    def __init__(self, layer: CausalConv3d, rate: Tensor, memory: FrontMemory) -> None:
        kernel, added = layer.at_rate(rate)
        self._weights = kernel.permute(2, 1, 0).flatten(0, 1).contiguous()
        self._added = added[0].T.contiguous()
        self._taps = layer.taps
        self._inputs = rate.new_zeros(_KEPT, memory.slot_length, layer.inputs)

    def put(self, front: Front, features: Tensor) -> None:
        """Remember the inputs of a front, [N, inputs]; every front is to be put, empty ones too."""
        self._inputs[front.slot] = 0
        self._inputs.flatten(0, 1).index_copy_(0, front.places, features)

    def __call__(self, front: Front) -> Tensor:
        """Sums at the places of a front: [N, outputs] on the grid."""
        seen = self._inputs.flatten(0, 1).index_select(0, front.taps[:, : self._taps].flatten())
        return torch.addmm(self._added[front.channels], seen.view(-1, len(self._weights)), self._weights)
