"""Several files at once, in threads that share the CPU cores, under one progress bar."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import pillow_neural
from pillow_neural.cli.files import UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_JOBS = 4


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def jobs_for(items: int, wanted: int | None) -> int:
    """How many of so many items to have in work at once: as wanted, else one a core, at most 4."""
    return max(1, min(items, wanted or min(cores(), _MOST_JOBS)))


def threads_for(jobs: int) -> int:
    """Threads for torch in each of so many jobs, so that all together fill the cores. Imports torch.

    Never more than torch would use by itself, which OMP_NUM_THREADS limits.
    """
    import torch

    return max(1, min(torch.get_num_threads(), cores() // jobs))


def check_device(name: str | None) -> None:
    """Raise UsageError if this is no device to code on here. Imports torch."""
    from pillow_neural.devices import device

    try:
        with pillow_neural.options(device=name):
            device()
    except ValueError as error:
        raise UsageError(str(error)) from error


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], jobs: int, *, quiet: bool = False
) -> Iterator[tuple[int, Result]]:
    """Yield each item's number and what `work` returned for it, the first done first.

    A progress bar on standard error shows how far it is if that is a terminal and there are several items.
    When `work` raises or the caller leaves early, what has begun is finished and nothing else begun.
    """
    from tqdm import tqdm

    pool = ThreadPoolExecutor(jobs)
    hidden = quiet or len(items) < 2 or not sys.stderr.isatty()
    with tqdm(total=len(items), unit="file", leave=False, disable=hidden) as bar:
        try:
            numbers = {pool.submit(work, item): number for number, item in enumerate(items)}
            for future in as_completed(numbers):
                bar.update()
                yield numbers[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def say(line: str, *, error: bool = False) -> None:
    """Print a line on standard output or standard error, above the progress bar."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr if error else sys.stdout)
