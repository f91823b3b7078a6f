"""`nic encode` and `nic decode`."""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from pillow_neural import container
from pillow_neural.cli.files import (
    NIC_SUFFIXES,
    Job,
    UsageError,
    check_target,
    find_inputs,
    plan,
    write_whole,
)
from pillow_neural.container import METADATA
from pillow_neural.picture import encode_picture
from pillow_neural.settings import device, options_for, set_device


class _Converted(NamedTuple):
    """A file's new bytes, the bytes of the .nic side, and the picture's size in pixels."""

    data: bytes
    nic_size: int
    width: int
    height: int


def encode(options: argparse.Namespace) -> int:
    """Write pictures as .nic files; 0 or 1 for the exit code.

    Raises:
        UsageError: the options do not fit together or the device does not exist.
    """
    keywords = {"quality": options.quality, "target_size": options.target_size, "codec": options.codec}

    def convert(job: Job) -> _Converted:
        with Image.open(job.source) as im:
            data = encode_picture(im, options_for(im, keywords))
            return _Converted(data, len(data), im.width, im.height)

    return _convert_all(options, _picture_suffixes(), ".nic", convert)


def decode(options: argparse.Namespace) -> int:
    """Write .nic files as pictures of another format; 0 or 1 for the exit code.

    Raises:
        UsageError: the options do not fit together, or name no format or device that exists.
    """
    suffix = _wanted_suffix(options.format, options.output)
    target_format = Image.registered_extensions().get(suffix)
    if target_format not in Image.SAVE:
        raise UsageError(f"Pillow cannot write {suffix} files; try --format png")

    def convert(job: Job) -> _Converted:
        with job.source.open("rb") as fp:
            container.read_index(fp)
            with Image.open(fp, formats=["NIC"]) as im:
                data = io.BytesIO()
                metadata = {key: im.info[key] for key in METADATA.values() if key in im.info}
                im.save(data, format=target_format, **metadata)
                return _Converted(data.getvalue(), job.source.stat().st_size, im.width, im.height)

    return _convert_all(options, NIC_SUFFIXES, suffix, convert)


def _convert_all(
    options: argparse.Namespace,
    input_suffixes: Iterable[str],
    suffix: str,
    convert: Callable[[Job], _Converted],
) -> int:
    try:
        jobs = plan(find_inputs(options.inputs, frozenset(input_suffixes)), options.output, suffix)
        set_device(options.device)
        device()
    except ValueError as error:
        raise UsageError(str(error)) from error
    failed, written = 0, set[Path]()
    for job in tqdm(jobs, unit="file", disable=len(jobs) < 2 or not sys.stderr.isatty()):
        try:
            check_target(job, written, force=options.force)
            tqdm.write(_convert_one(job, convert))
            written.add(job.target.resolve())
        except Exception as error:  # one bad file, whatever its plugin raises, must not stop the others
            failed += 1
            tqdm.write(f"nic: {job.source}: {error or type(error).__name__}", file=sys.stderr)
    return 1 if failed else 0


def _convert_one(job: Job, convert: Callable[[Job], _Converted]) -> str:
    """Convert and write one file; return the line that reports it."""
    began = time.perf_counter()
    result = convert(job)
    write_whole(job.target, result.data)
    rate = 8 * result.nic_size / (result.width * result.height)
    seconds = time.perf_counter() - began
    size = f"{result.width}x{result.height}"
    return f"{job.target}  {size}  {len(result.data):,} bytes  {rate:.3f} bpp  {seconds:.2f} s"


def _picture_suffixes() -> frozenset[str]:
    """Suffixes of pictures that Pillow opens, but for .nic."""
    known = Image.registered_extensions()
    return frozenset(suffix for suffix, format in known.items() if format in Image.OPEN) - NIC_SUFFIXES


def _wanted_suffix(format: str | None, output: Path | None) -> str:
    if format is not None:
        return f".{format.lower().removeprefix('.')}"
    if output is not None and output.suffix and not output.is_dir():
        return output.suffix.lower()
    return ".png"
