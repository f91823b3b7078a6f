import json
import re
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import pillow_neural.entropy
from pillow_neural.entropy import DecodeError, FrequencyTables, SymbolDecoder, SymbolEncoder, quantise
from pillow_neural.entropy import symbols as symbols_module
from pillow_neural.entropy.symbols import BackendName
from pillow_neural.entropy.tables import TOTAL

BACKENDS: list[BackendName] = ["python"]
if find_spec("constriction"):
    BACKENDS.append("constriction")
Section = tuple[NDArray[np.int32], NDArray[np.int64]]


def tables_of(*frequencies: list[int]) -> FrequencyTables:
    return FrequencyTables.from_arrays(np.concatenate(frequencies), [len(table) for table in frequencies])


def encode(tables: FrequencyTables, sections: list[Section], backend: BackendName | None = None) -> bytes:
    encoder = SymbolEncoder(tables, backend)
    for symbols, table in sections:
        encoder.encode(symbols, table)
    return encoder.finish()


def check_round_trip(tables: FrequencyTables, sections: list[Section]) -> bytes:
    """Check that all backends write the same bytes and read them back; return the bytes."""
    stream = encode(tables, sections)
    for backend in BACKENDS:
        assert encode(tables, sections, backend) == stream
        decoder = SymbolDecoder(tables, stream, backend)
        for symbols, table in sections:
            decoded = decoder.decode(table)
            assert decoded.dtype == np.int32
            np.testing.assert_array_equal(decoded, symbols)
        decoder.finish()
    return stream


def section(symbols: list[int], table: list[int] | None = None) -> Section:
    indices = np.zeros(len(symbols), np.int64) if table is None else np.array(table, np.int64)
    return np.array(symbols, np.int32), indices


def random_tables(rng: np.random.Generator, count: int) -> FrequencyTables:
    """Return tables from flat to so skewed that almost all entries have frequency 1."""
    return tables_of(
        *(
            quantise(rng.random(2 * rng.integers(1, 12)) ** 10 ** rng.uniform(-1, 2.5) + 1e-300).tolist()
            for _ in range(count)
        )
    )


@st.composite
def coded_sections(draw: st.DrawFn) -> tuple[FrequencyTables, list[Section]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tables = random_tables(rng, draw(st.integers(1, 5)))
    spread = draw(st.sampled_from([0, 1, 5, 1000, 2**24 - 2]))
    rows = st.lists(st.tuples(st.integers(-spread, spread), st.integers(0, len(tables) - 1)), max_size=60)
    sections = draw(st.lists(rows, max_size=4))
    return tables, [section([s for s, _ in rows], [t for _, t in rows]) for rows in sections]


@given(coded_sections())
@settings(deadline=None, max_examples=200)
def test_backends_read_each_other(case: tuple[FrequencyTables, list[Section]]) -> None:
    check_round_trip(*case)


def test_backends_agree_on_thousands_of_streams() -> None:
    rng = np.random.default_rng(1)
    for _ in range(2000):
        tables = random_tables(rng, 2)
        table = rng.integers(0, 2, rng.integers(0, 40))
        symbols = rng.integers(-3, 4, len(table), dtype=np.int32)
        check_round_trip(tables, [(symbols, table)])


def test_streams_have_the_size_of_the_information() -> None:
    rng = np.random.default_rng(2)
    tables = random_tables(rng, 20)
    table = rng.integers(0, 20, 20_000)
    symbols = np.zeros(len(table), np.int32)
    for index in range(20):
        chosen = np.flatnonzero(table == index)
        frequencies = tables.table(index)
        entries = rng.choice(len(frequencies), len(chosen), p=frequencies / TOTAL)
        symbols[chosen] = entries - tables.limits[index]
    centre = tables.limits.max() + 1
    bits = tables.bits()[table, centre + np.clip(symbols, -centre, centre)].sum(dtype=np.float64)
    stream = check_round_trip(tables, [(symbols, table)])
    assert bits / 8 <= len(stream) <= bits / 8 + 10


def test_carries_run_through_many_words() -> None:
    """Symbols whose interval keeps holding the value 1/2; the last one decides on which side of it."""
    tables = tables_of(quantise(np.linspace(1, 3, 64)).tolist())
    middle = (1 << 31).to_bytes(4, "little")
    streams = []
    for length, side in product(range(5, 100, 5), (-1, 0, 1)):
        symbols = SymbolDecoder(tables, middle).decode(np.zeros(length, np.uint8))
        symbols[-1] += side
        streams.append(check_round_trip(tables, [(symbols, np.zeros(length, np.int64))]))
    assert any(stream.startswith(b"\xff\xff\xff\x7f" + b"\xff" * 40) for stream in streams)
    assert any(stream.startswith(middle + bytes(40)) for stream in streams)


def test_few_and_many_symbols() -> None:
    tables = tables_of([1, TOTAL - 3, 1, 1], [TOTAL - 1, 1])
    assert check_round_trip(tables, []) == b""
    assert check_round_trip(tables, [section([])]) == b""
    assert check_round_trip(tables, [section([0] * 100_000, [1] * 100_000)]) == b""
    for symbol, table in product((-1, 0, 1, 2), (0, 1)):
        check_round_trip(tables, [section([symbol], [table])])
    check_round_trip(tables, [section([-1] * 500 + [0] * 5000 + [1] * 500)])


def test_sections_follow_each_other_in_one_stream() -> None:
    tables = tables_of([TOTAL - 3, 1, 1, 1], [TOTAL // 2, TOTAL // 2])
    sections = [section([1, -1, 9]), section([]), section([0, 3, -4], [1, 0, 1]), section([1], [1])]
    check_round_trip(tables, sections)


@pytest.mark.parametrize("excess", [1, 2, 3, 4, 2**24 - 1])
def test_escapes(excess: int) -> None:
    tables = tables_of([1, 2, 3, 4, TOTAL - 11, 1])
    check_round_trip(tables, [section([2 + excess, 0, -2 - excess, 2, -2])])


@pytest.mark.parametrize("symbol", [2**24, -(2**24), 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_symbols_too_far_out_are_refused(symbol: int, backend: BackendName) -> None:
    encoder = SymbolEncoder(tables_of([TOTAL - 1, 1]), backend)
    with pytest.raises(ValueError, match="too far outside"):
        encoder.encode(*section([symbol]))


def test_more_tables_than_a_byte_counts() -> None:
    rng = np.random.default_rng(3)
    tables = random_tables(rng, 300)
    table = rng.integers(0, 300, 2000)
    check_round_trip(tables, [(rng.integers(-3, 4, 2000, dtype=np.int32), table)])


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.int64])
def test_type_and_layout_of_the_table_index_do_not_matter(kind: type[np.integer[Any]]) -> None:
    rng = np.random.default_rng(4)
    tables = random_tables(rng, 7)
    table = rng.integers(0, 7, 100)
    symbols = rng.integers(-3, 4, 100, dtype=np.int32)
    spaced = np.repeat(table.astype(kind), 2)[::2]
    for backend in BACKENDS:
        encoder = SymbolEncoder(tables, backend)
        encoder.encode(np.repeat(symbols, 2)[::2], spaced)
        assert encoder.finish() == encode(tables, [(symbols, table)], backend)


def test_golden_stream() -> None:
    """Bytes that must never change, whatever library version wrote them."""
    rng = np.random.Generator(np.random.MT19937(5))
    flat = rng.permutation(np.repeat([1, 1000, 250_000, 5_000_000], [3, 3, 2, 3]))
    tables = tables_of([*flat.tolist(), TOTAL - int(flat.sum())], [TOTAL // 4, TOTAL - TOTAL // 4])
    symbols = rng.integers(-7, 8, 24, dtype=np.int32)
    stream = check_round_trip(tables, [section(symbols.tolist(), [0, 1] * 12)])
    assert stream.hex() == "50f9564cd673ee26089f7ded1b16df193add4b44b0ffc9c700a04706"


def test_worked_example_of_the_specification() -> None:
    text = Path(pillow_neural.entropy.__file__).parents[1].joinpath("FORMAT.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)
    example = json.loads(block)
    sections = [section(**rows) for rows in example["sections"]]
    assert check_round_trip(tables_of(*example["tables"]), sections) == bytes.fromhex(example["stream"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_left_over_data_is_noticed(backend: BackendName) -> None:
    tables = tables_of([1, TOTAL - 3, 1, 1])
    stream = encode(tables, [section([1, 1, 1, 1])])
    for data, symbols in ((stream + b"12345678", 4), (stream, 1), (stream, 0), (b"1", 0)):
        decoder = SymbolDecoder(tables, data, backend)
        decoder.decode(np.zeros(symbols, np.uint8))
        with pytest.raises(DecodeError, match="goes on"):
            decoder.finish()


@given(coded_sections(), st.data())
@settings(deadline=None, max_examples=300)
def test_damage_gives_errors_or_wrong_symbols_alike(
    case: tuple[FrequencyTables, list[Section]], data: st.DataObject
) -> None:
    tables, sections = case
    stream = encode(tables, sections)
    cut = stream[: data.draw(st.integers(0, len(stream)))]
    damaged = cut + data.draw(st.binary(max_size=20) | st.just(b"\xff" * 16))
    outcomes = [decode_damaged(tables, sections, damaged, backend) for backend in BACKENDS]
    assert all(outcome == outcomes[0] for outcome in outcomes)


def decode_damaged(
    tables: FrequencyTables, sections: list[Section], data: bytes, backend: BackendName
) -> list[list[int]] | str:
    try:
        decoder = SymbolDecoder(tables, data, backend)
        decoded = [decoder.decode(table).tolist() for _, table in sections]
        decoder.finish()
    except DecodeError as error:
        return str(error)
    return decoded


@pytest.mark.parametrize("backend", BACKENDS)
def test_invalid_data(backend: BackendName) -> None:
    with pytest.raises(DecodeError, match="invalid"):
        SymbolDecoder(tables_of([TOTAL - 1, 1]), b"\xff" * 12, backend).decode(np.zeros(9, np.uint8))


@pytest.mark.parametrize("backend", BACKENDS)
def test_escape_without_end(backend: BackendName) -> None:
    escape_then_zeros = (1 << 31).to_bytes(4, "little")
    decoder = SymbolDecoder(tables_of([TOTAL // 2, TOTAL // 2]), escape_then_zeros, backend)
    with pytest.raises(DecodeError, match="too large"):
        decoder.decode(np.zeros(1, np.uint8))


def test_plain_python_stands_in_for_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, sections = tables_of([TOTAL - 1, 1]), [section([0, 5, 0])]
    expected = encode(tables, sections)
    monkeypatch.setattr(symbols_module, "constriction", None)
    monkeypatch.setattr(symbols_module, "_backend", symbols_module._backend.__wrapped__)
    assert encode(tables, sections) == expected
    with pytest.raises(ImportError, match="constriction is not installed"):
        SymbolEncoder(tables, "constriction")


def test_threads_share_tables() -> None:
    rng = np.random.default_rng(6)
    tables = random_tables(rng, 30)
    table = rng.integers(0, 30, 5000)
    symbols = rng.integers(-3, 4, 5000, dtype=np.int32)
    with ThreadPoolExecutor(8) as pool:
        streams = list(pool.map(lambda _: encode(tables, [(symbols, table)]), range(32)))
    assert set(streams) == {encode(tables, [(symbols, table)], "python")}


@pytest.mark.parametrize(
    ("symbols", "table"),
    [
        (np.zeros(2, np.int32), np.zeros(3, np.uint8)),
        (np.zeros(2, np.int64), np.zeros(2, np.uint8)),
        (np.zeros(2, np.float32), np.zeros(2, np.uint8)),
        (np.zeros((2, 2), np.int32), np.zeros((2, 2), np.uint8)),
        (np.zeros(2, np.int32), np.zeros(2, np.float32)),
        (np.zeros(2, np.int32), np.array([0, 1])),
        (np.zeros(2, np.int32), np.array([0, 256])),
        (np.zeros(2, np.int32), np.array([0, -1])),
    ],
)
def test_arrays_that_do_not_fit(symbols: NDArray[Any], table: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="table"):
        SymbolEncoder(tables_of([TOTAL - 1, 1])).encode(symbols, table)


@pytest.mark.parametrize(
    ("flat", "lengths"),
    [
        ([], []),
        ([TOTAL], [1]),
        ([TOTAL - 2, 1, 1], [3]),
        ([TOTAL - 1, 1], [2, 2]),
        ([TOTAL, 0], [2]),
        ([TOTAL + 1, -1], [2]),
        ([TOTAL - 1, 2], [2]),
        ([TOTAL - 1, 1, 5, 5], [2, 2]),
        ([float(TOTAL - 1), 1.0], [2]),
        ([TOTAL - 1 + 2**32, 1], [2]),
        ([[TOTAL - 1, 1]], [2]),
    ],
)
def test_bad_tables(flat: list[Any], lengths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"frequenc|length"):
        FrequencyTables.from_arrays(flat, lengths)


def test_tables_cannot_be_changed() -> None:
    flat = np.array([TOTAL - 1, 1])
    tables = FrequencyTables.from_arrays(flat, [2])
    flat[0] = 0
    assert tables.flat[0] == TOTAL - 1
    with pytest.raises(ValueError, match="read-only"):
        tables.flat[0] = 0


def test_tables_of_magnitudes_count_both_signs() -> None:
    tables = tables_of([6_000_000, 8_000_000, 2_000_000, 777_216], [16_000_000, 777_216])
    folded = tables.of_magnitudes()
    assert folded.table(0).tolist() == [1, 8_000_000, 7_999_999, 777_216]
    assert folded.table(1).tolist() == tables.table(1).tolist()
    assert folded.of_magnitudes().flat.tolist() == folded.flat.tolist()


def test_cost_in_bits() -> None:
    tables = tables_of([TOTAL // 4, TOTAL // 2, TOTAL // 8, TOTAL // 8], [TOTAL // 2, TOTAL // 2])
    np.testing.assert_array_equal(tables.bits(), [[5, 2, 1, 3, 5], [3, 3, 1, 3, 3]])
    assert tables.bits().dtype == np.float32
    np.testing.assert_array_equal(tables.limits, [1, 0])


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=300).filter(any))
@settings(deadline=None)
def test_quantised_tables_are_valid_and_close(weights: list[float]) -> None:
    probabilities = np.array(weights)
    frequencies = quantise(probabilities)
    assert frequencies.dtype == np.int64
    assert frequencies.min() >= 1
    assert frequencies.sum() == TOTAL
    shares = probabilities / probabilities.max()
    shares /= shares.sum()
    assert np.all(np.abs(frequencies - 1 - shares * (TOTAL - len(weights))) < 1.001)


def test_ties_go_to_the_lower_index() -> None:
    assert quantise(np.ones(3)).tolist() == [TOTAL // 3 + 1, TOTAL // 3, TOTAL // 3]


@pytest.mark.parametrize("weights", [[], [0.0], [1.0, -1.0], [np.nan, 1.0], [np.inf], [[1.0]]])
def test_bad_probabilities(weights: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"quantised|finite"):
        quantise(np.array(weights, np.float64))
