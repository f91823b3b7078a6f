"""Which files the command reads, where it writes, and how it writes without losing anything."""

from __future__ import annotations

import glob
import io
import os
import sys
import threading
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pillow_neural import container

STANDARD = "-"
"""What stands for standard input among the inputs, and for standard output after -o."""

NIC_SUFFIXES = frozenset({".nic"})


class UsageError(ValueError):
    """The command line asks for something impossible."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input.

    Attributes:
        path: the file; None for standard input.
        place: its path below the folder that was named on the command line, else its name alone.
        in_folder: whether a folder was named, and not the file.
    """

    path: Path | None
    place: Path
    in_folder: bool = False

    def __str__(self) -> str:
        return "standard input" if self.path is None else str(self.path)


@dataclass(frozen=True, slots=True)
class Job:
    """One input to convert; `target` is None for standard output, `clashes` if another job writes to it."""

    source: Source
    target: Path | None
    clashes: bool = False


def find_inputs(arguments: Iterable[str], suffixes: Container[str], *, recursive: bool) -> list[Source]:
    """Expand patterns, and folders to the files in them with one of these lower-case suffixes, sorted.

    What exists under its own name is no pattern; what matches nothing is returned as it is, to fail later.
    Names that begin with a dot are left out of folders, as a shell's patterns leave them out.

    Args:
        arguments: paths, patterns, and `STANDARD` for standard input.
        suffixes: suffixes of the files wanted from folders.
        recursive: also take the folders in folders.

    Raises:
        UsageError: a folder has no such files, or standard input is a terminal.
    """
    found: dict[Path | None, Source] = {}
    for argument in arguments:
        for source in _expand(argument, suffixes, recursive):
            found.setdefault(source.path, source)
    return list(found.values())


def open_source(source: Source) -> BinaryIO:
    """Open an input for reading; seekable, even if it comes from a pipe, which is read to its end.

    Raises:
        OSError: it cannot be read.
    """
    if source.path is None:
        return io.BytesIO(sys.stdin.buffer.read())
    file = source.path.open("rb")
    if file.seekable():
        return file
    with file:
        return io.BytesIO(file.read())


def index_of(file: BinaryIO) -> container.Index:
    """Read the header and chunk table at the beginning of a file.

    Raises:
        SyntaxError: not a .nic file.
        HeaderError: a .nic file whose header is damaged, impossible or of a later version.
    """
    magic = file.read(len(container.MAGIC))
    file.seek(0)
    if magic != container.MAGIC:
        raise SyntaxError("not a .nic file")
    return container.read_index(file)


def plan(sources: Sequence[Source], output: str | None, suffix: str) -> list[Job]:
    """Decide where each input goes: beside itself, to the file or stream `output`, or into that folder.

    `output` is a folder if it is one, if it ends in a slash, or if a folder or several files go there; else
    it is a file if it has a suffix or exists.

    Raises:
        UsageError: several inputs but `output` is a file or stream, standard input goes into a folder, or
            the picture to a terminal.
    """
    if output == STANDARD or (output is None and any(source.path is None for source in sources)):
        return [_to_standard_output(sources)]
    if output is None:
        targets = [source.path.with_suffix(suffix) for source in sources if source.path is not None]
    else:
        targets = _below_or_at(sources, output, suffix)
    jobs, taken = [], set[Path]()
    for source, target in zip(sources, targets, strict=True):
        place = target.resolve()
        jobs.append(Job(source, target, clashes=place in taken))
        taken.add(place)
    return jobs


def check_target(job: Job, *, force: bool) -> None:
    """Refuse a target that would destroy something.

    Raises:
        FileExistsError: the target is the source, another job's target, or a file that exists and `force` is
            False.
    """
    if job.target is None:
        return
    if job.clashes:
        raise FileExistsError(f"another input is written to {job.target}: write them to different folders")
    if job.target.is_file():
        if job.source.path is not None and job.source.path.exists() and job.target.samefile(job.source.path):
            raise FileExistsError("input and output are the same file")
        if not force:
            raise FileExistsError(f"{job.target} exists: --force overwrites it")


def write_whole(path: Path, data: bytes, times: tuple[int, int] | None = None) -> None:
    """Write a file under a temporary name beside its place, then move it there; folders are made.

    Links are followed. Pipes and devices are written to as they are.

    Args:
        path: the file.
        data: its contents.
        times: time of last access and of last change in nanoseconds, by default now.

    Raises:
        OSError: it cannot be written; what `path` held before is still there.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(data)
        return
    place = path.resolve()
    temporary = place.with_name(f".nic-{os.getpid()}-{threading.get_native_id()}.part")
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_bytes(data)
        if times is not None:
            os.utime(temporary, ns=times)
        temporary.replace(place)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _expand(argument: str, suffixes: Container[str], recursive: bool) -> Iterator[Source]:
    path = Path(argument)
    if argument == STANDARD:
        if sys.stdin.isatty():
            raise UsageError("standard input is a terminal: pipe a file into it")
        yield Source(None, path)
    elif path.is_dir():
        yield from _in_folder(path, suffixes, recursive)
    elif path.exists() or not glob.has_magic(argument):
        yield Source(path, Path(path.name))
    else:
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        for match in map(Path, matches or [argument]):
            if match.is_dir():
                yield from _in_folder(match, suffixes, recursive)
            else:
                yield Source(match, Path(match.name))


def _in_folder(folder: Path, suffixes: Container[str], recursive: bool) -> Iterator[Source]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        found += [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]
    if not found:
        remedy = "" if recursive else "; --recursive looks into the folders in it"
        raise UsageError(f"no suitable files in the folder {folder}{remedy}")
    for path in sorted(found):
        yield Source(path, path.relative_to(folder), in_folder=True)


def _to_standard_output(sources: Sequence[Source]) -> Job:
    if len(sources) != 1 or sources[0].in_folder:
        raise UsageError(
            "several pictures do not fit into standard output: name one input, or a folder with -o"
        )
    if sys.stdout.isatty():
        raise UsageError("a picture is not written to a terminal: name a file with -o, or use a pipe or >")
    return Job(sources[0], None)


def _below_or_at(sources: Sequence[Source], output: str, suffix: str) -> list[Path]:
    path = Path(output)
    is_folder = path.is_dir() or output.endswith(("/", os.sep)) or any(source.in_folder for source in sources)
    if len(sources) == 1 and not is_folder and (path.suffix or path.exists()):
        return [path]
    if path.exists() and not path.is_dir():
        raise UsageError(f"several pictures do not fit into one file: {output} must be a folder")
    if any(source.path is None for source in sources):
        raise UsageError(f"a picture from standard input has no name: name a file and not {output} with -o")
    return [path / source.place.with_suffix(suffix) for source in sources]
