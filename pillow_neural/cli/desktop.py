"""`nic desktop`: teaches file managers on Linux what .nic files are."""

from __future__ import annotations

import argparse
from pathlib import Path

from pillow_neural.cli import arguments
from pillow_neural.cli.arguments import Commands
from pillow_neural.cli.reasons import reason
from pillow_neural.cli.workers import say
from pillow_neural.desktop import data_folder, install, uninstall

_DETAILS = """'install' writes the MIME type image/x-nic with its magic and suffix, and a thumbnailer, then
runs update-mime-database if it is there. 'uninstall' removes these files. Both say what they do."""

_EXAMPLES = """\
  nic desktop install                            for this user, in ~/.local/share
  sudo nic desktop install --prefix /usr/local   for all users
  nic desktop uninstall
"""


def add_parser(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    command = arguments.add_command(
        commands,
        "desktop",
        "make file managers on Linux know .nic files and show thumbnails",
        _DETAILS,
        _EXAMPLES,
    )
    command.add_argument("action", choices=["install", "uninstall"])
    command.add_argument(
        "--prefix",
        type=Path,
        metavar="PATH",
        help="folder whose share/ gets the files (default: $XDG_DATA_HOME, else ~/.local/share)",
    )


def run(options: argparse.Namespace) -> int:
    """Install or uninstall; the exit code is 1 if that fails, else 0."""
    act = install if options.action == "install" else uninstall
    try:
        for line in act(data_folder(options.prefix)):
            say(line)
    except OSError as error:
        say(f"nic: {reason(error)}", error=True)
        return 1
    return 0
