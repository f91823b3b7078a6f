from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pillow_neural.benchmark import codecs
from tests.cli_helpers import run

Maker = Callable[..., Image.Image]
Output = pytest.CaptureFixture[str]


@pytest.fixture
def pictures(tmp_path: Path, make_picture: Maker) -> Path:
    for name in ("a", "b"):
        make_picture("RGB", 176, 176).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.mark.usefixtures("fake_codec")
def test_bench_prints_a_row_a_setting_and_a_comparison(pictures: Path, capsys: Output) -> None:
    assert run("bench", str(pictures), "--codecs", "jpeg", "nic", "--limit", "1") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["codec", "setting", "bpp", "PSNR", "dB", "MS-SSIM", "save", "s", "open", "s"]
    fields = [row.split() for row in rows]
    jpeg = [row for row in fields if row[:1] == ["jpeg"]]
    assert [row[1] for row in jpeg[:2]] == ["quality=5", "quality=10"]
    assert [len(row) for row in jpeg] == [7] * len(codecs.find_codec("jpeg").settings)
    assert [row[1] for row in fields if row[:1] == ["nic"]][:2] == ["quality=0.06", "quality=0.1"]
    rates, psnrs = zip(*((float(row[2]), float(row[3])) for row in jpeg), strict=True)
    assert sorted(rates) == list(rates)
    assert sorted(psnrs) == list(psnrs)
    assert "bits than jpeg at equal quality:" in rows[-3]
    assert rows[-2].split()[:2] == ["PSNR", "nic"]


def test_bench_reports_a_codec_that_fails(
    pictures: Path, fake_codec: object, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no weights")

    monkeypatch.setattr(fake_codec, "encode", fails)
    assert run("bench", str(pictures), "--codecs", "nic") == 1
    assert "nic failed on " in (error := capsys.readouterr().err)
    assert "no weights" in error


@pytest.mark.parametrize(
    ("folder", "codec", "explanation"),
    [
        ("missing", "nic", "missing: No such file or directory"),
        (".", "mp3", "unknown codec 'mp3'"),
        ("small", "jpeg", "MS-SSIM needs 176"),
    ],
)
def test_bench_explains_wrong_usage(
    pictures: Path,
    make_picture: Maker,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    codec: str,
    explanation: str,
    capsys: Output,
) -> None:
    monkeypatch.chdir(pictures)
    Path("small").mkdir()
    make_picture("RGB", 64, 64).save("small/a.png")
    assert run("bench", folder, "--codecs", codec) == 2
    assert explanation in capsys.readouterr().err
