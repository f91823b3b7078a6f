"""Command line: `python -m pillow_neural.benchmark COMMAND`; `--help` lists the commands."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from pillow_neural.benchmark.codecs import NIC_QUALITIES, available_peers, find_codec, our_codecs
from pillow_neural.benchmark.complexity import complexity
from pillow_neural.benchmark.crops import compare, crop_sheet, encoders
from pillow_neural.benchmark.curves import DEFAULT_PUBLISHED, CurveSet, load_published
from pillow_neural.benchmark.full_report import CROP_BPPS, CROP_SIZE, Plan, Shown, write_full_report
from pillow_neural.benchmark.graphics import measure_graphics
from pillow_neural.benchmark.graphics_set import graphics_set
from pillow_neural.benchmark.layers import measure_layers
from pillow_neural.benchmark.maps import map_sheet
from pillow_neural.benchmark.plot import draw_curves
from pillow_neural.benchmark.report import write_report
from pillow_neural.benchmark.results import load_results
from pillow_neural.benchmark.run import find_pictures, measure
from pillow_neural.benchmark.startup import startup
from pillow_neural.benchmark.variants import Ablation, Variant, write_variants
from pillow_neural.codecs.registry import DEFAULT_CODEC


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status, 1 after an error that was said on stderr."""
    options = _parser().parse_args(arguments)
    try:
        options.action(options)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        print(f"error: {error}{cause}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    named = [find_codec(name, options.qualities) for name in options.codecs]
    peers = available_peers() if options.peers else []
    codecs = list({codec.name: codec for codec in (*named, *peers)}.values())
    if not codecs:
        raise ValueError("no codecs to measure")
    reuse = load_results(options.reuse) if options.reuse else None
    options.output.mkdir(parents=True, exist_ok=True)
    paths = find_pictures(options.folder, options.limit)
    for results in measure(codecs, paths, repeats=options.repeats, jobs=options.jobs, reuse=reuse):
        results.save(options.output / "results.json")
    published = _published(options)
    report = options.output / "report.md"
    report.write_text(write_report(results, published), encoding="utf-8")
    draw_curves(results, published, options.output)
    print(report)


def _report(options: argparse.Namespace) -> None:
    if options.codecs:
        codecs = [find_codec(name) for name in dict.fromkeys(options.codecs)]
    else:
        codecs = [*our_codecs(), *available_peers()]
    plan = Plan(
        folders=options.folders,
        output=options.output,
        codecs=codecs,
        published=_published(options),
        shown=options.show,
        limit=options.limit,
        jobs=options.jobs,
        reuse=options.reuse,
    )
    print(write_full_report(plan))


def _published(options: argparse.Namespace) -> dict[str, CurveSet]:
    names = tuple(options.published_curves)
    return load_published(options.published, names) if options.published else {}


def _holdout(options: argparse.Namespace) -> None:
    from pillow_neural.benchmark.holdout import write_holdout  # imports torch

    print(f"{len(write_holdout(options.data, options.output, options.count))} pictures in {options.output}")


def _layers(options: argparse.Namespace) -> None:
    paths = find_pictures(options.folder, options.limit)
    options.output.mkdir(parents=True, exist_ok=True)
    measure_layers(options.codec, paths, options.quality).save(options.output)
    print(options.output / "layers.md")


def _variants(options: argparse.Namespace) -> None:
    pictures = find_pictures(options.folder, options.limit)
    shown = [path for path in pictures if path.stem in options.show]
    ablation = Ablation(options.codec, options.variants, pictures, options.qualities, shown, options.bpp)
    reuse = load_results(options.reuse) if options.reuse else None
    print(write_variants(ablation, options.output, options.jobs, reuse))


def _crops(options: argparse.Namespace) -> None:
    ours = encoders([find_codec(name) for name in options.codecs])
    middle = tuple(options.at) if options.at else None
    rows = [row for path in options.pictures for row in compare(path, options.bpp, ours, middle)]
    crop_sheet(rows, options.size).save(options.output)


def _maps(options: argparse.Namespace) -> None:
    map_sheet(options.pictures, options.codec, options.quality, options.width).save(options.output)


def _graphics(options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    measure_graphics(graphics_set(options.photograph)).save(options.output)
    print(options.output / "graphics.md")


def _complexity(options: argparse.Namespace) -> None:
    with Image.open(options.picture) as picture:
        counts = complexity(options.codec, picture)
    encoding, decoding = (f"{count / 1000:.1f} kMAC a pixel" for count in counts)
    print(f"{options.codec}: {encoding} to encode, {decoding} to decode")


def _startup(options: argparse.Namespace) -> None:
    for name, seconds in startup(options.picture)._asdict().items():
        print(f"{name.replace('_', ' ')}: {seconds * 1e3:.2f} ms")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pillow_neural.benchmark", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_run(commands.add_parser("run", help="measure codecs over a folder of PNG pictures"))
    _add_report(commands.add_parser("report", help="measure, draw and write everything"))
    _add_holdout(commands.add_parser("holdout", help="write held-out training pictures to measure on"))
    _add_layers(commands.add_parser("layers", help="what each layer of a progressive codec brings"))
    _add_variants(commands.add_parser("variants", help="weights of one codec side by side, for an ablation"))
    _add_crops(commands.add_parser("crops", help="crops side by side: original, ours, AVIF, WebP"))
    _add_maps(commands.add_parser("maps", help="importance maps of pictures at several rates"))
    _add_graphics(commands.add_parser("graphics", help="screenshots, drawings and icons, made on the spot"))
    _add_complexity(commands.add_parser("complexity", help="multiplications a pixel of a codec of ours"))
    _add_startup(commands.add_parser("startup", help="times to import the package and to open a header"))
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_run)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for what is written")
    parser.add_argument(
        "--codecs", nargs="*", default=["nic"], help="nic, nic:ssim, nic:CODEC or peers (default: nic)"
    )
    parser.add_argument("--peers", action="store_true", help="also every other format that Pillow can save")
    parser.add_argument("--reuse", type=Path, help="results.json to take the codecs that aren't named from")
    parser.add_argument("--limit", type=_positive, help="only the first pictures by name")
    parser.add_argument("--repeats", type=_positive, default=1, help="times to save and open, median counts")
    parser.add_argument("--jobs", type=_positive, default=1, help="processes; more than 1 disturbs the times")
    _add_qualities(parser)
    _add_published(parser)


def _add_qualities(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--qualities",
        type=float,
        nargs="+",
        default=NIC_QUALITIES,
        metavar="BPP",
        help=f"of our codecs (default: {' '.join(map(str, NIC_QUALITIES))})",
    )


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_report)
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="PNG pictures, the main set first"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for what is written")
    parser.add_argument("--reuse", action="store_true", help="measure only what the output folder lacks")
    parser.add_argument(
        "--codecs", nargs="+", help="nic, nic:ssim, nic:CODEC or peers (default: all that there are)"
    )
    parser.add_argument("--limit", type=_positive, help="only the first pictures of each set by name")
    parser.add_argument(
        "--jobs", type=_positive, default=1, help="processes that share the pictures of a set"
    )
    parser.add_argument(
        "--show",
        type=_shown,
        nargs="+",
        default=[],
        metavar="NAME[@X,Y]",
        help="pictures of the main set for crops and page, and the middle of what to see (default: some)",
    )
    _add_published(parser)


def _add_holdout(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_holdout)
    parser.add_argument("data", type=Path, nargs="+", help="training pictures: tar files or folders")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--count", type=_positive, default=24, help="at most so many (default: %(default)s)")


def _add_published(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--published", type=Path, help="JSON of published curves to show as well")
    parser.add_argument("--published-curves", nargs="+", metavar="NAME", default=list(DEFAULT_PUBLISHED))


def _add_layers(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_layers)
    parser.add_argument("folder", type=Path, help="folder of PNG pictures")
    parser.add_argument("--codec", required=True, help="a progressive codec, such as johnston2018")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for what is written")
    parser.add_argument(
        "--quality",
        type=float,
        help="nominal bits per pixel (default: the highest rate, with all iterations in all blocks)",
    )
    parser.add_argument("--limit", type=_positive, help="only the first pictures by name")


def _add_variants(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_variants)
    _add_qualities(parser)
    parser.add_argument("folder", type=Path, help="folder of PNG pictures")
    parser.add_argument(
        "variants",
        type=_variant,
        nargs="+",
        metavar="LABEL=FOLDER",
        help="weights that training.export --output wrote; the first is what the others are compared with",
    )
    parser.add_argument("--codec", required=True, help="their codec, such as johnston2018")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for what is written")
    parser.add_argument("--reuse", type=Path, help="results.json of others to compare with, such as WebP")
    parser.add_argument("--show", nargs="+", default=[], metavar="NAME", help="pictures to cut crops from")
    parser.add_argument("--bpp", type=float, default=0.125, help="of the crops (default: %(default)s)")
    parser.add_argument("--limit", type=_positive, help="only the first pictures by name")
    parser.add_argument(
        "--jobs", type=_positive, default=1, help="processes that share the pictures; they disturb times"
    )


def _add_crops(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_crops)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument(
        "--bpp", type=float, nargs="+", default=list(CROP_BPPS), help="nominal bits per pixel"
    )
    parser.add_argument("--output", type=Path, required=True, help="picture to write")
    parser.add_argument("--codecs", nargs="+", default=["nic"], help="nic, nic:ssim or nic:CODEC")
    parser.add_argument("--size", type=_positive, default=CROP_SIZE, help="side of the crops in pixels")
    parser.add_argument("--at", type=int, nargs=2, metavar=("X", "Y"), help="middle of the crops")


def _add_maps(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_maps)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--codec", required=True, help="one with importance maps, such as li2018")
    parser.add_argument("--quality", type=float, nargs="+", default=[0.2, 0.8], help="as in Image.save")
    parser.add_argument("--width", type=_positive, default=288, help="of each map in pixels")
    parser.add_argument("--output", type=Path, required=True, help="picture to write")


def _add_graphics(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_graphics)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for what is written")
    parser.add_argument(
        "--photograph",
        type=Path,
        default=Path("examples/kodim23.png"),
        help="a picture to paste and to dither, at least 400x300 (default: %(default)s)",
    )


def _add_complexity(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_complexity)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--codec", default=DEFAULT_CODEC, help="default: %(default)s")


def _add_startup(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_startup)
    parser.add_argument("picture", type=Path, help="a .nic file")


def _shown(text: str) -> Shown:
    name, _, place = text.partition("@")
    if not place:
        return Shown(name)
    x, y = map(int, place.split(","))
    return Shown(name, (x, y))


def _variant(text: str) -> Variant:
    label, _, folder = text.partition("=")
    if not folder:
        raise ValueError
    return Variant(label, Path(folder))


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


if __name__ == "__main__":
    sys.exit(main())
