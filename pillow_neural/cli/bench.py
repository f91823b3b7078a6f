"""`nic bench`: rate, distortion and speed of .nic and other formats over a folder, as a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pillow_neural.cli import arguments
from pillow_neural.cli.arguments import Commands
from pillow_neural.cli.files import UsageError
from pillow_neural.cli.workers import say

if TYPE_CHECKING:
    from pillow_neural.benchmark.results import CodecResult, Setting

_DETAILS = """Saves and opens every PNG picture of the folder, in memory, at every setting of every codec.
Bits per pixel, PSNR and MS-SSIM are means over the pictures, the seconds medians, which other work on the
machine disturbs. MS-SSIM needs pictures of at least 176 pixels a side. 'python -m pillow_neural.benchmark
run' draws curves and writes a report as well."""

_EXAMPLES = """\
  nic bench kodak/
  nic bench kodak/ --limit 2 --repeats 3 --codecs nic webp avif-fast
"""

_DEFAULT_CODECS = ["nic", "webp", "avif", "jpeg"]
_COLUMNS = ("codec", "setting", "bpp", "PSNR dB", "MS-SSIM", "save s", "open s")
_ROW = "{:<10} {:<14} {:>7} {:>8} {:>8} {:>7} {:>7}"


def add_parser(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    command = arguments.add_command(
        commands, "bench", "measure .nic and other formats on your pictures", _DETAILS, _EXAMPLES
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="folder of PNG pictures")
    command.add_argument(
        "--codecs",
        nargs="+",
        default=_DEFAULT_CODECS,
        metavar="NAME",
        help="nic, nic:ssim, nic:CODEC, webp, avif, avif-fast, jpeg, jpeg2000, heif, jxl (default: "
        f"{' '.join(_DEFAULT_CODECS)})",
    )
    command.add_argument(
        "--limit", type=arguments.positive, metavar="N", help="only the first pictures by name"
    )
    command.add_argument(
        "--repeats",
        type=arguments.positive,
        default=1,
        metavar="N",
        help="times to save and open, the median counts (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Measure and print; the exit code is 1 if a codec fails, else 0.

    Raises:
        UsageError: there are no such pictures or codecs.
    """
    from pillow_neural.benchmark.codecs import find_codec
    from pillow_neural.benchmark.run import find_pictures, measure

    try:
        codecs = [find_codec(name) for name in dict.fromkeys(options.codecs)]
        paths = find_pictures(options.folder, options.limit)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{options.folder}: {error.strerror}") from error
    try:
        *_, results = measure(codecs, paths, repeats=options.repeats)
    except (RuntimeError, OSError) as error:
        say(f"nic: {error}: {error.__cause__}" if error.__cause__ else f"nic: {error}", error=True)
        return 1
    say("\n".join([*_table(results.codecs), *_comparison(results.codecs)]))
    return 0


def _table(codecs: list[CodecResult]) -> list[str]:
    rows = [_ROW.format(*_COLUMNS)]
    for codec in codecs:
        for setting in codec.settings:
            figures = (f"{setting.bpp:.4f}", f"{setting.psnr:.2f}", f"{setting.msssim:.4f}")
            times = (f"{setting.save_s:.3f}", f"{setting.load_s:.3f}")
            rows.append(_ROW.format(codec.name, _varied(setting, codec), *figures, *times))
    return rows


def _varied(setting: Setting, codec: CodecResult) -> str:
    """The save arguments of a setting that are not those of all the codec's settings."""
    others = [other.args for other in codec.settings]
    return ", ".join(
        f"{name}={value}"
        for name, value in setting.args.items()
        if any(args.get(name) != value for args in others)
    )


def _comparison(codecs: list[CodecResult]) -> list[str]:
    """Bjontegaard delta rates against the first anchor that was measured, if there is another codec."""
    from pillow_neural.benchmark.bdrate import bd_rate
    from pillow_neural.benchmark.curves import METRICS, measured_curves
    from pillow_neural.benchmark.report import ANCHORS

    curves = {codec.name: measured_curves(codec) for codec in codecs}
    anchor = next((name for name in ANCHORS if name in curves), None)
    if anchor is None or len(curves) == 1:
        return []
    lines = ["", f"more (+) or fewer (-) bits than {anchor} at equal quality:"]
    for metric in METRICS:
        rates = {
            name: bd_rate(curve[metric], curves[anchor][metric]).percent for name, curve in curves.items()
        }
        shown = (
            f"{name} {'none' if rate is None else f'{rate:+.1f} %'}"
            for name, rate in rates.items()
            if name != anchor
        )
        lines.append(f"  {metric.name:<8} {', '.join(shown)}")
    return lines
