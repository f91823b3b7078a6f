"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from pillow_neural.codecs.contract import MAX_EFFORT
from pillow_neural.settings import check_quality, check_target_size

# argparse has no public name for what add_subparsers returns
Commands = argparse._SubParsersAction

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


def add_command(
    commands: Commands[argparse.ArgumentParser], name: str, summary: str, details: str, examples: str
) -> argparse.ArgumentParser:
    """Add a command with its help: a summary for the list of commands, details and examples for its own."""
    command = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {details}",
        epilog=f"examples:\n{examples}",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(parser=command)
    return command


class Parser(argparse.ArgumentParser):
    """Takes files before, between and after options, and reports wrong usage in two lines, as GNU does."""

    _parsing = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as `parse_known_intermixed_args` does, which calls this method in some versions of Python.

        After -- everything is a file. Unknown options are this parser's error, not that of the one above.
        """
        if self._subparsers is not None or self._parsing:
            return super().parse_known_args(args, namespace)
        plain = args is not None and "--" in args
        parse = super().parse_known_args if plain else self.parse_known_intermixed_args
        self._parsing = True
        try:
            options, unknown = parse(args, namespace)
        finally:
            self._parsing = False
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with 2."""
        self.exit(2, f"{self.prog}: {message}\nTry '{self.prog} --help'.\n")


class HelpFormatter(argparse.HelpFormatter):
    """Wraps descriptions as usual, and leaves the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return "".join(f"{indent}{line}" for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


def add_inputs(command: argparse.ArgumentParser, what: str) -> None:
    """INPUT ... and --recursive."""
    command.add_argument("inputs", nargs="+", metavar="INPUT", help=f"{what}; - is standard input")
    command.add_argument(
        "-r", "--recursive", action="store_true", help="also take the folders in folders, but not hidden ones"
    )


def add_conversion(command: argparse.ArgumentParser, what: str, suffix: str) -> None:
    """What encode and decode share."""
    add_inputs(command, what)
    command.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="a file with its suffix; or a folder, which is made if need be and gets the tree of the inputs' "
        f"folders; or - for standard output (default: beside the input, with the suffix {suffix})",
    )
    existing = command.add_mutually_exclusive_group()
    existing.add_argument("-f", "--force", action="store_true", help="overwrite files that exist")
    existing.add_argument(
        "--skip-existing", action="store_true", help="leave out what is there already; no error"
    )
    command.add_argument("--ignore-exif", action="store_true", help="leave Exif metadata out")
    command.add_argument("--ignore-icc", action="store_true", help="leave the colour profile out")
    command.add_argument("--ignore-xmp", action="store_true", help="leave XMP metadata out")
    command.add_argument("--strip", action="store_true", help="leave all metadata out")
    command.add_argument(
        "--preserve-times",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="give the new file the times of last access and change of its source (default: yes)",
    )
    add_work(command)
    add_output_style(command)


def add_work(command: argparse.ArgumentParser) -> None:
    """--jobs and --device."""
    command.add_argument(
        "-j",
        "--jobs",
        type=positive,
        metavar="N",
        help="files in work at once, each wholly in memory; they share the CPU cores (default: one a core, "
        "at most 4)",
    )
    command.add_argument("--device", help="cpu, cuda, cuda:1... (default: cuda if there is one, else cpu)")


def add_output_style(command: argparse.ArgumentParser) -> None:
    """--verbose, --quiet and --json."""
    style = command.add_mutually_exclusive_group()
    style.add_argument("-v", "--verbose", action="store_true", help="say more about each file")
    style.add_argument("-Q", "--quiet", action="store_true", help="say nothing but what goes wrong")
    add_json(style)


def add_json(options: argparse._ActionsContainer) -> None:
    """--json, for a command or a group of its options."""
    options.add_argument("--json", action="store_true", help="write a JSON array with one object a file")


def positive(text: str) -> int:
    """A whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def quality(text: str) -> float:
    """Nominal bits per pixel."""
    try:
        return check_quality(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def effort(text: str) -> int:
    """How much to search, 0 to 9."""
    if not re.fullmatch(rf"[0-{MAX_EFFORT}]", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {MAX_EFFORT}")
    return int(text)


def byte_count(text: str) -> int:
    """A number of bytes such as 20000, 20k or 1M."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([km]?)b?", text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes such as 20000, 20k or 1M")
    try:
        return check_target_size(int(float(match[1]) * _UNITS[match[2]]))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def percent(text: str) -> int:
    """A whole number from 0 to 100."""
    if not re.fullmatch(r"\d{1,2}|100", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 100")
    return int(text)
