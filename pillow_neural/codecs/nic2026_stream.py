"""The stream of nic2026: which latents it has, and the frequency tables of what it says of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pillow_neural.codecs.nic2026_places import Places
from pillow_neural.entropy.gaussian import SCALE_COUNT
from pillow_neural.entropy.tables import TOTAL, FrequencyTables
from pillow_neural.networks.hyper_prior import Spread
from pillow_neural.networks.transform_codec import HYPER_BLOCK

Symbols = npt.NDArray[np.int32]


class Section(NamedTuple):
    """Symbols, int32 [N], and the index of the frequency table of each, integers [N]."""

    symbols: Symbols
    tables: npt.NDArray[Any]


def stream_tables(tables: FrequencyTables) -> FrequencyTables:
    """What a stream is coded with: tables of magnitudes by scale index, those of hyper-latents, one of signs.

    tables: those of the weights, SCALE_COUNT tables by scale index, then HYPER_TABLES of hyper-latents.
    """
    magnitudes, own = tables.of_magnitudes(), range(len(tables))
    parts = [(magnitudes if number < SCALE_COUNT else tables).table(number) for number in own]
    parts.append(np.array([TOTAL // 2 - 1, 1, TOTAL // 2 - 1, 1], np.int32))
    return FrequencyTables.from_arrays(np.concatenate(parts), [len(part) for part in parts])


def sign_tables(tables: FrequencyTables, count: int) -> Symbols:
    """The table of each of so many signs, of those that `stream_tables` gave."""
    return np.full(count, len(tables) - 1, np.int32)


def hyper_tables(spread: Spread, coded: Places) -> Tensor:
    """Table of each hyper-latent that is coded: those of the scale indices come before them."""
    return (SCALE_COUNT + coded.of(spread.table)).to(torch.int16)


def cells(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of 64x64 cells that cover a picture."""
    return -(-height // HYPER_BLOCK), -(-width // HYPER_BLOCK)


def coded_in_phase(mask: Tensor, places: Tensor, index: Tensor) -> Places:
    """Which latents of a phase are in the stream: of these places, bool [C, H, W], and not surely zero."""
    return Places.where(mask.bool() & places & (index > 0))
