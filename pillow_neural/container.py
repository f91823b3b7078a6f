"""The .nic container: a checked header with a table of chunks, then the chunks themselves.

FORMAT.md beside this file specifies every byte. This module knows neither pixels nor codecs.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from pillow_neural.binary import BLOCK, read_exactly, read_varint, varint
from pillow_neural.header import Header, header_bytes, read_header

MAGIC = b"\x89NIC"

METADATA = {"exif": "exif", "iccp": "icc_profile", "xmpd": "xmp"}
"""Chunk kind -> key in Pillow's `info` and keyword of `save`."""

EXIF_PREFIX = b"Exif\0\0"
"""What precedes the TIFF structure in Pillow's `info["exif"]` and in JPEG, but not in a .nic file."""

VERSION = 1
"""Of the format, as the files say it."""

_MAX_BODY = 2**20
_MAX_CHUNKS = 65_535
_MAX_CHUNK_LENGTH = 2**31 - 1
_MAX_LENGTH_OF_KIND = {"FRAM": 255, "anim": 5 * (_MAX_CHUNKS + 1)}

_COMMON_KIND = "DATA"
_CHUNK_KIND = r"[A-Za-z][A-Za-z0-9]{3}"
_KNOWN_CRITICAL = frozenset({"DATA", "ALPH", "FRAM"})
_AT_MOST_ONCE = ("exif", "iccp", "xmpd", "anim")


class HeaderError(SyntaxError):
    """The bytes are not a .nic file, or its header is damaged, impossible or of a later version."""


class DamagedFileError(OSError):
    """The header is sound, but a chunk is cut short or fails its checksum."""


class Chunk(NamedTuple):
    """One chunk to write: `kind` is four ASCII characters, upper case first if critical."""

    kind: str
    data: bytes


class ChunkEntry(NamedTuple):
    """Where one chunk lies: `offset` in bytes from the magic, `length` in bytes, CRC-32 of its data."""

    kind: str
    offset: int
    length: int
    crc32: int


class Frame(NamedTuple):
    """The chunks of one frame, in file order.

    Attributes:
        parameters: the codec's parameters; None for the first frame, which has them in the header.
        alpha: the alpha channel, if there is one.
        data: the sections of the codec's payload.
    """

    parameters: ChunkEntry | None
    alpha: ChunkEntry | None
    data: tuple[ChunkEntry, ...]


class Index(NamedTuple):
    """A file's header, its chunk table in file order, and the frames (at least one) that the table tells."""

    header: Header
    entries: tuple[ChunkEntry, ...]
    frames: tuple[Frame, ...]

    def of_kind(self, kind: str) -> tuple[ChunkEntry, ...]:
        """Return the entries of one kind, in file order; empty if there are none."""
        return tuple(entry for entry in self.entries if entry.kind == kind)


def write(header: Header, chunks: Sequence[Chunk]) -> bytes:
    """Return a whole .nic file.

    Raises:
        ValueError: a header field is out of range; a chunk kind is malformed, unknown and critical, or
            repeated where only one is allowed; a chunk is longer than its kind may be; there are more than
            65,535 chunks.
    """
    beginning = header_bytes(header)
    _check_kinds([chunk.kind for chunk in chunks])
    body = beginning + varint(len(chunks)) + b"".join(map(_table_row, chunks))
    checked = _preamble(len(body)) + body
    return b"".join([MAGIC, checked, zlib.crc32(checked).to_bytes(4), *(chunk.data for chunk in chunks)])


def read_index(fp: BinaryIO) -> Index:
    """Read the header and chunk table from the current position of `fp`, and nothing beyond them.

    At most about 1 MiB is read; chunk data is neither read nor required to be there.

    Raises:
        HeaderError: the bytes are not a sound .nic header that this version understands.
    """
    try:
        if read_exactly(fp, len(MAGIC)) != MAGIC:
            raise HeaderError("not a .nic file")
        version = read_exactly(fp, 1)[0]
        if version != VERSION:
            raise HeaderError(f"version {version} of the .nic format is not supported")
        length = read_varint(fp)
        if length > _MAX_BODY:
            raise HeaderError(f"a .nic header of {length} bytes is longer than {_MAX_BODY}")
        body = read_exactly(fp, length)
        checked = _preamble(length) + body
        if zlib.crc32(checked) != int.from_bytes(read_exactly(fp, 4)):
            raise HeaderError("the .nic header is damaged: its checksum does not match")
        return _parse_body(body, first_offset=len(MAGIC) + len(checked) + 4)
    except EOFError as error:
        raise HeaderError("the .nic header ends too early") from error
    except ValueError as error:
        raise HeaderError(f"impossible .nic header: {error}") from error


def read_chunk(fp: BinaryIO, entry: ChunkEntry, start: int = 0) -> bytes:
    """Return one chunk's data, checked; memory grows only as bytes arrive.

    Args:
        fp: a seekable file.
        entry: the chunk's place, from `read_index`.
        start: position in `fp` of the file's magic.

    Raises:
        DamagedFileError: the chunk is truncated or its checksum does not match.
    """
    return b"".join(_checked_blocks(fp, entry, start))


def verify(fp: BinaryIO, index: Index, start: int = 0) -> None:
    """Check every chunk in bounded memory.

    Raises:
        DamagedFileError: a chunk is truncated or its checksum does not match.
    """
    for entry in index.entries:
        for _ in _checked_blocks(fp, entry, start):
            pass


def is_sound(fp: BinaryIO, entry: ChunkEntry, start: int = 0) -> bool:
    """Tell whether a chunk is whole and matches its checksum, in bounded memory."""
    try:
        for _ in _checked_blocks(fp, entry, start):
            pass
    except DamagedFileError:
        return False
    return True


def in_memory(fp: BinaryIO, index: Index, start: int = 0) -> io.BytesIO:
    """Return a copy of a whole file from its magic on, as far as it goes; chunks are not checked."""
    fp.seek(start)
    missing = index.entries[-1].offset + index.entries[-1].length if index.entries else 0
    copy = io.BytesIO()
    while missing and (block := fp.read(min(missing, BLOCK))):
        missing -= copy.write(block)
    return copy


def _checked_blocks(fp: BinaryIO, entry: ChunkEntry, start: int) -> Iterator[bytes]:
    fp.seek(start + entry.offset)
    missing, checksum = entry.length, 0
    while missing:
        block = fp.read(min(missing, BLOCK))
        if not block:
            found = entry.length - missing
            raise DamagedFileError(
                f"chunk {entry.kind} at byte {entry.offset} is truncated: {found} of {entry.length} bytes"
            )
        missing -= len(block)
        checksum = zlib.crc32(block, checksum)
        yield block
    if checksum != entry.crc32:
        raise DamagedFileError(
            f"chunk {entry.kind} at byte {entry.offset} is damaged: its checksum does not match"
        )


def _parse_body(body: bytes, first_offset: int) -> Index:
    fields = io.BytesIO(body)
    header = read_header(fields)
    entries = tuple(_read_entries(fields, first_offset))
    if fields.tell() != len(body):
        raise ValueError("bytes are left after the chunk table")
    return Index(header, entries, tuple(_frames(entries)))


def _read_entries(fields: BinaryIO, first_offset: int) -> list[ChunkEntry]:
    count = read_varint(fields)
    if count > _MAX_CHUNKS:
        raise ValueError(f"{count} chunks are more than {_MAX_CHUNKS}")
    entries, offset = [], first_offset
    for _ in range(count):
        length, is_named = divmod(read_varint(fields), 2)
        kind = read_exactly(fields, 4).decode("ascii") if is_named else _COMMON_KIND
        if is_named and kind == _COMMON_KIND:
            raise ValueError(f"a chunk is named {kind}, which those without a name are")
        _check_length(kind, length)
        entries.append(ChunkEntry(kind, offset, length, int.from_bytes(read_exactly(fields, 4))))
        offset += length
    _check_kinds([entry.kind for entry in entries])
    return entries


def _frames(entries: Sequence[ChunkEntry]) -> Iterator[Frame]:
    starts = [number for number, entry in enumerate(entries) if entry.kind == "FRAM"]
    for start, end in pairwise([0, *starts, len(entries)]):
        chunks = entries[start:end]
        yield Frame(
            parameters=next((entry for entry in chunks if entry.kind == "FRAM"), None),
            alpha=next((entry for entry in chunks if entry.kind == "ALPH"), None),
            data=tuple(entry for entry in chunks if entry.kind == "DATA"),
        )


def _check_kinds(kinds: Sequence[str]) -> None:
    if len(kinds) > _MAX_CHUNKS:
        raise ValueError(f"{len(kinds)} chunks are more than {_MAX_CHUNKS}")
    for kind in set(kinds):
        if not re.fullmatch(_CHUNK_KIND, kind):
            raise ValueError(f"chunk kind {kind!r} is not a letter and three letters or digits")
        if kind[0].isupper() and kind not in _KNOWN_CRITICAL:
            raise ValueError(f"chunk {kind} is needed to read this picture but unknown to this version")
    for kind in _AT_MOST_ONCE:
        if kinds.count(kind) > 1:
            raise ValueError(f"chunk {kind} occurs more than once")
    _check_one_alpha_a_frame(kinds)


def _check_one_alpha_a_frame(kinds: Sequence[str]) -> None:
    seen = False
    for kind in kinds:
        if kind == "ALPH" and seen:
            raise ValueError("chunk ALPH occurs more than once in a frame")
        seen = kind == "ALPH" or (seen and kind != "FRAM")


def _check_length(kind: str, length: int) -> None:
    limit = _MAX_LENGTH_OF_KIND.get(kind, _MAX_CHUNK_LENGTH)
    if length > limit:
        raise ValueError(f"chunk {kind} of {length} bytes is longer than {limit}")


def _table_row(chunk: Chunk) -> bytes:
    length = len(chunk.data)
    _check_length(chunk.kind, length)
    is_named = chunk.kind != _COMMON_KIND
    kind = chunk.kind.encode("ascii") if is_named else b""
    return varint(2 * length + is_named) + kind + zlib.crc32(chunk.data).to_bytes(4)


def _preamble(body_length: int) -> bytes:
    return bytes([VERSION]) + varint(body_length)
