"""A volume of symbols <-> one stream, front by front.

    each front of the volume --context network--> indices --+
           |                                                v
           +--> symbols --walks of a SymbolTree--> decisions -1 or 1, each with the table of its index

All symbols of a front that have a first decision are one section, then those that have a second one, and so
on. Encoding goes through the fronts as decoding does, with the same code and in the same memory, which
takes no longer than all layers at once would.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pillow_neural.codecs.signs import read_signs
from pillow_neural.entropy import FrequencyTables, SymbolDecoder, SymbolEncoder
from pillow_neural.networks.causal import Integers, Places
from pillow_neural.networks.volume_context import Volume, VolumeContext


def encode_volume(context: VolumeContext, tables: FrequencyTables, volume: Volume, rate: Tensor) -> bytes:
    """The stream of symbols 0..L - 1, [K, h, w], at a rate 0..127, whole, [1]."""
    encoder, tree = SymbolEncoder(tables), context.tree

    def take(places: Places, index: Integers) -> Integers:
        symbols = volume[places]

        def decide(number: Integers, node: Integers) -> npt.NDArray[np.int32]:
            signs = tree.decisions[node, symbols[number]].astype(np.int32)
            encoder.encode(signs, index[number, node])
            return signs

        return tree.walk(len(symbols), decide)

    _, height, width = volume.shape
    context.walk(height, width, rate, take)
    return encoder.finish()


def decode_volume(
    context: VolumeContext, tables: FrequencyTables, data: bytes, height: int, width: int, rate: Tensor
) -> Volume:
    """The symbols [K, height, width] of a stream that `encode_volume` wrote.

    Raises:
        DecodeError: it is not such a stream.
    """
    decoder = SymbolDecoder(tables, data)

    def take(places: Places, index: Integers) -> Integers:
        def decide(number: Integers, node: Integers) -> npt.NDArray[np.int32]:
            return read_signs(decoder, index[number, node])

        return context.tree.walk(len(index), decide)

    volume = context.walk(height, width, rate, take)
    decoder.finish()
    return volume
