"""What has been counted of bits that are digits of a linear path: a table, looked up in whole numbers.

    digits of iterations t-1, ..., 0 --+--> how often this digit's component had one that is not 0: state 0..2
                                       +--> how many are not 0 here and in the blocks around: level 0..7
    bits of iteration t so far -----------> the other bit of this digit: -1, 0 for unknown, or 1
                                            |
                                            +--> table of iteration and bit --> offset of the bit's index

The bits about a place and those of the same component tell most of what can be known of a digit; the context
network of pillow_neural.networks.bit_context starts from this and adds to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.linear_path import digits_of_bits

STATES = 3
LEVELS = 8
PARTNERS = 3
CELLS = PARTNERS * STATES * LEVELS
OWN_WEIGHT = 6
"""Of a block's own digits in its level, where the 3x3 blocks about it, itself one of them, have 1 each."""


class BitStatistics(nn.Module):
    """Offsets of indices by iteration, bit and cell; zeros until they are counted.

    Args:
        bits: of a block and iteration, even.
        iterations: the most that a block may have.

    Attributes:
        component: that each digit refines, whole numbers, [iterations, bits / 2].
        bounds: rising, between levels, [iterations, LEVELS - 1].
        offset: whole numbers, [iterations, bits, CELLS].
    """

    component: Tensor
    bounds: Tensor
    offset: Tensor

    def __init__(self, bits: int, iterations: int) -> None:
        super().__init__()
        self.register_buffer("component", torch.zeros(iterations, bits // 2))
        self.register_buffer("bounds", torch.zeros(iterations, LEVELS - 1))
        self.register_buffer("offset", torch.zeros(iterations, bits, CELLS))

    def seen(self, previous: Sequence[Tensor], agreed: Tensor) -> tuple[Tensor, Tensor]:
        """States [B, bits, h, w] and the sum that levels are cut from, [B, 1, h, w]: whole numbers.

        Args:
            previous: bits of all iterations before, in order, each -1, 0 or 1, [B, bits, h, w].
            agreed: how many of their pairs agree, see `agreeing_pairs`.
        """
        components = self.component.long()
        said = agreed.new_zeros(len(agreed), int(components.max()) + 1, *agreed.shape[2:])
        for component, bits in zip(components, previous, strict=False):
            said.index_add_(1, component, digits_of_bits(bits).abs())
        around = F.avg_pool2d(F.pad(agreed, (1, 1, 1, 1), mode="replicate"), 3, 1, divisor_override=1)
        states = said[:, components[len(previous)]].clamp(max=STATES - 1)
        return states.repeat_interleave(2, 1).long(), OWN_WEIGHT * agreed + around

    def cells(self, number: int, states: Tensor, activity: Tensor) -> Tensor:
        """Cell of each bit of an iteration, from 0, as long as its partner is unknown: [B, bits, h, w].

        Args:
            number: of the iteration.
            states, activity: from `seen`.
        """
        levels = torch.bucketize(activity, self.bounds[number])
        return (PARTNERS // 2 * STATES + states) * LEVELS + levels

    def offsets(self, number: int, cells: Tensor, known: Tensor) -> Tensor:
        """Offset of each bit of an iteration, [B, bits, h, w].

        Args:
            number: of the iteration, from 0.
            cells: from `cells`.
            known: bits decoded so far, -1 or 1, and 0 where not.
        """
        return self.offset[number].flatten()[entries(cells, known)]


def agreeing_pairs(previous: Sequence[Tensor], like: Tensor) -> Tensor:
    """In how many pairs both bits agreed, of all iterations before: [B, 1, h, w].

    Args:
        previous: their bits, each -1, 0 or 1, [B, bits, h, w].
        like: any planes [B, _, h, w].
    """
    agreed = torch.zeros_like(like[:, :1])
    for bits in previous:
        agreed = agreed + digits_of_bits(bits).abs().sum(1, keepdim=True)
    return agreed


def entries(cells: Tensor, known: Tensor) -> Tensor:
    """Where each bit, [B, bits, h, w], is in a table [bits * CELLS], with the partners that are known."""
    bits = torch.arange(cells.shape[1], device=cells.device)[:, None, None]
    return bits * CELLS + cells + STATES * LEVELS * partners(known)


def partners(bits: Tensor) -> Tensor:
    """The other bit of each bit's digit, int64 [B, bits, h, w]."""
    return torch.stack([bits[:, 1::2], bits[:, ::2]], dim=2).flatten(1, 2).long()
