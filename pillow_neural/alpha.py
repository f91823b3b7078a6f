"""The lossless alpha channel: PNG's row filters and zlib, as FORMAT.md specifies the chunk ALPH."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from pillow_neural.container import DamagedFileError

Plane = npt.NDArray[np.uint8]

_METHOD = 1
_NONE, _SUB, _UP, _PAETH = 0, 1, 2, 4
_FILTERS = np.array([_NONE, _SUB, _UP, _PAETH], dtype=np.uint8)
_BAND = 2**20


def encode_alpha(alpha: Image.Image) -> bytes:
    """Return the chunk of an alpha channel: mode L, 0 transparent to 255 opaque."""
    plane = np.asarray(alpha)
    height, width = plane.shape
    rows = max(1, _BAND // width)
    compressor = zlib.compressobj()
    chunk = [bytes([_METHOD])]
    above = np.zeros((1, width), np.uint8)
    for top in range(0, height, rows):
        band = plane[top : top + rows]
        chunk.append(compressor.compress(_filter_rows(band, np.concatenate([above, band[:-1]])).tobytes()))
        above = band[-1:]
    chunk.append(compressor.flush())
    return b"".join(chunk)


def decode_alpha(chunk: bytes, width: int, height: int) -> Image.Image:
    """Return the alpha channel, mode L, of a chunk; inflates no more than such a picture can need.

    Raises:
        DamagedFileError: the chunk is not one of this size.
    """
    if chunk[:1] != bytes([_METHOD]):
        raise DamagedFileError("the alpha channel's compression method is unknown")
    stream = chunk[1:]
    try:
        _check_rows(stream, width, height)
        return Image.frombytes("L", (width, height), stream, "zip", "L")
    except (zlib.error, ValueError) as error:
        raise DamagedFileError(f"the alpha channel cannot be decoded: {error}") from error


def _check_rows(stream: bytes, width: int, height: int) -> None:
    expected = height * (width + 1)
    inflater = zlib.decompressobj()
    rows = inflater.decompress(stream, expected + 1)
    if len(rows) != expected or not inflater.eof or inflater.unused_data:
        raise ValueError(f"its stream does not hold exactly {expected} bytes")
    if not np.isin(np.frombuffer(rows, np.uint8)[:: width + 1], _FILTERS).all():
        raise ValueError("unknown row filter")


def _filter_rows(band: Plane, above: Plane) -> Plane:
    """Rows [N, W] and the rows above them to [N, 1 + W]: the best filter's number, then filtered samples."""
    left = _shifted(band)
    predictions = [np.zeros_like(band), left, above, _paeth(left, above, _shifted(above))]
    candidates = np.stack([band - prediction for prediction in predictions])
    costs = np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
    best = costs.argmin(axis=0)
    return np.column_stack([_FILTERS[best], candidates[best, np.arange(len(band))]])


def _shifted(rows: Plane) -> Plane:
    return np.pad(rows[:, :-1], ((0, 0), (1, 0)))


def _paeth(left: Plane, above: Plane, corner: Plane) -> Plane:
    a, b, c = (plane.astype(np.int16) for plane in (left, above, corner))
    to_left, to_above, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    use_left = (to_left <= to_above) & (to_left <= to_corner)
    return np.where(use_left, left, np.where(to_above <= to_corner, above, corner))
