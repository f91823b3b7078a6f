"""The map that says how many iterations each 16x16 block has, as symbols and tables.

The blocks are visited from coarse to fine: the first one, then for each step 2^n, ..., 4, 2, 1 the middles of
the squares between the blocks known so far, and then the middles of their sides. A block is predicted by the
mean of its up to four nearest known neighbours; the symbol is the difference. Its table depends on the
prediction and on how far the neighbours differ, so that even and busy regions are told apart.

    step 2, known: #    middles of squares: x    middles of sides: o

        # . #                  # . #                    # o #
        . . .                  . x .                    o x o
        # . #                  # . #                    # o #
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pillow_neural.entropy import DecodeError, SymbolDecoder, SymbolEncoder

Counts = npt.NDArray[np.int64]

SPREADS = 4
_DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_AXIAL = ((-1, 0), (0, -1), (0, 1), (1, 0))


class Pass(NamedTuple):
    """Blocks coded in one call: rows and columns [N], and the offsets [4, 2] of the neighbours to look at."""

    rows: Counts
    columns: Counts
    neighbours: Counts


def table_count(iterations: int) -> int:
    """Number of tables: one for the first block, then one for each prediction and spread."""
    return 1 + iterations * SPREADS


def passes(height: int, width: int) -> Iterator[Pass]:
    """All blocks of a map but the first one (row 0, column 0), in the order in which they are coded."""
    step = 1 << (max(height, width) - 1).bit_length() >> 1
    while step:
        rows, columns = (np.arange(0, side, step) for side in (height, width))
        grid = [axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij")]
        odd = [axis // step % 2 for axis in grid]
        for kind, offsets in ((2, _DIAGONAL), (1, _AXIAL)):
            chosen = odd[0] + odd[1] == kind
            if chosen.any():
                yield Pass(grid[0][chosen], grid[1][chosen], step * np.array(offsets))
        step >>= 1


def predict(counts: Counts, part: Pass) -> tuple[Counts, Counts]:
    """Predictions and tables of the blocks of a pass, [N] each, from a map whose earlier blocks are known."""
    height, width = counts.shape
    rows = part.rows + part.neighbours[:, :1]
    columns = part.columns + part.neighbours[:, 1:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    values = counts[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    known = inside.sum(axis=0)
    prediction = (2 * (values * inside).sum(axis=0) + known) // (2 * known)
    largest = values.max(axis=0, where=inside, initial=0)
    smallest = values.min(axis=0, where=inside, initial=np.iinfo(np.int64).max)
    spread = np.where(known > 1, np.minimum(largest - smallest, SPREADS - 1), SPREADS - 1)
    return prediction, 1 + (prediction - 1) * SPREADS + spread


def map_symbols(counts: Counts, iterations: int) -> Iterator[tuple[npt.NDArray[np.int32], Counts]]:
    """Symbols and tables of a map [h, w] of counts 1..iterations, one pair a pass."""
    first = np.array([counts[0, 0] - first_prediction(iterations)], np.int32)
    yield first, np.zeros(1, np.int64)
    for part in passes(*counts.shape):
        prediction, tables = predict(counts, part)
        yield (counts[part.rows, part.columns] - prediction).astype(np.int32), tables


def first_prediction(iterations: int) -> int:
    """What the first block is predicted to have."""
    return (iterations + 1) // 2


def encode_map(encoder: SymbolEncoder, first_table: int, counts: Counts, iterations: int) -> None:
    """Append a map [h, w] of counts 1..iterations; its tables start at `first_table`."""
    for symbols, tables in map_symbols(counts, iterations):
        encoder.encode(symbols, first_table + tables)


def decode_map(decoder: SymbolDecoder, first_table: int, height: int, width: int, iterations: int) -> Counts:
    """The map that `encode_map` appended.

    Raises:
        DecodeError: a count lies outside 1..iterations.
    """

    def within(values: Counts) -> Counts:
        if values.min() < 1 or values.max() > iterations:
            raise DecodeError(f"a block has {values.max()} iterations, outside 1..{iterations}")
        return values

    counts = np.zeros((height, width), np.int64)
    first = decoder.decode(np.full(1, first_table))
    counts[0, 0] = within(first_prediction(iterations) + first.astype(np.int64))[0]
    for part in passes(height, width):
        prediction, tables = predict(counts, part)
        counts[part.rows, part.columns] = within(prediction + decoder.decode(first_table + tables))
    return counts
