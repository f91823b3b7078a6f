"""Hidden signs in training: the changes that the encoder makes, for signs drawn at random."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pillow_neural.entropy.hidden_signs import RAREST, SHARE_UNIT, in_first_part
from pillow_neural.entropy.syndrome import CAPACITY_UNIT, Lanes
from pillow_neural.entropy.tables import TOTAL


def expected_capacities(zero_bits: Tensor, share: int) -> Tensor:
    """Those of `hidden_signs.capacities`, by the bits that a zero would cost, elementwise: int64."""
    expected = 1 - torch.exp2(-zero_bits)
    return torch.where(expected < RAREST / TOTAL, 0, expected * share / SHARE_UNIT * CAPACITY_UNIT).long()


def tells_in_first_phase(channels: int, device: torch.device) -> Tensor:
    """Which channels may tell something in the first phase, bool [channels, 1, 1]."""
    return torch.from_numpy(~in_first_part(np.arange(channels)))[:, None, None].to(device)


@torch.no_grad()
def telling(symbols: Tensor, instead: Tensor, costs: Tensor, capacities: Tensor) -> tuple[Tensor, Tensor]:
    """Symbols of a phase that tell signs at random, [B, N], and how many they tell, [B].

    Args:
        symbols: those that are best one by one, [B, N].
        instead, costs: of the other parity, see `pillow_neural.networks.quantise.other_parity`.
        capacities: int64 [B, N], 0 where nothing is told.
    """
    changed, told = torch.zeros(symbols.shape, dtype=torch.bool), []
    for own, more, capacity in zip(changed, costs, capacities, strict=True):
        places = capacity.nonzero()[:, 0]
        lanes = Lanes.of(capacity[places].cpu().numpy())
        wrong = torch.rand(lanes.bits) < 0.5
        own[places.cpu()] = torch.from_numpy(lanes.cheapest(wrong.numpy(), more[places].cpu().numpy()))
        told.append(lanes.bits)
    return torch.where(changed.to(symbols.device), instead, symbols), symbols.new_tensor(told)
