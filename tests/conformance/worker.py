"""What a worker of another process runs: a module that imports the package itself."""

from __future__ import annotations

from PIL import Image

import pillow_neural  # noqa: F401 - registers the format


def pixels(path: str) -> bytes:
    """The samples of a picture."""
    with Image.open(path) as im:
        return im.tobytes()
