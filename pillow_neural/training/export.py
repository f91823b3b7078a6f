"""Weights file of a checkpoint: python -m pillow_neural.training.export nic2026 --data pictures/.

With --output the file goes to a folder with a manifest of its own instead of into the package: name the
folder in PILLOW_NEURAL_WEIGHTS, and pictures are saved and opened with these weights.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from pillow_neural import container
from pillow_neural.training.data import CropSampler, Picture, Pixels, load_pictures
from pillow_neural.training.recipe import Recipe, find_recipe, run_name
from pillow_neural.weights.manifest import MANIFEST

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


def manifest_entry(
    codec: str, name: str, contents: bytes, facts: dict[str, str], tune: str | None = None
) -> str:
    """The [[weights]] table to append to weights_manifest.toml, see pillow_neural.weights.manifest."""
    lines = [
        "[[weights]]",
        f'codec = "{codec}"',
        *([f'tune = "{tune}"'] if tune else []),
        f'file = "{name}"',
        f"size = {len(contents)}",
        f'sha256 = "{hashlib.sha256(contents).hexdigest()}"',
        f'licence = "{LICENCE}"',
        f"format_version = {container.VERSION}",
        *(f"{key} = {value}" for key, value in facts.items()),
        f'repository = "pillow-neural/{run_name(codec, tune)}"',
    ]
    return "\n".join(lines) + "\n"


class Destination(NamedTuple):
    """Where weights go: a folder, and the manifest that lists what is in it."""

    folder: Path
    manifest: Path


PACKAGE = Destination(Path(__file__).parents[1] / "weights" / "bundled", MANIFEST)


def export(
    codec: str,
    recipe: Recipe,
    folder: Path,
    data: Sequence[Path],
    to: Destination = PACKAGE,
    tune: str | None = None,
) -> Path:
    """Write the EMA weights of a checkpoint as a weights file and list it in the manifest.

    Args:
        codec, recipe: what was trained.
        folder: where its checkpoint is.
        data: training pictures.
        to: where the file goes.
        tune: the metric that the recipe is for instead of the codec's own.
    """
    torch.manual_seed(SEED)
    state = torch.load(folder / "checkpoint.pt", "cpu", weights_only=True)
    network = recipe.build()
    network.load_state_dict(state["average"])
    recipe.use_found_filter(network, state.get("filter", {}), torch.device("cpu"))
    sampler = CropSampler(load_pictures(data, False, recipe.crop), recipe.crop, SEED)
    held_out = calibration_pictures(load_pictures(data, True, recipe.crop))
    packed = recipe.pack(network, sampler, held_out)
    contents = save(packed.tensors, packed.metadata)
    name = f"{run_name(codec, tune)}-{hashlib.sha256(contents).hexdigest()[:8]}.safetensors"
    to.folder.mkdir(parents=True, exist_ok=True)
    (to.folder / name).write_bytes(contents)
    facts = {
        "training_minutes": f"{state['seconds'] / 60:.1f}",
        "training_steps": str(state["steps"]),
        "training_megapixels": f"{state['pixels'] / 1e6:.0f}",
    }
    with to.manifest.open("a", encoding="utf-8") as file:
        file.write("\n" + manifest_entry(codec, name, contents, facts, tune))
    return to.folder / name


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(prog="python -m pillow_neural.training.export", description=__doc__)
    parser.add_argument("codec", help="name of the recipe, such as nic2026")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="tar files or folders")
    parser.add_argument("--folder", type=Path, help="where the checkpoint is (default: runs/CODEC)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="the settings of the training run"
    )
    parser.add_argument("--tune", metavar="METRIC", help="that of the training run")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="for the file and a manifest of its own (default: the package)",
    )
    arguments = parser.parse_args()
    output = arguments.output
    to = PACKAGE if output is None else Destination(output, output / MANIFEST.name)
    recipe = find_recipe(arguments.codec, arguments.set, arguments.tune)
    folder = arguments.folder or Path("runs") / run_name(arguments.codec, arguments.tune)
    print(export(arguments.codec, recipe, folder, arguments.data, to, arguments.tune))


if __name__ == "__main__":
    main()
