"""The order in which latents are decoded: four phases, each a quarter of the channels at every place.

Channels fall into four groups (channel mod 4), places into the four parities of a 2x2 cell. In a phase the
group decoded at parity p is p XOR offset, so that every place gets a quarter of its latents in each phase
and sees, for the groups still missing, ever more of its neighbours (the quadtree partition of DCVC-DC,
Li et al. 2023, arXiv 2302.14402, section 3.3):

    phase 0        phase 1        phase 2        phase 3        group decoded at each place of a cell
     0 1            3 2            1 0            2 3
     2 3            1 0            3 2            0 1
"""

from __future__ import annotations

import torch
from torch import Tensor

GROUPS = 4
OFFSETS = (0, 3, 1, 2)
PHASES = len(OFFSETS)


def group_at(phase: int, parity: int) -> int:
    """The channel group decoded in this phase at parity 2 * (row mod 2) + (column mod 2)."""
    return parity ^ OFFSETS[phase]


def phase_mask(phase: int, channels: int, height: int, width: int, device: torch.device) -> Tensor:
    """Boolean [channels, height, width]: the latents that this phase decodes; even height and width."""
    parity = 2 * (torch.arange(height, device=device) % 2)[:, None] + torch.arange(width, device=device) % 2
    group = torch.arange(channels, device=device) % GROUPS
    return (parity ^ OFFSETS[phase]) == group[:, None, None]
