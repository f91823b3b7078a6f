import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli_helpers import names, run

Maker = Callable[..., Image.Image]
Binary = pytest.CaptureFixture[bytes]

pytestmark = pytest.mark.usefixtures("fake_codec")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_picture: Maker) -> Path:
    """The current folder, with one.png and the same picture as one.nic."""
    monkeypatch.chdir(tmp_path)
    make_picture("RGB").save("one.png")
    make_picture("RGB").save("one.nic", quality=2)
    return tmp_path


@pytest.fixture
def piped_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`piped_in(name)` puts a file into standard input."""

    def put(name: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(name).read_bytes())))

    return put


def _format(data: bytes) -> str | None:
    return Image.open(io.BytesIO(data)).format


@pytest.mark.parametrize("output", [[], ["-o", "-"]])
def test_encode_from_pipe_to_pipe(
    folder: Path, piped_in: Callable[[str], None], output: list[str], capsysbinary: Binary
) -> None:
    before = names(folder)
    piped_in("one.png")
    assert run("encode", "-", *output, "-q", "2") == 0
    written = capsysbinary.readouterr()
    assert written.out == Path("one.nic").read_bytes()
    assert written.err == b""
    assert names(folder) == before


@pytest.mark.parametrize(("flags", "expected"), [([], "PNG"), (["--format", "ppm"], "PPM")])
def test_decode_to_pipe(folder: Path, flags: list[str], expected: str, capsysbinary: Binary) -> None:
    assert run("decode", "one.nic", "-o", "-", *flags) == 0
    written = capsysbinary.readouterr()
    assert _format(written.out) == expected
    assert written.err == b""


def test_verbose_report_keeps_out_of_the_picture(folder: Path, capsysbinary: Binary) -> None:
    assert run("decode", "one.nic", "-o", "-", "-v") == 0
    written = capsysbinary.readouterr()
    assert _format(written.out) == "PNG"
    assert b"standard output  40x30" in written.err


def test_pipe_into_a_file(folder: Path, piped_in: Callable[[str], None]) -> None:
    piped_in("one.png")
    assert run("encode", "-", "-o", "new.nic", "-q", "2") == 0
    assert Path("new.nic").read_bytes() == Path("one.nic").read_bytes()


def test_info_and_verify_of_a_pipe(
    folder: Path, piped_in: Callable[[str], None], capsysbinary: Binary
) -> None:
    piped_in("one.nic")
    assert run("info", "-") == 0
    assert capsysbinary.readouterr().out.startswith(b"standard input\n  picture     40x30")
    piped_in("one.nic")
    assert run("verify", "-") == 0
    assert capsysbinary.readouterr().out == b"standard input: OK\n"


def test_a_bad_picture_in_a_pipe_fails_without_output(
    folder: Path, piped_in: Callable[[str], None], capsysbinary: Binary
) -> None:
    piped_in("one.png")
    assert run("decode", "-", "-o", "-") == 1
    written = capsysbinary.readouterr()
    assert written.out == b""
    assert written.err == b"nic: standard input: not a .nic file\n"


@pytest.mark.parametrize(
    ("arguments", "explanation"),
    [
        (["encode", "one.png", "one.nic", "-o", "-"], "several pictures"),
        (["encode", ".", "-o", "-"], "several pictures"),
        (["encode", "-", "one.png"], "several pictures"),
        (["encode", "-", "-o", "out/"], "has no name"),
        (["encode", "-", "one.png", "-o", "out"], "has no name"),
        (["encode", "one.png", "-o", "-", "--json"], "--json"),
    ],
)
def test_impossible_pipes_are_wrong_usage(
    folder: Path,
    piped_in: Callable[[str], None],
    arguments: list[str],
    explanation: str,
    capsysbinary: Binary,
) -> None:
    piped_in("one.png")
    assert run(*arguments) == 2
    written = capsysbinary.readouterr()
    assert written.out == b""
    assert explanation in written.err.decode()


def test_no_picture_is_written_to_a_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: Binary
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run("encode", "one.png", "-o", "-") == 2
    assert capsysbinary.readouterr().out == b""


def test_no_picture_is_read_from_a_terminal(folder: Path, piped_in: Callable[[str], None]) -> None:
    piped_in("one.nic")
    sys.stdin.isatty = lambda: True  # type: ignore[method-assign]
    assert run("info", "-") == 2


def test_a_reader_that_leaves_early_is_no_message(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: Binary
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert run("decode", "one.nic", "-o", "-") == 1
        monkeypatch.undo()
    assert capsysbinary.readouterr().err == b""
