"""`nic info`: what a .nic file says about itself, without decoding; torch and weights only for --map."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from pillow_neural import container
from pillow_neural.cli import arguments
from pillow_neural.cli.arguments import Commands
from pillow_neural.cli.files import (
    NIC_SUFFIXES,
    Job,
    Source,
    UsageError,
    check_target,
    find_inputs,
    index_of,
    open_source,
    write_whole,
)
from pillow_neural.cli.reasons import verdict
from pillow_neural.cli.workers import check_device
from pillow_neural.codecs.registry import codecs_with_maps
from pillow_neural.container import METADATA
from pillow_neural.header import WITHOUT_WEIGHTS
from pillow_neural.layers import layer_sizes, whole_layers
from pillow_neural.timing import read_timing

_DETAILS = """Needs neither torch nor weights, but for --map. The exit code is 1 if any file is damaged or
unreadable. For progressive codecs the layers are listed: what 'nic decode --layers N' needs of the file."""

_EXAMPLES = """\
  nic info photo.nic
  nic info archive/ -r --json | jq '.[].bpp'
  nic info photo.nic --map bits.png              where the codec spent its bits
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
    command.add_argument(
        "--map",
        type=Path,
        metavar="PNG",
        help="also write where in the first picture its codec may spend bits, black none and white most, as "
        f"a grey PNG; for one file of {' or '.join(codecs_with_maps())}",
    )
    command.add_argument("-f", "--force", action="store_true", help="let --map overwrite a file that exists")


def run(options: argparse.Namespace) -> int:
    """Print descriptions of .nic files; 0 for the exit code, or 1 if a file is damaged or cannot be read.

    Raises:
        UsageError: a folder has no .nic files; --map for several files, to a file that is no PNG, or for a
            codec that has no maps.
    """
    sources = find_inputs(options.inputs, NIC_SUFFIXES, recursive=options.recursive)
    if options.map is not None:
        _check_map(options.map, sources)
    descriptions = [describe(source, options.map, force=options.force) for source in sources]
    bad = [description for description in descriptions if description["status"] != "ok"]
    for description in bad:
        print(f"nic: {description['file']}: {description['error']}", file=sys.stderr)
    if options.json:
        print(json.dumps(descriptions, indent=2))
    elif readable := [description for description in descriptions if "width" in description]:
        print("\n\n".join(map(_as_text, readable)))
    return int(bool(bad))


def describe(source: Source, map_to: Path | None = None, *, force: bool = False) -> dict[str, Any]:
    """Describe one file, checksums compared; `status` is ok, damaged or failed, and `error` says why.

    Args:
        source: the file.
        map_to: a PNG file to write its importance map to.
        force: whether that may overwrite a file.

    Raises:
        UsageError: its codec has no importance maps, or the device for codecs does not exist.
    """
    description: dict[str, Any] = {"file": str(source), "status": "ok", "error": None}
    try:
        with open_source(source) as file:
            index = index_of(file)
            description.update(_header(file, index))
            if map_to is not None:
                check_target(Job(source, map_to), force=force)
                _write_map(file, index, map_to)
            container.verify(file, index)
            description.update(_timing(file, index))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        description |= verdict(error, source.path)
    return description


def _header(file: BinaryIO, index: container.Index) -> dict[str, Any]:
    header, size = index.header, file.seek(0, io.SEEK_END)
    return {
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "frames": len(index.frames),
        "codec": header.codec,
        "weights": header.weights.hex(),
        "parameters": header.parameters.hex(),
        "bytes": size,
        "bpp": _bits_per_pixel(size, index),
        "layers": _layers(file, index),
        "metadata": {METADATA[e.kind]: e.length for e in index.entries if e.kind in METADATA},
        "chunks": [
            {"kind": e.kind, "offset": e.offset, "length": e.length, "crc32": f"{e.crc32:08x}"}
            for e in index.entries
        ],
    }


def _layers(file: BinaryIO, index: container.Index) -> list[dict[str, Any]]:
    """For each number of layers the bytes that it needs; empty if the codec is not progressive."""
    sizes = layer_sizes(index)
    whole = whole_layers(file, index, index.frames) if sizes else 0
    return [
        {"layers": number, "bytes": size, "bpp": _bits_per_pixel(size, index), "whole": number <= whole}
        for number, size in enumerate(sizes, start=1)
    ]


def _bits_per_pixel(size: int, index: container.Index) -> float:
    return round(8 * size / (index.header.width * index.header.height * len(index.frames)), 4)


def _check_map(path: Path, sources: Sequence[Source]) -> None:
    if len(sources) != 1:
        raise UsageError(f"--map writes the map of one file, not of {len(sources)}")
    if path.suffix.lower() != ".png":
        raise UsageError(f"--map writes a PNG file: {path} must end in .png")
    check_device(None)


def _write_map(file: BinaryIO, index: container.Index, path: Path) -> None:
    from pillow_neural.importance import importance_picture

    if index.header.codec not in codecs_with_maps():
        names = " and ".join(codecs_with_maps())
        raise UsageError(f"--map: codec {index.header.codec} has no importance maps, only {names}")
    file.seek(0)
    with Image.open(file, formats=["NIC"]):  # refuses what Pillow takes for a decompression bomb
        data = io.BytesIO()
        importance_picture(file, index).save(data, "PNG")
    write_whole(path, data.getvalue())


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
        f"  codec       {description['codec']}, weights {_weights(description)}, "
        f"parameters {description['parameters'] or 'none'}",
        f"  metadata    {metadata or 'none'}",
        f"  checksums   {_checksums(description)}",
        *_layer_table(description["layers"]),
        "  chunk    offset    length  crc-32",
        *(
            f"  {chunk['kind']}  {chunk['offset']:>9,} {chunk['length']:>9,}  {chunk['crc32']}"
            for chunk in description["chunks"]
        ),
    ]
    return "\n".join(lines)


def _weights(description: dict[str, Any]) -> str:
    return "none" if description["codec"] in WITHOUT_WEIGHTS else str(description["weights"])


def _checksums(description: dict[str, Any]) -> str:
    outcomes = {"ok": "all match", "failed": "not compared", "damaged": description["error"]}
    return str(outcomes[description["status"]])


def _layer_table(layers: list[dict[str, Any]]) -> Iterator[str]:
    if layers:
        yield "  layers       bytes  bits per pixel"
    for layer in layers:
        remark = "" if layer["whole"] else "  damaged"
        yield f"  {layer['layers']:>6} {layer['bytes']:>11,}  {layer['bpp']:>14.4g}{remark}"


def _frames(description: dict[str, Any]) -> str:
    if "loop" not in description:
        return str(description["frames"])
    times = {0: "for ever", 1: "once"}.get(description["loop"], f"{description['loop']} times")
    return f"{description['frames']}, {sum(description['durations']) / 1000:g} s, shown {times}"
