"""Train a codec: python -m pillow_neural.training nic2026 --data pictures/ --minutes 60."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from pillow_neural.training import parallel
from pillow_neural.training.command import train_as_told


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pillow_neural.training", description=__doc__)
    parser.add_argument("codec", help="name of the recipe, such as nic2026")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="tar files or folders")
    parser.add_argument("--minutes", type=float, required=True, help="wall-clock limit")
    parser.add_argument("--folder", type=Path, help="checkpoints (default: runs/CODEC or runs/CODEC-METRIC)")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="continue from the folder's checkpoint")
    start.add_argument(
        "--from-weights",
        nargs="?",
        const="",
        metavar="METRIC",
        help="continue from the weights that pictures are saved with, tuned as this run or for METRIC",
    )
    parser.add_argument(
        "--balance-steps",
        action="store_true",
        help="first move quantisation steps to where errors cost as much in every channel",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crop", type=int, help="side of the crops in pixels")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="change the network's shape, such as priming=0 (give the same to pillow_neural.training.export)",
    )
    parser.add_argument("--tune", metavar="METRIC", help="train for this metric, such as ssim, instead")
    parser.add_argument(
        "--processes", type=int, default=1, help="each with a batch and pictures of its own (default: 1)"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def main() -> None:
    """Parse the command line and train."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.processes > 1 and arguments.device != "cpu":
        parser.error("--processes is for training on processors: add --device cpu")
    parallel.run(arguments.processes, train_as_told, arguments)


if __name__ == "__main__":
    main()
