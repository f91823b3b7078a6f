"""The whole report by one command: measures what is missing, draws, compares, and writes everything anew.

    folders of pictures -> SET/results.json, report.md, psnr.png, msssim.png, nlpd.png for each of them
    first picture       -> speed.json
    results of the first set, learning.json -> learning.json, learning.png
    pictures to show    -> crops.png, index.html
    all of these        -> report.md

A set is named by its folder, so that an interrupted run finds what it has measured. Published curves,
learning and pictures to show belong to the first set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pillow_neural.benchmark.codecs import Codec, registered_name, weights_measured
from pillow_neural.benchmark.crops import Comparison, compare, crop_sheet, encoders
from pillow_neural.benchmark.curves import METRICS, CurveSet
from pillow_neural.benchmark.learning import (
    LearningPoint,
    load_learning,
    rates_against_anchor,
    save_learning,
    with_measured,
)
from pillow_neural.benchmark.metrics import HAS_NLPD
from pillow_neural.benchmark.overview import MeasuredSet, Overview
from pillow_neural.benchmark.page import write_page
from pillow_neural.benchmark.plot import draw_curves, draw_learning
from pillow_neural.benchmark.report import ANCHORS, write_report
from pillow_neural.benchmark.results import CodecResult, Results, load_results
from pillow_neural.benchmark.run import find_pictures, measure
from pillow_neural.benchmark.speed import SpeedResults, load_speed, measure_speed, typical_setting
from pillow_neural.codecs.registry import DEFAULT_CODEC

CROP_BPPS = (0.1, 0.25)
PAGE_BPP = 0.25
CROP_SIZE = 192
SHOWN = 3


@dataclass(frozen=True)
class Shown:
    """A picture of the first set to look at closely: its name without .png, and the place worth seeing."""

    name: str
    middle: tuple[int, int] | None = None


@dataclass(frozen=True)
class Plan:
    """What to report on.

    Attributes:
        folders: of PNG pictures, differently named; the first is the main set.
        output: folder for what is written.
        codecs: in the order of tables and plots; the default one is shown in crops and page. Others that
            `output` holds results of follow, if they are reused.
        published: curves of others by name, measured on the first set.
        shown: pictures to look at closely; none for some of the first set.
        limit: only the first pictures of each set by name.
        jobs: processes that share the pictures of a set; times are measured apart, undisturbed.
        reuse: keep what `output` holds of the same pictures, settings and weights, of codecs that are not
            named at any settings.
    """

    folders: Sequence[Path]
    output: Path
    codecs: Sequence[Codec]
    published: Mapping[str, CurveSet]
    shown: Sequence[Shown] = ()
    limit: int | None = None
    jobs: int = 1
    reuse: bool = False


def write_full_report(plan: Plan) -> Path:
    """Carry out the plan; returns report.md.

    Raises:
        ValueError: folders of one name, no pictures, results of other pictures to reuse, or no picture of a
            name to show.
        RuntimeError: a codec fails; what was measured before it is kept.
        OSError: files can't be read or written.
        ImportError: matplotlib isn't installed.
    """
    if len({folder.name for folder in plan.folders}) < len(plan.folders):
        raise ValueError("folders of pictures need different names, for results are kept under them")
    pictures = [find_pictures(folder, plan.limit) for folder in plan.folders]
    shown = _find_shown(plan.shown, pictures[0])
    sets = [
        _measure_set(plan, folder.name, paths, plan.published if folder is plan.folders[0] else {})
        for folder, paths in zip(plan.folders, pictures, strict=True)
    ]
    speed = _speed(plan, sets[0].results, pictures[0][0])
    learning = _learn(plan.output, sets[0].results)
    is_shown = _show(plan, shown)
    report = plan.output / "report.md"
    report.write_text(Overview(sets, speed, learning, is_shown).text(), encoding="utf-8")
    return report


def _measure_set(plan: Plan, name: str, paths: list[Path], published: Mapping[str, CurveSet]) -> MeasuredSet:
    folder = plan.output / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.json"
    old = load_results(file) if plan.reuse and file.exists() else Results([], [])
    order = [codec.name for codec in plan.codecs]
    current = [each for each in old.codecs if any(_is_current(each, codec) for codec in plan.codecs)]
    kept = current + [each for each in old.codecs if each.name not in order and _has_current_weights(each)]
    names = {measured.name for measured in current}
    missing = [codec for codec in plan.codecs if codec.name not in names]
    results = Results(old.pictures, _in_order(kept, order))
    results.save(file)
    reuse = results if kept else None
    for so_far in measure(missing, paths, jobs=plan.jobs, reuse=reuse):
        results = Results(so_far.pictures, _in_order(so_far.codecs, order))
        results.save(file)
    (folder / "report.md").write_text(write_report(results, published), encoding="utf-8")
    plots = draw_curves(results, published, folder)
    return MeasuredSet(name, results, published, [plot.name for plot in plots])


def _is_current(measured: CodecResult, codec: Codec) -> bool:
    """Whether measuring the codec now would give these results: its settings, weights and metrics."""
    return (
        measured.name == codec.name
        and [setting.args for setting in measured.settings] == list(codec.settings)
        and measured.environment.get("weights") == weights_measured(codec).get("weights")
        and not (HAS_NLPD and any(setting.nlpd is None for setting in measured.settings))
    )


def _has_current_weights(measured: CodecResult) -> bool:
    """Whether a codec of ours saves with the weights that were measured; others have none."""
    codec = Codec(measured.name, measured.format, tuple(setting.args for setting in measured.settings))
    try:
        weights = weights_measured(codec).get("weights")
    except OSError:
        return False
    return measured.environment.get("weights") == weights


def _in_order(measured: Sequence[CodecResult], names: Sequence[str]) -> list[CodecResult]:
    """Those of these names first, the others as they were."""
    return sorted(measured, key=lambda codec: names.index(codec.name) if codec.name in names else len(names))


def _speed(plan: Plan, results: Results, picture: Path) -> SpeedResults:
    file = plan.output / "speed.json"
    names = {codec.name for codec in plan.codecs}
    codecs = [typical_setting(measured) for measured in results.codecs if measured.name in names]
    if plan.reuse and file.exists() and (old := load_speed(file)).holds(codecs, picture):
        return old
    speed = measure_speed(codecs, picture)
    speed.write(file)
    return speed


def _learn(output: Path, results: Results) -> list[LearningPoint]:
    file = output / "learning.json"
    points = with_measured(load_learning(file), results)
    if points:
        save_learning(points, file)
        across = {metric: _of_anchors(rates_against_anchor(results, metric)) for metric in METRICS}
        draw_learning(points, across, output / "learning.png")
    return points


def _of_anchors(rates: Mapping[str, float]) -> dict[str, float]:
    return {name: rates[name] for name in ANCHORS if name in rates}


def _find_shown(shown: Sequence[Shown], paths: Sequence[Path]) -> list[tuple[Path, Shown]]:
    """The files of pictures to show; without any, some evenly spread over the set."""
    if not shown:
        step = -(-len(paths) // SHOWN)
        return [(path, Shown(path.stem)) for path in paths[::step]]
    by_name = {path.stem: path for path in paths}
    if unknown := [each.name for each in shown if each.name not in by_name]:
        raise ValueError(f"the first set has no picture {', '.join(unknown)}; it has {', '.join(by_name)}")
    return [(by_name[each.name], each) for each in shown]


def _show(plan: Plan, shown: Sequence[tuple[Path, Shown]]) -> bool:
    """Write crops.png and index.html with the default codec, however tuned, or else the first of ours."""
    ours = [codec for codec in plan.codecs if codec.format == "NIC"]
    if not ours:
        return False
    default = [codec for codec in ours if registered_name(codec.settings[0]) == DEFAULT_CODEC]
    shown_codecs = encoders(default or ours[:1])
    comparisons: list[Comparison] = []
    for path, place in tqdm(shown, desc="crops and page", unit="picture"):
        comparisons += compare(path, CROP_BPPS, shown_codecs, place.middle)
    crop_sheet(comparisons, CROP_SIZE).save(plan.output / "crops.png")
    write_page([each for each in comparisons if each.bpp == PAGE_BPP], plan.output / "index.html")
    return True
