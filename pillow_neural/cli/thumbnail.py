"""`nic thumbnail`: a small PNG of a .nic file, as file managers ask for it."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image, ImageOps

from pillow_neural.cli import arguments
from pillow_neural.cli.arguments import Commands
from pillow_neural.cli.files import Source, open_source, write_whole
from pillow_neural.cli.reasons import reason
from pillow_neural.cli.workers import say

_DETAILS = """No more is decoded than the size needs; of an animation, the first frame. The picture is
turned upright as its Exif metadata says, and OUTPUT is overwritten; this is what file managers call after
'nic desktop install'."""

_EXAMPLES = """\
  nic thumbnail photo.nic small.png
  nic thumbnail --size 512 photo.nic small.png
"""


def add_parser(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    command = arguments.add_command(
        commands, "thumbnail", "make a small PNG of a .nic file", _DETAILS, _EXAMPLES
    )
    command.add_argument("input", type=Path, metavar="INPUT", help="a .nic file")
    command.add_argument("output", type=Path, metavar="OUTPUT", help="the PNG file to write")
    command.add_argument(
        "-s",
        "--size",
        type=arguments.positive,
        default=256,
        metavar="N",
        help="the longer side in pixels; a smaller picture keeps its size (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Write the thumbnail; the exit code is 1 if that fails, else 0."""
    source = Source(options.input, options.input)
    try:
        with open_source(source) as file, Image.open(file, formats=["NIC"]) as im:
            im.thumbnail((options.size, options.size))
            thumbnail = ImageOps.exif_transpose(im)
        data = io.BytesIO()
        thumbnail.save(data, "PNG")
        write_whole(options.output, data.getvalue())
    except Exception as error:  # whatever a plugin raises
        say(f"nic: {options.input}: {reason(error, options.input)}", error=True)
        return 1
    return 0
