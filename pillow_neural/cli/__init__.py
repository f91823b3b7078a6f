"""The `nic` command: encode, decode and describe .nic pictures."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pillow_neural
from pillow_neural.cli.files import UsageError
from pillow_neural.codecs.registry import DEFAULT_CODEC, codecs
from pillow_neural.settings import DEFAULT_QUALITY, check_quality, check_target_size

_EXAMPLES = """examples:
  nic encode photo.png                          writes photo.nic beside it
  nic encode photo.png -q 0.25 -o small.nic
  nic encode holiday/ --target-size 50k -o out/ every picture in the folder, at most 50,000 bytes each
  nic decode photo.nic                          writes photo.png
  nic decode *.nic --format webp -o out/
  nic info photo.nic
"""
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process.

    Returns:
        0 if all went well, 1 if some file failed or whoever read the output left. Wrong usage exits with 2.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        status = _run(options)
        sys.stdout.flush()
        return status
    except UsageError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.command == "info":
        from pillow_neural.cli.info import info

        return info(options.inputs, as_json=options.json)
    from pillow_neural.cli.convert import decode, encode

    return encode(options) if options.command == "encode" else decode(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nic",
        description="Neural-compressed pictures (.nic) from and to those that Pillow opens.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="encode|decode|info")
    _add_encode(commands)
    _add_decode(commands)
    _add_info(commands)
    return parser


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"pillow-neural {pillow_neural.__version__}")
        parser.exit()


_Commands = argparse._SubParsersAction  # argparse has no public name for it


def _add_command(
    commands: _Commands[argparse.ArgumentParser], name: str, summary: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_encode(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _add_command(commands, "encode", "compress pictures to .nic")
    _add_conversion(command, "pictures, patterns, or folders of pictures", "the picture with the suffix .nic")
    rate = command.add_mutually_exclusive_group()
    rate.add_argument(
        "-q",
        "--quality",
        type=_quality,
        metavar="BPP",
        help=f"nominal bits per pixel, 0.05 to 2.0; 0.25 is a good start (default: {DEFAULT_QUALITY})",
    )
    rate.add_argument(
        "--target-size",
        type=_byte_count,
        metavar="BYTES",
        help="the most bytes that a file may have, such as 20k (20,000) or 1M (1,000,000)",
    )
    command.add_argument(
        "--codec",
        choices=[codec.name for codec in codecs()],
        default=DEFAULT_CODEC,
        help="default: %(default)s",
    )


def _add_decode(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _add_command(commands, "decode", "turn .nic files into pictures of another format")
    _add_conversion(command, ".nic files, patterns, or folders of them", "the file with the new suffix")
    command.add_argument(
        "--format", metavar="SUFFIX", help="png, webp, tif...: what to write (default: as -o says, else png)"
    )


def _add_info(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _add_command(
        commands, "info", "describe .nic files and check their checksums, without decoding"
    )
    command.add_argument("inputs", nargs="+", metavar="FILE", help=".nic files, patterns, or folders of them")
    command.add_argument("--json", action="store_true", help="write a JSON array with one object a file")


def _add_conversion(command: argparse.ArgumentParser, inputs: str, default: str) -> None:
    command.add_argument("inputs", nargs="+", metavar="INPUT", help=inputs)
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help=f"a file with its suffix, or a folder (default: {default})",
    )
    command.add_argument("-f", "--force", action="store_true", help="overwrite files that exist")
    command.add_argument("--device", help="cpu, cuda, cuda:1... (default: cuda if there is one, else cpu)")


def _quality(text: str) -> float:
    try:
        return check_quality(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _byte_count(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([km]?)b?", text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes such as 20000, 20k or 1M")
    try:
        return check_target_size(int(float(match[1]) * _UNITS[match[2]]))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
