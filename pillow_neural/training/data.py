"""Training pictures: tar shards or folders in, random crops out."""

from __future__ import annotations

import hashlib
import io
import os
import queue
import tarfile
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

Pixels = npt.NDArray[np.uint8]

SUFFIXES = {".avif", ".png", ".jpg", ".jpeg", ".webp"}
VALIDATION_PERCENT = 4
SMALLEST_SCALE = 0.5
CANDIDATES = 3
PALE_SHARE = 0.5
PALEST = 0.2
SUBSAMPLED_SHARE = 0.5
ALL = slice(None)


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture: its name and uint8 pixels [H, W, 3]."""

    name: str
    pixels: Pixels


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix == ".tar":
                yield from _files(path)
            elif path.suffix.lower() in SUFFIXES:
                yield path.name, path.read_bytes()
        return
    with tarfile.open(source) as archive:
        for member in archive:
            stream = archive.extractfile(member) if Path(member.name).suffix.lower() in SUFFIXES else None
            if stream is not None:
                yield member.name, stream.read()


def is_validation(name: str) -> bool:
    """Whether a picture is held out: decided by its file name alone, the same on every machine."""
    digest = hashlib.sha256(Path(name).name.encode()).digest()
    return digest[0] * 100 < VALIDATION_PERCENT * 256


def load_pictures(
    sources: Sequence[Path], validation: bool, smallest_side: int, share: slice = ALL
) -> list[Picture]:
    """Decode all pictures of tar files and folders whose sides are at least smallest_side pixels.

    share: which of them, in their order, of those that are for validation or not.

    Raises:
        ValueError: nothing usable was found.
    """

    def decode(entry: tuple[str, bytes]) -> Picture:
        return Picture(entry[0], np.asarray(Image.open(io.BytesIO(entry[1])).convert("RGB")))

    files = (entry for source in sources for entry in _files(source))
    chosen = (entry for entry in files if is_validation(entry[0]) == validation)
    entries = islice(chosen, share.start, share.stop, share.step)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pictures = [p for p in pool.map(decode, entries) if min(p.pixels.shape[:2]) >= smallest_side]
    if not pictures:
        places = ", ".join(map(str, sources))
        raise ValueError(f"no pictures of at least {smallest_side} pixels a side in {places}")
    return pictures


class CropSampler:
    """Random square crops, preferring detail, at scale 0.5 to 1, flipped, transposed and paled at random.

    Pictures are drawn by the square root of their area; of a few candidate crops one is drawn by its
    mean absolute gradient, since most training pictures are smoother than what people look at closely.
    Half of them lose some of their colour, which photographs of today have more of than others; and half of
    them have their colours at half the resolution, as most photographs come from cameras.
    """

    def __init__(self, pictures: Sequence[Picture], crop: int, seed: int) -> None:
        self._pictures = pictures
        self._crop = crop
        self._random = np.random.default_rng(seed)
        weights = np.sqrt([p.pixels.shape[0] * p.pixels.shape[1] for p in pictures])
        self._weights = weights / weights.sum()

    def with_crop(self, crop: int, seed: int) -> CropSampler:
        """Another sampler of the same pictures."""
        return CropSampler(self._pictures, crop, seed)

    def _candidate(self) -> Pixels:
        pixels = self._pictures[self._random.choice(len(self._pictures), p=self._weights)].pixels
        largest = min(pixels.shape[:2])
        scale = self._random.uniform(SMALLEST_SCALE, 1) if self._random.random() < 0.6 else 1.0
        side = min(round(self._crop / scale), largest)
        top = self._random.integers(pixels.shape[0] - side + 1)
        left = self._random.integers(pixels.shape[1] - side + 1)
        return pixels[top : top + side, left : left + side]

    def crop(self) -> Pixels:
        """One uint8 crop [crop, crop, 3]."""
        candidates = [self._candidate() for _ in range(CANDIDATES)]
        detail = np.array([_detail(c) for c in candidates]) + 0.5
        chosen = candidates[self._random.choice(CANDIDATES, p=detail / detail.sum())]
        if chosen.shape[0] != self._crop:
            resized = Image.fromarray(chosen).resize((self._crop, self._crop), Image.Resampling.LANCZOS)
            chosen = np.asarray(resized)
        if self._random.random() < 0.5:
            chosen = chosen[:, ::-1]
        if self._random.random() < 0.5:
            chosen = chosen.transpose(1, 0, 2)
        if self._random.random() < PALE_SHARE:
            chosen = self._paled(chosen)
        return subsampled(chosen) if self._random.random() < SUBSAMPLED_SHARE else chosen

    def _paled(self, pixels: Pixels) -> Pixels:
        grey = pixels.mean(axis=2, keepdims=True, dtype=np.float32)
        paled: Pixels = np.rint(grey + self._random.uniform(PALEST, 1) * (pixels - grey)).astype(np.uint8)
        return paled

    def batch(self, size: int) -> Tensor:
        """uint8 crops [size, 3, crop, crop]."""
        return torch.from_numpy(np.stack([self.crop() for _ in range(size)])).permute(0, 3, 1, 2).contiguous()


def subsampled(pixels: Pixels) -> Pixels:
    """Pixels [H, W, 3] whose Cb and Cr have half the resolution, as in JPEG files of cameras (4:2:0)."""
    picture = Image.fromarray(pixels).convert("YCbCr")
    luma, *colours = picture.split()
    half = ((picture.width + 1) // 2, (picture.height + 1) // 2)
    smooth = [
        plane.resize(half, Image.Resampling.BOX).resize(picture.size, Image.Resampling.BILINEAR)
        for plane in colours
    ]
    return np.asarray(Image.merge("YCbCr", (luma, *smooth)).convert("RGB"))


def _detail(pixels: Pixels) -> float:
    green = pixels[::4, ::4, 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


def prefetch(sampler: CropSampler, size: int) -> Generator[Tensor, None, None]:
    """Endless batches [size, 3, crop, crop] of a background thread, which ends when they are closed."""
    ready: queue.Queue[Tensor] = queue.Queue(maxsize=4)
    closed = threading.Event()

    def work() -> None:
        while not closed.is_set():
            ready.put(sampler.batch(size))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            yield ready.get()
    finally:
        closed.set()
        while thread.is_alive():
            with suppress(queue.Empty):
                ready.get(timeout=0.05)
