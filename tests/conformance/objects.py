"""Pickling, copies, thumbnails, threads, processes, memory, registration."""

from __future__ import annotations

import copy
import gc
import io
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image, features

import pillow_neural
from tests.conformance.kit import Kit, frames

_PAGES = Path("/proc/self/statm")


def pickling(kit: Kit) -> str:
    im = kit.open()
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    equal = all(pickle.loads(pickle.dumps(im, protocol)) == im for protocol in protocols)
    return f"equal, protocols 0 to {protocols[-1]}" if equal else "different"


def copies(kit: Kit) -> str:
    im = kit.open()
    made = (im.copy(), im.convert("L"), copy.copy(im), copy.deepcopy(im))
    assert all(each.convert("L").tobytes() == im.convert("L").tobytes() for each in made)
    return " ".join(str(each.format) for each in made)


def in_notebooks(kit: Kit) -> str:
    png = kit.open()._repr_png_()
    return "PNG" if png is not None and Image.open(io.BytesIO(png)).size == (40, 30) else "nothing"


def thumbnail(kit: Kit) -> str:
    im = kit.open()
    im.thumbnail((20, 20))
    return str(im.size)


def draft(kit: Kit) -> str:
    im = kit.open()
    answer = im.draft("L", (18, 12))
    return f"{answer}, then {im.mode} {im.size}, loaded {im.convert('L').size}"


def draft_after_load(kit: Kit) -> str:
    im = kit.open()
    im.load()
    return f"{im.draft(None, (10, 10))}, {im.size}"


def threads_with_a_file_each(kit: Kit) -> str:
    files = [kit.save(im) for im in frames() * 3]
    expected = [kit.open(data).tobytes() for data in files]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            if list(pool.map(lambda data: kit.open(data).tobytes(), files)) != expected:
                return "different"
    return "equal"


def threads_with_one_picture(kit: Kit) -> str:
    data = kit.animation()
    expected = kit.open(data).tobytes()
    for _ in range(5):
        im = kit.open(data)
        with ThreadPoolExecutor(8) as pool:
            if set(pool.map(lambda _, im=im: im.tobytes(), range(16))) != {expected}:  # type: ignore[misc]
                return "different"
    return "equal"


def memory_of_a_hundred_loads(kit: Kit) -> str:
    """Whether memory grows by more than a tenth of what a hundred such pictures take."""
    if not _PAGES.exists():
        pytest.skip("memory is measured on Linux only")
    data = kit.save(Image.new("RGB", (512, 512), "red"))

    def load(times: int) -> int:
        for _ in range(times):
            with kit.open(data) as im:
                im.load()
        gc.collect()
        return int(_PAGES.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = load(30)
    return "does not grow" if load(100) - before < 100 * 512 * 512 * 4 / 10 else "grows"


def registered_again(kit: Kit) -> str:
    before = (list(Image.ID), dict(Image.EXTENSION), dict(Image.MIME))
    pillow_neural.register_nic_opener()
    return "nothing changes" if before == (Image.ID, Image.EXTENSION, Image.MIME) else "changes"


def listed_by_pillow(kit: Kit) -> str:
    out = io.StringIO()
    features.pilinfo(out)
    lines = out.getvalue().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{kit.format} "))
    return f"{lines[start + 1].strip()}; {lines[start + 2].strip()}"
