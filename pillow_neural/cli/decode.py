"""`nic decode`: .nic files to pictures of another format."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from PIL import Image

from pillow_neural import container
from pillow_neural.cli import arguments
from pillow_neural.cli.arguments import Commands
from pillow_neural.cli.convert import Converted, convert_all
from pillow_neural.cli.files import NIC_SUFFIXES, STANDARD, UsageError
from pillow_neural.cli.metadata import ignored_by, metadata_of, save_keywords
from pillow_neural.container import DamagedFileError, Frame, Index
from pillow_neural.layers import layer_count, whole_layers
from pillow_neural.pillow_plugin import NicImageFile
from pillow_neural.timing import read_timing

_DETAILS = """Animations stay animated in GIF, PNG, WebP, AVIF and TIFF. Metadata that the format can hold
and the time of last change are kept, existing files are left alone."""

_EXAMPLES = """\
  nic decode photo.nic                           photo.png beside it
  nic decode photo.nic -o photo.webp -q 95
  nic decode out/ -r --format jpg -o back/       the whole tree
  nic decode photo.nic -o - --format ppm | display
  nic decode photo.nic --layers 2                a coarser picture, from the first layers
"""

_LOSSY_QUALITY = 90

_LOSSY = frozenset({"AVIF", "HEIF", "JPEG", "JXL", "MPO", "WEBP"})
"""Formats whose `quality` is 0 to 100 and lossy."""

_MOST_LOOPS = 65_535
_CLEAR_FIRST = 2
"""GIF's way of disposal that clears a frame before the next, so that what is transparent there stays so."""


def add_parser(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    command = arguments.add_command(
        commands, "decode", "turn .nic files into pictures of another format", _DETAILS, _EXAMPLES
    )
    command.add_argument(
        "--format", metavar="SUFFIX", help="png, webp, tif...: what to write (default: as -o says, else png)"
    )
    command.add_argument(
        "-q",
        "--quality",
        type=arguments.percent,
        metavar="Q",
        default=_LOSSY_QUALITY,
        help="0 to 100, where the new format is JPEG, WebP or AVIF (default: %(default)s)",
    )
    command.add_argument(
        "--layers",
        type=arguments.positive,
        metavar="N",
        help="of a progressive codec only the first N layers, in each frame; 'nic info' lists them. What "
        "lies behind them in the file is not read and may be missing (default: all)",
    )
    arguments.add_conversion(command, ".nic files, patterns, or folders of them", ".png")


def run(options: argparse.Namespace) -> int:
    """Write .nic files as pictures of another format; 0 or 1 for the exit code.

    Raises:
        UsageError: the options do not fit together, or name no format or device that exists.
    """
    formats = Image.registered_extensions()
    named = _suffix_of(options.output)
    suffix = f".{options.format.lower().removeprefix('.')}" if options.format else named or ".png"
    target_format = formats.get(suffix)
    if target_format not in Image.SAVE or target_format == "NIC":
        raise UsageError(f"decode cannot write {suffix} files; try --format png")
    if formats.get(named, target_format) != target_format:
        raise UsageError(f"--format {options.format} does not fit the name {options.output}")
    return convert_all(options, NIC_SUFFIXES, suffix, lambda file: _decode(file, options, target_format))


def _decode(file: BinaryIO, options: argparse.Namespace, target_format: str) -> Converted:
    index = container.read_index(file)  # says what is wrong, where Image.open only says that something is
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    frames = len(index.frames)
    animated = frames > 1 and target_format in Image.SAVE_ALL
    with Image.open(file, formats=["NIC"]) as opened:
        im = cast(NicImageFile, opened)
        im.layers = options.layers or 0
        ignored = ignored_by(options)
        metadata = {key: value for key, value in metadata_of(im).items() if key not in ignored}
        keywords = save_keywords(metadata, target_format)
        if target_format in _LOSSY:
            keywords["quality"] = options.quality
        if animated:
            keywords |= _animation(file, index, target_format)
        try:
            data = _save(im, target_format, {"save_all": animated, **keywords})
        except DamagedFileError as error:
            rescue = _rescue(file, index, index.frames if animated else index.frames[:1], options.layers)
            raise DamagedFileError(f"{error}{rescue}") from error
    without = f"only the first of its {frames} frames is written: {target_format} has no animations"
    remarks = [] if animated or frames == 1 else [without]
    return Converted(data, target_format, index, size, frames if animated else 1, metadata, remarks)


def _save(im: Image.Image, target_format: str, keywords: dict[str, Any]) -> bytes:
    data = io.BytesIO()
    try:
        im.save(data, target_format, **keywords)
    except OSError as error:
        if not str(error).startswith("cannot write mode"):
            raise
        raise OSError(f"{target_format} cannot hold mode {im.mode}: try --format png or webp") from error
    return data.getvalue()


def _rescue(file: BinaryIO, index: Index, frames: Sequence[Frame], layers: int | None) -> str:
    """What to do about damage to these frames, where fewer layers than were asked for are whole."""
    count = layer_count(index)
    whole = whole_layers(file, index, frames) if count else 0
    if not 0 < whole < (layers or count):
        return ""
    return f"; layers that are whole: {whole} of {count}; --layers {whole} decodes them"


def _animation(file: BinaryIO, index: Index, target_format: str) -> dict[str, Any]:
    """The keywords of `save` for the timing; a GIF tells how often after the first time, or nothing."""
    timing = read_timing(file, index)
    loop: int | None = min(timing.loop, _MOST_LOOPS)
    keywords: dict[str, Any] = {"duration": list(timing.durations)}
    if target_format == "GIF":
        loop = None if timing.loop == 1 else max(timing.loop - 1, 0)
        keywords["disposal"] = _CLEAR_FIRST if index.header.mode.endswith("A") else 0
    return {**keywords, "loop": loop}


def _suffix_of(output: str | None) -> str:
    """The suffix that names the format of a file to write; empty for folders and standard output."""
    if output is None or output == STANDARD or output.endswith("/") or Path(output).is_dir():
        return ""
    return Path(output).suffix.lower()
