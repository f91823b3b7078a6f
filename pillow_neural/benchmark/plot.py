"""Draws rate-distortion curves, and what training has brought."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pillow_neural.benchmark.bdrate import Curve, Vector
from pillow_neural.benchmark.curves import ALL_METRICS, CurveSet, Metric, measured_curves
from pillow_neural.benchmark.learning import LEARNING_ANCHOR, LearningPoint
from pillow_neural.benchmark.results import CodecResult, Results

_MAX_BPP = 2.0
_PUBLISHED_STYLE = {"linewidth": 1.2, "linestyle": "--"}

_Line = tuple[str, CurveSet, dict[str, Any]]


def draw_curves(results: Results, published: Mapping[str, CurveSet], folder: Path) -> list[Path]:
    """Write psnr.png, msssim.png and, if it was measured, nlpd.png: dB against bits per pixel up to 2.

    Our codecs are drawn thickest, other measured ones thin, published ones, by name, dashed. Returns the
    files. Raises ImportError when matplotlib isn't installed.
    """
    lines = [(codec.name, measured_curves(codec), _measured_style(codec)) for codec in results.codecs]
    lines += [(f"{name} (published)", curves, _PUBLISHED_STYLE) for name, curves in published.items()]
    drawn = [metric for metric in ALL_METRICS if any(metric in curves for _, curves, _ in lines)]
    return [_draw_metric(metric, lines, folder / f"{metric.field}.png") for metric in drawn]


def draw_learning(
    points: Iterable[LearningPoint], others: Mapping[Metric, Mapping[str, float]], path: Path
) -> None:
    """Write a PNG of the BD-rates of each codec's weights against the megapixels that training saw.

    others are BD-rates of codecs that don't learn, by name, drawn as lines across, for each metric to draw.
    Raises ImportError when matplotlib isn't installed.
    """
    curves: dict[str, list[LearningPoint]] = {}
    for point in sorted(points, key=lambda point: point.megapixels):
        curves.setdefault(point.codec, []).append(point)
    figure, panels = _figure(7 * len(others), 5.5, len(others))
    for axes, (metric, across) in zip(panels, others.items(), strict=True):
        for number, (codec, reached) in enumerate(curves.items()):
            seen = [(p.megapixels, rate) for p in reached if (rate := p.rate(metric)) is not None]
            if seen:
                axes.plot(*zip(*seen, strict=True), f"C{number}o-", linewidth=2.5, label=codec)
        for number, (name, rate) in enumerate({LEARNING_ANCHOR: 0.0, **across}.items(), start=len(curves)):
            axes.axhline(rate, color=f"C{number}", linewidth=1.2, linestyle="--", label=name)
        axes.set(xscale="log", xlabel="megapixels seen in training")
        axes.set(ylabel=f"bits more than {LEARNING_ANCHOR} at equal {metric.name} (%)")
    _finish(figure, panels, path)


def _draw_metric(metric: Metric, lines: Iterable[_Line], path: Path) -> Path:
    figure, (axes,) = _figure(10, 7.5)
    for number, (label, curves, style) in enumerate(lines):
        if metric in curves:
            rates, qualities = _shown(curves[metric])
            axes.plot(rates, qualities, color=f"C{number}", label=label, **style)
    axes.set(xlabel="bits per pixel", ylabel=f"{metric.name} (dB)", xlim=(0, _MAX_BPP))
    _finish(figure, [axes], path)
    return path


def _figure(width: float, height: float, panels: int = 1) -> tuple[Any, list[Any]]:
    """A matplotlib figure of so many inches with panels side by side, for PNG files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _finish(figure: Any, panels: Iterable[Any], path: Path) -> None:  # noqa: ANN401 - matplotlib has no types
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.legend(loc="best")
    figure.savefig(path, dpi=100)


def _shown(curve: Curve) -> tuple[Vector, Vector]:
    """Rates and qualities of the points in the figure, by rate."""
    order = np.argsort(curve.rates)
    rates, qualities = curve.rates[order], curve.qualities[order]
    inside = np.isfinite(qualities) & (rates <= _MAX_BPP)
    return rates[inside], qualities[inside]


def _measured_style(codec: CodecResult) -> dict[str, Any]:
    if codec.format == "NIC":
        return {"linewidth": 3.5, "marker": "o", "zorder": 3}
    return {"linewidth": 1.4, "marker": "o", "markersize": 3}
