"""Command line: `python -m pillow_neural.benchmark run|report|layers|crops|complexity|startup`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from pillow_neural.benchmark.codecs import available_peers, encode, find_codec
from pillow_neural.benchmark.complexity import complexity
from pillow_neural.benchmark.crops import CropArea, crop_sheet
from pillow_neural.benchmark.curves import DEFAULT_PUBLISHED, load_published
from pillow_neural.benchmark.layers import measure_layers
from pillow_neural.benchmark.plot import draw_curves
from pillow_neural.benchmark.report import write_report
from pillow_neural.benchmark.results import Results, load_results
from pillow_neural.benchmark.run import find_pictures, measure
from pillow_neural.benchmark.startup import startup
from pillow_neural.codecs.registry import DEFAULT_CODEC


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status, 1 after an error that was said on stderr."""
    options = _parser().parse_args(arguments)
    try:
        options.action(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    named = [find_codec(name) for name in options.codecs]
    peers = available_peers() if options.peers else []
    codecs = list({codec.name: codec for codec in (*named, *peers)}.values())
    if not codecs:
        raise ValueError("no codecs to measure")
    reuse = load_results(options.reuse) if options.reuse else None
    options.output.mkdir(parents=True, exist_ok=True)
    paths = find_pictures(options.folder, options.limit)
    for results in measure(codecs, paths, repeats=options.repeats, jobs=options.jobs, reuse=reuse):
        results.save(options.output / "results.json")
    _write_outputs(results, options, options.output)


def _report(options: argparse.Namespace) -> None:
    _write_outputs(load_results(options.results), options, options.output or options.results.parent)


def _write_outputs(results: Results, options: argparse.Namespace, folder: Path) -> None:
    names = tuple(options.published_curves)
    published = load_published(options.published, names) if options.published else {}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(write_report(results, published), encoding="utf-8")
    draw_curves(results, published, folder / "rd.png")
    print(folder / "report.md")


def _layers(options: argparse.Namespace) -> None:
    paths = find_pictures(options.folder, options.limit)
    options.output.mkdir(parents=True, exist_ok=True)
    measure_layers(options.codec, paths, options.quality).save(options.output)
    print(options.output / "layers.md")


def _crops(options: argparse.Namespace) -> None:
    ours = find_codec(options.codec)
    fixed = {key: value for key, value in ours.settings[0].items() if key != "quality"}

    def encode_ours(image: Image.Image, bpp: float) -> bytes:
        return encode(image, ours.format, {**fixed, "quality": bpp})

    area = CropArea(options.size, tuple(options.at) if options.at else None)
    crop_sheet(options.pictures, options.bpp, encode_ours, area).save(options.output)


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
    _add_report(commands.add_parser("report", help="write report.md and rd.png anew from a results.json"))
    _add_layers(commands.add_parser("layers", help="what each layer of a progressive codec brings"))
    _add_crops(commands.add_parser("crops", help="crops side by side: original, ours, AVIF, WebP"))
    _add_complexity(commands.add_parser("complexity", help="multiplications a pixel of a codec of ours"))
    _add_startup(commands.add_parser("startup", help="times to import the package and to open a header"))
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_run)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for what is written")
    parser.add_argument("--codecs", nargs="*", default=["nic"], help="nic, nic:CODEC or peers (default: nic)")
    parser.add_argument("--peers", action="store_true", help="also every other format that Pillow can save")
    parser.add_argument("--reuse", type=Path, help="results.json to take the codecs that aren't named from")
    parser.add_argument("--limit", type=_positive, help="only the first pictures by name")
    parser.add_argument("--repeats", type=_positive, default=1, help="times to save and open, median counts")
    parser.add_argument("--jobs", type=_positive, default=1, help="processes; more than 1 disturbs the times")
    _add_published(parser)


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_report)
    parser.add_argument("results", type=Path)
    parser.add_argument("--output", type=Path, help="folder (default: that of the results)")
    _add_published(parser)


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


def _add_crops(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_crops)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument(
        "--bpp", type=float, nargs="+", default=[0.1, 0.25, 0.5], help="nominal bits per pixel"
    )
    parser.add_argument("--output", type=Path, required=True, help="picture to write")
    parser.add_argument("--codec", default="nic", help="nic or nic:CODEC")
    parser.add_argument("--size", type=_positive, default=256, help="side of the crops in pixels")
    parser.add_argument("--at", type=int, nargs=2, metavar=("X", "Y"), help="left upper corner of the crops")


def _add_complexity(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_complexity)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--codec", default=DEFAULT_CODEC, help="default: %(default)s")


def _add_startup(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_startup)
    parser.add_argument("picture", type=Path, help="a .nic file")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


if __name__ == "__main__":
    sys.exit(main())
