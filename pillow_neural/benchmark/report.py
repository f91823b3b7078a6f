"""Turns results into report.md: BD-rates against the formats that users have today, and every setting."""

from collections.abc import Iterable, Mapping

from pillow_neural.benchmark.bdrate import BdRate, Curve, bd_rate
from pillow_neural.benchmark.curves import METRICS, CurveSet, Metric, measured_curves
from pillow_neural.benchmark.results import CodecResult, Results, Setting

ANCHORS = ("webp", "avif", "jpeg")
RATE_INTERVAL = (0.1, 1.0)
"""Bits per pixel of the anchor that the narrower BD-rates are taken over."""


def write_report(results: Results, published: Mapping[str, CurveSet]) -> str:
    """The report as Markdown; published curves, by name, get rows in the BD-rate tables."""
    curves = {codec.name: measured_curves(codec) for codec in results.codecs}
    rows = {**curves, **{f"{name} (published)": curve for name, curve in published.items()}}
    anchors = {name: curves[name] for name in ANCHORS if name in curves}
    sections = [
        _introduction(results),
        *(_bd_section(metric, rows, anchors) for metric in METRICS if anchors),
        _settings_section(results.codecs),
        _environment_section(results.codecs),
    ]
    return "\n".join(sections)


def _introduction(results: Results) -> str:
    count = len(results.pictures)
    lines = [
        "# Rate, distortion and speed",
        "",
        f"{count} picture{'s' if count > 1 else ''}. Sizes are whole files. Bits per pixel, PSNR and MS-SSIM",
        "(both over RGB) are those of each picture, averaged. Times are medians over the pictures.",
    ]
    reused = [codec.name for codec in results.codecs if codec.reused]
    if reused:
        lines += ["", f"Measured in an earlier run, their times can't be compared: {', '.join(reused)}."]
    return "\n".join([*lines, ""])


def _bd_section(metric: Metric, rows: Mapping[str, CurveSet], anchors: Mapping[str, CurveSet]) -> str:
    low, high = RATE_INTERVAL
    header = ["codec"]
    for anchor in anchors:
        header += [f"{anchor}, all rates", f"{anchor}, {low:g} to {high:g} bpp"]
    results = {
        name: _bd_row(curves[metric], anchors, metric) for name, curves in rows.items() if metric in curves
    }
    table = [[name, *map(_bd_cell, row)] for name, row in results.items()]
    reasons = [
        f"- {name}, {column}: {result.reason}."
        for name, row in results.items()
        for column, result in zip(header[1:], row, strict=True)
        if result.reason
    ]
    lines = [
        f"## BD-rate in {metric.name}",
        "",
        "Bits more (+) or fewer (-) for the same quality, between the mean curves; in brackets the dB",
        "that it is averaged over, where both curves have settings. Published curves weren't measured here.",
        "",
        *markdown_table(header, table, texts=1),
        "",
    ]
    return "\n".join([*lines, *reasons, ""] if reasons else lines)


def _bd_row(curve: Curve, anchors: Mapping[str, CurveSet], metric: Metric) -> list[BdRate]:
    intervals = (None, RATE_INTERVAL)
    return [bd_rate(curve, anchor[metric], rates) for anchor in anchors.values() for rates in intervals]


def _bd_cell(result: BdRate) -> str:
    if result.percent is None:
        return "none"
    return f"{result.percent:+.1f} % ({result.low:.1f} to {result.high:.1f})"


def _settings_section(codecs: Iterable[CodecResult]) -> str:
    header = ["codec", "save arguments", "bpp", "PSNR dB", "MS-SSIM", "save s", "open and load s"]
    table = [_setting_row(codec.name, setting) for codec in codecs for setting in codec.settings]
    return "\n".join(["## Settings", "", *markdown_table(header, table, texts=2), ""])


def _setting_row(name: str, setting: Setting) -> list[str]:
    args = ", ".join(f"{key}={value}" for key, value in setting.args.items())
    quality = [f"{setting.bpp:.4f}", f"{setting.psnr:.3f}", f"{setting.msssim:.4f}"]
    return [name, args, *quality, f"{setting.save_s:.4f}", f"{setting.load_s:.4f}"]


def _environment_section(codecs: Iterable[CodecResult]) -> str:
    """Where the codecs were measured, those of one environment together."""
    groups: dict[str, list[str]] = {}
    for codec in codecs:
        described = ", ".join(f"{key} {value}" for key, value in codec.environment.items())
        groups.setdefault(described, []).append(codec.name)
    lines = [f"- {', '.join(names)}: {described}" for described, names in groups.items()]
    return "\n".join(["## Environment", "", *lines, ""])


def markdown_table(header: list[str], rows: Iterable[list[str]], texts: int) -> list[str]:
    """A Markdown table whose columns after the first `texts` are aligned right."""
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]
