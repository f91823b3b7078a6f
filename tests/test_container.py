import ast
import io
import re
import sys
import tracemalloc
import zlib
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pillow_neural import binary, container
from pillow_neural import header as header_module
from pillow_neural.container import (
    MAGIC,
    Chunk,
    ChunkEntry,
    DamagedFileError,
    Frame,
    HeaderError,
    Index,
    in_memory,
    read_chunk,
    read_index,
    verify,
    write,
)
from pillow_neural.header import MODES, Header
from pillow_neural.timing import Timing, timing_chunk

WEIGHTS = bytes(range(8))
HEADER = Header(768, 512, "RGB", "default", WEIGHTS, b"\x01\x02")
CHUNKS = [Chunk("DATA", b"first"), Chunk("exif", b"II*\0"), Chunk("DATA", b""), Chunk("teSt", b"extra")]
SMALL_FILE = write(HEADER, CHUNKS)

headers = st.builds(
    Header,
    width=st.integers(1, 2**24 - 1),
    height=st.integers(1, 2**24 - 1),
    mode=st.sampled_from(MODES),
    codec=st.text("abcxyz0189_-", min_size=1, max_size=32),
    weights=st.binary(min_size=8, max_size=8),
    parameters=st.binary(max_size=255),
)
KINDS = ["DATA", "ALPH", "FRAM", "anim", "exif", "iccp", "xmpd", "teSt", "z123"]
chunk_lists = st.lists(
    st.builds(Chunk, st.sampled_from(KINDS), st.binary(max_size=255)),
    unique_by=lambda chunk: (
        chunk.kind if chunk.kind in {"ALPH", "anim", "exif", "iccp", "xmpd"} else object()
    ),
)


def varint(value: int) -> bytes:
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([0x80 | group for group in groups[:-1]] + groups[-1:])


def file_with_body(body: bytes, length: bytes | None = None) -> io.BytesIO:
    """Return a file of any header body whose checksum is right."""
    checked = b"\x01" + (varint(len(body)) if length is None else length) + body
    return io.BytesIO(MAGIC + checked + zlib.crc32(checked).to_bytes(4))


def body_with(
    first: int = 2,
    width: bytes = b"\x01",
    height: bytes = b"\x01",
    codec: bytes = b"default",
    count: bytes = b"\x00",
    table: bytes = b"",
) -> bytes:
    name = bytes([len(codec)]) + codec if first < 4 else b""
    return bytes([first]) + name + WEIGHTS + width + height + b"\x00" + count + table


def table_row(kind: bytes, length: int = 0) -> bytes:
    return varint(2 * length) + bytes(4) if kind == b"DATA" else varint(2 * length + 1) + kind + bytes(4)


def open_fully(data: bytes) -> None:
    fp = io.BytesIO(data)
    verify(fp, read_index(fp))


@given(headers, chunk_lists, st.binary(max_size=20), st.binary(max_size=20))
@settings(deadline=None)
def test_round_trip(header: Header, chunks: list[Chunk], before: bytes, after: bytes) -> None:
    fp = io.BytesIO(before + write(header, chunks) + after)
    fp.seek(len(before))
    index = read_index(fp)
    assert index.header == header
    assert [entry.kind for entry in index.entries] == [chunk.kind for chunk in chunks]
    assert fp.tell() == len(before) + (index.entries[0].offset if chunks else len(write(header, [])))
    verify(fp, index, len(before))
    for entry, chunk in zip(reversed(index.entries), reversed(chunks), strict=True):
        assert read_chunk(fp, entry, len(before)) == chunk.data


def test_entries_of_one_kind_in_file_order() -> None:
    fp = io.BytesIO(SMALL_FILE)
    index = read_index(fp)
    assert [read_chunk(fp, entry) for entry in index.of_kind("DATA")] == [b"first", b""]
    assert index.of_kind("ALPH") == ()


def test_frames_begin_at_their_chunk() -> None:
    kinds = ["anim", "ALPH", "DATA", "DATA", "FRAM", "exif", "DATA", "ALPH", "FRAM"]
    index = read_index(io.BytesIO(write(HEADER, [Chunk(kind, b"") for kind in kinds])))
    entries = index.entries
    assert index.frames == (
        Frame(None, entries[1], entries[2:4]),
        Frame(entries[4], entries[7], (entries[6],)),
        Frame(entries[8], None, ()),
    )


def test_a_still_is_one_frame() -> None:
    index = read_index(io.BytesIO(SMALL_FILE))
    assert index.frames == (Frame(None, None, index.of_kind("DATA")),)
    assert len(read_index(io.BytesIO(write(HEADER, []))).frames) == 1


@pytest.mark.parametrize("end", [None, -3, 60])
def test_copy_in_memory_goes_as_far_as_the_file(end: int | None) -> None:
    fp = io.BytesIO(b"before" + (SMALL_FILE + b"after" if end is None else SMALL_FILE[:end]))
    fp.seek(6)
    assert in_memory(fp, read_index(io.BytesIO(SMALL_FILE)), 6).getvalue() == SMALL_FILE[:end]


def test_chunk_longer_than_one_block() -> None:
    data = bytes(range(256)) * 4096
    fp = io.BytesIO(write(HEADER, [Chunk("DATA", data)]))
    assert read_chunk(fp, read_index(fp).entries[0]) == data


class Trickle(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(1, size or 0))


def test_streams_that_return_fewer_bytes_than_asked() -> None:
    fp = Trickle(SMALL_FILE)
    index = read_index(fp)
    assert read_chunk(fp, index.entries[0]) == b"first"


@pytest.mark.parametrize(
    ("codec", "weights", "overhead"),
    [("nic2026", WEIGHTS, 34), ("lossless", bytes(8), 26), ("x-y", WEIGHTS, 38)],
)
def test_overhead_of_a_plain_picture(codec: str, weights: bytes, overhead: int) -> None:
    header = HEADER._replace(codec=codec, weights=weights, parameters=bytes(3))
    data = write(header, [Chunk("DATA", bytes(5_000))])
    assert len(data) - 5_000 == overhead
    assert read_index(io.BytesIO(data)).header == header


def test_every_changed_byte_is_noticed() -> None:
    for position in range(len(SMALL_FILE)):
        for change in range(1, 256):
            changed = bytearray(SMALL_FILE)
            changed[position] ^= change
            with pytest.raises((HeaderError, DamagedFileError)):
                open_fully(bytes(changed))


def test_every_truncation_is_noticed() -> None:
    header_end = read_index(io.BytesIO(SMALL_FILE)).entries[0].offset
    for length in range(len(SMALL_FILE)):
        with pytest.raises(HeaderError if length < header_end else DamagedFileError):
            open_fully(SMALL_FILE[:length])


positions = st.integers(0, len(SMALL_FILE))


@given(st.lists(st.tuples(positions, positions, st.binary(max_size=3)), min_size=1, max_size=5))
@settings(deadline=None, max_examples=500)
def test_mutations_are_noticed(splices: list[tuple[int, int, bytes]]) -> None:
    mutated = bytearray(SMALL_FILE)
    for start, length, replacement in splices:
        mutated[start : start + length] = replacement
    if mutated.startswith(SMALL_FILE):
        open_fully(bytes(mutated))
    else:
        with pytest.raises((HeaderError, DamagedFileError)):
            open_fully(bytes(mutated))


@given(st.binary(max_size=100) | st.binary(max_size=40).map(lambda tail: body_with() + tail))
@settings(deadline=None, max_examples=500)
def test_any_body_with_a_right_checksum_parses_or_is_refused(body: bytes) -> None:
    try:
        index = read_index(file_with_body(body))
    except HeaderError:
        return
    assert isinstance(index, Index)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", MAGIC.lower(), MAGIC])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(HeaderError):
        read_index(io.BytesIO(data))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (body_with(first=16), "codec number 4 is unknown"),
        (body_with(codec=b"nic2026"), "nic2026 is named instead of numbered"),
        (body_with(count=b"\x01", table=b"\x01DATA" + bytes(4)), "a chunk is named DATA"),
        (body_with(width=b"\x00"), "size 0x1"),
        (body_with(height=varint(2**24)), "size 1x16777216"),
        (body_with(width=b"\x81\x00"), "longer than it need be"),
        (body_with(width=b"\x80\x80\x80\x80\x80\x01"), "more than 5 bytes"),
        (body_with(codec=b""), "codec name"),
        (body_with(codec=b"Upper"), "codec name"),
        (body_with(codec=b"caf\xe9"), "ascii"),
        (body_with(codec=b"x" * 33), "codec name"),
        (body_with(count=varint(65_536)), "65536 chunks"),
        (body_with(count=b"\x01"), "ends too early"),
        (body_with(count=b"\x01", table=table_row(b"DATA", 2**31)), "2147483648 bytes"),
        (body_with(count=b"\x01", table=table_row(b"TILE")), "TILE is needed"),
        (body_with(count=b"\x01", table=table_row(b"1DAT")), "'1DAT'"),
        (body_with(count=b"\x01", table=table_row(b"ex f")), "'ex f'"),
        (body_with(count=b"\x02", table=table_row(b"exif") * 2), "exif occurs more than once"),
        (body_with(count=b"\x02", table=table_row(b"anim") * 2), "anim occurs more than once"),
        (body_with(count=b"\x02", table=table_row(b"ALPH") * 2), "ALPH occurs more than once in a frame"),
        (body_with(count=b"\x01", table=table_row(b"FRAM", 256)), "FRAM of 256 bytes is longer than 255"),
        (body_with(count=b"\x01", table=table_row(b"anim", 327_681)), "anim of 327681 bytes is longer"),
        (body_with() + b"\x00", "left after the chunk table"),
    ],
)
def test_impossible_headers_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(HeaderError, match=message):
        read_index(file_with_body(body))


def test_other_versions_are_refused() -> None:
    with pytest.raises(HeaderError, match="version 2"):
        read_index(io.BytesIO(MAGIC + b"\x02" + SMALL_FILE[len(MAGIC) + 1 :]))


def test_overlong_body_length_is_refused() -> None:
    body = body_with()
    with pytest.raises(HeaderError, match="longer than it need be"):
        read_index(file_with_body(body, length=bytes([0x80 | len(body), 0])))


def test_body_beyond_the_cap_is_refused_before_it_is_read() -> None:
    with pytest.raises(HeaderError, match="longer than 1048576"):
        read_index(file_with_body(b"", length=varint(2**20 + 1)))


def test_most_chunks_possible() -> None:
    index = read_index(io.BytesIO(write(HEADER, [Chunk("DATA", b"x")] * 65_535)))
    assert len(index.entries) == 65_535
    assert index.entries[-1].offset == index.entries[0].offset + 65_534


def test_claimed_lengths_allocate_nothing() -> None:
    body = body_with(count=b"\x01", table=table_row(b"DATA", 2**31 - 1))
    fp = io.BytesIO(file_with_body(body).getvalue() + bytes(60))
    tracemalloc.start()
    index = read_index(fp)
    with pytest.raises(DamagedFileError, match=r"DATA at byte \d+ is truncated: 60 of 2147483647 bytes"):
        read_chunk(fp, index.entries[0])
    with pytest.raises(HeaderError, match="ends too early"):
        read_index(file_with_body(b"", length=varint(2**20)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_damage_names_the_chunk() -> None:
    entry = ChunkEntry("exif", 0, len(MAGIC), zlib.crc32(MAGIC) ^ 1)
    with pytest.raises(DamagedFileError, match="exif at byte 0 is damaged"):
        read_chunk(io.BytesIO(MAGIC), entry)


@pytest.mark.parametrize(
    "chunks",
    [
        [Chunk("exif", b""), Chunk("exif", b"")],
        [Chunk("ALPH", b""), Chunk("DATA", b""), Chunk("ALPH", b"")],
        [Chunk("FRAM", bytes(256))],
        [Chunk("TILE", b"")],
        [Chunk("abc", b"")],
        [Chunk("ab\xe9d", b"")],
        [Chunk("DATA", b"")] * 65_536,
    ],
)
def test_write_refuses_what_no_reader_accepts(chunks: list[Chunk]) -> None:
    with pytest.raises(ValueError, match="chunk"):
        write(HEADER, chunks)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 0),
        ("height", 2**24),
        ("mode", "CMYK"),
        ("codec", "a b"),
        ("weights", b"short"),
        ("codec", "lossless"),
        ("parameters", bytes(256)),
    ],
)
def test_header_fields_are_checked(field: str, value: object) -> None:
    header = HEADER._replace(**{field: value})
    with pytest.raises(ValueError, match=r"picture size|mode|codec name|weights id|parameters"):
        container.write(header, [])


def test_worked_examples_of_the_specification() -> None:
    text = Path(container.__file__).with_name("FORMAT.md").read_text(encoding="utf-8")
    still, animation, _ = (
        bytes.fromhex("".join(line.split("#")[0] for line in example.splitlines()))
        for example in re.findall(r"```hex\n(.*?)```", text, flags=re.DOTALL)
    )
    header = Header(300, 2, "RGB", "example", bytes(range(0x10, 0x18)), b"\x05")
    assert write(header, [Chunk("DATA", b"\x01\x02\x03"), Chunk("teXt", b"hi")]) == still
    first = [timing_chunk(Timing(0, (40, 300))), Chunk("DATA", b"\x01\x02")]
    second = [Chunk("FRAM", b"\x06"), Chunk("DATA", b"\x03")]
    assert write(header._replace(width=3, mode="L"), first + second) == animation
    open_fully(still)
    open_fully(animation)


@pytest.mark.parametrize("module", [binary, header_module, container])
def test_only_the_standard_library_is_imported(module: ModuleType) -> None:
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported -= {"pillow_neural.binary", "pillow_neural.header"}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
