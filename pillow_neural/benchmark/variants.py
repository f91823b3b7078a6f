"""Variants of one codec side by side, as an ablation needs them: each is a folder of weights.

    LABEL=FOLDER --named by PILLOW_NEURAL_WEIGHTS--> curves over all pictures -> results.json, variants.md,
                                                |                                psnr.png, msssim.png
                                                +--> files of one size  -------> crops.png

The weights of a variant come from `pillow_neural.training.export --output FOLDER`. What else is in the
results that are reused, such as WebP, stands beside them.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from pillow_neural.benchmark.bdrate import Curve, bd_rate
from pillow_neural.benchmark.codecs import decode, encode, nic_codec
from pillow_neural.benchmark.crops import Coded, Comparison, crop_sheet
from pillow_neural.benchmark.curves import METRICS, Metric, measured_curves
from pillow_neural.benchmark.plot import draw_curves
from pillow_neural.benchmark.report import RATE_INTERVAL, bd_text, markdown_table
from pillow_neural.benchmark.results import CodecResult, Results
from pillow_neural.benchmark.run import measure
from pillow_neural.weights import WeightsEntry, default_entry
from pillow_neural.weights.errors import FOLDER_VARIABLE
from pillow_neural.weights.manifest import MANIFEST

ANCHOR = "webp"


@dataclass(frozen=True)
class Variant:
    """Weights of the codec in a folder with a manifest of its own, and what the report calls them."""

    label: str
    folder: Path


@dataclass(frozen=True)
class Ablation:
    """What to compare.

    Attributes:
        codec: registered name.
        variants: the first is what the others are compared with.
        pictures: PNG files of both measurements and crops.
        qualities: nominal bits per pixel to measure at.
        shown: those of them to cut crops from, with bits per pixel of the files.
    """

    codec: str
    variants: Sequence[Variant]
    pictures: Sequence[Path]
    qualities: Sequence[float]
    shown: Sequence[Path] = ()
    bpp: float = 0.125


@contextmanager
def weights_of(variant: Variant, codec: str) -> Iterator[WeightsEntry]:
    """In the block, also in processes started in it, pictures of this codec are saved with these weights.

    Raises:
        ValueError: the folder has no manifest that lists weights of the codec.
    """
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(variant.folder)
    try:
        entry = default_entry(codec) if (variant.folder / MANIFEST.name).is_file() else None
        if entry is None or not (variant.folder / entry.file).is_file():
            raise ValueError(f"{variant.folder} has no weights of {codec} with a {MANIFEST.name}")
        yield entry
    finally:
        if before is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = before


def write_variants(ablation: Ablation, output: Path, jobs: int, reuse: Results | None) -> Path:
    """Measure all variants and write everything; returns variants.md.

    Raises:
        ValueError: a folder has no weights of the codec, or the results to reuse are of other pictures.
        RuntimeError: a variant fails on a picture.
    """
    output.mkdir(parents=True, exist_ok=True)
    entries, measured = [], []
    others: list[CodecResult] = []
    for variant in ablation.variants:
        with weights_of(variant, ablation.codec) as entry:
            *_, results = measure(
                [nic_codec(ablation.codec, ablation.qualities)],
                list(ablation.pictures),
                jobs=jobs,
                reuse=reuse,
            )
        result, *others = results.codecs
        entries.append(entry)
        measured.append(replace(result, name=variant.label))
    everything = Results(results.pictures, [*measured, *others])
    everything.save(output / "results.json")
    draw_curves(everything, {}, output)
    if ablation.shown:
        crop_sheet(list(_comparisons(ablation)), size=192).save(output / "crops.png")
    report = output / "variants.md"
    report.write_text(_report(ablation, entries, measured, others), encoding="utf-8")
    return report


def _comparisons(ablation: Ablation) -> Iterator[Comparison]:
    for path in ablation.shown:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        size = int(ablation.bpp * image.width * image.height / 8)
        coded = []
        for variant in ablation.variants:
            with weights_of(variant, ablation.codec):
                data = encode(image, "NIC", {"codec": ablation.codec, "target_size": size})
                coded.append(Coded(variant.label, len(data), decode(data).convert("RGB")))
        yield Comparison(path.stem, ablation.bpp, None, image, coded)


def _report(
    ablation: Ablation,
    entries: Sequence[WeightsEntry],
    measured: Sequence[CodecResult],
    others: Sequence[CodecResult],
) -> str:
    low, high = RATE_INTERVAL
    anchors = {measured[0].name: measured[0], **{o.name: o for o in others if o.name == ANCHOR}}
    header = ["variant", "weights", "minutes", "megapixels"]
    header += [f"{metric.name}, {name}" for metric in METRICS for name in anchors]
    rows = []
    for entry, result in zip(entries, measured, strict=True):
        row = [result.name, f"`{entry.id.hex()}`"]
        row += (
            [f"{entry.training.minutes:.0f}", f"{entry.training.megapixels:.0f}"]
            if entry.training
            else ["", ""]
        )
        row += [
            bd_text(bd_rate(_curve(result, m), _curve(a, m), RATE_INTERVAL))
            for m in METRICS
            for a in anchors.values()
        ]
        rows.append(row)
    lines = [
        f"# Variants of {ablation.codec}",
        "",
        f"{len(ablation.pictures)} pictures, whole files. BD-rates are bits more (+) or fewer (-) at equal",
        f"quality than the first variant and {ANCHOR}, between {low:g} and {high:g} bpp of theirs.",
        "",
        *markdown_table(header, rows, texts=2),
        "",
        *(f"![{metric.name}]({metric.field}.png)" for metric in METRICS),
        "",
    ]
    if ablation.shown:
        lines += [f"At most {ablation.bpp:g} bits per pixel each:", "", "![Crops](crops.png)", ""]
    return "\n".join(lines)


def _curve(result: CodecResult, metric: Metric) -> Curve:
    return measured_curves(result)[metric]
