"""Bits told by the parities of whole numbers: a syndrome-trellis code.

    numbers, dealt out to lanes --parity * column--> sums modulo 2 --> bits told
    wanted bits --Viterbi, cost of making each number odd or even--> which to change

Every number has a part in a few neighbouring bits of its lane, and a bit is the sum of the parities that have
a part in it. So a bit that is wrong can be put right by one of many numbers, which may put others right as
well, and the cheapest set is found exactly (Filler, Judas, Fridrich 2011, "Minimizing additive distortion in
steganography using syndrome-trellis codes", section V). What such numbers can stand for is packed as
densely as those of trellis-coded quantisation, while what a number is coded with depends on no other number.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAPACITY_UNIT = 1 << 24
"""Of capacities that add up to so much, a lane tells one bit."""

LANES_AT_ONCE = 512
MOST_THREADS = 4
"""Each needs 64 MiB for so many lanes."""

STEPS = 512
STATE_BITS = 8
_STATES = 1 << STATE_BITS

FINEST_UNIT = 64
"""Of a bit: costs are added up in whole numbers of units, which are coarser where a lane would add up to more
than 16 bits hold."""

_LARGEST_SUM = 32_000
_UNREACHABLE = np.uint16(2**15 - 1)
_NEVER = np.uint16(2**15)


def _columns() -> NDArray[np.int64]:
    """Which of the next STATE_BITS bits the number of each step has a part in: bit d is for the d-th next."""
    columns, state = np.empty(STEPS, np.int64), 1
    for step in range(STEPS):
        state = (1103515245 * state + 12345) % 2**31
        columns[step] = state >> 16 & _STATES - 1 | 1 | _STATES >> 1
    return columns


COLUMNS = _columns()
_FLIPPED = np.arange(_STATES) ^ COLUMNS[:, None]


@dataclass(frozen=True, eq=False, slots=True)
class Lanes:
    """How N numbers are dealt out, and what each has a part in.

    Number i is in lane i mod L at step i // L, with L as small as STEPS allows.

    Attributes:
        amount: N.
        lanes: L.
        rows: the first bit of its lane that the number of each step has a part in, int64 [steps].
        told_by_lane: how many bits each lane tells; every one of them is the first of some step.
    """

    amount: int
    lanes: int
    rows: NDArray[np.int64]
    told_by_lane: int

    @classmethod
    def of(cls, capacities: NDArray[np.int64]) -> Lanes:
        """For numbers with capacities [N] of at most CAPACITY_UNIT.

        Lanes tell what theirs add up to in the mean, without the last step, which some may lack.
        """
        lanes = max(1, -(-len(capacities) // STEPS))
        steps = -(-len(capacities) // lanes)
        sums = np.cumsum(_dealt(capacities, steps, lanes, 0).sum(axis=1))
        before = np.append(0, sums)[:steps] // lanes // CAPACITY_UNIT
        told = int(before.max(initial=0))
        return cls(len(capacities), lanes, np.minimum(before, max(told - 1, 0)), told)

    @property
    def bits(self) -> int:
        """How many bits are told."""
        return self.told_by_lane * self.lanes

    def told(self, odd: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The bits that numbers of these parities [N] tell, [bits]: first those of row 0, lane by lane."""
        if not self.bits:
            return np.zeros(0, bool)
        steps = len(self.rows)
        parts = _dealt(odd, steps, self.lanes, False) * COLUMNS[:steps, None].astype(np.uint8)
        starts = np.searchsorted(self.rows, np.arange(self.told_by_lane))
        of_rows = np.bitwise_xor.reduceat(parts, starts, axis=0)
        told = np.zeros((self.told_by_lane + STATE_BITS - 1, self.lanes), np.uint8)
        for part in range(STATE_BITS):
            told[part : part + self.told_by_lane] ^= of_rows >> part & 1
        return told[: self.told_by_lane].reshape(-1) > 0

    def cheapest(
        self, wrong: NDArray[np.bool_], costs: NDArray[np.float32], threads: int = 1
    ) -> NDArray[np.bool_]:
        """Which numbers to change the parity of, [N].

        Args:
            wrong: bits that have to change, [bits].
            costs: of changing each number, [N], not negative; infinite ones must leave others for every bit.
            threads: how many share the lanes, MOST_THREADS at most.
        """
        if not self.bits:
            return np.zeros(self.amount, bool)
        dealt = _whole_costs(_dealt(costs, len(self.rows), self.lanes, np.inf))
        target = wrong.reshape(-1, self.lanes)

        def changed(lanes: slice) -> NDArray[np.bool_]:
            return _cheapest_path(dealt[:, lanes], target[:, lanes], self.rows.tolist())

        if self.lanes <= LANES_AT_ONCE:
            return changed(slice(None)).reshape(-1)[: self.amount]
        groups = [slice(first, first + LANES_AT_ONCE) for first in range(0, self.lanes, LANES_AT_ONCE)]
        with ThreadPoolExecutor(min(threads, MOST_THREADS)) as pool:
            parts = list(pool.map(changed, groups))
        return np.concatenate(parts, axis=1).reshape(-1)[: self.amount]


def _whole_costs(costs: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Costs [steps, L] in units that let all finite ones of a lane add up; _NEVER for the infinite ones.

    So no path that there is costs as much as one that there is not.
    """
    is_finite = np.isfinite(costs)
    finite = np.where(is_finite, costs, 0)
    unit = min(FINEST_UNIT, _LARGEST_SUM / max(1, finite.sum(axis=0).max()))
    return np.where(is_finite, np.rint(finite * unit), _NEVER).astype(np.uint16)


def _cheapest_path(
    costs: NDArray[np.uint16], target: NDArray[np.bool_], rows: list[int]
) -> NDArray[np.bool_]:
    """The numbers of lanes that the cheapest path through the trellis changes, [steps, L].

    A state is the next bits of the syndrome, the present one lowest.

    Args:
        costs: of changing each number, [steps, L], from `_whole_costs`.
        target: bits that have to change, [rows, L].
        rows: of each step.
    """
    half = _STATES // 2
    cost = np.full((_STATES, costs.shape[1]), _UNREACHABLE)
    cost[0] = 0
    other = np.empty_like(cost)
    changes = np.empty((len(rows), *cost.shape), bool)
    latest = 0
    for flipped, more, changed, row in zip(_FLIPPED, costs, changes, rows, strict=False):
        if row > latest:
            cost[:half] = _fitting(cost, target[latest])
            cost[half:] = _UNREACHABLE
            latest = row
        cost.take(flipped, 0, other, "clip")
        np.add(other, more, out=other)
        np.less(other, cost, out=changed)
        np.minimum(cost, other, out=cost)
    return _traced(changes, _fitting(cost, target[-1]).argmin(axis=0), target, rows)


def _fitting(cost: NDArray[np.uint16], bit: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Of costs of states [states, L] those with this bit, [L], as their lowest: [states / 2, L]."""
    return np.where(bit, cost[1::2], cost[::2])


def _traced(
    changes: NDArray[np.bool_], state: NDArray[np.int64], target: NDArray[np.bool_], rows: list[int]
) -> NDArray[np.bool_]:
    """The way back to the first step, [steps, L].

    Args:
        changes: of the best path to each state, [steps, states, L].
        state: the last of each lane, without the bit of the last row, [L].
        target, rows: see `_cheapest_path`.
    """
    lanes = len(state)
    lane, by_step = np.arange(lanes), changes.reshape(len(rows), -1)
    changed = np.empty((len(rows), lanes), bool)
    later = len(target)
    for step in range(len(rows) - 1, -1, -1):
        if rows[step] < later:
            later = rows[step]
            state = state << 1 & _STATES - 1 | target[later]
        by_step[step].take(state * lanes + lane, out=changed[step], mode="clip")
        state ^= changed[step] * COLUMNS[step]
    return changed


def _dealt(values: NDArray[Any], steps: int, lanes: int, rest: object) -> NDArray[Any]:
    """Values [N] as [steps, lanes], the rest filled up."""
    dealt = np.full(steps * lanes, rest, values.dtype)
    dealt[: len(values)] = values
    return dealt.reshape(steps, lanes)
