"""Integer frequency tables: the only probabilities that the entropy coder ever sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

PRECISION = 24
"""Every table's frequencies sum to `2**PRECISION`."""

TOTAL = 1 << PRECISION
_MAX_TABLES = 2**16


@dataclass(frozen=True, eq=False)
class FrequencyTables:
    """Frequencies of symbols -M..M and of an escape entry, for each of T tables.

    Attributes:
        flat: int32 [sum of lengths], read-only; all tables back to back, the escape entry last in each.
            Every frequency is at least 1 and every table sums to 2**24.
        lengths: int32 [T], read-only, T from 1 to 65,536; entries of each table, 2M + 2 with M >= 0.

    Raises:
        ValueError: the arrays are not such tables.
    """

    flat: NDArray[np.int32]
    lengths: NDArray[np.int32]

    def __post_init__(self) -> None:
        for array in (self.flat, self.lengths):
            if array.dtype != np.int32 or array.ndim != 1:
                raise ValueError("frequency tables are one-dimensional int32 arrays")
        if not 1 <= len(self.lengths) <= _MAX_TABLES:
            raise ValueError(f"{len(self.lengths)} frequency tables are not 1 to {_MAX_TABLES}")
        if self.lengths.min() < 2 or np.any(self.lengths % 2):
            raise ValueError("a frequency table has an even number of entries, at least 2")
        if self.lengths.sum(dtype=np.int64) != len(self.flat):
            raise ValueError("the lengths of the frequency tables do not add up to the frequencies given")
        if self.flat.min() < 1:
            raise ValueError("a frequency is smaller than 1")
        if np.any(np.add.reduceat(self.flat, self._starts, dtype=np.int64) != TOTAL):
            raise ValueError(f"the frequencies of a table do not sum to {TOTAL}")

    @classmethod
    def from_arrays(cls, flat: ArrayLike, lengths: ArrayLike) -> FrequencyTables:
        """Build tables from copies of integer arrays of any width.

        Raises:
            ValueError: the arrays are not integers, do not fit int32 or are not valid tables.
        """
        return cls(_read_only_int32(flat), _read_only_int32(lengths))

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    @cached_property
    def limits(self) -> NDArray[np.int32]:
        """M of each table, int32 [T]: symbols outside -M..M are escaped."""
        return (self.lengths - 2) // 2

    def table(self, index: int) -> NDArray[np.int32]:
        """Return the frequencies of one table, int32 [2M + 2], the escape entry last."""
        start = self._starts[index]
        return self.flat[start : start + self.lengths[index]]

    def of_magnitudes(self) -> FrequencyTables:
        """Tables of what symbols are without their sign: -k counts as k, and has a frequency of 1 left."""
        flat = self.flat.copy()
        for start, limit in zip(self._starts.tolist(), self.limits.tolist(), strict=True):
            negative, positive = flat[start : start + limit], flat[start + limit + 1 : start + 2 * limit + 1]
            positive += negative[::-1] - 1
            negative[:] = 1
        return FrequencyTables(_read_only_int32(flat), self.lengths)

    def bits(self) -> NDArray[np.float32]:
        """Return the cost in bits of each symbol in each table, for rate estimates.

        Returns:
            float32 [T, 2C + 1] with C = max(M) + 1. Column `C + clip(s, -C, C)` is the cost of symbol s;
            for a symbol outside -M..M it includes the 2 bits of the shortest escape suffix. A symbol
            whose excess e = abs(s) - M - 1 is not zero costs 2 * floor(log2(e + 1)) bits more.
        """
        centre = int(self.limits.max()) + 1
        costs = np.empty((len(self), 2 * centre + 1), np.float32)
        for row, limit, index in zip(costs, self.limits, range(len(self)), strict=True):
            own = PRECISION - np.log2(self.table(index))
            row[:] = own[-1] + 2
            row[centre - limit : centre + limit + 1] = own[:-1]
        return costs


def quantise(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round probabilities to integer frequencies by the method of largest remainders.

    Every entry gets 1, and the rest is shared in proportion; ties go to the lower index. The result
    depends on nothing but the values given.

    Args:
        probabilities: float64 [N], N from 1 to 2**24, finite, not negative, not all zero; they need not
            sum to 1.

    Returns:
        int64 [N], each at least 1, sum 2**24.

    Raises:
        ValueError: the probabilities are not as described.
    """
    if probabilities.ndim != 1 or not 1 <= len(probabilities) <= TOTAL:
        raise ValueError(f"a table of shape {probabilities.shape} cannot be quantised")
    if not np.all(np.isfinite(probabilities)) or probabilities.min() < 0 or not probabilities.any():
        raise ValueError("probabilities must be finite, not negative and not all zero")
    weights = probabilities / probabilities.max()
    shares = weights / math.fsum(weights) * (TOTAL - len(weights))
    frequencies: NDArray[np.int64] = np.floor(shares).astype(np.int64) + 1
    by_remainder = np.argsort(frequencies - shares, kind="stable")
    frequencies[by_remainder[: TOTAL - frequencies.sum()]] += 1
    return frequencies


def _read_only_int32(values: ArrayLike) -> NDArray[np.int32]:
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"frequency tables hold integers, not {array.dtype}")
    narrow = array.astype(np.int32)
    if np.any(narrow != array):
        raise ValueError("a frequency or length does not fit 32 bits")
    narrow.setflags(write=False)
    return narrow
