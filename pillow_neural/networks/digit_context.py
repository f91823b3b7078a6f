"""How probable each bit of a volume is whose groups of channels are the iterations of a linear path.

    groups before g ---------------------+
    group g, phases before --------------+--> BitContext, iteration g --> index of a table, 0..63
    number of groups of each place ------+

The same walk as that of pillow_neural.networks.trimmed_context, for bits of which there are statistics: see
pillow_neural.networks.bit_context. A step is a group, in four phases.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pillow_neural.networks.bit_context import BitContext
from pillow_neural.networks.trimmed_context import Presence, Taker


class DigitContext(nn.Module):
    """Context networks of all groups.

    Args:
        groups: of channels, at least 1.
        width: channels of a group, a multiple of 4.
    """

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.groups = groups
        self.width = width
        self.bits = BitContext(width, groups, counted=True)

    def walk(self, sides: Tensor, present: Presence, take: Taker) -> Tensor:
        """Go through the groups, see TrimmedContext.walk; a place has the first ones, each as a whole."""
        batch, _, height, width = sides.shape
        nothing = sides.new_zeros(batch, self.groups * self.width, height, width)
        counts = self.counts(present(nothing))
        planes: list[Tensor] = []
        for group in range(int(counts.max())):
            channels = slice(group * self.width, (group + 1) * self.width)

            def take_phase(coded: Tensor, index: Tensor, channels: slice = channels) -> Tensor:
                return take(channels, coded, index)

            planes.append(self.bits.walk(planes, counts, group, take_phase))
        known = torch.cat([*planes, nothing], 1)
        return known[:, : self.groups * self.width]

    def counts(self, present: Tensor) -> Tensor:
        """Groups of each place, int64 [B, h, w], by which channels are there, [B, C, h, w]."""
        return (present[:, :: self.width] != 0).sum(1)

    def planes(self, volume: Tensor) -> Tensor:
        """Bits [B, C, h, w] by group: [groups, B, width, h, w]."""
        return torch.stack(volume.chunk(self.groups, dim=1))
