"""Which files the command reads, where it writes, and how it writes without losing anything."""

from __future__ import annotations

import glob
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

NIC_SUFFIXES = frozenset({".nic"})


class UsageError(ValueError):
    """The command line asks for something impossible."""


@dataclass(frozen=True, slots=True)
class Job:
    """One file to convert to another."""

    source: Path
    target: Path


def find_inputs(arguments: Iterable[str], suffixes: Container[str]) -> list[Path]:
    """Expand patterns, and folders to the files in them with one of these lower-case suffixes, sorted.

    What exists under its own name is no pattern; what matches nothing is returned as it is, to fail later.

    Raises:
        UsageError: a folder has no such files.
    """
    found = (path for argument in arguments for path in _expand(argument, suffixes))
    return list(dict.fromkeys(found))


def plan(inputs: list[Path], output: Path | None, suffix: str) -> list[Job]:
    """Decide where each input goes: beside itself, to the file `output`, or into the folder `output`.

    `output` is a file if it is or if it has a suffix and there is one input, but never if it is a folder.

    Raises:
        UsageError: several inputs, but `output` is a file.
    """
    if output is None:
        return [Job(path, path.with_suffix(suffix)) for path in inputs]
    if len(inputs) == 1 and not output.is_dir() and (output.suffix or output.exists()):
        return [Job(inputs[0], output)]
    if output.exists() and not output.is_dir():
        raise UsageError(f"several pictures do not fit into one file: {output} must be a folder")
    return [Job(path, output / path.with_suffix(suffix).name) for path in inputs]


def check_target(job: Job, earlier: Container[Path], *, force: bool) -> None:
    """Refuse a target that would destroy something.

    Raises:
        FileExistsError: the target is the source, was written for an earlier input, or exists and `force` is
            False.
    """
    if job.target.resolve() in earlier:
        raise FileExistsError(f"another input is written to {job.target} already")
    if job.target.exists():
        if job.target.samefile(job.source):
            raise FileExistsError("input and output are the same file")
        if not force:
            raise FileExistsError(f"{job.target} exists; --force overwrites it")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside its place, then move it there; folders are made.

    Raises:
        OSError: it cannot be written; what `path` held before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _expand(argument: str, suffixes: Container[str]) -> Iterator[Path]:
    path = Path(argument)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes and p.is_file())
        if not found:
            raise UsageError(f"no suitable files in the folder {path}")
        yield from found
    elif path.exists() or not glob.has_magic(argument):
        yield path
    else:
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        yield from map(Path, matches) if matches else [path]
