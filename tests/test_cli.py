import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pillow_neural.cli import info
from tests.cli_helpers import names, run

Maker = Callable[..., Image.Image]
Output = pytest.CaptureFixture[str]

COMMANDS = ["encode", "decode", "info", "verify", "weights", "bench", "thumbnail", "desktop"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def nic_file(fake_codec: object, folder: Path, make_picture: Maker) -> Path:
    """two.nic in the current folder, with Exif metadata."""
    exif = Image.Exif()
    exif[0x0112] = 6
    make_picture("RGB").save(folder / "two.nic", quality=2, exif=exif)
    return folder / "two.nic"


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_shows_examples(command: list[str], capsys: Output) -> None:
    assert run(*command, "--help") == 0
    help_text = capsys.readouterr().out
    examples = help_text[help_text.index("examples:\n") :]
    assert f"  nic {' '.join(command)}" in examples
    assert all(len(line) <= 100 for line in help_text.splitlines())


def test_help_lists_every_command(capsys: Output) -> None:
    run("--help")
    text = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n    {name} " not in text] == []


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(flag: str, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.2.3")
    assert run(flag) == 0
    assert capsys.readouterr().out == "pillow-neural 1.2.3\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("compress", "one.png"),
        ("encode",),
        ("encode", "one.png", "-q", "75"),
        ("encode", "one.png", "-q", "much"),
        ("encode", "one.png", "-q", "0.5", "--target-size", "1k"),
        ("encode", "one.png", "--target-size", "big"),
        ("encode", "one.png", "--target-size", "0"),
        ("encode", "one.png", "--effort", "10"),
        ("encode", "one.png", "--codec", "jpeg"),
        ("encode", "one.png", "--device", "toaster"),
        ("encode", "one.png", "--jobs", "0"),
        ("encode", "one.png", "--force", "--skip-existing"),
        ("encode", "one.png", "--quiet", "--json"),
        ("encode", "one.png", "--qual", "0.5"),
        ("encode", "one.png", "-o", "one.webp"),
        ("encode", "one.png", "two.png", "-o", "note.txt"),
        ("encode", "empty"),
        ("decode", "one.nic", "--format", "nonsense"),
        ("decode", "one.nic", "--format", "nic"),
        ("decode", "one.nic", "-q", "101"),
        ("decode", "one.nic", "--format", "webp", "-o", "two.png"),
        ("info", "empty"),
        ("verify", "empty"),
        ("desktop", "reinstall"),
        ("bench", "missing"),
        ("bench", "empty"),
        ("thumbnail", "one.nic", "one.png", "--size", "0"),
    ],
)
def test_wrong_usage_exits_with_2_and_writes_nothing(
    folder: Path, make_picture: Maker, arguments: tuple[str, ...], capsys: Output
) -> None:
    make_picture().save("one.png")
    make_picture().save("two.png")
    Path("note.txt").write_text("mine")
    Path("empty").mkdir()
    before = names(folder)
    assert run(*arguments) == 2
    assert names(folder) == before
    output = capsys.readouterr()
    assert output.out == ""
    message, advice = output.err.splitlines()
    assert message.startswith("nic")
    assert advice.startswith("Try 'nic")


def test_quality_75_is_explained(capsys: Output) -> None:
    run("encode", "one.png", "-q", "75")
    assert "bits per pixel" in capsys.readouterr().err


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "run", interrupted)
    assert run("info", "x.nic") == 130
    assert capsys.readouterr().err == "nic: interrupted\n"


def test_warnings_are_shown_without_source_lines(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def warning(options: object) -> int:
        warnings.warn("careful", stacklevel=1)
        return 0

    monkeypatch.setattr(info, "run", warning)
    assert run("info", "x.nic") == 0
    assert capsys.readouterr().err == "nic: warning: careful\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["info", "two.nic"], ["verify", "two.nic"], ["info", "missing"]]
)
def test_starts_without_torch_and_numpy(nic_file: Path, arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from pillow_neural.cli import main\n"
        "try:\n"
        "    sys.exit(main())\n"
        "finally:\n"
        "    heavy = {'torch', 'numpy', 'imageio', 'huggingface_hub', 'constriction', 'matplotlib'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert result.stderr.splitlines()[-1] == "[]"
    assert result.returncode == (1 if "missing" in arguments else 0)


def test_info(nic_file: Path, capsys: Output) -> None:
    assert run("info", "two.nic", "--json") == 0
    (description,) = json.loads(capsys.readouterr().out)
    size = nic_file.stat().st_size
    expected = {
        "file": "two.nic", "status": "ok", "error": None, "width": 40, "height": 30, "mode": "RGB",
        "frames": 1, "codec": "nic2026", "weights": "0123456789abcdef", "parameters": "ffff", "bytes": size,
    }  # fmt: skip
    assert {key: description[key] for key in expected} == expected
    assert description["bpp"] == pytest.approx(8 * size / 1200, abs=1e-4)
    assert [chunk["kind"] for chunk in description["chunks"]] == ["exif", "DATA", "DATA"]
    assert description["metadata"] == {"exif": description["chunks"][0]["length"]}
    assert run("info", "two.nic") == 0
    text = capsys.readouterr().out
    for part in ("40x30", "RGB", "nic2026", "0123456789abcdef", "exif", "DATA", f"{size:,} bytes"):
        assert part in text


@pytest.mark.parametrize(("loop", "words"), [(0, "for ever"), (1, "once"), (3, "3 times")])
def test_info_of_an_animation(
    fake_codec: object, folder: Path, make_picture: Maker, loop: int, words: str, capsys: Output
) -> None:
    frames = [make_picture("L"), make_picture("L").rotate(180)]
    frames[0].save("two.nic", save_all=True, append_images=frames[1:], duration=[100, 350], loop=loop)
    assert run("info", "two.nic") == 0
    assert f"  frames      2, 0.45 s, shown {words}\n" in capsys.readouterr().out
    assert run("info", "two.nic", "--json") == 0
    (description,) = json.loads(capsys.readouterr().out)
    assert (description["frames"], description["loop"], description["durations"]) == (2, loop, [100, 350])


def test_info_of_damaged_and_other_files(nic_file: Path, make_picture: Maker, capsys: Output) -> None:
    make_picture().save("one.png")
    nic_file.write_bytes(nic_file.read_bytes()[:-1])
    assert run("info", "two.nic", "one.png", "missing.nic") == 1
    output = capsys.readouterr()
    assert "truncated" in output.err
    assert "nic: one.png: not a .nic file" in output.err
    assert "nic: missing.nic: No such file or directory" in output.err
    assert "40x30" in output.out
    assert run("info", "two.nic", "one.png", "missing.nic", "--json") == 1
    descriptions = json.loads(capsys.readouterr().out)
    assert [description["status"] for description in descriptions] == ["damaged", "failed", "failed"]
    assert descriptions[0]["width"] == 40


def test_verify_tells_whole_files_from_damaged_ones(nic_file: Path, capsys: Output) -> None:
    Path("sub").mkdir()
    Path("sub/bad.nic").write_bytes(nic_file.read_bytes())
    _damage(Path("sub/bad.nic"))
    assert run("verify", "two.nic") == 0
    assert capsys.readouterr().out == "two.nic: OK\n"
    assert run("verify", ".", "--recursive", "missing.nic") == 1
    output = capsys.readouterr()
    lines = sorted(output.out.splitlines())
    assert lines[0] == "missing.nic: failed: No such file or directory"
    assert lines[1].startswith("sub/bad.nic: damaged: chunk DATA at byte ")
    assert lines[2] == "two.nic: OK"
    assert output.err == "nic: 2 of 3 files damaged or unreadable\n"


def test_verify_quietly_names_only_what_is_bad(nic_file: Path, capsys: Output) -> None:
    Path("cut.nic").write_bytes(nic_file.read_bytes()[:20])
    Path("other.nic").write_bytes(b"no picture")
    assert run("verify", ".", "-Q", "-j", "1") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["cut.nic: damaged: the .nic header ends too early", "other.nic: failed: not a .nic file"]


def test_verify_as_json(nic_file: Path, capsys: Output) -> None:
    Path("bad.nic").write_bytes(nic_file.read_bytes())
    _damage(Path("bad.nic"))
    assert run("verify", "two.nic", "bad.nic", "--json") == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert good == {
        "file": "two.nic", "status": "ok", "error": None, "bytes": nic_file.stat().st_size, "chunks": 3,
    }  # fmt: skip
    assert (bad["file"], bad["status"]) == ("bad.nic", "damaged")


def test_verify_decodes_pixels_only_when_asked(
    nic_file: Path, fake_codec: object, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("symbols make no sense")

    monkeypatch.setattr(fake_codec, "decode", fails)
    assert run("verify", "two.nic") == 0
    assert run("verify", "two.nic", "--decode") == 1
    assert "symbols make no sense" in capsys.readouterr().out


def test_a_reader_that_leaves_early_is_no_traceback(nic_file: Path) -> None:
    program = "import time; time.sleep(0.3); from pillow_neural.cli import main; raise SystemExit(main())"
    command = f"'{sys.executable}' -c '{program}' info two.nic | true"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert result.stderr == ""
