"""Counts bits of a linear path, for the offsets of pillow_neural.networks.bit_statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from pillow_neural.networks.bit_context import INDICES, LOGIT_STEP, BitContext
from pillow_neural.networks.bit_statistics import CELLS, LEVELS, BitStatistics, agreeing_pairs, entries
from pillow_neural.networks.phases import PHASES, phase_mask

PRIOR_COUNT = 0.4
"""Of either value in each cell, before any has been seen."""


@torch.no_grad()
def count_bits(context: BitContext, component: Tensor, bits: Tensor, counts: Tensor) -> None:
    """Fill the statistics of a context.

    Args:
        context: of a codec with a linear path.
        component: that each digit refines, [iterations, bits / 2].
        bits: [iterations, N, bits, h, w], -1 or 1, and 0 where a block has none.
        counts: iterations of each block, [N, h, w].
    """
    statistics = context.statistics
    assert statistics is not None
    statistics.component.copy_(component)
    for number in range(int(counts.max())):
        crops = (counts > number).any(2).any(1)
        _count_iteration(statistics, number, bits[: number + 1, crops].float(), counts[crops] > number)


def _count_iteration(statistics: BitStatistics, number: int, planes: Tensor, active: Tensor) -> None:
    *previous, bits = planes
    height, width = active.shape[1:]
    states, activity = statistics.seen(previous, agreeing_pairs(previous, bits))
    ordered = activity[:, 0][active].sort().values
    places = [len(ordered) * level // LEVELS for level in range(1, LEVELS)]
    statistics.bounds[number] = (ordered[places] + 0.5).half().float()
    cells = statistics.cells(number, states, activity)
    seen = torch.full((2, bits.shape[1] * CELLS), PRIOR_COUNT, device=bits.device)
    known = torch.zeros_like(bits)
    for phase in range(PHASES):
        coded = phase_mask(phase, bits.shape[1], height, width, bits.device) & active[:, None]
        looked_up = entries(cells, known)
        for row, value in zip(seen, (-1, 1), strict=True):
            row += looked_up[coded & (bits == value)].bincount(minlength=len(row))
        known += bits * coded
    half = (INDICES - 1) / 2
    offsets = (seen[1] / seen[0]).log() / LOGIT_STEP
    statistics.offset[number] = offsets.clamp(-half, half).round().view(-1, CELLS)
