"""The benchmark's comparison of several weights of one codec."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save

from pillow_neural.benchmark.__main__ import main as benchmark
from pillow_neural.benchmark.results import load_results
from pillow_neural.training.export import manifest_entry
from pillow_neural.weights import default_entry, locate
from tests.conftest import picture

FACTS = {"training_minutes": "30.0", "training_steps": "9", "training_megapixels": "77"}


def _weights(folder: Path, *, means: float) -> Path:
    """A folder with the default codec's weights, the networks of its means scaled."""
    entry = default_entry("nic2026")
    assert entry is not None
    with safe_open(locate(entry), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    scaled = [name for name in tensors if name.startswith("prior.means") and "to_mean" in name]
    assert scaled
    for name in scaled:
        tensors[name] = tensors[name] * means
    contents = save(tensors, metadata)
    text = manifest_entry("nic2026", "later", contents, FACTS)
    digits = text.partition('sha256 = "')[2][:8]
    folder.mkdir()
    (folder / f"nic2026-{digits}.safetensors").write_bytes(contents)
    (folder / "weights_manifest.toml").write_text(text.replace('"later"', f'"nic2026-{digits}.safetensors"'))
    return folder


def test_variants_are_measured_with_their_own_weights(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    picture("RGB", 192, 176).save(pictures / "a.png")
    full = _weights(tmp_path / "full", means=1)
    none = _weights(tmp_path / "none", means=0)
    before = os.environ.get("PILLOW_NEURAL_WEIGHTS")
    qualities = ["--qualities", "0.1", "0.2", "0.4", "0.8", "1.2"]
    arguments = [f"all={full}", f"no means={none}", "--codec", "nic2026", "-o", str(tmp_path / "out")]
    assert benchmark(["variants", str(pictures), *arguments, "--show", "a", "--bpp", "0.5", *qualities]) == 0
    assert os.environ.get("PILLOW_NEURAL_WEIGHTS") == before
    results = load_results(tmp_path / "out" / "results.json")
    assert [codec.name for codec in results.codecs] == ["all", "no means"]
    asked = [setting.args["quality"] for setting in results.codecs[1].settings]
    assert asked == [0.1, 0.2, 0.4, 0.8, 1.2]
    weights = [codec.environment["weights"] for codec in results.codecs]
    assert len(set(weights)) == 2
    report = (tmp_path / "out" / "variants.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if "`" in line]
    assert [row[:4] for row in rows] == [
        ["all", f"`{weights[0]}`", "30", "77"],
        ["no means", f"`{weights[1]}`", "30", "77"],
    ]
    assert rows[0][4] == "+0.0 %"
    assert float(rows[1][4].removesuffix(" %")) > 1
    with Image.open(tmp_path / "out" / "crops.png") as sheet:
        assert sheet.width == 3 * (192 + 6) - 6
    others = ["--reuse", str(tmp_path / "out" / "results.json")]
    picture("RGB", 192, 180).save(pictures / "b.png")
    assert benchmark(["variants", str(pictures), *arguments, *others]) == 1


def test_folders_without_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture("RGB", 192, 176).save(tmp_path / "a.png")
    arguments = [f"all={tmp_path}", "--codec", "nic2026", "-o", str(tmp_path / "out")]
    assert benchmark(["variants", str(tmp_path), *arguments]) == 1
    assert "no weights of nic2026" in capsys.readouterr().err
