"""A second set to measure on: pictures of the training data that no network was trained on.

Exporting weights calibrates nominal rates on such pictures, which moves points along a curve, not the curve.
"""

import hashlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from PIL import Image

from pillow_neural.benchmark.metrics import MIN_SIDE
from pillow_neural.training.data import load_pictures
from pillow_neural.training.export import calibration_pictures


def write_holdout(sources: Sequence[Path], folder: Path, count: int) -> list[Path]:
    """Write held-out pictures as PNG files: the first `count` by the hash of their names.

    Training holds pictures out by name, so the choice is the same on every machine. Pictures of at least 768
    pixels on the long side are taken and reduced to that.

    Args:
        sources: tar files and folders, as for training.
        folder: where to write; made if it is missing.

    Returns:
        The files, by name.

    Raises:
        ValueError: the sources hold no usable held-out picture, or the folder other PNG files, which would be
            measured too.
    """
    pictures = load_pictures(sources, validation=True, smallest_side=MIN_SIDE)
    pictures.sort(key=lambda picture: hashlib.sha256(Path(picture.name).name.encode()).digest())
    reduced = (
        (folder / f"{Path(picture.name).stem}.png", pixels)
        for picture in pictures
        for pixels in calibration_pictures([picture])
        if min(pixels.shape[:2]) >= MIN_SIDE
    )
    chosen = dict(islice(reduced, count))
    if not chosen:
        raise ValueError(f"no held-out picture is large enough: 768x{MIN_SIDE} when reduced")
    if others := set(folder.glob("*.png")) - chosen.keys():
        raise ValueError(f"{folder} holds other pictures, such as {min(others).name}; empty it first")
    folder.mkdir(parents=True, exist_ok=True)
    for path, pixels in chosen.items():
        Image.fromarray(pixels).save(path)
    return sorted(chosen)
