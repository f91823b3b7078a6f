"""Turns results into report.md: BD-rates against the formats that users have today, and every setting."""

from collections.abc import Iterable, Mapping

from pillow_neural.benchmark.bdrate import BdRate, Curve, bd_rate
from pillow_neural.benchmark.codecs import SaveArgs
from pillow_neural.benchmark.curves import ALL_METRICS, CurveSet, Metric, measured_curves
from pillow_neural.benchmark.results import CodecResult, Environment, Results, Setting

ANCHORS = ("webp", "avif", "jpeg")
RATE_INTERVAL = (0.1, 1.0)
"""Bits per pixel of the anchor that the narrower BD-rates are taken over."""


def write_report(results: Results, published: Mapping[str, CurveSet]) -> str:
    """The report as Markdown; published curves, by name, get rows in the BD-rate tables."""
    rows = curves_by_name(results, published)
    sections = [
        _introduction(results),
        *(_bd_section(metric, rows) for metric in ALL_METRICS if anchors_with(metric, rows)),
        _settings_section(results.codecs),
        _environment_section(results.codecs),
    ]
    return "\n".join(sections)


def curves_by_name(results: Results, published: Mapping[str, CurveSet]) -> dict[str, CurveSet]:
    """Measured curves by the codecs' names, then published ones, marked so."""
    measured = {codec.name: measured_curves(codec) for codec in results.codecs}
    return {**measured, **{f"{name} (published)": curves for name, curves in published.items()}}


def anchors_with(metric: Metric, rows: Mapping[str, CurveSet]) -> dict[str, Curve]:
    """Those of ANCHORS that were measured in a metric, by name."""
    return {name: rows[name][metric] for name in ANCHORS if metric in rows.get(name, {})}


def bd_text(result: BdRate) -> str:
    """A BD-rate in per cent with its sign, or "none"."""
    return "none" if result.percent is None else f"{result.percent:+.1f} %"


def args_text(args: SaveArgs) -> str:
    """Arguments of Image.save as they are written in Python."""
    return ", ".join(f"{key}={value}" for key, value in args.items())


def environment_text(environment: Environment) -> str:
    """An environment in one line."""
    return ", ".join(f"{key} {value}" for key, value in environment.items())


def markdown_table(header: list[str], rows: Iterable[list[str]], texts: int) -> list[str]:
    """A Markdown table whose columns after the first `texts` are aligned right."""
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]


def _introduction(results: Results) -> str:
    count = len(results.pictures)
    lines = [
        "# Rate, distortion and speed",
        "",
        f"{count} picture{'s' if count > 1 else ''}. Sizes are whole files. Bits per pixel, PSNR and MS-SSIM",
        "(both over RGB) and NLPD (over luma; a distance, so less is better; in dB -20 log10 of it) are",
        "those of each picture, averaged. Times are medians over the pictures.",
    ]
    reused = [codec.name for codec in results.codecs if codec.reused]
    if reused:
        lines += ["", f"Measured in an earlier run, their times can't be compared: {', '.join(reused)}."]
    incomplete = [
        codec.name for codec in results.codecs if any(setting.nlpd is None for setting in codec.settings)
    ]
    if incomplete:
        lines += ["", f"Measured without NLPD, for plenoptic wasn't installed: {', '.join(incomplete)}."]
    return "\n".join([*lines, ""])


def _bd_section(metric: Metric, rows: Mapping[str, CurveSet]) -> str:
    low, high = RATE_INTERVAL
    anchors = anchors_with(metric, rows)
    header = ["codec"]
    for anchor in anchors:
        header += [f"{anchor}, all rates", f"{anchor}, {low:g} to {high:g} bpp"]
    results = {
        name: _bd_row(curves[metric], anchors.values()) for name, curves in rows.items() if metric in curves
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


def _bd_row(curve: Curve, anchors: Iterable[Curve]) -> list[BdRate]:
    return [bd_rate(curve, anchor, rates) for anchor in anchors for rates in (None, RATE_INTERVAL)]


def _bd_cell(result: BdRate) -> str:
    if result.percent is None:
        return bd_text(result)
    return f"{bd_text(result)} ({result.low:.1f} to {result.high:.1f})"


def _settings_section(codecs: Iterable[CodecResult]) -> str:
    header = ["codec", "save arguments", "bpp", "PSNR dB", "MS-SSIM", "NLPD", "save s", "open and load s"]
    table = [_setting_row(codec.name, setting) for codec in codecs for setting in codec.settings]
    return "\n".join(["## Settings", "", *markdown_table(header, table, texts=2), ""])


def _setting_row(name: str, setting: Setting) -> list[str]:
    distance = "none" if setting.nlpd is None else f"{setting.nlpd:.4f}"
    quality = [f"{setting.bpp:.4f}", f"{setting.psnr:.3f}", f"{setting.msssim:.4f}", distance]
    return [name, args_text(setting.args), *quality, f"{setting.save_s:.4f}", f"{setting.load_s:.4f}"]


def _environment_section(codecs: Iterable[CodecResult]) -> str:
    """Where the codecs were measured, those of one environment together."""
    groups: dict[str, list[str]] = {}
    for codec in codecs:
        groups.setdefault(environment_text(codec.environment), []).append(codec.name)
    lines = [f"- {', '.join(names)}: {described}" for described, names in groups.items()]
    return "\n".join(["## Environment", "", *lines, ""])
