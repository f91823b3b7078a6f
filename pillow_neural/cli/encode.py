"""`nic encode`: pictures to .nic files."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from pillow_neural import container
from pillow_neural.cli import arguments
from pillow_neural.cli.arguments import Commands
from pillow_neural.cli.convert import Converted, convert_all
from pillow_neural.cli.files import NIC_SUFFIXES, UsageError
from pillow_neural.cli.metadata import ignored_by, metadata_of
from pillow_neural.codecs.contract import MAX_EFFORT
from pillow_neural.codecs.registry import DEFAULT_CODEC, codec_info, codecs
from pillow_neural.header import LOSSLESS_CODEC
from pillow_neural.settings import DEFAULT_EFFORT, DEFAULT_QUALITY, MAX_QUALITY, MIN_QUALITY

_DETAILS = """Any picture that Pillow opens will do; animated ones (GIF, PNG, WebP, AVIF) stay animated. Exif,
ICC profile, XMP and the time of last change are kept, existing files are left alone."""

_EXAMPLES = """\
  nic encode photo.png                                 photo.nic beside it
  nic encode photo.png -q 0.25 -o small.nic            about 0.25 bits per pixel
  nic encode holiday/ -r --target-size 50k -o out/     the whole tree, at most 50,000 bytes each
  nic encode photo.png --effort 9                      fewer bytes at equal quality, in more time
  nic encode drawing.png --lossless                    every pixel as it was
  nic encode *.jpg --skip-existing                     what has not been encoded yet
  nic encode *.jpg --strip -o for-the-web/             without Exif, profile and XMP
  nic encode - < photo.png > photo.nic                 in a pipe
"""

_IDENTIFIED_ONLY = frozenset({"BUFR", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow recognises but, without help, does not load."""

_ANIMATED = frozenset({"AVIF", "GIF", "NIC", "PNG", "WEBP"})
"""Formats whose further frames belong to an animation, and not to a document or a camera's by-products."""


def add_parser(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    command = arguments.add_command(commands, "encode", "compress pictures to .nic", _DETAILS, _EXAMPLES)
    rate = command.add_mutually_exclusive_group()
    rate.add_argument(
        "-q",
        "--quality",
        type=arguments.quality,
        metavar="BPP",
        help=f"nominal bits per pixel, {MIN_QUALITY} to {MAX_QUALITY}; 0.25 is a good start (default: "
        f"{DEFAULT_QUALITY})",
    )
    rate.add_argument(
        "--target-size",
        type=arguments.byte_count,
        metavar="BYTES",
        help="the most bytes that a file may have, such as 20k (20,000) or 1M (1,000,000)",
    )
    rate.add_argument(
        "--lossless",
        action="store_true",
        help=f"keep every pixel as it is; the same as --codec {LOSSLESS_CODEC}",
    )
    command.add_argument(
        "--codec",
        choices=[codec.name for codec in codecs()],
        help=f"default: {DEFAULT_CODEC} or, where a picture looks like graphics and costs less so, "
        f"{LOSSLESS_CODEC} or AVIF",
    )
    command.add_argument(
        "--tune",
        choices=codec_info(DEFAULT_CODEC).tunes,
        help="what to be best in: psnr, exact pixels (the default), or ssim, structure as people see it",
    )
    command.add_argument(
        "--effort",
        type=arguments.effort,
        metavar="N",
        help=f"how much to look for fewer bytes, 0 to {MAX_EFFORT} (default: {DEFAULT_EFFORT})",
    )
    arguments.add_conversion(command, "pictures, patterns, or folders of pictures", ".nic")


def run(options: argparse.Namespace) -> int:
    """Write pictures as .nic files; 0 or 1 for the exit code.

    Raises:
        UsageError: the options do not fit together, or the device does not exist.
    """
    suffixes = _picture_suffixes()
    output = options.output and Path(options.output)
    if output and output.suffix.lower() in suffixes and not output.is_dir():
        raise UsageError(f"encode writes .nic files, and {output} is named like another format")
    return convert_all(options, suffixes, ".nic", lambda file: _encode(file, options))


def _encode(file: BinaryIO, options: argparse.Namespace) -> Converted:
    with Image.open(file) as im:
        im.load()
        ignored = ignored_by(options)
        metadata = {key: value for key, value in metadata_of(im).items() if key not in ignored}
        keywords: dict[str, Any] = {
            name: getattr(options, name)
            for name in ("quality", "target_size", "codec", "tune", "effort", "lossless")
        }
        keywords.update(dict.fromkeys(ignored))
        if "exif" in metadata and "exif" not in im.info:
            keywords["exif"] = metadata["exif"]
        frames = getattr(im, "n_frames", 1)
        animated = frames > 1 and im.format in _ANIMATED
        if animated:
            keywords["loop"] = _loop(im)
        data = io.BytesIO()
        im.save(data, "NIC", save_all=animated, **keywords)
    remarks = [] if animated or frames == 1 else [f"only the first of its {frames} pictures is encoded"]
    data.seek(0)
    index, contents = container.read_index(data), data.getvalue()
    return Converted(contents, "NIC", index, len(contents), len(index.frames), metadata, remarks)


def _loop(im: Image.Image) -> int:
    """How often an animation is shown, 0 for ever; a GIF tells how often after the first time, or nothing."""
    loop = int(im.info.get("loop", 0))
    if im.format == "GIF":
        return 1 if "loop" not in im.info else loop and loop + 1
    return loop


def _picture_suffixes() -> frozenset[str]:
    """Suffixes of pictures that Pillow opens, but for .nic."""
    known = Image.registered_extensions()
    usable = set(Image.OPEN) - _IDENTIFIED_ONLY
    return frozenset(suffix for suffix, name in known.items() if name in usable) - NIC_SUFFIXES
