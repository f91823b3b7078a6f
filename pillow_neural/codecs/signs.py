"""Signs -1 and 1 <-> symbols of a stream, each with the table that its index names."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pillow_neural.entropy import DecodeError, SymbolDecoder


class Section(NamedTuple):
    """Symbols -1 or 1 and the table of each, both [N]."""

    symbols: npt.NDArray[np.int32]
    tables: npt.NDArray[np.int32]


def sign_section(signs: Tensor, coded: Tensor, index: Tensor, first_table: int = 0) -> Section:
    """The section of the signs that are coded.

    Args:
        signs: any shape; -1 or 1 where coded.
        coded: bool, the same shape.
        index: whole numbers from 0, the same shape.
        first_table: the table of index 0.
    """
    return Section(_array(signs[coded]), first_table + _array(index[coded]))


def decode_signs(decoder: SymbolDecoder, coded: Tensor, index: Tensor, first_table: int = 0) -> Tensor:
    """The signs of the next section, 0 where none is coded; see `sign_section` for the arguments.

    Raises:
        DecodeError: a symbol is no sign, or the data is invalid.
    """
    symbols = read_signs(decoder, first_table + _array(index[coded]))
    return torch.zeros_like(index).masked_scatter_(coded, torch.from_numpy(symbols).to(index))


def read_signs(decoder: SymbolDecoder, tables: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int32]:
    """The signs of the next section, [N], given the table of each.

    Raises:
        DecodeError: a symbol is no sign, or the data is invalid.
    """
    symbols = decoder.decode(tables)
    if np.any(np.abs(symbols) != 1):
        raise DecodeError("a bit is neither -1 nor 1")
    return symbols


def _array(values: Tensor) -> npt.NDArray[np.int32]:
    return values.to(torch.int32).cpu().numpy()
