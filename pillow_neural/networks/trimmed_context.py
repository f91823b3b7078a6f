"""How probable each bit of a volume of groups of channels is, in exact integer arithmetic.

    known bits of groups 0..s ----+
                                  +--> 3x3 --> 1x1 --> 1x1 --> index of a table, 0..63,
    what is known of all bits ----+    integer network of step s    for each bit of step s

    step in which a group is decoded         group     0        1        2
    at each place of a 2x2 cell:                      0 2      1 3      2 4
                                                      3 1      4 2      5 3   ...

Li et al. 2018 (arXiv 1703.10553, "Convolutional entropy encoder") predict each bit from a cube of bits
around it, trimmed to those decoded before it, one bit after another. Here each place decodes a group of
channels in a step, and the four places of a 2x2 cell are a step apart (pillow_neural.networks.phases): a bit
sees all earlier groups of its place and, of its own group, what neighbours decoded before. G groups take G +
3 networks, each trimmed to the groups that there are by then. They are made of IntegerConv2d, as those of
pillow_neural.networks.bit_context.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pillow_neural.networks.bit_context import BIT_UNIT, HIDDEN, ContextPhase, bits_of_signs
from pillow_neural.networks.phases import PHASES, phase_mask

Presence = Callable[[Tensor], Tensor]
Taker = Callable[[slice, Tensor, Tensor], Tensor]


class TrimmedContext(nn.Module):
    """Context networks of all steps.

    Args:
        groups: of channels, at least 1.
        width: channels of a group.
        sides: planes that are known of all bits before the first.
        hidden: channels of the hidden layers.
    """

    def __init__(self, groups: int, width: int, sides: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.groups = groups
        self.width = width
        self.steps = nn.ModuleList()
        for step in range(groups + PHASES - 1):
            channels = self.channels(step)
            inputs, outputs = channels.stop + sides, channels.stop - channels.start
            self.steps.append(ContextPhase(inputs, hidden, outputs))

    def channels(self, step: int) -> slice:
        """The channels that some place decodes in this step."""
        first, last = max(0, step - PHASES + 1), min(step, self.groups - 1)
        return slice(first * self.width, (last + 1) * self.width)

    def times(self, height: int, width: int, device: torch.device) -> Tensor:
        """The step that decodes each bit, int64 [groups * width, height, width]."""
        delays = sum(phase * phase_mask(phase, 1, height, width, device).long() for phase in range(PHASES))
        assert isinstance(delays, Tensor)
        group = torch.arange(self.groups, device=device).repeat_interleave(self.width)
        return group[:, None, None] + delays

    def walk(self, sides: Tensor, present: Presence, take: Taker) -> Tensor:
        """Go through the steps; encoding and decoding differ in where bits come from.

        Args:
            sides: what is known before the first bit, whole numbers -127..127, [B, sides, h, w].
            present: which bits there are, bool [B, C, h, w], asked with those known so far, [B, C, h, w]; the
                answer needs to be right for bits whose earlier groups are known.
            take: called with the channels of a step, which of their bits to code, bool [B, c, h, w], and
                the indices of all, [B, c, h, w]; returns bits -1 or 1, 0 where nothing is to be coded.

        Returns:
            All bits, -1 or 1 and 0 where there is none, [B, C, h, w].
        """
        batch, _, height, width = sides.shape
        times = self.times(height, width, sides.device)
        known = sides.new_zeros(batch, *times.shape)
        for step, network in enumerate(self.steps):
            channels = self.channels(step)
            coded = present(known)[:, channels] & (times[channels] == step)
            if coded.any():
                index = network(torch.cat([BIT_UNIT * known[:, : channels.stop], sides], 1))
                known[:, channels] += take(channels, coded, index)
        return known

    def cost(self, bits: Tensor, sides: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The training side: estimated bits to code the bits of one step, and their number.

        Args:
            bits: all bits, -1 or 1 and 0 where there is none, [B, C, h, w].
            sides: as for `walk`.
            step: which one, 0 to groups + 2.
        """
        channels = self.channels(step)
        height, width = bits.shape[2:]
        times = self.times(height, width, bits.device)
        known = (bits * (times < step))[:, : channels.stop]
        due = (bits * (times == step))[:, channels]
        index = self.steps[step](torch.cat([BIT_UNIT * known, sides], 1))
        return (bits_of_signs(index, due) * due.abs()).sum(), due.abs().sum()
