"""How probable each bit of a bit plane is, in exact integer arithmetic.

    bits of iterations t-1, t-2, ... ---------------+
    bits of iteration t, phases before k -----------+--> 3x3 --> 1x1 --> 1x1 --> index of a table, 0..63,
    iterations of each block, and t itself ---------+    integer network of phase k    for each bit of phase k

Of all iterations before t it sees in how many pairs of bits both agreed, and of t-1 and t-2 the bits as well:
with a linear path such pairs are the digits that said something (pillow_neural.networks.linear_path), so a
place without them is smooth. There the index is what the network gives and an offset from a table, see
pillow_neural.networks.bit_statistics.

Toderici et al. 2016 (arXiv 1608.05148, section 3) predict each bit with a masked convolutional network over
the bits around it, one after another, and with the planes before it as context. Here the bits of an iteration
come in four interleaved phases (pillow_neural.networks.phases), so that a plane takes four passes instead of
one a bit, and the network is made of IntegerConv2d, so that every machine computes the same indices. An index
stands for a probability; the coder takes it from the table of that index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.bit_statistics import BitStatistics, agreeing_pairs
from pillow_neural.networks.integer import ACTIVATION_LIMIT, IntegerConv2d, integer_activation, round_half_up
from pillow_neural.networks.phases import PHASES, phase_mask

INDICES = 64
LOGIT_STEP = 0.17
BIT_UNIT = 32
COUNT_UNIT = 16
PREVIOUS = 2
BUSY_UNITS = (8.0, 0.5)
"""Of the number of such pairs, finely where they are few and coarsely where they are many."""
HIDDEN = 64

Taker = Callable[[Tensor, Tensor], Tensor]


def logit_of_index(index: Tensor, step: float = LOGIT_STEP) -> Tensor:
    """Natural logarithm of the odds of a bit 1 at an index, fractions allowed: 0 in the middle of 0..63.

    `step` is the difference between two indices; that of bits makes -5.4 at 0 and 5.4 at 63.
    """
    return (index - (INDICES - 1) / 2) * step


def bits_of_signs(index: Tensor, signs: Tensor) -> Tensor:
    """Estimated cost in bits of signs -1 or 1 at indices, elementwise."""
    return F.softplus(-logit_of_index(index) * signs) / math.log(2)


class ContextPhase(nn.Module):
    """The integer network of one phase.

    Args:
        inputs, hidden, bits: channels in, between and out.
        named: how many of the inputs, the last ones, the last layer sees itself.
    """

    def __init__(self, inputs: int, hidden: int, bits: int, named: int = 0) -> None:
        super().__init__()
        self.first_named = inputs - named
        self.first = IntegerConv2d(inputs, hidden, 3)
        self.mix = IntegerConv2d(hidden, hidden)
        self.to_index = IntegerConv2d(hidden + named, bits, bias_unit=16.0)
        nn.init.constant_(self.first.bias, 0.5)
        nn.init.constant_(self.mix.bias, 0.5)
        nn.init.constant_(self.to_index.bias, (INDICES - 1) / 2 / self.to_index.bias_unit)
        with torch.no_grad():
            self.to_index.weight.mul_(0.05)

    def forward(self, inputs: Tensor, offset: Tensor | float = 0.0) -> Tensor:
        """Index of each bit, real and unbounded in training, else whole and 0..63: [B, bits, h, w].

        Args:
            inputs: whole numbers -127..127, [B, inputs, h, w].
            offset: whole numbers to add, broadcast to the indices.
        """
        hidden = integer_activation(self.mix(integer_activation(self.first(inputs))))
        index: Tensor = self.to_index(torch.cat([hidden, inputs[:, self.first_named :]], 1)) + offset
        return index if torch.is_grad_enabled() else round_half_up(index).clamp(0, INDICES - 1)


class BitContext(nn.Module):
    """Context network of all iterations and phases.

    Args:
        bits: bits of a block and iteration, a multiple of 4.
        iterations: the most that a block may have.
        hidden: channels of the hidden layers.
        counted: whether bits are the digits of a linear path, of which there are statistics.
    """

    def __init__(self, bits: int, iterations: int, hidden: int = HIDDEN, counted: bool = False) -> None:
        super().__init__()
        self.bits = bits
        self.iterations = iterations
        inputs = (1 + PREVIOUS) * bits + len(BUSY_UNITS) + 1 + iterations
        self.phases = nn.ModuleList(ContextPhase(inputs, hidden, bits, iterations) for _ in range(PHASES))
        self.statistics = BitStatistics(bits, iterations) if counted else None

    def side_inputs(self, previous: Sequence[Tensor], agreed: Tensor, counts: Tensor, number: int) -> Tensor:
        """What is known before an iteration: [B, 2 * bits + 3 + iterations, h, w].

        Args:
            previous: bits of all iterations before it, in order, each -1, 0 or 1, [B, bits, h, w].
            agreed: how many of their pairs agree, [B, 1, h, w].
            counts: iterations of each block, [B, h, w].
            number: of this iteration, from 0.
        """
        batch, height, width = counts.shape
        zeros = counts.new_zeros(batch, self.bits, height, width, dtype=torch.float32)
        planes = [*previous[-PREVIOUS:]]
        planes = [zeros] * (PREVIOUS - len(planes)) + planes
        busy = [(agreed * unit).floor().clamp(max=ACTIVATION_LIMIT) for unit in BUSY_UNITS]
        left = ((counts - number).clamp(min=0) * COUNT_UNIT).clamp(max=ACTIVATION_LIMIT)
        name = torch.zeros_like(zeros[:, :1]).repeat(1, self.iterations, 1, 1)
        name[:, number] = ACTIVATION_LIMIT
        return torch.cat([*(BIT_UNIT * plane for plane in planes), *busy, left[:, None].to(zeros), name], 1)

    def walk(self, previous: Sequence[Tensor], counts: Tensor, number: int, take: Taker) -> Tensor:
        """Go through the phases of one iteration; encoding and decoding differ in where bits come from.

        Args:
            previous, counts, number: as for `side_inputs`; even h and w.
            take: called once a phase with the bits to code, bool [B, bits, h, w], and the indices of all,
                [B, bits, h, w]; returns bits -1 or 1, 0 where nothing is to be coded.

        Returns:
            The bits of this iteration, [B, bits, h, w].
        """
        batch, height, width = counts.shape
        known = counts.new_zeros(batch, self.bits, height, width, dtype=torch.float32)
        agreed = agreeing_pairs(previous, known)
        side = self.side_inputs(previous, agreed, counts, number)
        active = (counts > number)[:, None]
        statistics = self.statistics
        offset: Tensor | float = 0.0
        if statistics is not None:
            cells = statistics.cells(number, *statistics.seen(previous, agreed))
        for phase, network in enumerate(self.phases):
            mask = phase_mask(phase, self.bits, height, width, counts.device)
            if statistics is not None:
                offset = statistics.offsets(number, cells, known)
            index = network(torch.cat([BIT_UNIT * known, side], 1), offset)
            known = known + take(mask & active, index)
        return known

    def cost(self, previous: Sequence[Tensor], bits: Tensor, counts: Tensor, number: int) -> Tensor:
        """Estimated bits to code one iteration, [B]: the training side, see `walk` for the arguments."""
        total = bits.new_zeros(len(bits))

        def take(coded: Tensor, index: Tensor) -> Tensor:
            nonlocal total
            total = total + (bits_of_signs(index, bits) * coded).sum(dim=(1, 2, 3))
            return bits * coded

        self.walk(previous, counts, number, take)
        return total
