"""Rate-distortion curves of measured codecs and of published ones, in dB."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pillow_neural.benchmark.bdrate import Curve
from pillow_neural.benchmark.metrics import ms_ssim_db, nlpd_db
from pillow_neural.benchmark.results import CodecResult

DEFAULT_PUBLISHED = ("vtm", "balle2018-mse", "minnen2018-mse", "cheng2020-mse")
"""The published curves that are shown unless others are named."""


@dataclass(frozen=True)
class Metric:
    """A quality: its name for readers, its field in Setting, its key in files of published curves.

    in_db turns a stored value into dB.
    """

    name: str
    field: str
    published_key: str
    in_db: Callable[[float], float]


METRICS = (
    Metric("PSNR", "psnr", "psnr-rgb", lambda value: value),
    Metric("MS-SSIM", "msssim", "ms-ssim-rgb", ms_ssim_db),
)
"""Those that every measurement has."""

ALL_METRICS = (*METRICS, Metric("NLPD", "nlpd", "nlpd", nlpd_db))
"""With NLPD, a perceptual one, which is measured where plenoptic is installed."""

CurveSet = dict[Metric, Curve]


def measured_curves(codec: CodecResult) -> CurveSet:
    """A codec's curves: mean bits per pixel against means in dB, of each quality that all settings have."""
    rates = np.array([setting.bpp for setting in codec.settings])
    curves = {}
    for metric in ALL_METRICS:
        values = [getattr(setting, metric.field) for setting in codec.settings]
        if None not in values:
            curves[metric] = Curve(rates, np.array([metric.in_db(value) for value in values]))
    return curves


def load_published(path: Path, names: tuple[str, ...] = DEFAULT_PUBLISHED) -> dict[str, CurveSet]:
    """Curves of others by name, from JSON as {name: {"psnr-rgb": [[bpp, dB], ...], "ms-ssim-rgb": ...}}.

    A curve may lack one of the qualities. Raises ValueError for a name that the file doesn't hold.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    unknown = [name for name in names if name not in data]
    if unknown:
        raise ValueError(f"{path} has no curve {', '.join(unknown)}; it has {', '.join(data)}")
    return {
        name: {
            metric: _published_curve(metric, data[name][metric.published_key])
            for metric in ALL_METRICS
            if metric.published_key in data[name]
        }
        for name in names
    }


def _published_curve(metric: Metric, points: list[list[float]]) -> Curve:
    qualities = [metric.in_db(quality) for _, quality in points]
    return Curve(np.array([rate for rate, _ in points]), np.array(qualities))
