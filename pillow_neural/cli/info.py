"""`nic info`: what a .nic file says about itself, without torch and without decoding."""

from __future__ import annotations

import argparse
import io
import json
import sys
from typing import Any, BinaryIO

from pillow_neural import container
from pillow_neural.cli import arguments
from pillow_neural.cli.arguments import Commands
from pillow_neural.cli.files import NIC_SUFFIXES, Source, find_inputs, index_of, open_source
from pillow_neural.cli.reasons import verdict
from pillow_neural.container import METADATA
from pillow_neural.timing import read_timing

_DETAILS = "Needs neither torch nor weights. The exit code is 1 if any file is damaged or unreadable."

_EXAMPLES = """\
  nic info photo.nic
  nic info archive/ -r --json | jq '.[].bpp'
"""


def add_parser(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    command = arguments.add_command(
        commands,
        "info",
        "describe .nic files and check their checksums, without decoding",
        _DETAILS,
        _EXAMPLES,
    )
    arguments.add_inputs(command, ".nic files, patterns, or folders of them")
    arguments.add_json(command)


def run(options: argparse.Namespace) -> int:
    """Print descriptions of .nic files; 0 for the exit code, or 1 if a file is damaged or cannot be read.

    Raises:
        UsageError: a folder has no .nic files.
    """
    sources = find_inputs(options.inputs, NIC_SUFFIXES, recursive=options.recursive)
    descriptions = [describe(source) for source in sources]
    bad = [description for description in descriptions if description["status"] != "ok"]
    for description in bad:
        print(f"nic: {description['file']}: {description['error']}", file=sys.stderr)
    if options.json:
        print(json.dumps(descriptions, indent=2))
    elif readable := [description for description in descriptions if "width" in description]:
        print("\n\n".join(map(_as_text, readable)))
    return int(bool(bad))


def describe(source: Source) -> dict[str, Any]:
    """Describe one file, checksums compared; `status` is ok, damaged or failed, and `error` says why."""
    description: dict[str, Any] = {"file": str(source), "status": "ok", "error": None}
    try:
        with open_source(source) as file:
            index = index_of(file)
            description.update(_header(index, file.seek(0, io.SEEK_END)))
            container.verify(file, index)
            description.update(_timing(file, index))
    except (OSError, SyntaxError) as error:
        description |= verdict(error, source.path)
    return description


def _header(index: container.Index, size: int) -> dict[str, Any]:
    header, frames = index.header, len(index.frames)
    return {
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "frames": frames,
        "codec": header.codec,
        "weights": header.weights.hex(),
        "parameters": header.parameters.hex(),
        "bytes": size,
        "bpp": round(8 * size / (header.width * header.height * frames), 4),
        "metadata": {METADATA[e.kind]: e.length for e in index.entries if e.kind in METADATA},
        "chunks": [
            {"kind": e.kind, "offset": e.offset, "length": e.length, "crc32": f"{e.crc32:08x}"}
            for e in index.entries
        ],
    }


def _timing(file: BinaryIO, index: container.Index) -> dict[str, Any]:
    if len(index.frames) == 1:
        return {}
    timing = read_timing(file, index)
    return {"loop": timing.loop, "durations": timing.durations}


def _as_text(description: dict[str, Any]) -> str:
    metadata = ", ".join(f"{key} {length:,} bytes" for key, length in description["metadata"].items())
    animation = [f"  frames      {_frames(description)}"] if description["frames"] != 1 else []
    lines = [
        description["file"],
        f"  picture     {description['width']}x{description['height']}, mode {description['mode']}",
        *animation,
        f"  size        {description['bytes']:,} bytes, {description['bpp']:.4g} bits per pixel",
        f"  codec       {description['codec']}, weights {description['weights']}, "
        f"parameters {description['parameters'] or 'none'}",
        f"  metadata    {metadata or 'none'}",
        f"  checksums   {'all match' if description['status'] == 'ok' else description['error']}",
        "  chunk    offset    length  crc-32",
        *(
            f"  {chunk['kind']}  {chunk['offset']:>9,} {chunk['length']:>9,}  {chunk['crc32']}"
            for chunk in description["chunks"]
        ),
    ]
    return "\n".join(lines)


def _frames(description: dict[str, Any]) -> str:
    if "loop" not in description:
        return str(description["frames"])
    times = {0: "for ever", 1: "once"}.get(description["loop"], f"{description['loop']} times")
    return f"{description['frames']}, {sum(description['durations']) / 1000:g} s, shown {times}"
