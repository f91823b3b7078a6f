"""Draws rate-distortion curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pillow_neural.benchmark.bdrate import Curve, Vector
from pillow_neural.benchmark.curves import METRICS, CurveSet, measured_curves
from pillow_neural.benchmark.results import CodecResult, Results

_MAX_BPP = 2.0
_PUBLISHED_STYLE = {"linewidth": 1.2, "linestyle": "--"}


def draw_curves(results: Results, published: Mapping[str, CurveSet], path: Path) -> None:
    """Write a PNG with two panels, PSNR and MS-SSIM in dB against bits per pixel up to 2.

    Our codecs are drawn thickest, other measured ones thin, published ones, by name, dashed. Raises
    ImportError when matplotlib isn't installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [(codec.name, measured_curves(codec), _measured_style(codec)) for codec in results.codecs]
    lines += [(f"{name} (published)", curves, _PUBLISHED_STYLE) for name, curves in published.items()]
    figure = Figure(figsize=(14, 7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(METRICS))
    handles: dict[str, Any] = {}
    for panel, metric in zip(panels, METRICS, strict=True):
        for number, (label, curves, style) in enumerate(lines):
            if metric in curves:
                rates, qualities = _shown(curves[metric])
                handles[label] = panel.plot(rates, qualities, color=f"C{number}", **style)[0]
        panel.set(xlabel="bits per pixel", ylabel=f"{metric.name} (dB)", xlim=(0, _MAX_BPP))
        panel.grid(alpha=0.3)
    panels[0].legend(handles.values(), handles.keys(), loc="lower right")
    figure.savefig(path, dpi=120)


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
