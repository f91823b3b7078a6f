import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pillow_neural.cli import main

Maker = Callable[..., Image.Image]

pytestmark = pytest.mark.usefixtures("fake_codec")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_picture: Maker) -> Path:
    """The current folder, with one.png, two.jpg and note.txt."""
    monkeypatch.chdir(tmp_path)
    make_picture("RGBA").save(tmp_path / "one.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    make_picture("RGB").save(tmp_path / "two.jpg", exif=exif)
    (tmp_path / "note.txt").write_text("not a picture")
    return tmp_path


def _run(*arguments: str) -> int:
    """The exit code, wherever it comes from."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(str(stop.code))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_encode_and_decode_beside_the_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("encode", "one.png", "-q", "2.0") == 0
    size = (folder / "one.nic").stat().st_size
    fields = capsys.readouterr().out.split("  ")
    assert fields[:3] == ["one.nic", "40x30", f"{size:,} bytes"]
    assert fields[3] == f"{8 * size / 1200:.3f} bpp"
    original = Image.open("one.png").tobytes()
    (folder / "one.png").unlink()
    assert _run("decode", "one.nic") == 0
    assert Image.open("one.png").tobytes() == original


def test_folders_patterns_and_output_folder(folder: Path) -> None:
    assert _run("encode", ".", "-o", "out") == 0
    assert _names(folder / "out") == {"one.nic", "two.nic"}
    assert _run("decode", "out/*.nic", "--format", "webp", "-o", "back") == 0
    assert _names(folder / "back") == {"one.webp", "two.webp"}
    assert Image.open("back/two.webp").format == "WEBP"
    assert Image.open("back/two.webp").getexif()[0x0112] == 6


def test_output_file_decides_the_format(folder: Path) -> None:
    assert _run("encode", "two.jpg", "-o", "sub/small.nic") == 0
    assert _run("decode", "sub/small.nic", "-o", "sub/small.tif") == 0
    assert Image.open("sub/small.tif").format == "TIFF"


def test_existing_files_are_kept_without_force(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("one.nic").write_bytes(b"precious")
    assert _run("encode", "one.png") == 1
    assert "--force" in capsys.readouterr().err
    assert Path("one.nic").read_bytes() == b"precious"
    assert _run("encode", "one.png", "--force") == 0
    assert Image.open("one.nic").size == (40, 30)


def test_a_failure_with_force_keeps_the_existing_file(folder: Path) -> None:
    Path("one.nic").write_bytes(b"precious")
    before = _names(folder)
    assert _run("encode", "one.png", "-f", "--target-size", "10") == 1
    assert Path("one.nic").read_bytes() == b"precious"
    assert _names(folder) == before


def test_other_files_go_on_after_a_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("encode", "missing.png", "note.txt", "two.jpg") == 1
    output = capsys.readouterr()
    assert output.err.count("nic: ") == 2
    assert "nic: missing.png: " in output.err
    assert output.out.startswith("two.nic")


def test_two_inputs_for_one_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.open("one.png").save("two.png")
    assert _run("encode", "two.jpg", "two.png", "-f") == 1
    assert "another input is written to two.nic" in capsys.readouterr().err


def test_input_is_never_overwritten(folder: Path) -> None:
    assert _run("encode", "one.png", "-o", "one.png", "-f") == 1
    assert Image.open("one.png").format == "PNG"


def test_target_size(folder: Path) -> None:
    assert _run("encode", "two.jpg", "--target-size", "1.5k") == 0
    assert 500 < Path("two.nic").stat().st_size <= 1500


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("encode",),
        ("encode", "one.png", "-q", "75"),
        ("encode", "one.png", "-q", "0.5", "--target-size", "1k"),
        ("encode", "one.png", "--target-size", "big"),
        ("encode", "one.png", "--target-size", "0"),
        ("encode", "one.png", "--codec", "jpeg"),
        ("encode", "one.png", "--device", "toaster"),
        ("encode", "one.png", "two.jpg", "-o", "note.txt"),
        ("encode", "empty"),
        ("decode", "one.nic", "--format", "nonsense"),
        ("info", "empty"),
    ],
)
def test_usage_errors(folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "empty").mkdir()
    before = _names(folder)
    assert _run(*arguments) == 2
    assert _names(folder) == before


def test_quality_75_is_explained(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run("encode", "one.png", "-q", "75")
    assert "bits per pixel" in capsys.readouterr().err


@pytest.mark.parametrize("command", [(), ("encode",), ("decode",), ("info",)])
def test_help_shows_examples(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(*command, "--help") == 0
    assert "nic encode photo.png" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.2.3")
    assert _run("--version") == 0
    assert capsys.readouterr().out.startswith("pillow-neural 1.2.3")


def test_info(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("encode", "two.jpg", "-q", "2") == 0
    capsys.readouterr()
    assert _run("info", "two.nic", "--json") == 0
    (description,) = json.loads(capsys.readouterr().out)
    size = Path("two.nic").stat().st_size
    expected = {
        "file": "two.nic", "width": 40, "height": 30, "mode": "RGB", "codec": "nic2026",
        "weights": "0123456789abcdef", "parameters": "ffff", "bytes": size, "damage": None,
    }  # fmt: skip
    assert {key: description[key] for key in expected} == expected
    assert description["bpp"] == pytest.approx(8 * size / 1200, abs=1e-4)
    assert [chunk["kind"] for chunk in description["chunks"]] == ["exif", "DATA", "DATA"]
    assert description["metadata"] == {"exif": description["chunks"][0]["length"]}
    assert _run("info", "two.nic") == 0
    text = capsys.readouterr().out
    for part in ("40x30", "RGB", "nic2026", "0123456789abcdef", "exif", "DATA", f"{size:,} bytes"):
        assert part in text


def test_info_of_damaged_and_other_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("encode", "two.jpg") == 0
    Path("two.nic").write_bytes(Path("two.nic").read_bytes()[:-1])
    assert _run("info", "two.nic", "one.png", "missing.nic") == 1
    output = capsys.readouterr()
    assert "truncated" in output.err
    assert "nic: one.png: not a .nic file" in output.err
    assert "nic: missing.nic: " in output.err
    assert "40x30" in output.out


def test_decoding_a_damaged_file_says_what_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("encode", "two.jpg", "-o", "new.nic") == 0
    Path("new.nic").write_bytes(Path("new.nic").read_bytes()[:-1])
    assert _run("decode", "new.nic", "one.png", "-o", "out") == 1
    errors = capsys.readouterr().err
    assert "new.nic: chunk DATA" in errors
    assert "one.png: not a .nic file" in errors
    assert not (folder / "out").exists()


def test_a_reader_that_leaves_early_is_no_traceback(folder: Path) -> None:
    assert _run("encode", "one.png") == 0
    program = "import time; time.sleep(0.3); from pillow_neural.cli import main; raise SystemExit(main())"
    command = f"'{sys.executable}' -c '{program}' info one.nic | true"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert result.stderr == ""
