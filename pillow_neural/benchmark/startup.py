"""What importing the package and opening a header cost, in fresh interpreters."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from PIL import Image

import pillow_neural  # noqa: F401 - registers the format

_TIMED = (
    "import sys, time; {before}; began = time.perf_counter(); {timed}; print(time.perf_counter() - began)"
)
_OPEN = "PIL.Image.open(sys.argv[1])"


class Startup(NamedTuple):
    """Medians in seconds.

    Attributes:
        import_pillow: `import PIL.Image`.
        import_more: what `import pillow_neural` takes after it.
        first_open: the first opening of a picture in a process, which imports the plugin.
        next_open: a later one.
    """

    import_pillow: float
    import_more: float
    first_open: float
    next_open: float


def startup(picture: Path, repeats: int = 21) -> Startup:
    """Measure with a .nic file, whose pixels are not decoded.

    Raises:
        OSError: it cannot be opened.
    """
    Image.open(picture).close()
    ready = "import PIL.Image, pillow_neural"
    return Startup(
        _median("pass", "import PIL.Image", picture, repeats),
        _median("import PIL.Image", "import pillow_neural", picture, repeats),
        _median(ready, _OPEN, picture, repeats),
        _median(f"{ready}; {_OPEN}", _OPEN, picture, repeats),
    )


def _median(before: str, timed: str, picture: Path, repeats: int) -> float:
    code = _TIMED.format(before=before, timed=timed)
    command = [sys.executable, "-c", code, str(picture)]
    runs = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(repeats))
    return statistics.median(float(run.stdout) for run in runs)
