"""The default codec in threads and in processes."""

from __future__ import annotations

import io
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from tests.conformance import worker

EXAMPLE = Path(__file__).parents[1] / "examples" / "kodim23.png"


def _file(left: int) -> bytes:
    out = io.BytesIO()
    Image.open(EXAMPLE).crop((left, 100, left + 64, 164)).save(out, "NIC", quality=1.0)
    return out.getvalue()


def test_eight_threads_decode_what_one_does() -> None:
    files = [_file(left) for left in range(0, 640, 80)]
    alone = [Image.open(io.BytesIO(data)).tobytes() for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: Image.open(io.BytesIO(data)).tobytes(), files * 2))
    assert together == alone * 2


def test_eight_threads_encode_what_one_does() -> None:
    lefts = list(range(0, 640, 80))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(_file, lefts)) == [_file(left) for left in lefts]


def test_spawned_workers_know_the_format_once_their_module_imports_it(tmp_path: Path) -> None:
    path = tmp_path / "x.nic"
    path.write_bytes(_file(0))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with pytest.raises(UnidentifiedImageError):
            pool.apply(Image.open, (str(path),))
        there = np.frombuffer(pool.apply(worker.pixels, (str(path),)), np.uint8).astype(int)
    here = np.frombuffer(Image.open(path).tobytes(), np.uint8)
    # The symbols are the same; another number of threads may turn a rounding of the float synthesis.
    assert np.abs(there - here).max() <= 1
