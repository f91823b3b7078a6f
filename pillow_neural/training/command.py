"""What each process of the training command does; processes that are spawned cannot import `__main__`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from pillow_neural.codecs.loading import weights_for_saving
from pillow_neural.training import parallel
from pillow_neural.training.data import CropSampler, load_pictures
from pillow_neural.training.loop import LoopOptions, train
from pillow_neural.training.recipe import find_recipe, run_name


def train_as_told(arguments: argparse.Namespace) -> None:
    """Train as one of the processes of a command, with the arguments of `pillow_neural.training`."""
    logging.basicConfig(
        level=logging.WARNING if parallel.rank() else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
    )
    recipe = find_recipe(arguments.codec, arguments.set, arguments.tune)
    crop = arguments.crop or recipe.crop
    share = slice(parallel.rank(), None, parallel.processes())
    pictures = load_pictures(arguments.data, validation=False, smallest_side=crop, share=share)
    logging.info("%d pictures, %.0f Mpixel", len(pictures), sum(p.pixels.size for p in pictures) / 3e6)
    start = arguments.from_weights
    options = LoopOptions(
        minutes=arguments.minutes,
        folder=arguments.folder or Path("runs") / run_name(arguments.codec, arguments.tune),
        seed=arguments.seed,
        batch=arguments.batch or recipe.batch,
        learning_rate=arguments.learning_rate or recipe.learning_rate,
        resume=arguments.resume,
        device=torch.device(arguments.device),
        weights=None if start is None else weights_for_saving(arguments.codec, start or arguments.tune),
        balance=arguments.balance_steps,
    )
    train(recipe, CropSampler(pictures, crop, arguments.seed + parallel.rank()), options)
