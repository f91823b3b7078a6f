"""How probable each symbol of a volume is, in exact integer arithmetic.

    symbols decoded before, four planes
         |
         v
      first --q--> h --second--q--> third --round, + h, q--> to_index --> index of a table, 0..63,
        ^               ^             ^                         ^         for each decision about the symbol
        +---------------+---- rate, channel --------------------+

Mentzer et al. 2018 (arXiv 1801.04260, section 3.3): a masked 3-D convolutional network over the quantised
volume, kernel 3, one residual block, sees what comes before a symbol in raster order (channel, row, column).
Its layers are made of IntegerLayers, so that every machine computes the same indices. A softmax in integers
would need tables of its own for each symbol; here a symbol is a walk of decisions (SymbolTree), each coded
with one of 64 binary tables, which loses a thousandth of a bit and keeps the coder fast.

What the paper's network does not have, since it is one for each rate: the rate, and biases of their own for
each channel. And the symbols come finely but limited to 5 of either sign, coarsely but whole, as magnitudes,
and as the sum of magnitudes, 4 at most each, of all channels so far, so that it need not find out by itself
how busy a place is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.bit_context import INDICES, logit_of_index
from pillow_neural.networks.causal import (
    CausalConv3d,
    FrontConvolution,
    FrontMemory,
    Integers,
    Places,
    fronts,
)
from pillow_neural.networks.integer import (
    ACTIVATION_LIMIT,
    integer_activation,
    restoring_clamp,
    round_half_up,
    straight_through,
)
from pillow_neural.networks.symbol_tree import SymbolTree

Volume = npt.NDArray[np.int8]
Taker = Callable[[Places, Integers], Integers]

LOGIT_STEP = 0.25
"""Indices reach odds of 2600 to 1, for masked symbols, which are many."""

PLANES = 4
SYMBOL_UNIT = 24
TOTAL_UNIT = 2
LARGEST_COUNTED = 4


def context_planes(offsets: Tensor, totals: Tensor, largest: int) -> Tensor:
    """What the network sees of symbols: whole numbers -127..127, [B, 4, ...].

    Args:
        offsets: symbols less the home symbol, [B, ...].
        totals: sums of `counted` of these offsets over all channels up to theirs, [B, ...].
        largest: magnitude that an offset may have.
    """
    fine = (SYMBOL_UNIT * offsets).clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
    coarse = ACTIVATION_LIMIT // largest * offsets
    so_far = (TOTAL_UNIT * totals).clamp(max=ACTIVATION_LIMIT)
    return torch.stack([fine, coarse, fine.abs(), so_far], 1)


def counted(offsets: Tensor) -> Tensor:
    """What symbols add to the totals of their place."""
    return offsets.abs().clamp(max=LARGEST_COUNTED)


class VolumeContext(nn.Module):
    """The context network; see the module's diagram.

    Args:
        channels: K of the volume.
        centres: number of symbols L, 3 to 65.
        features: of the hidden layers, at most 64.
    """

    _paths: Tensor

    def __init__(self, channels: int, centres: int, features: int) -> None:
        super().__init__()
        self.channels = channels
        self.tree = SymbolTree(centres)
        self._largest = centres // 2
        self.first = CausalConv3d(PLANES, features, channels, sees_itself=False)
        self.second = CausalConv3d(features, features, channels, sees_itself=True)
        self.third = CausalConv3d(features, features, channels, sees_itself=True)
        self.to_index = CausalConv3d(features, self.tree.nodes, channels, sees_itself=True, bias_unit=16.0)
        for layer in (self.first, self.second, self.third):
            nn.init.constant_(layer.bias, 0.5)
        nn.init.constant_(self.to_index.bias, (INDICES - 1) / 2 / self.to_index.bias_unit)
        with torch.no_grad():
            self.to_index.weight.mul_(0.05)
        decisions = torch.from_numpy(self.tree.decisions)
        paths = torch.cat([decisions == -1, decisions == 1]) / math.log(2)
        self.register_buffer("_paths", paths, persistent=False)

    def forward(self, offsets: Tensor, rate: Tensor) -> Tensor:
        """Index of each decision, 0..63, real in training and else whole: [B, L - 1, K, h, w].

        Args:
            offsets: all symbols less the home symbol, [B, K, h, w].
            rate: whole numbers 0..127, [B].
        """
        planes = context_planes(offsets, counted(offsets).cumsum(dim=1), self._largest)
        hidden = integer_activation(self.first(planes, rate))
        inner = integer_activation(self.second(hidden, rate))
        index: Tensor = self.to_index(_joined(self.third(inner, rate), hidden), rate)
        return restoring_clamp(index, 0, INDICES - 1) if torch.is_grad_enabled() else _table_index(index)

    def symbol_bits(self, index: Tensor) -> Tensor:
        """Bits that each of the L symbols would cost: [B, L - 1, K, h, w] -> [B, L, K, h, w]."""
        odds = logit_of_index(index, LOGIT_STEP)
        nats = torch.cat([F.softplus(odds), F.softplus(-odds)], 1)
        costs: Tensor = torch.einsum("bdkyx,ds->bskyx", nats, self._paths)
        return costs

    @torch.no_grad()
    def walk(self, height: int, width: int, rate: Tensor, take: Taker) -> Volume:
        """Go through the fronts of one volume; encoding and decoding differ in where symbols come from.

        Args:
            height, width: of the volume.
            rate: whole number 0..127, [1].
            take: called once a front that is not empty, with its places and the indices of all decisions,
                0..63, [N, L - 1]; returns the symbols, 0..L - 1, [N].

        Returns:
            The symbols, [K, height, width].
        """
        symbols = np.empty((self.channels, height, width), np.int8)
        totals = torch.zeros(height, width, device=rate.device)
        memory = FrontMemory(self.channels, height, rate.device)
        layers = (self.first, self.second, self.third, self.to_index)
        first, second, third, to_index = (FrontConvolution(layer, rate, memory) for layer in layers)
        for number, places in enumerate(fronts(self.channels, height, width)):
            front = memory.front(number, places)
            hidden = integer_activation(first(front))
            second.put(front, hidden)
            third.put(front, integer_activation(second(front)))
            to_index.put(front, _joined(third(front), hidden))
            index = _table_index(to_index(front)).cpu().numpy().astype(np.int64)
            taken = take(places, index) if len(index) else np.empty(0, np.int64)
            symbols[places] = taken
            offsets = torch.from_numpy(taken - self.tree.home).to(totals)
            rows, columns = (torch.from_numpy(axis).to(rate.device) for axis in places[1:])
            totals[rows, columns] += counted(offsets)
            first.put(front, context_planes(offsets, totals[rows, columns], self._largest))
        return symbols


def _joined(branch: Tensor, hidden: Tensor) -> Tensor:
    """End of the residual block: the branch, rounded first so that the sum is one of whole numbers."""
    return integer_activation(straight_through(branch, round_half_up(branch)) + hidden)


def _table_index(index: Tensor) -> Tensor:
    return round_half_up(index).clamp(0, INDICES - 1)
