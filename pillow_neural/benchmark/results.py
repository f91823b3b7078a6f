"""What a benchmark run measured, and where, kept as JSON.

Layout of results.json:

    {"pictures": [{"name": "kodim01.png", "width": 768, "height": 512}, ...],
     "codecs": [{"name": "webp", "format": "WEBP", "reused": false,
                 "environment": {"python": "3.12.1", "pillow": "11.3.0", "cpu": "...", "jobs": 1, ...},
                 "settings": [{"args": {"quality": 10, "method": 6},
                               "bpp": 0.2744, "psnr": 28.932, "msssim": 0.9385, "nlpd": 0.2137,
                               "save_s": 0.078, "load_s": 0.005,
                               "pictures": [{"name": "kodim01.png", "bytes": 20110, "bpp": ..., "psnr": ...,
                                             "msssim": ..., "nlpd": ..., "save_s": ..., "load_s": ...},
                                            ...]}, ...]}, ...]}

bpp (8 * bytes / pixels), psnr (dB), msssim and nlpd of a setting are means over its pictures, save_s and
load_s (seconds) medians. nlpd is null, or missing in older files, where plenoptic wasn't installed.
"reused" marks a codec measured in an earlier run: its times, taken in its own environment, can't be compared
with the others. The environment of a codec of ours has the id of its "weights". A lossless setting has
"psnr": Infinity, as Python's json writes it.
"""

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from PIL import features

from pillow_neural.benchmark.codecs import SaveArgs

Environment = dict[str, str | int]


@dataclass(frozen=True)
class PictureInfo:
    """A picture that was measured: file name, and size in pixels."""

    name: str
    width: int
    height: int


@dataclass(frozen=True)
class Measurement:
    """One picture at one setting: size in bytes and bits per pixel, PSNR in dB, MS-SSIM, times in seconds.

    nlpd is None where it could not be measured.
    """

    name: str
    bytes: int
    bpp: float
    psnr: float
    msssim: float
    save_s: float
    load_s: float
    nlpd: float | None = None


@dataclass(frozen=True)
class Setting:
    """All pictures at one setting: means of the rate and the qualities, medians of the times in seconds."""

    args: SaveArgs
    bpp: float
    psnr: float
    msssim: float
    save_s: float
    load_s: float
    pictures: list[Measurement]
    nlpd: float | None = None


@dataclass(frozen=True)
class CodecResult:
    """One codec's settings, and where they were measured."""

    name: str
    format: str
    reused: bool
    environment: Environment
    settings: list[Setting]


@dataclass(frozen=True)
class Results:
    """Everything that results.json holds."""

    pictures: list[PictureInfo]
    codecs: list[CodecResult]

    def save(self, path: Path) -> None:
        """Write results.json; a file that stands there is replaced at once or not at all."""
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)


def load_results(path: Path) -> Results:
    """Read results.json. Raises ValueError when the file has another layout."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        pictures = [PictureInfo(**picture) for picture in data["pictures"]]
        return Results(pictures, [_codec_from_json(codec) for codec in data["codecs"]])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} isn't a results.json of this benchmark: {error!r}") from error


def describe_environment() -> dict[str, str | int]:
    """This machine: versions of Python, the packages and the C codecs, CPU model, cores, torch's threads."""
    import torch

    packages = ("pillow", "numpy", "torch", "pillow-neural", "pillow-heif", "pillow-jxl-plugin", "plenoptic")
    codecs = {"jpeg": "jpg", "jpeg2000": "jpg_2000", "webp": "webp", "avif": "avif"}
    return {
        "python": platform.python_version(),
        **{name: version for name in packages if (version := _package_version(name))},
        **{f"lib{name}": str(version) for name, key in codecs.items() if (version := features.version(key))},
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "torch threads": torch.get_num_threads(),
    }


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _codec_from_json(data: dict[str, Any]) -> CodecResult:
    return CodecResult(**{**data, "settings": [_setting_from_json(setting) for setting in data["settings"]]})


def _setting_from_json(data: dict[str, Any]) -> Setting:
    return Setting(**{**data, "pictures": [Measurement(**picture) for picture in data["pictures"]]})
