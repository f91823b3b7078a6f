"""Signs that a stream leaves out, for the parities of later magnitudes tell them.

    magnitudes of a part --parities--> syndrome: signs of the first symbols of earlier parts
        |                                  |
        |                                  +--> all other signs, one bit each --> stream
    symbols of a part --as few and cheap changes as give the syndrome that is wanted--> symbols

A picture's symbols fall into parts: the first phase is two, each other one is one. What a part tells is the
signs of the first symbols not zero, in order of parts, that no part before it has told. (Signs told by
parities are sign data hiding: Clare, Henry, Jung 2011, JCTVC-G271; as many of them as pay, by a trellis:
`pillow_neural.entropy.syndrome`.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pillow_neural.entropy.syndrome import Lanes
from pillow_neural.entropy.tables import TOTAL, FrequencyTables

Integers = npt.NDArray[np.integer[Any]]
Bits = npt.NDArray[np.bool_]

SHARE_UNIT = 256
RAREST = TOTAL // 25
"""Symbols that are less often not zero, by their table, tell nothing."""


class Coded(NamedTuple):
    """What a phase codes of one picture, in order of the stream.

    Attributes:
        symbols: whole numbers, or their magnitudes, [N].
        tables: of each, [N].
        channels: of each, [N].
    """

    symbols: Integers
    tables: Integers
    channels: Integers

    def parts(self, phase: int) -> list[Bits]:
        """Which of them are in each part."""
        if phase:
            return [np.ones(len(self.symbols), bool)]
        first = in_first_part(self.channels)
        return [first, ~first]


def in_first_part(channels: Integers) -> Bits:
    """Which symbols of the first phase are the first part, a third of them, by their channels [N]."""
    first: Bits = channels % 12 < 4
    return first


def capacities(tables: FrequencyTables, share: int) -> npt.NDArray[np.int64]:
    """What a symbol of each table of magnitudes adds to the bits that are told, for `Lanes.of`: int64 [T].

    share: bits told for each symbol expected not to be zero, in units of 1 / SHARE_UNIT, at most that.
    """
    zeros = np.array([tables.table(n)[limit] for n, limit in enumerate(tables.limits.tolist())], np.int64)
    expected = TOTAL - zeros
    return np.where(expected < RAREST, 0, expected * share // SHARE_UNIT)


class SignHider:
    """The encoder's side for one picture: takes phase after phase.

    Args:
        capacities: see there.
        threads: how many may work on it.
    """

    def __init__(self, capacities: npt.NDArray[np.int64], threads: int = 1) -> None:
        self._capacities = capacities
        self._threads = threads
        self._waiting = np.zeros(0, bool)
        self._phase = 0

    def hide(self, coded: Coded, instead: Integers, costs: npt.NDArray[np.float32]) -> Integers:
        """The symbols to code for the next phase, [N].

        Args:
            coded: those that are best one by one.
            instead: of the other parity, for each of them, [N].
            costs: what these cost more, in bits, not negative, [N].
        """
        chosen = coded.symbols.copy()
        for part in coded.parts(self._phase):
            own = _Tellers.of(coded.tables, part, self._capacities)
            told = min(own.lanes.bits, len(self._waiting))
            if told:
                wrong = own.lanes.told(chosen[own.places] % 2 > 0)
                wrong[:told] ^= self._waiting[:told]
                wrong[told:] = False
                changed = own.places[own.lanes.cheapest(wrong, costs[own.places], self._threads)]
                chosen[changed] = instead[changed]
            signs = chosen[part]
            self._waiting = np.append(self._waiting[told:], signs[signs != 0] < 0)
        self._phase += 1
        return chosen

    def left(self) -> npt.NDArray[np.int32]:
        """The signs for the stream after the last phase, -1 or 1."""
        return 1 - 2 * self._waiting.astype(np.int32)


def with_signs(
    phases: Sequence[Coded], capacities: npt.NDArray[np.int64], read: Callable[[int], Integers]
) -> list[Integers]:
    """The symbols of each phase of one picture.

    Args:
        phases: their magnitudes.
        capacities: see there.
        read: the next signs of the stream, -1 or 1, given how many.
    """
    told: list[Bits] = []
    waiting = 0
    places: list[tuple[int, Integers]] = []
    for phase, coded in enumerate(phases):
        for part in coded.parts(phase):
            own = _Tellers.of(coded.tables, part, capacities)
            count = min(own.lanes.bits, waiting)
            told.append(own.lanes.told(coded.symbols[own.places] % 2 > 0)[:count])
            places.append((phase, np.flatnonzero(part & (coded.symbols > 0))))
            waiting += len(places[-1][1]) - count
    signs = np.concatenate([1 - 2 * np.concatenate(told).astype(np.int8), read(waiting)])
    symbols = [coded.symbols.copy() for coded in phases]
    ends = np.cumsum([len(signed) for _, signed in places])
    for (phase, signed), own_signs in zip(places, np.split(signs, ends[:-1]), strict=True):
        symbols[phase][signed] *= own_signs
    return symbols


class _Tellers(NamedTuple):
    """The symbols of a part that tell something: their places in the phase, int64 [n], and their lanes."""

    places: npt.NDArray[np.int64]
    lanes: Lanes

    @classmethod
    def of(cls, tables: Integers, part: Bits, capacities: npt.NDArray[np.int64]) -> _Tellers:
        own = capacities[tables]
        places = np.flatnonzero(part & (own > 0))
        return cls(places, Lanes.of(own[places]))
