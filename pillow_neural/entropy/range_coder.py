"""A range coder in plain Python: 32-bit words, 64-bit state, 24-bit frequencies.

It writes and reads the bytes of `constriction.stream.queue` with the same method names, so that it can
stand in where that library has no build. FORMAT.md specifies the arithmetic.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from pillow_neural.entropy.tables import PRECISION, TOTAL

_WORD = 2**32
_STATE = 2**64


class DecodeError(OSError):
    """Entropy-coded data is invalid, too short or too long for what was asked of it."""


class Model:
    """Cumulative frequencies of one table; entry i covers `cumulative[i] .. cumulative[i + 1] - 1`."""

    def __init__(self, frequencies: NDArray[np.int32]) -> None:
        self.cumulative = [0, *accumulate(frequencies.tolist())]


class RangeEncoder:
    """Appends entries to one stream of 32-bit words."""

    def __init__(self) -> None:
        self._words: list[int] = []
        self._lower = 0
        self._range = _STATE - 1

    def encode(self, entries: NDArray[np.int32], model: Model) -> None:
        """Encode entry numbers, int32 [N], all with one model."""
        for entry in entries.tolist():
            below, above = model.cumulative[entry : entry + 2]
            scale = self._range >> PRECISION
            self._lower = self._carried(self._lower + scale * below)
            self._range = scale * (above - below)
            if self._range < _WORD:
                self._words.append(self._lower >> 32)
                self._lower = self._lower << 32 & _STATE - 1
                self._range <<= 32

    def get_compressed(self) -> NDArray[np.uint32]:
        """Seal the stream and return its words, uint32 [N]; nothing can be encoded afterwards."""
        if self._range < _STATE - 1:
            end = (self._lower + self._range) % _STATE >> 32
            last = self._carried(self._lower + _WORD - 1) >> 32
            self._words += [last] if last != end else [last, 0]
        return np.array(self._words, np.uint32)

    def _carried(self, lower: int) -> int:
        if lower < _STATE:
            return lower
        position = len(self._words) - 1
        while self._words[position] == _WORD - 1:
            self._words[position] = 0
            position -= 1
        self._words[position] += 1
        return lower - _STATE


class RangeDecoder:
    """Takes entries from a stream of 32-bit words, which zeros are taken to follow."""

    def __init__(self, words: NDArray[np.uint32]) -> None:
        self._words = words.tolist()
        self._position = 0
        self._range = _STATE - 1
        self._offset = self._next_word() << 32
        self._offset |= self._next_word()

    def decode(self, model: Model, amount: int) -> NDArray[np.int32]:
        """Decode `amount` entry numbers, int32 [amount], all with one model.

        Raises:
            DecodeError: no encoder writes such words.
        """
        return np.array([self._decode_one(model.cumulative) for _ in range(amount)], np.int32)

    def maybe_exhausted(self) -> bool:
        """Tell whether the words may end here: none is unread, and what was read ends in a seal."""
        return self._position >= len(self._words) and (
            self._range == _STATE - 1 or self._offset < 2 * _WORD - 1
        )

    def _decode_one(self, cumulative: list[int]) -> int:
        scale = self._range >> PRECISION
        quantile = self._offset // scale
        if quantile >= TOTAL:
            raise DecodeError("the entropy-coded data is invalid")
        entry = bisect_right(cumulative, quantile) - 1
        self._offset -= scale * cumulative[entry]
        self._range = scale * (cumulative[entry + 1] - cumulative[entry])
        if self._range < _WORD:
            self._range <<= 32
            self._offset = self._offset << 32 | self._next_word()
        return entry

    def _next_word(self) -> int:
        word: int = self._words[self._position] if self._position < len(self._words) else 0
        self._position += 1
        return word
