"""The search for the best encoding that fits a number of bytes. Knows levels and sizes, not pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sized
from typing import TypeVar

from pillow_neural.codecs.contract import RATE_LEVELS

Encoded = TypeVar("Encoded", bound=Sized)

_MOST_TRIALS = 12
_ENOUGH = 0.98
_AIM = 0.99
_USUAL_SLOPE = math.log(40) / RATE_LEVELS
_WIDEN = 1.2


def largest_within(encode: Callable[[int], Encoded], limit: int, guess: int) -> Encoded:
    """Return the largest encoding found that is at most `limit` long.

    The search ends at 98 % of the limit, at two neighbouring levels on either side of it, or after 12 trials;
    five suffice for photographs. Sizes that do not always rise with the level cost size, never correctness.

    Args:
        encode: rate level 0..65535 to an encoding; its length rises with the level.
        limit: the greatest length allowed.
        guess: the level to try first.

    Raises:
        ValueError: even level 0 is longer than `limit`; the message tells its length.
    """
    return _found(encode, limit, guess)[1]


def level_within(encode: Callable[[int], Sized], limit: int, guess: int) -> int:
    """Return the level of the encoding that `largest_within` returns; for arguments and errors see there."""
    return _found(encode, limit, guess)[0]


def _found(encode: Callable[[int], Encoded], limit: int, guess: int) -> tuple[int, Encoded]:
    search = _Search(math.log(limit * _AIM))
    best: tuple[int, Encoded] | None = None
    level = min(max(guess, 0), RATE_LEVELS)
    for _ in range(_MOST_TRIALS):
        encoded = encode(level)
        size = len(encoded)
        if size <= limit:
            best = (level, encoded) if best is None or size >= len(best[1]) else best
            if size >= _ENOUGH * limit:
                break
        elif level == 0:
            raise ValueError(
                f"target_size {limit} is too small: "
                f"the smallest possible file of this picture has {size} bytes"
            )
        search.note(level, size, fits=size <= limit)
        if search.lower + 1 >= search.upper:
            break
        level = search.next_level()
    assert best is not None  # two trials above the limit lead to level 0, which fits or raises
    return best


class _Search:
    """A bracket of levels, narrowed by the Illinois form of the secant method on the logarithm of the size.

    Args:
        aim: logarithm of the size wanted.
    """

    def __init__(self, aim: float) -> None:
        self.lower, self.upper = -1, RATE_LEVELS + 1
        self._aim = aim
        self._lower_excess: float | None = None
        self._upper_excess: float | None = None
        self._trials = 0
        self._last_fitted: bool | None = None

    def note(self, level: int, size: int, *, fits: bool) -> None:
        """Narrow the bracket by one trial; an end that stays twice in a row counts half."""
        excess = math.log(max(size, 1)) - self._aim
        weight = 0.5 if fits == self._last_fitted else 1.0
        if fits:
            self.lower, self._lower_excess = level, excess
            self._upper_excess = self._upper_excess and weight * self._upper_excess
        else:
            self.upper, self._upper_excess = level, excess
            self._lower_excess = self._lower_excess and weight * self._lower_excess
        self._last_fitted = fits
        self._trials += 1

    def next_level(self) -> int:
        """A level strictly inside the bracket."""
        return min(max(round(self._estimate()), self.lower + 1), self.upper - 1)

    def _estimate(self) -> float:
        if self._lower_excess is not None and self._upper_excess is not None:
            share = self._lower_excess / (self._lower_excess - self._upper_excess)
            return self.lower + share * (self.upper - self.lower)
        if self._trials > 1:
            return 0 if self._lower_excess is None else RATE_LEVELS
        if self._lower_excess is not None:
            return self.lower - _WIDEN * self._lower_excess / _USUAL_SLOPE
        assert self._upper_excess is not None  # one trial was noted
        return self.upper - _WIDEN * self._upper_excess / _USUAL_SLOPE
