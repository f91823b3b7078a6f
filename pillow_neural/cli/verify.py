"""`nic verify`: whether .nic files are whole; needs torch and weights only to decode the pixels as well."""

from __future__ import annotations

import argparse
import io
import json
from typing import Any, BinaryIO

from PIL import Image

import pillow_neural
from pillow_neural import container
from pillow_neural.cli import arguments
from pillow_neural.cli.arguments import Commands
from pillow_neural.cli.files import NIC_SUFFIXES, Source, find_inputs, index_of, open_source
from pillow_neural.cli.reasons import verdict
from pillow_neural.cli.workers import check_device, in_parallel, jobs_for, say, threads_for

_DETAILS = """Compares every checksum in each file and says OK or what is wrong. The exit code is 1 if any
file is damaged or unreadable."""

_EXAMPLES = """\
  nic verify photo.nic
  nic verify archive/ -r -Q              only what is damaged
  nic verify archive/ -r --decode        also decode the pixels, with the weights
  nic verify archive/ -r --json | jq -r '.[] | select(.status != "ok").file'
"""


def add_parser(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    command = arguments.add_command(
        commands, "verify", "check that .nic files are whole, without decoding", _DETAILS, _EXAMPLES
    )
    arguments.add_inputs(command, ".nic files, patterns, or folders of them")
    command.add_argument("--decode", action="store_true", help="also decode the pixels of every frame")
    arguments.add_work(command)
    arguments.add_output_style(command)


def run(options: argparse.Namespace) -> int:
    """Check all files and report; the exit code is 1 if one is damaged or cannot be read, else 0.

    Raises:
        UsageError: a folder has no .nic files, or the device does not exist.
    """
    sources = find_inputs(options.inputs, NIC_SUFFIXES, recursive=options.recursive)
    jobs = jobs_for(len(sources), options.jobs)
    threads = None
    if options.decode:
        check_device(options.device)
        threads = threads_for(jobs)

    def work(source: Source) -> dict[str, Any]:
        with pillow_neural.options(device=options.device, threads=threads):
            return _checked(source, decode=options.decode)

    results: dict[int, dict[str, Any]] = {}
    for number, result in in_parallel(work, sources, jobs, quiet=options.quiet):
        results[number] = result
        if not options.json and not (options.quiet and result["status"] == "ok"):
            say(_line(result, verbose=options.verbose))
    bad = sum(result["status"] != "ok" for result in results.values())
    if options.json:
        print(json.dumps([results[number] for number in range(len(sources))], indent=2))
    elif bad and len(sources) > 1:
        say(f"nic: {bad} of {len(sources)} files damaged or unreadable", error=True)
    return int(bad > 0)


def _checked(source: Source, *, decode: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"file": str(source), "status": "ok", "error": None}
    try:
        with open_source(source) as file:
            result["bytes"] = file.seek(0, io.SEEK_END)
            file.seek(0)
            index = index_of(file)
            result["chunks"] = len(index.entries)
            container.verify(file, index)
            if decode:
                file.seek(0)
                _decode(file)
    except Exception as error:  # one bad file must not stop the others
        result |= verdict(error, source.path)
    return result


def _decode(file: BinaryIO) -> None:
    with Image.open(file, formats=["NIC"]) as im:
        for frame in range(getattr(im, "n_frames", 1)):
            im.seek(frame)
            im.load()


def _line(result: dict[str, Any], *, verbose: bool) -> str:
    if result["status"] != "ok":
        return f"{result['file']}: {result['status']}: {result['error']}"
    details = f"  chunks: {result['chunks']}, bytes: {result['bytes']:,}" if verbose else ""
    return f"{result['file']}: OK{details}"
