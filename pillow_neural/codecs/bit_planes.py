"""Bits of a recurrent codec and the map of its iterations <-> sections of bytes.

    section 0      the map: a picture's number of iterations, or one a block
    section t      the bits of iteration t: four phases, each bit with the table of its index

Tables 0 to 63 belong to the indices of the context network and have the symbols -1 and 1; those of the map
follow. All of it is integer arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from pillow_neural.codecs.iteration_map import Counts, decode_map, encode_map
from pillow_neural.codecs.signs import Section, decode_signs, sign_section
from pillow_neural.entropy import DecodeError, FrequencyTables, SymbolDecoder, SymbolEncoder
from pillow_neural.networks.bit_context import INDICES, BitContext


class BitPlaneCoder:
    """Entropy coding of one picture's bits.

    Args:
        context: the context network, frozen, on the device to use.
        tables: INDICES tables of bits, then those of the map.
    """

    def __init__(self, context: BitContext, tables: FrequencyTables) -> None:
        self._context = context
        self._tables = tables

    def encode_counts(self, counts: Counts, adaptive: bool) -> bytes:
        """Section 0 for a map [h, w] of counts 1 to the most there may be; all equal unless adaptive."""
        if not adaptive:
            return bytes([counts[0, 0]])
        encoder = SymbolEncoder(self._tables)
        encode_map(encoder, INDICES, counts, self._context.iterations)
        return encoder.finish()

    def decode_counts(self, section: bytes, height: int, width: int, adaptive: bool) -> Counts:
        """The map [height, width] of section 0.

        Raises:
            DecodeError: the section is not such a map.
        """
        most = self._context.iterations
        if not adaptive:
            if len(section) != 1 or not 1 <= section[0] <= most:
                raise DecodeError(f"the number of iterations is not one byte of 1 to {most}")
            return np.full((height, width), section[0], np.int64)
        decoder = SymbolDecoder(self._tables, section)
        counts = decode_map(decoder, INDICES, height, width, most)
        decoder.finish()
        return counts

    def encode_bits(self, bits: Sequence[Tensor], counts: Tensor) -> list[bytes]:
        """One section an iteration; see `bit_symbols` for the arguments."""
        sections = []
        for phases in bit_symbols(self._context, bits, counts):
            encoder = SymbolEncoder(self._tables)
            for symbols, tables in phases:
                encoder.encode(symbols, tables)
            sections.append(encoder.finish())
        return sections

    def decode_bits(self, sections: Sequence[bytes], counts: Tensor) -> list[Tensor]:
        """The bits that `encode_bits` coded, one float32 [32, h, w] a section.

        Raises:
            DecodeError: a section is not the bits of its iteration, or no block has so many iterations.
        """
        most = int(counts.max())
        if len(sections) > most:
            raise DecodeError(
                f"there are {len(sections)} iterations of bits, but no block has more than {most}"
            )
        planes: list[Tensor] = []
        for number, section in enumerate(sections):
            decoder = SymbolDecoder(self._tables, section)
            take = partial(decode_signs, decoder)
            planes.append(self._context.walk(planes, counts[None], number, take))
            decoder.finish()
        return [plane[0] for plane in planes]


def bit_symbols(context: BitContext, bits: Sequence[Tensor], counts: Tensor) -> Iterator[list[Section]]:
    """Symbols and tables of each iteration's four phases.

    Args:
        context: the context network.
        bits: of each iteration, [32, h, w], -1 or 1 and 0 where a block has none; even h and w.
        counts: iterations of each block, [h, w], 0 outside the picture.
    """
    planes = [plane.float()[None] for plane in bits]
    for number, plane in enumerate(planes):
        phases: list[Section] = []

        def take(
            coded: Tensor, index: Tensor, plane: Tensor = plane, phases: list[Section] = phases
        ) -> Tensor:
            phases.append(sign_section(plane, coded, index))
            return plane * coded

        context.walk(planes[:number], counts[None], number, take)
        yield phases
