"""`nic weights`: what weights files there are, where they lie, getting, checking and publishing them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pillow_neural.cli.arguments import Commands, add_command, add_json
from pillow_neural.cli.files import UsageError, write_whole
from pillow_neural.weights import WeightsEntry, default_entry, known_weights, locate
from pillow_neural.weights.store import Copy, copies, is_intact

_NAMES = "a codec, a file, or the first digits of a file's sha256, as `nic info` shows them"


def add_parser(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add `weights` and the commands below it."""
    weights = add_command(
        commands,
        "weights",
        "list, fetch, verify and publish the weights of codecs",
        "A weights file is looked for in the folder that PILLOW_NEURAL_WEIGHTS names, in the package, in the "
        "cache of the Hugging Face Hub (HF_HOME), and on the Hub, unless HF_HUB_OFFLINE=1 forbids it.",
        "  nic weights list\n  nic weights fetch\n  nic weights verify\n",
    )
    below = weights.add_subparsers(dest="action", required=True, metavar="list|fetch|verify|publish")
    _add_list(below)
    _add_fetch(below)
    _add_verify(below)
    _add_publish(below)


def run(options: argparse.Namespace) -> int:
    """Do what the options say; 0 for the exit code, or 1 if a file is missing, damaged or could not be had.

    Raises:
        UsageError: they name weights that do not exist, or do not fit together.
    """
    if options.action == "publish":
        from pillow_neural.cli.publish import publish

        return publish(_one_entry(options.name), options)
    act: Callable[[list[WeightsEntry], argparse.Namespace], int]
    act = {"list": _list, "fetch": _fetch, "verify": _verify}[options.action]
    return act(_entries(options.names), options)


def _add_list(below: Commands[argparse.ArgumentParser]) -> None:
    command = add_command(
        below,
        "list",
        "list the weights files and where they are found",
        "Nothing is downloaded and no contents are checked.",
        "  nic weights list\n  nic weights list nic2026 --json\n",
    )
    _add_names(command)
    add_json(command)


def _add_fetch(below: Commands[argparse.ArgumentParser]) -> None:
    command = add_command(
        below,
        "fetch",
        "download the weights files that are not on this machine",
        "They are checked, and kept in the cache of the Hugging Face Hub. What is in the package, in your "
        "folder or in the cache already is checked and not downloaded.",
        "  nic weights fetch                 all, to be ready for work without a connection\n"
        "  nic weights fetch nic2026\n"
        "  nic weights fetch -o weights/     to carry to a machine without a connection; set\n"
        "                                    PILLOW_NEURAL_WEIGHTS to that folder there\n",
    )
    _add_names(command)
    command.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="copy the files into this folder as well"
    )


def _add_verify(below: Commands[argparse.ArgumentParser]) -> None:
    command = add_command(
        below,
        "verify",
        "compare every copy on this machine with the manifest's size and sha256",
        "Nothing is downloaded. A file that is nowhere on this machine is an error only if it was named.",
        "  nic weights verify\n  nic weights verify nic2026\n",
    )
    _add_names(command)


def _add_names(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", nargs="*", metavar="NAME", help=f"{_NAMES} (default: all)")


def _add_publish(below: Commands[argparse.ArgumentParser]) -> None:
    command = add_command(
        below,
        "publish",
        "prepare a weights file for the Hugging Face Hub, and upload it with --push",
        "Writes a folder with the safetensors file and its model card: licence, training facts, measured "
        "curve. For developers: facts are recorded in weights_manifest.toml in a clone of the repository.",
        "  nic weights publish nic2026 --curve examples/report/kodak/results.json\n"
        "  nic weights publish nic2026 --push\n"
        "  nic weights publish nic2026 --revision 0123456789abcdef0123456789abcdef01234567\n",
    )
    command.add_argument("name", metavar="NAME", help=f"{_NAMES}; of a codec, its default weights")
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="folder to write (default: build/ and the file's name)",
    )
    command.add_argument(
        "--curve",
        type=Path,
        metavar="RESULTS",
        help="first record the curve of this results.json, measured with these weights by `python -m "
        "pillow_neural.benchmark run` on the 24 Kodak pictures",
    )
    command.add_argument("--repository", metavar="OWNER/NAME", help="default: as the manifest says")
    after = command.add_mutually_exclusive_group()
    after.add_argument(
        "--push",
        action="store_true",
        help="upload the folder to its public repository, made if need be, and record the commit; log in "
        "first with `hf auth login`",
    )
    after.add_argument(
        "--revision", metavar="COMMIT", help="only record the 40 hex digits of a commit uploaded otherwise"
    )


def _list(entries: Sequence[WeightsEntry], options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps([_description(entry) for entry in entries], indent=2))
        return 0
    rows = [("codec", "id", "file", "size", "found", "")]
    for entry in entries:
        default = _use(entry) if entry == default_entry(entry.codec, entry.tune) else ""
        where = _where(entry, _found(entry))
        rows.append((entry.codec, entry.id.hex(), entry.file, f"{entry.size:,}", where, default))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _fetch(entries: Sequence[WeightsEntry], options: argparse.Namespace) -> int:
    failed = 0
    for entry in entries:
        try:
            path = locate(entry, patient=True)
            if options.output is not None:
                path, contents = options.output / entry.file, path.read_bytes()
                write_whole(path, contents)
            print(f"{entry.file}  {path}", flush=True)
        except OSError as error:
            failed += 1
            print(f"nic: {error}", file=sys.stderr)
    return 1 if failed else 0


def _verify(entries: Sequence[WeightsEntry], options: argparse.Namespace) -> int:
    failed = 0
    for entry in entries:
        found = list(copies(entry))
        for copy in found:
            verdict = _verdict(copy.path, entry)
            failed += verdict != "ok"
            print(f"{verdict:7}  {entry.file}  {copy.place}  {copy.path}")
        if not found:
            failed += bool(options.names)
            print(f"missing  {entry.file}  {_where(entry, None)}")
    return 1 if failed else 0


def _verdict(path: Path, entry: WeightsEntry) -> str:
    try:
        return "ok" if is_intact(path, entry) else "DAMAGED"
    except OSError as error:
        return f"ERROR ({error.strerror})"


def _entries(names: Iterable[str]) -> list[WeightsEntry]:
    """The entries that have one of these names, in the manifest's order; all if there are no names."""
    wanted = list(names)
    for name in wanted:
        if not any(_has_name(entry, name) for entry in known_weights()):
            known = ", ".join(entry.file for entry in known_weights())
            raise UsageError(f"no weights {name!r}; there are {known}")
    return [e for e in known_weights() if not wanted or any(_has_name(e, name) for name in wanted)]


def _one_entry(name: str) -> WeightsEntry:
    return default_entry(name) or _entries([name])[0]


def _has_name(entry: WeightsEntry, name: str) -> bool:
    is_id = len(name) >= 8 and entry.sha256.startswith(name.lower())
    return name in (entry.codec, entry.file) or is_id


def _use(entry: WeightsEntry) -> str:
    return "default" if entry.tune is None else f"tune={entry.tune}"


def _found(entry: WeightsEntry) -> Copy | None:
    """The copy that is used, if there is one."""
    return next(copies(entry), None)


def _where(entry: WeightsEntry, copy: Copy | None) -> str:
    if copy is not None:
        return copy.place
    return "on the Hub" if entry.revision is not None else "nowhere"


def _description(entry: WeightsEntry) -> dict[str, Any]:
    copy = _found(entry)
    return {
        "codec": entry.codec,
        "id": entry.id.hex(),
        "file": entry.file,
        "size": entry.size,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "format_version": entry.format_version,
        "training": entry.training._asdict() if entry.training else None,
        "curve": entry.curve._asdict() if entry.curve else None,
        "repository": entry.repository,
        "revision": entry.revision,
        "tune": entry.tune,
        "default": entry == default_entry(entry.codec, entry.tune),
        "found": _where(entry, copy),
        "path": str(copy.path) if copy else None,
    }
