"""Integer symbols <-> bytes, each symbol coded with the frequency table that the caller names for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pillow_neural.entropy import range_coder
from pillow_neural.entropy.range_coder import DecodeError
from pillow_neural.entropy.tables import TOTAL, FrequencyTables

try:
    import constriction
except ImportError:
    constriction = None

BackendName = Literal["constriction", "python"]

_MAX_EXCESS_BITS = 24


@dataclass(frozen=True)
class _Backend:
    """One implementation of the range coder; all write and read the same words."""

    model: Callable[[NDArray[np.int32]], Any]
    encoder: Callable[[], Any]
    decoder: Callable[[NDArray[np.uint32]], Any]
    data_error: type[Exception]


class SymbolEncoder:
    """Codes sections of symbols into one stream.

    Args:
        tables: the frequency tables that `encode` may name.
        backend: which range coder to use; the bytes are the same. None takes the fastest installed.

    Raises:
        ImportError: `backend` is "constriction", which is not installed.
    """

    def __init__(self, tables: FrequencyTables, backend: BackendName | None = None) -> None:
        chosen = _backend(backend)
        self._tables = tables
        self._models = _models(tables, chosen)
        self._bit_model = _bit_model(chosen)
        self._coder = chosen.encoder()

    def encode(self, symbols: NDArray[np.int32], table: NDArray[np.integer[Any]]) -> None:
        """Append one section.

        Args:
            symbols: int32 [N] (or narrower); outside -M..M of its table a symbol is escaped.
            table: integers [N], index of the table of each symbol.

        Raises:
            ValueError: shapes or types do not fit, a table does not exist, or a symbol lies 2**24 or
                more outside -M..M. Nothing has then been encoded of that symbol's group or later ones.
        """
        if symbols.shape != table.shape or not np.can_cast(symbols.dtype, np.int32):
            raise ValueError(
                f"symbols {symbols.dtype}{symbols.shape} do not fit int32 and tables {table.shape}"
            )
        order, groups = _grouped(table, len(self._tables))
        ordered = symbols.astype(np.int32, copy=False)[order]
        for index, group in groups:
            self._encode_group(ordered[group], index)

    def finish(self) -> bytes:
        """Return the stream; the encoder is then spent."""
        words: NDArray[np.uint32] = self._coder.get_compressed()
        return words.astype("<u4").tobytes().rstrip(b"\0")

    def _encode_group(self, symbols: NDArray[np.int32], index: int) -> None:
        limit = int(self._tables.limits[index])
        entries = symbols + np.int32(limit)
        escaped = entries.view(np.uint32) > 2 * limit
        if not escaped.any():
            self._coder.encode(entries, self._models[index])
            return
        suffixes = [bit for symbol in symbols[escaped].tolist() for bit in _escape_suffix(symbol, limit)]
        entries[escaped] = 2 * limit + 1
        self._coder.encode(entries, self._models[index])
        self._coder.encode(np.array(suffixes, np.int32), self._bit_model)


class SymbolDecoder:
    """Takes the sections back from a stream, in the order in which they were encoded.

    Args:
        tables: the frequency tables that the stream was encoded with.
        data: the whole stream.
        backend: as for `SymbolEncoder`.

    Raises:
        ImportError: `backend` is "constriction", which is not installed.
    """

    def __init__(self, tables: FrequencyTables, data: bytes, backend: BackendName | None = None) -> None:
        chosen = _backend(backend)
        self._tables = tables
        self._models = _models(tables, chosen)
        self._bit_model = _bit_model(chosen)
        self._data_error = chosen.data_error
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)
        self._coder = chosen.decoder(words)
        self._data_untouched = len(data) > 0

    def decode(self, table: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return the symbols of the next section, int32 [N].

        Args:
            table: integers [N], index of the table of each symbol, as given to the encoder.

        Raises:
            DecodeError: the data is invalid. Damaged data may also decode to wrong symbols unnoticed.
            ValueError: a table does not exist.
        """
        order, groups = _grouped(table, len(self._tables))
        ordered = np.empty(table.shape, np.int32)
        for index, group in groups:
            ordered[group] = self._decode_group(index, group.stop - group.start)
            self._data_untouched = False
        symbols = np.empty_like(ordered)
        symbols[order] = ordered
        return symbols

    def finish(self) -> None:
        """Check that the stream ends here.

        Raises:
            DecodeError: data is left over, beyond at most one word that a seal cannot be told from.
        """
        if self._data_untouched or not self._coder.maybe_exhausted():
            raise DecodeError("the entropy-coded data goes on after the last symbol, or is damaged")

    def _decode_group(self, index: int, amount: int) -> NDArray[np.int32]:
        limit = int(self._tables.limits[index])
        symbols = self._take(self._models[index], amount)
        symbols -= limit
        for position in np.flatnonzero(symbols > limit):
            symbols[position] = self._decode_escaped(limit)
        return symbols

    def _decode_escaped(self, limit: int) -> int:
        negative = self._take_bits(1)
        extra_bits = 0
        while not self._take_bits(1):
            extra_bits += 1
            if extra_bits == _MAX_EXCESS_BITS:
                raise DecodeError("an escaped symbol is too large")
        magnitude = limit + (1 << extra_bits | self._take_bits(extra_bits))
        return -magnitude if negative else magnitude

    def _take_bits(self, count: int) -> int:
        value = 0
        for bit in self._take(self._bit_model, count).tolist():
            value = value << 1 | bit
        return value

    def _take(self, model: object, amount: int) -> NDArray[np.int32]:
        try:
            entries: NDArray[np.int32] = self._coder.decode(model, amount)
        except self._data_error as error:
            raise DecodeError("the entropy-coded data is invalid") from error
        return entries


def _escape_suffix(symbol: int, limit: int) -> list[int]:
    """Return the sign bit, then the excess plus one in Exp-Golomb code of order 0."""
    value = abs(symbol) - limit
    digits = [int(digit) for digit in f"{value:b}"]
    if len(digits) > _MAX_EXCESS_BITS:
        raise ValueError(f"symbol {symbol} is too far outside the table's range of {limit}")
    return [int(symbol < 0)] + [0] * (len(digits) - 1) + digits


def _grouped(
    table: NDArray[np.integer[Any]], count: int
) -> tuple[NDArray[np.intp], Iterator[tuple[int, slice]]]:
    """Sort symbol positions by table, keeping their order within each table.

    Returns:
        The positions, [N], and for each table in use its index and its slice of the positions.
    """
    if table.ndim != 1 or not np.issubdtype(table.dtype, np.integer):
        raise ValueError(f"table indices are one-dimensional integers, not {table.dtype}{table.shape}")
    if len(table) and not (table.min() >= 0 and table.max() < count):
        raise ValueError(f"a table index is outside 0..{count - 1}")
    keys = table.astype(np.uint8 if count <= 256 else np.uint16)
    ends = np.cumsum(np.bincount(keys, minlength=count)).tolist()
    slices = zip([0, *ends], ends, strict=False)
    groups = ((index, slice(start, stop)) for index, (start, stop) in enumerate(slices) if stop > start)
    return np.argsort(keys, kind="stable"), groups


@cache
def _backend(name: BackendName | None) -> _Backend:
    if name == "python" or (name is None and constriction is None):
        return _Backend(
            range_coder.Model, range_coder.RangeEncoder, range_coder.RangeDecoder, range_coder.DecodeError
        )
    if constriction is None:
        raise ImportError("constriction is not installed")
    queue = constriction.stream.queue
    return _Backend(_constriction_model, queue.RangeEncoder, queue.RangeDecoder, AssertionError)


def _constriction_model(frequencies: NDArray[np.int32]) -> object:
    """Build the model that codes with exactly these frequencies.

    The library gives every entry 1 and shares the rest in proportion to the weights, so weights of
    frequency minus 1 come back unchanged.
    """
    weights = (frequencies - 1).astype(np.float64)
    model: object = constriction.stream.model.Categorical(weights, perfect=False, lazy=False)
    return model


@lru_cache(maxsize=32)
def _models(tables: FrequencyTables, backend: _Backend) -> list[Any]:
    return [backend.model(tables.table(index)) for index in range(len(tables))]


@cache
def _bit_model(backend: _Backend) -> object:
    model: object = backend.model(np.array([TOTAL // 2, TOTAL // 2], np.int32))
    return model
