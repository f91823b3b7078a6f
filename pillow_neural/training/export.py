"""Weights file of a checkpoint: python -m pillow_neural.training.export nic2026 --data pictures/."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from pillow_neural import container
from pillow_neural.training.data import CropSampler, Picture, Pixels, load_pictures
from pillow_neural.training.recipe import Recipe, find_recipe

BUNDLED = Path(__file__).parents[1] / "weights" / "bundled"
MANIFEST = Path(__file__).parents[2] / "weights_manifest.toml"
CALIBRATION_SIDE = 768
SEED = 20261124
LICENCE = "Apache-2.0"


def calibration_pictures(pictures: Sequence[Picture]) -> list[Pixels]:
    """Held-out pictures of at least 768 pixels on the long side, reduced to that."""
    reduced = []
    for picture in pictures:
        if max(picture.pixels.shape[:2]) >= CALIBRATION_SIDE:
            image = Image.fromarray(picture.pixels)
            image.thumbnail((CALIBRATION_SIDE, CALIBRATION_SIDE), Image.Resampling.LANCZOS)
            reduced.append(np.asarray(image))
    return reduced


def manifest_entry(codec: str, name: str, contents: bytes, facts: dict[str, str]) -> str:
    """The [[weights]] table to append to weights_manifest.toml, see pillow_neural.weights.manifest."""
    lines = [
        "[[weights]]",
        f'codec = "{codec}"',
        f'file = "{name}"',
        f"size = {len(contents)}",
        f'sha256 = "{hashlib.sha256(contents).hexdigest()}"',
        f'licence = "{LICENCE}"',
        f"format_version = {container.VERSION}",
        *(f"{key} = {value}" for key, value in facts.items()),
        f'repository = "pillow-neural/{codec}"',
    ]
    return "\n".join(lines) + "\n"


def export(codec: str, recipe: Recipe, folder: Path, data: Sequence[Path]) -> Path:
    """Write the EMA weights of a checkpoint as a bundled weights file and list it in the manifest."""
    torch.manual_seed(SEED)
    state = torch.load(folder / "checkpoint.pt", "cpu", weights_only=True)
    network = recipe.build()
    network.load_state_dict(state["average"])
    sampler = CropSampler(load_pictures(data, False, recipe.crop), recipe.crop, SEED)
    held_out = calibration_pictures(load_pictures(data, True, recipe.crop))
    packed = recipe.pack(network, sampler, held_out)
    contents = save(packed.tensors, packed.metadata)
    name = f"{codec}-{hashlib.sha256(contents).hexdigest()[:8]}.safetensors"
    BUNDLED.mkdir(exist_ok=True)
    (BUNDLED / name).write_bytes(contents)
    facts = {
        "training_minutes": f"{state['seconds'] / 60:.1f}",
        "training_steps": str(state["steps"]),
        "training_megapixels": f"{state['pixels'] / 1e6:.0f}",
    }
    with MANIFEST.open("a", encoding="utf-8") as file:
        file.write("\n" + manifest_entry(codec, name, contents, facts))
    return BUNDLED / name


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(prog="python -m pillow_neural.training.export", description=__doc__)
    parser.add_argument("codec", help="name of the recipe, such as nic2026")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="tar files or folders")
    parser.add_argument("--folder", type=Path, help="where the checkpoint is (default: runs/CODEC)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="the settings of the training run"
    )
    arguments = parser.parse_args()
    recipe = find_recipe(arguments.codec, arguments.set)
    folder = arguments.folder or Path("runs") / arguments.codec
    print(export(arguments.codec, recipe, folder, arguments.data))


if __name__ == "__main__":
    main()
