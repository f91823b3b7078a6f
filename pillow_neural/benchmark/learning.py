"""What training has brought: the BD-rate of each codec's weights, kept from report to report.

Layout of learning.json:

    [{"codec": "nic2026", "weights": "996a680c7fbf75ce", "minutes": 221.5, "megapixels": 3827,
      "psnr": -4.5, "msssim": 3.5}, ...]

weights is the id by which files name them, minutes and megapixels what training took and saw, psnr and
msssim the bits more (+) or fewer (-) than WebP in per cent at equal PSNR and MS-SSIM, between WebP's 0.1 and
1 bits per pixel; null where a codec is too far from WebP for that.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pillow_neural.benchmark.bdrate import bd_rate
from pillow_neural.benchmark.codecs import registered_name
from pillow_neural.benchmark.curves import METRICS, Metric, measured_curves
from pillow_neural.benchmark.report import ANCHORS, RATE_INTERVAL
from pillow_neural.benchmark.results import CodecResult, Results
from pillow_neural.weights import entry_of_id

LEARNING_ANCHOR = ANCHORS[0]


@dataclass(frozen=True)
class Goal:
    """So many per cent of bits more or fewer than another codec, at equal quality in a metric."""

    metric: Metric
    other: str
    percent: float

    def against_anchor(self, results: Results) -> float | None:
        """The goal in per cent against LEARNING_ANCHOR; None where `other` was not measured."""
        others = {LEARNING_ANCHOR: 0.0, **rates_against_anchor(results, self.metric)}
        if self.other not in others:
            return None
        return (100 + self.percent) * (100 + others[self.other]) / 100 - 100


_PSNR, _MS_SSIM = METRICS
GOALS = {
    "toderici2016": Goal(_MS_SSIM, "webp", 34),
    "johnston2018": Goal(_MS_SSIM, "webp", -23),
    "mentzer2018": Goal(_MS_SSIM, "webp", -45.5),
    "nic2026": Goal(_PSNR, "avif", -10),
    "nic2026 ssim": Goal(_MS_SSIM, "avif", -40),
}
"""What codecs are to reach: those of papers what the papers did, computed from their curves."""


@dataclass(frozen=True)
class LearningPoint:
    """One codec's weights: their id, minutes of training, megapixels seen, BD-rates in per cent.

    `codec` also names what they are tuned for, as in "nic2026 ssim".
    """

    codec: str
    weights: str
    minutes: float
    megapixels: float
    psnr: float | None
    msssim: float | None

    def rate(self, metric: Metric) -> float | None:
        """The BD-rate in one of METRICS."""
        return {"psnr": self.psnr, "msssim": self.msssim}[metric.field]


def load_learning(path: Path) -> list[LearningPoint]:
    """Read learning.json, nothing where there is none. Raises ValueError when the file has another layout."""
    if not path.exists():
        return []
    try:
        return [LearningPoint(**point) for point in json.loads(path.read_text(encoding="utf-8"))]
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} isn't a learning.json of this benchmark: {error!r}") from error


def save_learning(points: Sequence[LearningPoint], path: Path) -> None:
    """Write learning.json, one point a line."""
    lines = ",\n ".join(json.dumps(asdict(point)) for point in points)
    path.write_text(f"[{lines}]\n", encoding="utf-8")


def with_measured(points: Sequence[LearningPoint], results: Results) -> list[LearningPoint]:
    """The points, by codec and megapixels, with those of the weights that were measured added or renewed.

    Only as they save by default: not with an effort.
    """
    rates = [rates_against_anchor(results, metric) for metric in METRICS]
    by_weights = {(point.codec, point.weights): point for point in points}
    for codec in results.codecs:
        if "effort" in codec.settings[0].args:
            continue
        point = _point(codec, *(rate.get(codec.name) for rate in rates))
        if point is not None:
            by_weights[point.codec, point.weights] = point
    return sorted(by_weights.values(), key=lambda point: (point.codec, point.megapixels))


def extrapolated(points: Sequence[LearningPoint], metric: Metric, rate: float) -> float | None:
    """Megapixels at which a codec would reach a BD-rate, None where its points do not tell.

    A straight line over the logarithm of megapixels, of least squares: for many doublings a guess.
    """
    known = [(point.megapixels, reached) for point in points if (reached := point.rate(metric)) is not None]
    if len(known) < 2:
        return None
    seen, rates = np.array(known).T
    slope, start = np.polyfit(np.log2(seen), rates, 1)
    return None if slope >= 0 else float(2 ** ((rate - start) / slope))


def rates_against_anchor(results: Results, metric: Metric) -> dict[str, float]:
    """BD-rates of all codecs but the anchor, by name; those that can't be computed are missing."""
    curves = {codec.name: measured_curves(codec)[metric] for codec in results.codecs}
    anchor = curves.pop(LEARNING_ANCHOR, None)
    if anchor is None:
        return {}
    rates = {name: bd_rate(curve, anchor, RATE_INTERVAL).percent for name, curve in curves.items()}
    return {name: rate for name, rate in rates.items() if rate is not None}


def _point(measured: CodecResult, psnr: float | None, msssim: float | None) -> LearningPoint | None:
    """The point of a codec of ours, if its weights are in the manifest and there is a BD-rate."""
    if measured.format != "NIC" or psnr is msssim is None:
        return None
    name, weights = registered_name(measured.settings[0].args), str(measured.environment["weights"])
    entry = entry_of_id(name, bytes.fromhex(weights))
    if entry is None or entry.training is None:
        return None
    rounded = (None if rate is None else round(rate, 2) for rate in (psnr, msssim))
    tuned = name if entry.tune is None else f"{name} {entry.tune}"
    return LearningPoint(tuned, weights, entry.training.minutes, entry.training.megapixels, *rounded)
