"""Training by several processes with pictures of their own, whose gradients are averaged in every step.

One process with two threads is hardly faster than with one: it waits for its slower thread after each of
thousands of small operations. Without a group of processes, all that is here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ParamSpec

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn

Arguments = ParamSpec("Arguments")


def processes() -> int:
    """How many there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Make every gradient the mean of those of all processes, where there are none as if they were zero."""
    if processes() == 1:
        return
    every = list(parameters)
    shares = mean(torch.tensor([float(p.grad is not None) for p in every])).tolist()
    learning = [p for p, share in zip(every, shares, strict=True) if share]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
    joined = mean(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = torch.split(joined, [gradient.numel() for gradient in gradients])
    for parameter, part in zip(learning, parts, strict=True):
        parameter.grad = torch.empty_like(parameter).copy_(part.view(parameter.shape))


def mean(values: Tensor) -> Tensor:
    """The mean over processes of values of one shape, elementwise."""
    if processes() > 1:
        distributed.all_reduce(values)
        values /= processes()
    return values


def of_first(value: float) -> float:
    """What the first process has."""
    if processes() == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    distributed.broadcast(shared, 0)
    return shared.item()


@torch.no_grad()
def take_from_first(network: nn.Module) -> None:
    """Have all processes start from the same weights."""
    if processes() > 1:
        for value in network.state_dict().values():
            distributed.broadcast(value, 0)


def run(
    count: int,
    work: Callable[Arguments, object],
    *arguments: Arguments.args,
    **keywords: Arguments.kwargs,
) -> None:
    """Call a function of a module in so many processes at once, which share the cores."""
    if count == 1:
        work(*arguments, **keywords)
        return
    with TemporaryDirectory() as folder:
        meeting = Path(folder) / "processes"
        spawn(_join, (count, meeting, work, arguments, keywords), count)  # type: ignore[no-untyped-call]


def _join(
    number: int,
    count: int,
    meeting: Path,
    work: Callable[..., object],
    arguments: tuple[object, ...],
    keywords: dict[str, object],
) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=number, world_size=count)
    try:
        work(*arguments, **keywords)
    finally:
        distributed.destroy_process_group()
