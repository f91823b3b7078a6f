"""What `nic encode` and `nic decode` share: every file by itself, the reports, the exit code."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
import traceback
from collections.abc import Callable, Container, Iterable
from dataclasses import asdict, dataclass, field
from typing import BinaryIO

import pillow_neural
from pillow_neural import container
from pillow_neural.cli.files import Job, UsageError, check_target, find_inputs, open_source, plan, write_whole
from pillow_neural.cli.metadata import sizes_in
from pillow_neural.cli.reasons import reason
from pillow_neural.cli.workers import check_device, in_parallel, jobs_for, say, threads_for


@dataclass(frozen=True, slots=True)
class Converted:
    """A new file and what to say of it.

    Attributes:
        data: the file.
        file_format: Pillow's name of its format.
        index: of the .nic side of the conversion.
        nic_size: length of the .nic side in bytes.
        frames: how many frames the new file holds.
        metadata: keys of the metadata that the new file should hold.
        remarks: what else the user should know.
    """

    data: bytes
    file_format: str
    index: container.Index
    nic_size: int
    frames: int
    metadata: Iterable[str]
    remarks: list[str]


@dataclass(slots=True)
class Outcome:
    """What became of one input; `bpp` are the bits of the .nic file per pixel of all its frames."""

    input: str
    output: str
    status: str = "failed"
    error: str | None = None
    warnings: list[str] = field(default_factory=list)
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    frames: int | None = None
    metadata: dict[str, int] = field(default_factory=dict)
    input_bytes: int | None = None
    output_bytes: int | None = None
    bpp: float | None = None
    seconds: float | None = None


def convert_all(
    options: argparse.Namespace,
    suffixes: Container[str],
    suffix: str,
    convert: Callable[[BinaryIO], Converted],
) -> int:
    """Convert all inputs and report; the exit code is 1 if one failed, else 0.

    Args:
        options: those of `add_conversion`.
        suffixes: of the files to take from folders.
        suffix: of the new files.
        convert: from an open file to its conversion; what it raises is that file's failure alone.

    Raises:
        UsageError: the options do not fit together, or the device does not exist.
    """
    jobs = plan(find_inputs(options.inputs, suffixes, recursive=options.recursive), options.output, suffix)
    piped = jobs[0].target is None
    if options.json and piped:
        raise UsageError("--json and the picture cannot both go to standard output")
    at_once = jobs_for(len(jobs), options.jobs)
    threads = threads_for(at_once)
    check_device(options.device)

    def work(job: Job) -> Outcome:
        with pillow_neural.options(device=options.device, threads=threads):
            return _outcome(job, options, convert)

    outcomes: dict[int, Outcome] = {}
    for number, outcome in in_parallel(work, jobs, at_once, quiet=options.quiet):
        outcomes[number] = outcome
        _report(outcome, options, piped=piped)
    ordered = [outcomes[number] for number in range(len(jobs))]
    if options.json:
        print(json.dumps([asdict(outcome) for outcome in ordered], indent=2))
    elif len(jobs) > 1 and not options.quiet:
        print(_summary(ordered))
    return int(any(outcome.status == "failed" for outcome in ordered))


def _outcome(job: Job, options: argparse.Namespace, convert: Callable[[BinaryIO], Converted]) -> Outcome:
    outcome = Outcome(str(job.source), "standard output" if job.target is None else str(job.target))
    began = time.perf_counter()
    try:
        if options.skip_existing and job.target is not None and job.target.is_file():
            outcome.status = "skipped"
        else:
            _convert_one(job, options, convert, outcome)
            outcome.status = "written"
            outcome.seconds = round(time.perf_counter() - began, 3)
    except BrokenPipeError:
        raise
    except Exception as error:  # one bad file, whatever its plugin raises, must not stop the others
        outcome.error = reason(error, job.source.path)
        if options.verbose and not isinstance(error, (OSError, SyntaxError, ValueError)):
            outcome.error += "\n" + traceback.format_exc().rstrip()
    return outcome


def _convert_one(
    job: Job, options: argparse.Namespace, convert: Callable[[BinaryIO], Converted], outcome: Outcome
) -> None:
    check_target(job, force=options.force)
    with open_source(job.source) as file:
        converted = convert(file)
        outcome.input_bytes = file.seek(0, io.SEEK_END)
    header = converted.index.header
    outcome.width, outcome.height, outcome.mode = header.width, header.height, header.mode
    outcome.frames = converted.frames
    outcome.output_bytes = len(converted.data)
    pixels = header.width * header.height * len(converted.index.frames)
    outcome.bpp = round(8 * converted.nic_size / pixels, 4)
    outcome.metadata = sizes_in(converted.data, converted.file_format)
    lost = [key for key in converted.metadata if key not in outcome.metadata]
    outcome.warnings = converted.remarks + (
        [f"{converted.file_format} did not keep {', '.join(lost)}"] if lost else []
    )
    if job.target is None:
        sys.stdout.buffer.write(converted.data)
    else:
        write_whole(job.target, converted.data, _times(job) if options.preserve_times else None)


def _times(job: Job) -> tuple[int, int] | None:
    if job.source.path is None or not job.source.path.is_file():
        return None
    status = job.source.path.stat()
    return status.st_atime_ns, status.st_mtime_ns


def _report(outcome: Outcome, options: argparse.Namespace, *, piped: bool) -> None:
    if outcome.error is not None:
        say(f"nic: {outcome.input}: {outcome.error}", error=True)
    for warning in outcome.warnings if not options.quiet else ():
        say(f"nic: {outcome.input}: warning: {warning}", error=True)
    if outcome.error is None and not (options.quiet or options.json) and (options.verbose or not piped):
        say(_line(outcome, verbose=options.verbose), error=piped)


def _line(outcome: Outcome, *, verbose: bool) -> str:
    if outcome.status == "skipped":
        return f"{outcome.output}  exists, skipped"
    frames = f" x{outcome.frames}" if outcome.frames != 1 else ""
    line = (
        f"{outcome.output}  {outcome.width}x{outcome.height}{frames}  {outcome.output_bytes:,} bytes  "
        f"{outcome.bpp:.3f} bpp  {outcome.seconds:.2f} s"
    )
    if not verbose:
        return line
    metadata = ", ".join(f"{key} {length:,} bytes" for key, length in outcome.metadata.items())
    source = f"from {outcome.input}, {outcome.input_bytes:,} bytes"
    return f"{line}\n  {source}; mode {outcome.mode}; {metadata or 'no metadata'}"


def _summary(outcomes: list[Outcome]) -> str:
    written = [outcome for outcome in outcomes if outcome.status == "written"]
    counts = [f"{len(written)} written"]
    for status in ("skipped", "failed"):
        count = sum(outcome.status == status for outcome in outcomes)
        if count:
            counts.append(f"{count} {status}")
    if written:
        before = sum(outcome.input_bytes or 0 for outcome in written)
        after = sum(outcome.output_bytes or 0 for outcome in written)
        counts.append(f"{before:,} bytes became {after:,}")
    return ", ".join(counts)
