"""Training by two processes, which stay one network."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from pillow_neural.training import __main__ as command
from pillow_neural.training import parallel
from pillow_neural.training.loop import LoopOptions, train
from tests.codec_helpers import picture_sampler, pictures
from tests.test_training import RECIPE


def _gradients(folder: Path) -> None:
    """Processes 0 and 1 differ in weights, data, and in whether all parameters have gradients."""
    torch.manual_seed(parallel.rank())
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 1, 1))
    parallel.take_from_first(network)
    loss = network(torch.full((1, 2, 4, 4), parallel.rank() + 1.0)).sum()
    loss.backward()
    if parallel.rank():
        network[1].bias.grad = None
    own = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    parallel.average_gradients(network.parameters())
    contents = {
        "weights": network.state_dict(),
        "own": own,
        "averaged": [p.grad for p in network.parameters()],
        "first": parallel.of_first(float(parallel.rank() + 5)),
        "mean": parallel.mean(torch.tensor([2.0 * parallel.rank()])),
        "processes": parallel.processes(),
    }
    torch.save(contents, folder / str(parallel.rank()))


def test_gradients_are_averaged(tmp_path: Path) -> None:
    parallel.run(2, _gradients, tmp_path)
    one, other = (torch.load(tmp_path / name) for name in "01")
    for name, value in one["weights"].items():
        assert torch.equal(value, other["weights"][name])
    for own, others, *averaged in zip(
        one["own"], other["own"], one["averaged"], other["averaged"], strict=True
    ):
        expected = own / 2 if others is None else (own + others) / 2
        assert all(torch.allclose(each, expected) for each in averaged)
    assert (one["first"], other["first"]) == (5, 5)
    assert (one["mean"], other["mean"]) == (1, 1)
    assert one["processes"] == 2


def test_one_process_needs_no_others() -> None:
    seen = []
    parallel.run(1, lambda: seen.append((parallel.rank(), parallel.processes())))
    assert seen == [(0, 1)]
    assert parallel.of_first(3.0) == 3.0


def test_graphics_processors_are_not_shared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = "nic2026 --data x --minutes 1 --processes 2 --device cuda"
    monkeypatch.setattr("sys.argv", ["training", *arguments.split()])
    with pytest.raises(SystemExit):
        command.main()
    assert "--device cpu" in capsys.readouterr().err


def _run(folder: Path) -> None:
    options = LoopOptions(0.1, folder / "run", 3, 2, 1e-3, resume=False, device=torch.device("cpu"))
    sampler = picture_sampler(96, 96, 64).with_crop(64, parallel.rank())
    trainer = train(replace(RECIPE, initialise=lambda network, sampler: None), sampler, options)
    contents = {
        "network": trainer.network.state_dict(),
        "average": trainer.average,
        "pixels": trainer.pixels / trainer.steps,
        "seconds": trainer.seconds,
    }
    torch.save(contents, folder / str(parallel.rank()))


def test_processes_train_one_network(tmp_path: Path) -> None:
    parallel.run(2, _run, tmp_path)
    one, other = (torch.load(tmp_path / name) for name in "01")
    for kind in ("network", "average"):
        for name, value in one[kind].items():
            assert torch.equal(value, other[kind][name]), (kind, name)
    assert one["pixels"] == 2 * 2 * 64 * 64
    assert 6 < one["seconds"] < 30
    saved = torch.load(tmp_path / "run" / "checkpoint.pt")
    assert torch.equal(
        saved["network"]["prior.means.0.mix.weight"], one["network"]["prior.means.0.mix.weight"]
    )


def test_the_command_trains_with_two_processes(tmp_path: Path) -> None:
    for number, picture in enumerate(pictures(4, 256, 256)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / f"picture-{number}.png")
    options = ["--from-weights", "--minutes", "0.001", "--processes", "2", "--device", "cpu", "--folder"]
    command_line = [sys.executable, "-m", "pillow_neural.training", "nic2026", "--data", tmp_path, *options]
    subprocess.run([*command_line, tmp_path / "run"], check=True)
    assert (tmp_path / "run" / "checkpoint.pt").is_file()
