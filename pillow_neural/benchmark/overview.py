"""The whole report in Markdown: what one looks at first, with links to every setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pillow_neural.benchmark.bdrate import bd_rate
from pillow_neural.benchmark.codecs import PEERS, available_peers
from pillow_neural.benchmark.curves import ALL_METRICS, METRICS, CurveSet
from pillow_neural.benchmark.learning import GOALS, LEARNING_ANCHOR, Goal, LearningPoint, extrapolated
from pillow_neural.benchmark.report import (
    RATE_INTERVAL,
    anchors_with,
    args_text,
    bd_text,
    curves_by_name,
    environment_text,
    markdown_table,
)
from pillow_neural.benchmark.results import Results
from pillow_neural.benchmark.speed import TARGET_BPP, SpeedResults, SpeedRow


@dataclass(frozen=True)
class MeasuredSet:
    """One set of pictures: its name, that of its folder too, what was measured, and the plots' file names."""

    name: str
    results: Results
    published: Mapping[str, CurveSet]
    plots: Sequence[str]


@dataclass(frozen=True)
class Overview:
    """What the report tells; is_shown when there are crops.png and index.html."""

    sets: Sequence[MeasuredSet]
    speed: SpeedResults
    learning: Sequence[LearningPoint]
    is_shown: bool

    def text(self) -> str:
        """The report as Markdown."""
        parts = [_introduction(self.sets, self.is_shown), *map(_set_section, self.sets)]
        parts.append(_speed_section(self.speed))
        if self.is_shown:
            parts.append(_CROPS)
        if self.learning:
            parts.append(_learning_section(self.learning, self.sets[0].results))
        return "\n".join(parts)


_CROPS = """\
## Crops

Original, ours, AVIF and WebP, the last two at the lowest quality whose file isn't smaller than the first of
ours. Labels give bits per pixel and PSNR of the whole picture. [index.html](index.html) has some of it with a
slider.

![Crops side by side](crops.png)
"""


def _introduction(sets: Sequence[MeasuredSet], is_shown: bool) -> str:
    folders = " ".join(each.name for each in sets)
    installed = {peer.name for peer in available_peers()}
    absent = [peer.name for peer in PEERS if peer.name not in installed]
    lines = [
        "# Benchmark",
        "",
        "Written by one command, whose arguments are the folders of pictures:",
        "",
        "```sh",
        f"python -m pillow_neural.benchmark report {folders} --output FOLDER --published published.json",
        "```",
        "",
        "Everything goes through Pillow: saved to memory, counted in bytes of whole files, opened again.",
        "Rates and qualities are means over the pictures: PSNR and MS-SSIM over RGB, and NLPD, the",
        "normalised Laplacian pyramid distance (Laparra et al. 2016), over luma as plenoptic computes it;",
        "less is better there, and its dB are -20 log10 of it. Published curves were measured by their",
        "authors.",
        "",
    ]
    if is_shown:
        lines += ["**To look rather than read: [index.html](index.html)**, ours against AVIF and WebP.", ""]
    if absent:
        lines += [f"Not measured, for Pillow can't save them here: {', '.join(absent)}.", ""]
    return "\n".join(lines)


def _set_section(measured: MeasuredSet) -> str:
    count = len(measured.results.pictures)
    low, high = RATE_INTERVAL
    lines = [
        f"## {measured.name}: {count} picture{'s' if count > 1 else ''}",
        "",
        *(f"![{plot}]({measured.name}/{plot})" for plot in measured.plots),
        "",
        f"Bits more (+) or fewer (-) at equal quality, between {low:g} and {high:g} bits per pixel of the",
        f"codec compared with. Other rates and every setting are in [its report]({measured.name}/report.md).",
        "",
        *_bd_table(curves_by_name(measured.results, measured.published)),
        "",
    ]
    return "\n".join(lines)


def _bd_table(rows: Mapping[str, CurveSet]) -> list[str]:
    columns = {
        f"{metric.name}, to {name}": (metric, anchor)
        for metric in ALL_METRICS
        for name, anchor in anchors_with(metric, rows).items()
    }
    table = [
        [
            name,
            *(
                bd_text(bd_rate(curves[metric], anchor, RATE_INTERVAL)) if metric in curves else ""
                for metric, anchor in columns.values()
            ),
        ]
        for name, curves in rows.items()
    ]
    return markdown_table(["codec", *columns], table, texts=1)


def _speed_section(speed: SpeedResults) -> str:
    header = ["codec", "save arguments", "bpp", "save s", "open s", "first save s", "first open s"]
    header += ["save MiB", "open MiB", "kMAC a pixel to save", "to open"]
    lines = [
        "## Times and memory",
        "",
        f"One run over all codecs, one after another, with {speed.picture} ({speed.width}x{speed.height}),",
        f"each at its setting nearest to {TARGET_BPP:g} bits per pixel, in a fresh process to save and",
        "another to open. Times are medians; the first time includes what a codec imports and loads.",
        "Memory is the most that the process had, Python and Pillow included.",
        "",
        *markdown_table(header, map(_speed_row, speed.rows), texts=2),
        "",
        f"{environment_text(speed.environment)}.",
        "",
    ]
    return "\n".join(lines)


def _speed_row(row: SpeedRow) -> list[str]:
    times = [row.save.next_s, row.load.next_s, row.save.first_s, row.load.first_s]
    macs = ["" if count is None else f"{count / 1000:.1f}" for count in (row.encode_macs, row.decode_macs)]
    memory = ["" if cost.peak_mib is None else f"{cost.peak_mib:.0f}" for cost in (row.save, row.load)]
    return [
        row.name,
        args_text(row.args),
        f"{row.bpp:.3f}",
        *(f"{time:.3f}" for time in times),
        *memory,
        *macs,
    ]


def _learning_section(points: Sequence[LearningPoint], results: Results) -> str:
    header = ["codec", "weights", "minutes", "megapixels", *(metric.name for metric in METRICS)]
    table = [
        [
            point.codec,
            f"`{point.weights}`",
            f"{point.minutes:.0f}",
            f"{point.megapixels:.0f}",
            *("" if (rate := point.rate(m)) is None else f"{rate:+.1f} %" for m in METRICS),
        ]
        for point in points
    ]
    lines = [
        "## Learning curves",
        "",
        f"Bits more (+) or fewer (-) than {LEARNING_ANCHOR} at equal quality, after so much training.",
        "",
        "![Learning curves](learning.png)",
        "",
        *markdown_table(header, table, texts=2),
        "",
        *filter(None, (_outlook(codec, goal, points, results) for codec, goal in GOALS.items())),
        "",
    ]
    return "\n".join(lines)


def _outlook(codec: str, goal: Goal, points: Sequence[LearningPoint], results: Results) -> str:
    """A line on when a codec will reach its goal, "" for one without a known goal or training."""
    own = [point for point in points if point.codec == codec]
    rate = goal.against_anchor(results) if own else None
    if rate is None:
        return ""
    start = f"- {codec} is to reach {goal.percent:+g} % against {goal.other} in {goal.metric.name}"
    reached = own[-1].rate(goal.metric)
    if reached is not None and reached <= rate:
        return f"{start}, and has."
    megapixels = extrapolated(own, goal.metric, rate)
    if megapixels is None:
        return f"{start}; its points don't tell when."
    hours = megapixels * own[-1].minutes / own[-1].megapixels / 60
    return f"{start}: extrapolated, after {megapixels:,.0f} megapixels, {hours:,.0f} hours of such training."
