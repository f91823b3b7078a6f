import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from pillow_neural.benchmark import codecs
from pillow_neural.benchmark.__main__ import main
from pillow_neural.benchmark.bdrate import Curve, Pchip, bd_rate
from pillow_neural.benchmark.codecs import encode, find_codec, nic_codec
from pillow_neural.benchmark.crops import CropArea, compare, crop_sheet, smallest_not_below
from pillow_neural.benchmark.metrics import Pixels, ms_ssim, ms_ssim_db, nlpd, nlpd_db, psnr
from pillow_neural.benchmark.startup import startup
from pillow_neural.container import write
from pillow_neural.header import Header

RATES = np.array([0.1, 0.2, 0.45, 0.8, 1.5])
QUALITIES = np.array([25.0, 28.1, 31.0, 34.2, 38.0])


def _picture(height: int, width: int, seed: int = 0) -> Pixels:
    """Smooth waves with some noise, so that lossy codecs have both to work on."""
    random = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(down / (9 + c)) + np.cos(across / (13 - c)) for c in range(3)], axis=-1)
    return np.clip(128 + 45 * waves + random.normal(0, 8, waves.shape), 0, 255).astype(np.uint8)


def _reference_ms_ssim(a: Pixels, b: Pixels) -> float:
    """Wang et al. 2003 by the book: the whole 2-D window at every place, (co)variances about the mean."""
    axis = np.arange(-5, 6)
    window = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    scores = []
    for channel in range(3):
        x, y = a[..., channel].astype(float), b[..., channel].astype(float)
        score = 1.0
        for scale, weight in enumerate(weights):
            xs, ys = sliding_window_view(x, (11, 11)), sliding_window_view(y, (11, 11))
            mx, my = (np.tensordot(v, window, 2)[..., None, None] for v in (xs, ys))
            vx, vy = np.tensordot((xs - mx) ** 2, window, 2), np.tensordot((ys - my) ** 2, window, 2)
            cs = (2 * np.tensordot((xs - mx) * (ys - my), window, 2) + 58.5225) / (vx + vy + 58.5225)
            mx, my = mx[..., 0, 0], my[..., 0, 0]
            luminance = (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
            score *= float(np.mean(cs if scale < 4 else luminance * cs)) ** weight
            if scale < 4:
                x, y = (v.reshape(len(v) // 2, 2, -1, 2).mean((1, 3)) for v in (x, y))
        scores.append(score)
    return float(np.mean(scores))


def test_metrics_of_equal_pictures() -> None:
    picture = _picture(176, 200)
    assert psnr(picture, picture) == math.inf
    assert ms_ssim(picture, picture) == pytest.approx(1.0)
    assert ms_ssim_db(1.0) == math.inf
    assert ms_ssim_db(0.9) == pytest.approx(10.0)


def test_psnr_counts_all_channels() -> None:
    picture = np.full((4, 5, 3), 100, dtype=np.uint8)
    other = picture.copy()
    other[..., 0] += 3
    assert psnr(picture, other) == pytest.approx(10 * math.log10(255**2 / 3))


def test_ms_ssim_agrees_with_slow_reference() -> None:
    a, b = _picture(176, 208), _picture(176, 208, seed=1)
    assert ms_ssim(a, b) == pytest.approx(_reference_ms_ssim(a, b), abs=1e-9)


def test_ms_ssim_takes_odd_sides() -> None:
    a, b = _picture(177, 191), _picture(177, 191, seed=1)
    assert ms_ssim(a, b) == pytest.approx(ms_ssim(a[:176, :190], b[:176, :190]), abs=0.01)


def test_nlpd_is_a_distance_of_luma() -> None:
    pytest.importorskip("plenoptic", reason="plenoptic, of the benchmark extra, isn't installed")
    picture = _picture(177, 191)
    random = np.random.default_rng(2)
    noise = random.normal(0, 1, (177, 191, 1))
    distances = [nlpd(picture, np.clip(picture + s * noise, 0, 255).astype(np.uint8)) for s in (3, 9, 27)]
    assert 0 < distances[0] < distances[1] < distances[2] < 2
    assert nlpd(picture, picture) == 0
    grey = np.full((176, 176, 3), 100, dtype=np.uint8)
    coloured = (grey + np.array([58, -30, 1])).astype(np.uint8)
    assert psnr(grey, coloured) < 20
    assert nlpd(grey, coloured) < 0.01
    assert nlpd_db(0) == math.inf
    assert nlpd_db(0.1) == pytest.approx(20)
    with pytest.raises(ValueError, match="shapes"):
        nlpd(picture, picture[1:])


def test_metrics_refuse_small_and_unequal_pictures() -> None:
    with pytest.raises(ValueError, match="176"):
        ms_ssim(_picture(175, 300), _picture(175, 300))
    with pytest.raises(ValueError, match="shapes"):
        psnr(_picture(10, 10), _picture(10, 11))


def test_pchip_passes_through_knots_and_is_monotone() -> None:
    x, y = [0.0, 1.0, 1.5, 4.0, 5.0], [0.0, 0.1, 3.0, 3.1, 8.0]
    curve = Pchip.through(x, y)
    assert curve(x) == pytest.approx(y)
    assert np.all(np.diff(curve(np.linspace(0, 5, 1001))) >= 0)
    fine = np.linspace(0.7, 4.2, 100_001)
    assert curve.mean(0.7, 4.2) == pytest.approx(np.trapezoid(curve(fine), fine) / 3.5)
    with pytest.raises(ValueError, match="rises"):
        Pchip.through([0, 0], [1, 2])


def test_bd_rate_of_scaled_rates() -> None:
    anchor = Curve(RATES, QUALITIES)
    assert bd_rate(anchor, anchor).percent == pytest.approx(0)
    for rates in (None, (0.1, 1.0)):
        cheaper = bd_rate(Curve(0.8 * RATES[::-1], QUALITIES[::-1]), anchor, rates)
        assert cheaper.percent == pytest.approx(-20)
    whole, part = bd_rate(anchor, anchor), bd_rate(anchor, anchor, (0.2, 0.8))
    assert (whole.low, whole.high) == (25.0, 38.0)
    assert (part.low, part.high) == pytest.approx((28.1, 34.2))


def test_bd_rate_without_overlap_gives_a_reason() -> None:
    anchor = Curve(RATES, QUALITIES)
    apart = bd_rate(Curve(RATES, QUALITIES + 20), anchor)
    assert apart.percent is None
    assert "share no quality" in str(apart.reason)
    assert "between 3 and 4" in str(bd_rate(anchor, anchor, (3, 4)).reason)
    assert "two points" in str(bd_rate(Curve(RATES[:1], QUALITIES[:1]), anchor).reason)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, seed in (("a.png", 0), ("b.png", 1)):
        Image.fromarray(_picture(176, 192, seed)).save(pictures / name)
    return pictures


def test_run_reuse_and_report(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        codecs, "PEERS", [replace(peer, settings=peer.settings[4:7]) for peer in codecs.PEERS]
    )
    output = tmp_path / "out"
    assert main(["run", str(folder), "--output", str(output), "--codecs", "jpeg"]) == 0
    first = json.loads((output / "results.json").read_text())
    setting = first["codecs"][0]["settings"][1]
    with Image.open(folder / "a.png") as picture:
        size = len(encode(picture, "JPEG", setting["args"]))
    assert setting["pictures"][0]["bytes"] == size
    assert setting["bpp"] == pytest.approx(np.mean([p["bytes"] for p in setting["pictures"]]) * 8 / 176 / 192)
    assert setting["save_s"] > 0

    reuse = ["--codecs", "webp", "--reuse", str(output / "results.json")]
    published = tmp_path / "published.json"
    published.write_text(json.dumps({"ours": {"psnr-rgb": [[0.1, 20.0], [2.0, 40.0]]}}))
    show = ["--published", str(published), "--published-curves", "ours"]
    assert main(["run", str(folder), "--output", str(output), "--limit", "2", *reuse, *show]) == 0
    second = json.loads((output / "results.json").read_text())
    assert [(codec["name"], codec["reused"]) for codec in second["codecs"]] == [
        ("webp", False),
        ("jpeg", True),
    ]

    report = (output / "report.md").read_text()
    assert "| jpeg | quality=40, optimize=True, progressive=True |" in report
    assert "can't be compared: jpeg." in report
    assert "| ours (published) |" in report
    for name in ("psnr.png", "msssim.png"):
        with Image.open(output / name) as plot:
            plot.load()
            assert plot.format == "PNG"


def test_run_says_what_is_wrong(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", str(folder), "--output", str(tmp_path / "out"), "--codecs"]
    assert main([*run, "gif"]) == 1
    assert "unknown codec 'gif'" in capsys.readouterr().err
    assert main(run) == 1
    assert "no codecs" in capsys.readouterr().err
    Image.fromarray(_picture(20, 30)).save(folder / "small.png")
    assert main([*run, "jpeg"]) == 1
    assert "small.png is 30x20" in capsys.readouterr().err


def test_named_nic_codec_saves_with_its_name() -> None:
    codec = nic_codec("hyperprior")
    assert codec.name == "nic:hyperprior"
    assert all(args["codec"] == "hyperprior" and 0 < args["quality"] < 2 for args in codec.settings)


def test_the_tuned_default_codec_is_named_by_its_metric() -> None:
    codec = find_codec("nic:ssim")
    assert codec.name == "nic:ssim"
    assert all(args.keys() == {"quality", "tune"} and args["tune"] == "ssim" for args in codec.settings)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("nic:effort9", {"effort": 9}),
        ("nic:ssim:effort3", {"tune": "ssim", "effort": 3}),
        ("nic:li2018:effort0", {"codec": "li2018", "effort": 0}),
    ],
)
def test_effort_is_part_of_a_codecs_name(name: str, more: dict[str, object]) -> None:
    codec = find_codec(name, [0.25])
    assert (codec.name, codec.settings) == (name, ({"quality": 0.25, **more},))


@pytest.mark.parametrize("name", ["nic:effort", "nic:effort10", "nic:", "nic:ssim:effort", "nic:ssim:9"])
def test_what_only_looks_like_a_codec_of_ours_is_unknown(name: str) -> None:
    with pytest.raises(ValueError, match="unknown codec"):
        find_codec(name)


def test_rivals_get_no_fewer_bytes() -> None:
    image = Image.fromarray(_picture(176, 192))
    sizes = [len(encode(image, "JPEG", {"quality": quality})) for quality in range(101)]
    assert len(smallest_not_below(image, sizes[40] - 1, "JPEG", {})) == sizes[40]
    assert len(smallest_not_below(image, 1, "JPEG", {})) == sizes[0]
    assert len(smallest_not_below(image, 10**9, "JPEG", {})) == sizes[100]


def test_crops_are_cut_within_the_picture(tmp_path: Path) -> None:
    Image.fromarray(_picture(40, 50)).save(tmp_path / "a.png")
    rows = list(
        compare(
            tmp_path / "a.png", [20, 40], {".nic": lambda image, q: encode(image, "JPEG", {"quality": q})}
        )
    )
    assert crop_sheet(rows, 64).size == (4 * 64 + 3 * 6, 2 * (64 + 24) + 6)
    image = Image.new("RGB", (192, 176))
    assert CropArea(64, 32).box(image) == (64, 72, 128, 104)
    assert CropArea(64, 64, middle=(500, 20)).box(image) == (128, 0, 192, 64)
    assert CropArea(256, 256).box(image) == (0, 0, 192, 176)


def test_startup_in_fresh_interpreters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.nic"
    header = Header(1, 1, "L", "nic2026", bytes(8), b"")
    path.write_bytes(write(header, []))
    assert all(seconds > 0 for seconds in startup(path, repeats=1))
    path.write_bytes(b"no picture")
    assert main(["startup", str(path)]) == 1
    assert "cannot identify image file" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "import multiprocessing, os, sys, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from pillow_neural.benchmark.run import end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), end_with_parent) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 60).result()\n"
    )
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = Path("/proc", parent.stdout.readline().strip(), "stat")
        assert _runs(worker)
        parent.kill()
    end = time.monotonic() + 20
    while _runs(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _runs(worker)


def _runs(stat: Path) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
