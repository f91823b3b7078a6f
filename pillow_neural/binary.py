"""Fields of .nic files that several chunks share: variable-length integers and short byte strings."""

from __future__ import annotations

from typing import BinaryIO

BLOCK = 2**18
"""The most bytes asked of a file at once, so that memory grows only as bytes arrive."""

_MAX_VARINT_BYTES = 5


def varint(value: int) -> bytes:
    """Return an integer from 0 to 2**35 - 1 as unsigned LEB128."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_varint(fp: BinaryIO) -> int:
    """Read an integer in its shortest form, at most 5 bytes.

    Raises:
        EOFError: the file ends within it.
        ValueError: it is longer.
    """
    value = 0
    for position in range(_MAX_VARINT_BYTES):
        byte = read_exactly(fp, 1)[0]
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            if byte == 0 and position:
                raise ValueError("a variable-length integer is longer than it need be")
            return value
    raise ValueError(f"a variable-length integer has more than {_MAX_VARINT_BYTES} bytes")


def read_short(fp: BinaryIO) -> bytes:
    """Read a byte that counts the bytes after it, and return those.

    Raises:
        EOFError: the file ends before.
    """
    return read_exactly(fp, read_exactly(fp, 1)[0])


def read_exactly(fp: BinaryIO, length: int) -> bytes:
    """Read `length` bytes, a block at a time.

    Raises:
        EOFError: the file has fewer.
    """
    blocks = []
    while length:
        block = fp.read(min(length, BLOCK))
        if not block:
            raise EOFError
        blocks.append(block)
        length -= len(block)
    return b"".join(blocks)
