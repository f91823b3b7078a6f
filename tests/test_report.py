import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pillow_neural.benchmark import codecs, crops, full_report, page, speed
from pillow_neural.benchmark.__main__ import main
from pillow_neural.benchmark.codecs import Codec, find_codec, nic_codec
from pillow_neural.benchmark.crops import Coded, Comparison
from pillow_neural.benchmark.curves import ALL_METRICS, METRICS, measured_curves
from pillow_neural.benchmark.learning import (
    Goal,
    LearningPoint,
    extrapolated,
    load_learning,
    save_learning,
    with_measured,
)
from pillow_neural.benchmark.metrics import HAS_NLPD
from pillow_neural.benchmark.page import LIMIT, write_page
from pillow_neural.benchmark.report import write_report
from pillow_neural.benchmark.results import CodecResult, PictureInfo, Results, Setting, load_results
from pillow_neural.benchmark.speed import Cost, SpeedResults, SpeedRow, load_speed, measure_speed
from pillow_neural.training.data import is_validation
from pillow_neural.weights import default_entry
from tests import chromium

Maker = Callable[..., Image.Image]
NIC2026 = default_entry("nic2026")
needs_chromium = pytest.mark.skipif(
    chromium.PROGRAM is None, reason=f"no Chromium here: none of {', '.join(chromium.NAMES)} is on the PATH"
)


@pytest.fixture
def few_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = tuple(replace(peer, settings=peer.settings[4:7]) for peer in codecs.PEERS)
    monkeypatch.setattr(codecs, "PEERS", peers)


@pytest.fixture
def sets(tmp_path: Path, make_picture: Maker) -> tuple[Path, Path]:
    """Two folders, of two pictures and one."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in ((first, "ab"), (second, "c")):
        folder.mkdir()
        for name in names:
            make_picture("RGB", 192, 176).save(folder / f"{name}.png")
    return first, second


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Times and memory are made up; the names of codecs that were to be measured."""
    asked: list[str] = []

    def made_up(codec: Codec, picture: Path, image: Image.Image) -> SpeedRow:
        asked.append(codec.name)
        cost = Cost(0.5, 0.25, 64.0)
        return SpeedRow(
            codec.name, codec.settings[0], None, 0.5, cost, replace(cost, peak_mib=None), 28e3, None
        )

    monkeypatch.setattr(speed, "_measure_codec", made_up)
    return asked


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn, which takes matplotlib a second each time."""
    monkeypatch.setattr(full_report, "draw_curves", lambda *_: [])


@pytest.mark.usefixtures("few_settings", "no_processes")
def test_report_writes_everything(
    sets: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    published = tmp_path / "published.json"
    published.write_text(json.dumps({"theirs": {"psnr-rgb": [[0.1, 20.0], [2.0, 40.0]]}}))
    command = ["report", *map(str, sets), "-o", str(out), "--published", str(published)]
    assert main([*command, "--published-curves", "theirs", "--codecs", "webp", "jpeg"]) == 0
    assert capsys.readouterr().out == f"{out / 'report.md'}\n"
    text = (out / "report.md").read_text()
    assert "## first: 2 pictures" in text
    assert "## second: 1 picture\n" in text
    assert "| webp | +0.0 % | " in text
    assert text.count("| theirs (published) |") == 1
    times = "| 0.250 | 0.250 | 0.500 | 0.500 | 64 |  | 28.0 |  |"
    assert re.search(rf"\| webp \| quality=\d+, method=6 \| 0.500 {re.escape(times)}", text)
    linked = re.findall(r"\]\(([^)]+)\)", text)
    assert len(linked) == len(set(linked)) == 2 * (3 + HAS_NLPD)
    assert all((out / place).is_file() for place in linked)


@pytest.mark.usefixtures("few_settings", "no_plots")
def test_report_measures_what_is_missing(
    sets: tuple[Path, Path], tmp_path: Path, no_processes: list[str]
) -> None:
    command = ["report", *map(str, sets), "-o", str(tmp_path), "--codecs", "webp", "jpeg"]
    files = [tmp_path / folder.name / "results.json" for folder in sets]
    assert main(command) == 0
    before = load_results(files[0]).codecs
    files[1].unlink()
    assert main([*command, "jpeg2000", "--reuse"]) == 0
    first, second = (load_results(file).codecs for file in files)
    assert [(codec.name, codec.reused) for codec in first] == [
        ("webp", True),
        ("jpeg", True),
        ("jpeg2000", False),
    ]
    assert [codec.settings for codec in first[:2]] == [codec.settings for codec in before]
    assert not any(codec.reused for codec in second)
    assert no_processes == ["webp", "jpeg", "webp", "jpeg", "jpeg2000"]
    assert main([*command, "jpeg2000", "--reuse"]) == 0
    assert len(no_processes) == 5
    assert main([*command, "--reuse", "--limit", "1"]) == 1

    assert main([*command[:-2], "jpeg", "--reuse"]) == 0
    assert [codec.name for codec in load_results(files[0]).codecs] == ["jpeg", "webp", "jpeg2000"]
    assert "| jpeg2000 |" in files[0].with_name("report.md").read_text()
    assert no_processes[5:] == ["jpeg"]


@pytest.mark.usefixtures("fake_codec", "few_settings", "no_processes", "no_plots")
def test_report_shows_ours(sets: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "NIC_QUALITIES", (0.5, 1.0, 1.9))
    monkeypatch.setattr(crops, "_RIVALS", (("AVIF", "AVIF", {"speed": 10}), ("WebP", "WEBP", {"method": 0})))
    out = tmp_path / "out"
    command = ["report", str(sets[0]), "-o", str(out), "--codecs", "webp", "nic", "--show"]
    assert main([*command, "b@20,20", "a"]) == 0
    text = (out / "report.md").read_text()
    assert "[index.html](index.html)" in text
    assert "![Learning curves](learning.png)" in text
    with Image.open(out / "crops.png") as sheet:
        assert sheet.size == (4 * 192 + 3 * 6, 4 * (192 + 24) + 3 * 6)
    assert [picture["name"] for picture in _data(out / "index.html")] == ["b", "a"]
    assert [point.codec for point in load_learning(out / "learning.json")] == ["nic2026"]


@pytest.mark.usefixtures("few_settings")
def test_report_says_what_is_wrong(
    sets: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = str(sets[0])
    output = ["-o", str(tmp_path / "out"), "--codecs", "jpeg"]
    twin = tmp_path / "other" / "first"
    shutil.copytree(first, twin)
    for folders, more, explanation in (
        ([first, str(twin)], [], "need different names"),
        ([first], ["--show", "z"], "no picture z; it has a, b"),
        ([first], ["--codecs", "mp3"], "unknown codec 'mp3'"),
        ([str(tmp_path)], [], "no PNG pictures"),
    ):
        assert main(["report", *folders, *output, *more]) == 1
        assert explanation in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _result(name: str, nlpd: float | None, weights: str | None = None) -> CodecResult:
    settings = [
        Setting({}, rate, 30 + 5 * rate, 0.9 + rate / 20, 1.0, 1.0, [], nlpd and nlpd / rate)
        for rate in (0.1, 0.4, 1.0)
    ]
    environment = {"weights": weights} if weights else {}
    return CodecResult(name, "NIC" if weights else "WEBP", False, environment, settings)


def test_results_of_older_runs_lack_nlpd(tmp_path: Path) -> None:
    results = Results([PictureInfo("a.png", 192, 176)], [_result("webp", 0.2), _result("jpeg", None)])
    results.save(tmp_path / "results.json")
    data = json.loads((tmp_path / "results.json").read_text())
    for setting in data["codecs"][1]["settings"]:
        del setting["nlpd"]
    (tmp_path / "results.json").write_text(json.dumps(data))
    assert load_results(tmp_path / "results.json") == results
    assert [len(measured_curves(codec)) for codec in results.codecs] == [3, 2]
    text = write_report(results, {})
    assert "Measured without NLPD, for plenoptic wasn't installed: jpeg." in text
    assert [line for line in text.splitlines() if line.startswith("## BD")] == [
        f"## BD-rate in {metric.name}" for metric in ALL_METRICS
    ]


def test_results_are_current_while_settings_weights_and_metrics_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert NIC2026 is not None
    codec = Codec("nic", "NIC", ({}, {}, {}))
    measured = _result("nic", 0.2, NIC2026.id.hex())
    monkeypatch.setattr(full_report, "HAS_NLPD", True)
    assert full_report._is_current(measured, codec)
    assert not full_report._is_current(measured, nic_codec())
    assert not full_report._is_current(_result("nic", 0.2, "0" * 16), codec)
    assert not full_report._is_current(_result("nic", None, NIC2026.id.hex()), codec)
    monkeypatch.setattr(full_report, "HAS_NLPD", False)
    assert full_report._is_current(_result("nic", None, NIC2026.id.hex()), codec)


def test_codecs_that_are_not_named_stay_in_a_report_while_their_weights_are_used() -> None:
    assert NIC2026 is not None
    assert full_report._has_current_weights(_result("webp", 0.2))
    assert full_report._has_current_weights(_result("nic:effort9", 0.2, NIC2026.id.hex()))
    assert not full_report._has_current_weights(_result("nic:effort9", 0.2, "0" * 16))
    gone = replace(
        _result("nic:x", 0.2, "0" * 16), settings=[Setting({"codec": "nic2026", "tune": "x"}, *[1.0] * 5, [])]
    )
    assert not full_report._has_current_weights(gone)


def test_learning_gains_a_point_for_each_weights(tmp_path: Path) -> None:
    assert NIC2026 is not None
    assert NIC2026.training is not None
    weights, training = NIC2026.id.hex(), NIC2026.training
    old = LearningPoint("nic2026", "0123456789abcdef", 1.0, 2.0, 60.0, None)
    ours = _result("nic", None, weights)
    cheaper = replace(ours, settings=[replace(each, bpp=0.8 * each.bpp) for each in ours.settings])
    points = with_measured([old], Results([], [_result("webp", None), cheaper]))
    new = LearningPoint("nic2026", weights, training.minutes, training.megapixels, -20.0, -20.0)
    assert points == [old, new]
    save_learning(points, tmp_path / "learning.json")
    assert load_learning(tmp_path / "learning.json") == points
    assert with_measured(points, Results([], [_result("webp", None), ours])) == [
        old,
        replace(new, psnr=0.0, msssim=0.0),
    ]
    assert with_measured(points, Results([], [ours])) == points
    slow = replace(ours, settings=[replace(each, args={"effort": 9}) for each in ours.settings])
    assert with_measured(points, Results([], [_result("webp", None), slow])) == points
    assert load_learning(tmp_path / "missing.json") == []


def test_learning_is_extrapolated_over_the_logarithm() -> None:
    psnr, msssim = METRICS
    points = [LearningPoint("nic2026", "", 1.0, 100.0 * 2**n, 20.0 - 10 * n, None) for n in range(3)]
    assert extrapolated(points, psnr, -30.0) == pytest.approx(100 * 2**5)
    assert extrapolated(points, msssim, -30.0) is None
    assert extrapolated(points[:1], psnr, -30.0) is None
    assert extrapolated([points[0], replace(points[1], psnr=30.0)], psnr, -30.0) is None


def test_a_goal_against_another_codec_is_one_against_the_anchor() -> None:
    webp, cheaper = _result("webp", None), _result("avif", None)
    cheaper = replace(cheaper, settings=[replace(each, bpp=0.8 * each.bpp) for each in cheaper.settings])
    goal = Goal(METRICS[0], "avif", -10)
    assert goal.against_anchor(Results([], [webp, cheaper])) == pytest.approx(-28)
    assert goal.against_anchor(Results([], [webp])) is None
    assert replace(goal, other="webp").against_anchor(Results([], [webp])) == pytest.approx(-10)


def test_speed_is_measured_in_processes_of_their_own(sets: tuple[Path, Path], tmp_path: Path) -> None:
    picture = sets[0] / "a.png"
    measured = measure_speed([replace(find_codec("jpeg"), settings=({"quality": 40},))], picture)
    (row,) = measured.rows
    with Image.open(picture) as image:
        size = len(codecs.encode(image, "JPEG", {"quality": 40}))
    assert row.bpp == 8 * size / (192 * 176)
    assert (row.weights, row.encode_macs) == (None, None)
    for cost in (row.save, row.load):
        assert min(cost.first_s, cost.next_s) > 0
        assert cost.peak_mib is None or 10 < cost.peak_mib < 1000
    measured.write(tmp_path / "speed.json")
    assert load_speed(tmp_path / "speed.json") == measured
    codec = Codec("jpeg", "JPEG", ({"quality": 40},))
    assert measured.holds([codec], picture)
    assert not measured.holds([replace(codec, settings=({"quality": 41},))], picture)
    assert not measured.holds([codec], sets[0] / "b.png")
    assert not SpeedResults("a.png", 192, 176, {}, measured.rows).holds([codec], picture)
    with pytest.raises(RuntimeError, match=r"jpeg failed to save .*a.png: ValueError: Invalid quality"):
        measure_speed([replace(codec, settings=({"quality": "fine?"},))], picture)


def test_holdout_writes_held_out_pictures(
    tmp_path: Path, make_picture: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{number}.png" for number in range(120)]
    held_out, trained_on = (next(n for n in names if is_validation(n) is held) for held in (True, False))
    data, output = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for name in (held_out, trained_on):
        make_picture("RGB", 800, 400).save(data / name)
    make_picture("RGB", 500, 400).save(data / next(n for n in names if is_validation(n) and n != held_out))
    assert main(["holdout", str(data), "-o", str(output)]) == 0
    assert [path.name for path in output.iterdir()] == [held_out]
    with Image.open(output / held_out) as picture:
        assert picture.size == (768, 384)
    make_picture("RGB", 8, 8).save(output / "mine.png")
    assert main(["holdout", str(data), "-o", str(output)]) == 1
    assert "holds other pictures, such as mine.png" in capsys.readouterr().err
    (data / held_out).unlink()
    assert main(["holdout", str(data), "-o", str(tmp_path / "none")]) == 1
    assert "large enough" in capsys.readouterr().err


COLOURS = {"original": (200, 200, 200), "nic": (220, 40, 40), "avif": (40, 60, 220), "webp": (30, 160, 60)}


def _comparison(name: str) -> Comparison:
    """Each side of one colour."""
    images = {side: Image.new("RGB", (480, 320), colour) for side, colour in COLOURS.items()}
    coded = [Coded(codec, 1200, images[codec.lower().strip(".")]) for codec in (".nic", "AVIF", "WebP")]
    return Comparison(name, 0.25, None, images["original"], coded)


def _data(path: Path) -> list[dict[str, str]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text())
    assert found is not None
    return json.loads(found[1])


def test_page_is_one_small_file_that_fetches_nothing(tmp_path: Path) -> None:
    write_page([_comparison("first"), _comparison("</script>")], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "default-src 'none'; img-src data:;" in text
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<iframe|\bsrc=\"", text)
    first, second = _data(tmp_path / "page.html")
    assert second["name"] == "</script>"
    assert (first["width"], first["height"]) == (384, 256)
    assert [side["label"] for side in first["sides"]] == ["original", ".nic", "AVIF", "WebP"]
    assert first["sides"][1]["facts"][:2] == ["1,200 bytes", "0.062 bpp"]


def test_page_takes_smaller_crops_until_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (320, 480, 3), dtype=np.uint8)
    noisy = replace(_comparison("noise"), original=Image.fromarray(noise))
    write_page([noisy, replace(noisy, name="again"), replace(noisy, name="more")], tmp_path / "page.html")
    assert 0.8 * LIMIT < (tmp_path / "page.html").stat().st_size <= LIMIT < 2**20
    assert _data(tmp_path / "page.html")[0]["width"] < 384
    monkeypatch.setattr(page, "LIMIT", 2**12)
    with pytest.raises(ValueError, match="show fewer"):
        write_page([noisy], tmp_path / "page.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    with chromium.chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@needs_chromium
def test_page_in_a_browser(tmp_path: Path, browser: chromium.Page) -> None:
    write_page([_comparison("first"), _comparison("second")], tmp_path / "page.html")
    url = (tmp_path / "page.html").as_uri()

    def state() -> str:
        return browser.evaluate("location.hash + ' ' + stage.style.getPropertyValue('--split')")

    browser.open(f"{url}#second/original/webp/30")
    left, top, width, height = browser.evaluate(
        "(({left, top, width, height}) => [left, top, width, height])(stage.getBoundingClientRect())"
    )
    assert (width, height) == (768, 512)
    assert state() == "#second/original/webp/30 30%"
    assert browser.evaluate("document.querySelector('input[name=picture]:checked').value") == "second"
    seen = browser.screenshot()
    for share, side in ((0.28, "original"), (0.34, "webp"), (0.9, "webp")):
        assert seen.getpixel((round(left + share * width), round(top + 0.8 * height))) == COLOURS[side]

    middle = top + height / 2
    browser.drag((left + 0.5 * width, middle), (left + 0.75 * width, middle))
    assert state() == "#second/original/webp/75 75%"
    browser.press("ArrowLeft", 37)
    assert state() == "#second/original/webp/74 74%"
    browser.swipe((left + 0.5 * width, middle), (left + 0.25 * width, middle))
    assert state() == "#second/original/webp/25 25%"
    assert browser.evaluate("split.getAttribute('aria-valuetext')") == "25 % original, the rest WebP"
    browser.evaluate("part('left').value = 'nic'; part('left').dispatchEvent(new Event('change'))")
    assert state() == "#second/nic/webp/25 25%"
    assert "1,200 bytes" in browser.evaluate("part('left-facts').innerText")
    assert browser.screenshot().getpixel((round(left + 0.1 * width), round(middle))) == COLOURS["nic"]

    browser.open(f"{url}#%zz/x", width=360)
    assert state().endswith(" 50%")
    assert browser.evaluate("stage.clientWidth <= 360 && document.documentElement.scrollWidth <= 360")


@needs_chromium
def test_committed_page_opens(browser: chromium.Page) -> None:
    path = Path(__file__).parents[1] / "examples" / "report" / "index.html"
    assert path.stat().st_size < 2**20
    browser.open(path.as_uri())
    assert browser.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    assert browser.evaluate(
        "performance.getEntriesByType('resource').every((e) => e.name.startsWith('data:'))"
    )
