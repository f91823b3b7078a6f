"""Times and memory of codecs, side by side: each in processes of its own, one after another.

    picture -> process that saves it -> file -> process that opens it
                     |                                |
                times, memory                   times, memory

Layout of speed.json:

    {"picture": "kodim01.png", "width": 768, "height": 512, "environment": {"python": "3.12.1", ...},
     "rows": [{"name": "webp", "args": {"quality": 30, "method": 6}, "weights": null, "bpp": 0.52,
               "save": {"first_s": 0.05, "next_s": 0.04, "peak_mib": 61.2}, "load": {...},
               "encode_macs": null, "decode_macs": null}, ...]}
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from tqdm import tqdm

from pillow_neural.benchmark.codecs import (
    Codec,
    SaveArgs,
    decode,
    encode,
    register_formats,
    registered_name,
    weights_measured,
)
from pillow_neural.benchmark.complexity import complexity
from pillow_neural.benchmark.results import CodecResult, Environment, describe_environment

Result = TypeVar("Result")

REPEATS = 3
TARGET_BPP = 0.5
"""Each codec is timed at the setting whose mean rate is nearest to this."""


@dataclass(frozen=True)
class Cost:
    """Seconds of the first time in a process, the median of the next, and its peak resident memory in MiB.

    The first time includes what a codec imports and loads. peak_mib is None where there is no /proc.
    """

    first_s: float
    next_s: float
    peak_mib: float | None


@dataclass(frozen=True)
class SpeedRow:
    """One codec at one setting; for one of ours the id of its weights, and multiplications a pixel."""

    name: str
    args: SaveArgs
    weights: str | None
    bpp: float
    save: Cost
    load: Cost
    encode_macs: float | None
    decode_macs: float | None


@dataclass(frozen=True)
class SpeedResults:
    """Everything that speed.json holds."""

    picture: str
    width: int
    height: int
    environment: Environment
    rows: list[SpeedRow]

    def write(self, path: Path) -> None:
        """Write speed.json."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def holds(self, codecs: Sequence[Codec], picture: Path) -> bool:
        """Whether these codecs were measured in this environment, with this picture and today's weights."""
        wanted = [(codec.name, codec.settings[0], weights_measured(codec).get("weights")) for codec in codecs]
        return (
            self.picture == picture.name
            and self.environment == describe_environment()
            and [(row.name, row.args, row.weights) for row in self.rows] == wanted
        )


def load_speed(path: Path) -> SpeedResults:
    """Read speed.json. Raises ValueError when the file has another layout."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return SpeedResults(**{**data, "rows": [_row_from_json(row) for row in data["rows"]]})
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} isn't a speed.json of this benchmark: {error!r}") from error


def typical_setting(measured: CodecResult) -> Codec:
    """The codec with one setting only: that whose mean rate is nearest to TARGET_BPP."""
    nearest = min(measured.settings, key=lambda setting: abs(setting.bpp - TARGET_BPP))
    return Codec(measured.name, measured.format, (nearest.args,))


def measure_speed(codecs: Sequence[Codec], picture: Path) -> SpeedResults:
    """Measure the codecs at their first setting with one picture, as RGB.

    Raises:
        RuntimeError: a codec fails.
        OSError: the picture can't be opened.
    """
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    progress = tqdm(codecs, desc="times and memory", unit="codec")
    rows = [_measure_codec(codec, picture, image) for codec in progress]
    return SpeedResults(picture.name, image.width, image.height, describe_environment(), rows)


def _measure_codec(codec: Codec, picture: Path, image: Image.Image) -> SpeedRow:
    args = codec.settings[0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "coded"
        save = _in_process(codec, "save", picture, file)
        load = _in_process(codec, "load", picture, file)
        bpp = 8 * file.stat().st_size / (image.width * image.height)
    is_ours = codec.format == "NIC"
    macs = complexity(registered_name(args), image, tune=args.get("tune")) if is_ours else (None, None)
    return SpeedRow(codec.name, args, weights_measured(codec).get("weights"), bpp, save, load, *macs)


def _in_process(codec: Codec, action: str, picture: Path, file: Path) -> Cost:
    settings = [codec.format, json.dumps(codec.settings[0])]
    command = [sys.executable, "-m", __name__, action, str(picture), str(file), *settings]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        reason = (run.stderr.splitlines() or [f"exit status {run.returncode}"])[-1]
        raise RuntimeError(f"{codec.name} failed to {action} {picture}: {reason}")
    return Cost(**json.loads(run.stdout.splitlines()[-1]))


def _measure_here(action: str, picture: str, file: str, pillow_format: str, settings: str) -> Cost:
    """What the processes do: `save` writes the file and `load` reads it."""
    register_formats()
    args: SaveArgs = json.loads(settings)
    if action == "save":
        with Image.open(picture) as opened:
            image = opened.convert("RGB")
        (first, *following), data = _timed(lambda: encode(image, pillow_format, args))
        Path(file).write_bytes(data)
    else:
        data = Path(file).read_bytes()
        (first, *following), _ = _timed(lambda: decode(data))
    return Cost(first, statistics.median(following), _peak_mib())


def _timed(work: Callable[[], Result]) -> tuple[list[float], Result]:
    """Seconds of each time, and the last result."""
    times = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return times, result


def _peak_mib() -> float | None:
    """The most memory that this process had resident; what it shares with others counts in full."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    peaks = (float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    return next(peaks, None)


def _row_from_json(data: dict[str, Any]) -> SpeedRow:
    return SpeedRow(**{**data, "save": Cost(**data["save"]), "load": Cost(**data["load"])})


if __name__ == "__main__":
    print(json.dumps(asdict(_measure_here(*sys.argv[1:]))))
