"""The `nic` command: one module a subcommand, each with `add_parser` and `run`."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

import pillow_neural
from pillow_neural.cli import bench, decode, desktop, encode, info, thumbnail, verify, weights
from pillow_neural.cli.arguments import HelpFormatter, Parser
from pillow_neural.cli.files import UsageError

_COMMANDS = {
    "encode": encode,
    "decode": decode,
    "info": info,
    "verify": verify,
    "weights": weights,
    "bench": bench,
    "thumbnail": thumbnail,
    "desktop": desktop,
}

_DESCRIPTION = "Neural-compressed pictures (.nic) from and to those that Pillow opens."

_EXAMPLES = """examples:
  nic encode photo.png -q 0.25                    photo.nic beside it, about 0.25 bits per pixel
  nic encode holiday/ -r -o small/                a whole tree of folders
  nic decode photo.nic                            photo.png beside it
  nic decode photo.nic -o - --format png | ...    in a pipe
  nic info photo.nic
  nic verify archive/ -r                          are all files whole?

'nic encode --help' and so on show more.
Exit codes: 0 all went well, 1 some file failed, 2 wrong usage, 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process.

    Returns:
        0 if all went well, 1 if some file failed or whoever read the output left, 130 after Ctrl-C.

    Raises:
        SystemExit: 2 for wrong usage, 0 after --help and --version.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text at all
    options = _parser().parse_args(arguments)
    try:
        with _plain_warnings():
            status: int = _COMMANDS[options.command].run(options)
        sys.stdout.flush()
        return status
    except UsageError as error:
        command: Parser = options.parser
        command.error(str(error))
    except KeyboardInterrupt:
        print("nic: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="nic",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action=_Version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for module in _COMMANDS.values():
        module.add_parser(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"pillow-neural {pillow_neural.__version__}")
        parser.exit()


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show Python's warnings, from any thread, as a user's and not as a programmer's."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        print(f"nic: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
