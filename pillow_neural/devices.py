"""Where codecs run: the device, and the number of CPU threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral

DEVICE_VARIABLE = "PILLOW_NEURAL_DEVICE"

_chosen_device: str | None = None
_chosen_threads: int | None = None
_device_here: ContextVar[str | None] = ContextVar("device", default=None)
_threads_here: ContextVar[int | None] = ContextVar("threads", default=None)


def set_device(name: str | None) -> None:
    """Choose where codecs run: "cpu", "cuda" or "cuda:1"; None returns to the default.

    The default is the environment variable PILLOW_NEURAL_DEVICE, else a CUDA device if there is one, else the
    CPU. The name is checked when pixels are next coded, which then raises ValueError for an impossible one.

    Raises:
        TypeError: not a string or None.
    """
    global _chosen_device
    _chosen_device = _check_device(name)


def set_threads(count: int | None) -> None:
    """Choose how many CPU threads torch may use for coding one picture; None leaves torch as it is.

    What torch does elsewhere in the program stays as it was.

    Raises:
        TypeError: not a whole number or None.
        ValueError: below 1.
    """
    global _chosen_threads
    _chosen_threads = _check_threads(count)


@contextmanager
def options(*, device: str | None = None, threads: int | None = None) -> Iterator[None]:
    """Choose device and threads for what this thread (or asyncio task) codes in a `with` block.

        with pillow_neural.options(device="cpu", threads=1):
            Image.open("photo.nic").load()

    Comes before `set_device` and `set_threads`; None leaves a choice to them or to a block around this one.
    Pixels are decoded when they are first used, so a picture opened in the block must be loaded in it, too.
    Threads that the block starts do not inherit its choices.

    Raises:
        TypeError, ValueError: as `set_device` and `set_threads` do.
    """
    device, threads = _check_device(device), _check_threads(threads)
    outer = _device_here.get(), _threads_here.get()
    _device_here.set(outer[0] if device is None else device)
    _threads_here.set(outer[1] if threads is None else threads)
    try:
        yield
    finally:
        _device_here.set(outer[0])
        _threads_here.set(outer[1])


def device() -> str:
    """The device that codecs run on. Imports torch.

    In a worker of torch's DataLoader a CUDA device is only used if it was chosen: a forked process cannot use
    CUDA after its parent did, and many workers would crowd one device.

    Raises:
        ValueError: the chosen device does not exist here.
    """
    import torch
    from torch.utils.data import get_worker_info

    name = _device_here.get() or _chosen_device or os.environ.get(DEVICE_VARIABLE) or None
    available = ["cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if name is None:
        return "cuda" if "cuda" in available and get_worker_info() is None else "cpu"
    if name not in available:
        raise ValueError(
            f"there is no device {name!r} for codecs here; choose one of: {', '.join(available)}"
        )
    return name


class _TorchThreads:
    """Torch's number of CPU threads outside of all coding, kept while any thread codes with another.

    Torch has the number for each thread, but a thread that starts to use torch takes it from whichever
    thread set it last; so it cannot be read again where coding ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coding = 0
        self._usual = 1

    @contextmanager
    def limited_to(self, count: int) -> Iterator[None]:
        import torch

        with self._lock:
            if self._coding == 0:
                self._usual = torch.get_num_threads()
            self._coding += 1
            torch.set_num_threads(count)
        try:
            yield
        finally:
            with self._lock:
                self._coding -= 1
                torch.set_num_threads(self._usual)


_torch_threads = _TorchThreads()


@contextmanager
def chosen_threads() -> Iterator[None]:
    """Let torch use the chosen number of CPU threads in a `with` block that codes and holds no other one."""
    count = _threads_here.get() or _chosen_threads
    if count is None:
        yield
    else:
        with _torch_threads.limited_to(count):
            yield


def _check_device(name: str | None) -> str | None:
    if not (name is None or isinstance(name, str)):
        raise TypeError(f"a device is a name such as 'cpu' or 'cuda:0', not {type(name).__name__}")
    return name


def _check_threads(count: int | None) -> int | None:
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise TypeError(f"threads must be a whole number, not {type(count).__name__}")
    if count < 1:
        raise ValueError(f"threads must be at least 1, not {count}")
    return int(count)
