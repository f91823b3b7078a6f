"""`nic info`: what a .nic file says about itself, without torch and without decoding."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pillow_neural import container
from pillow_neural.cli.files import NIC_SUFFIXES, find_inputs
from pillow_neural.container import METADATA


def info(arguments: Sequence[str], *, as_json: bool) -> int:
    """Print descriptions of .nic files; 0 for the exit code, or 1 if a file is damaged or none of ours."""
    descriptions, failed = [], 0
    for path in find_inputs(arguments, NIC_SUFFIXES):
        try:
            description = describe(path)
        except (OSError, SyntaxError) as error:
            failed += 1
            print(f"nic: {path}: {error}", file=sys.stderr)
            continue
        if description["damage"] is not None:
            failed += 1
            print(f"nic: {path}: {description['damage']}", file=sys.stderr)
        descriptions.append(description)
    if as_json:
        print(json.dumps(descriptions, indent=2))
    elif descriptions:
        print("\n\n".join(_as_text(description) for description in descriptions))
    return 1 if failed else 0


def describe(path: Path) -> dict[str, Any]:
    """Describe one file, checksums compared.

    Raises:
        SyntaxError: it is not a .nic file, or its header is damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as fp:
        index = container.read_index(fp)
        damage = _damage(fp, index)
    header, size = index.header, path.stat().st_size
    return {
        "file": str(path),
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "codec": header.codec,
        "weights": header.weights.hex(),
        "parameters": header.parameters.hex(),
        "bytes": size,
        "bpp": round(8 * size / (header.width * header.height), 4),
        "metadata": {METADATA[e.kind]: e.length for e in index.entries if e.kind in METADATA},
        "chunks": [
            {"kind": e.kind, "offset": e.offset, "length": e.length, "crc32": f"{e.crc32:08x}"}
            for e in index.entries
        ],
        "damage": damage,
    }


def _damage(fp: BinaryIO, index: container.Index) -> str | None:
    try:
        container.verify(fp, index)
    except container.DamagedFileError as error:
        return str(error)
    return None


def _as_text(description: dict[str, Any]) -> str:
    metadata = ", ".join(f"{key} {length:,} bytes" for key, length in description["metadata"].items())
    lines = [
        description["file"],
        f"  picture     {description['width']}x{description['height']}, mode {description['mode']}",
        f"  size        {description['bytes']:,} bytes, {description['bpp']:.4g} bits per pixel",
        f"  codec       {description['codec']}, weights {description['weights']}, "
        f"parameters {description['parameters'] or 'none'}",
        f"  metadata    {metadata or 'none'}",
        f"  checksums   {'do not match' if description['damage'] else 'all match'}",
        "  chunk    offset    length  crc-32",
        *(
            f"  {chunk['kind']}  {chunk['offset']:>9,} {chunk['length']:>9,}  {chunk['crc32']}"
            for chunk in description["chunks"]
        ),
    ]
    return "\n".join(lines)
