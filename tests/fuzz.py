"""Random damage to .nic files: what opening and decoding make of it.

`python -m tests.fuzz --mutations 10000` prints for each kind of file how mutations ended, and the slowest.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

import pillow_neural  # noqa: F401 - registers the format
from pillow_neural import container
from pillow_neural.binary import read_varint
from pillow_neural.codecs.registry import codecs
from pillow_neural.coding import code_avif
from pillow_neural.container import Chunk
from pillow_neural.frames import Source, file_of
from pillow_neural.header import AVIF_CODEC, LOSSLESS_CODEC, NO_WEIGHTS, Header
from pillow_neural.settings import SaveOptions
from pillow_neural.weights import default_entry

ALLOWED = (SyntaxError, OSError, Image.DecompressionBombError)
LARGEST = 200_000
"""Pixels that a mutated header may claim before Pillow's check for decompression bombs steps in."""

Damage = Callable[[bytes, np.random.Generator], bytes]


class Kind(NamedTuple):
    """A valid file, and the pixels of its frames."""

    name: str
    data: bytes
    pixels: tuple[bytes, ...]


class Outcome(NamedTuple):
    """How one mutated file ended: `pixels` of all frames, or the exception."""

    pixels: tuple[bytes, ...] | None
    error: BaseException | None
    seconds: float


class Recipe(NamedTuple):
    """What a kind of file is made of: pictures of a mode, as many as it has frames, and keywords of save."""

    mode: str
    frames: int
    keywords: dict[str, object]


_METADATA = {"exif": b"II*\0\x08\0\0\0\0\0\0\0\0\0", "icc_profile": b"profile", "xmp": b"<x/>"}
_RECIPES = {
    **{mode: Recipe(mode, 1, {}) for mode in ("L", "LA", "RGB", "RGBA")},
    "metadata": Recipe("RGB", 1, {**_METADATA}),
    **{f"{mode} frames": Recipe(mode, 3, {"duration": 40}) for mode in ("RGB", "RGBA")},
}

_CODECS = [codec.name for codec in codecs() if default_entry(codec.name) or codec.name == LOSSLESS_CODEC]

KINDS = [(codec, name) for codec in _CODECS for name in _RECIPES]
KINDS += [(AVIF_CODEC, mode) for mode in ("L", "LA", "RGB", "RGBA")]
"""Stills of every mode, metadata, and animations, of every codec that can save, and stills as AVIF: arguments
of `kind`."""


@cache
def kind(codec: str, name: str) -> Kind:
    """Make the file of a kind."""
    mode, count, keywords = _RECIPES[name]
    first, *others = (_picture(mode, number) for number in range(count))
    if codec == AVIF_CODEC:
        header = Header(*first.size, mode, AVIF_CODEC, NO_WEIGHTS, b"")
        data = file_of(header, [code_avif(Source(first, 0), 80, 0)], SaveOptions())
    else:
        out = io.BytesIO()
        first.save(out, "NIC", save_all=count > 1, append_images=others, codec=codec, **keywords)
        data = out.getvalue()
    pixels = open_fully(data).pixels
    assert pixels is not None
    return Kind(f"{codec} {name}", data, pixels)


def _picture(mode: str, number: int) -> Image.Image:
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (5, 7, 4), dtype=np.uint8), "RGBA")
    return coarse.resize((37, 21), Image.Resampling.BICUBIC).convert(mode)


def open_fully(data: bytes, layers: int = 0) -> Outcome:
    """Open a file and decode every frame of it: so many layers at most, or all for 0."""
    began = time.perf_counter()
    pixels: list[bytes] = []
    try:
        with Image.open(io.BytesIO(data), formats=["NIC"]) as im:
            im.layers = min(layers, im.n_layers)
            for number in range(im.n_frames):
                im.seek(number)
                pixels.append(im.tobytes())
    except Exception as error:
        return Outcome(None, error, time.perf_counter() - began)
    return Outcome(tuple(pixels), None, time.perf_counter() - began)


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """One to four random changes, checksums left as they are; never the same bytes."""
    changed = data
    while changed == data:
        for _ in range(random.integers(1, 5)):
            changed = _changed(changed, random)
    return changed


def forged(data: bytes, random: np.random.Generator) -> bytes:
    """Random changes to header fields or chunks, with checksums that match."""
    return _forged_header(data, random) if random.random() < 0.3 else _forged_chunks(data, random)


def _changed(data: bytes, random: np.random.Generator) -> bytes:
    if not data:
        return bytes(random.integers(0, 256, 1, dtype=np.uint8))
    start = int(random.integers(len(data)))
    length = int(random.integers(1, 9))
    noise = random.integers(0, 256, length, dtype=np.uint8).tobytes()
    replacements: list[Callable[[], bytes]] = [
        lambda: data[:start] + bytes([data[start] ^ 1 << int(random.integers(8))]) + data[start + 1 :],
        lambda: data[:start] + noise + data[start + length :],
        lambda: data[:start] + data[start + length :],
        lambda: data[:start] + noise + data[start:],
        lambda: data[: start + length] + data[start:],
        lambda: data[:start],
        lambda: data[:start] + bytes(length) + data[start + length :],
    ]
    return replacements[random.integers(len(replacements))]()


def _forged_header(data: bytes, random: np.random.Generator) -> bytes:
    fields = io.BytesIO(data[len(container.MAGIC) + 1 :])
    length = read_varint(fields)
    start = len(container.MAGIC) + 1 + fields.tell()
    body = _changed(data[start : start + length], random)
    body = body[:length].ljust(length, b"\0")
    checked = data[len(container.MAGIC) : start] + body
    checksum = zlib.crc32(checked).to_bytes(4)
    return container.MAGIC + checked + checksum + data[start + length + 4 :]


def _forged_chunks(data: bytes, random: np.random.Generator) -> bytes:
    index = container.read_index(io.BytesIO(data))
    chunks = [Chunk(e.kind, container.read_chunk(io.BytesIO(data), e)) for e in index.entries]
    number = int(random.integers(len(chunks)))
    action = random.integers(6)
    if action == 0:
        chunks.pop(number)
    elif action == 1:
        chunks.insert(int(random.integers(len(chunks) + 1)), chunks.pop(number))
    elif action == 2:
        chunks.insert(number, chunks[number])
    else:
        chunks[number] = Chunk(chunks[number].kind, _changed(chunks[number].data, random))
    try:
        return container.write(index.header, chunks)
    except ValueError:
        return _forged_chunks(data, random)


def outcomes(file: Kind, damage: Damage, count: int, layers: int = 0) -> Iterator[Outcome]:
    """Open so many mutated files, the same ones each time."""
    random = np.random.default_rng(zlib.crc32(file.name.encode()))
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, LARGEST
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(count):
                yield open_fully(damage(file.data, random), layers)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def main() -> None:
    """Mutate every kind of file and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    count = parser.parse_args().mutations
    for arguments in KINDS:
        file = kind(*arguments)
        valid = min(open_fully(file.data).seconds for _ in range(20))
        for damage in (damaged, forged):
            ends: Counter[str] = Counter()
            slowest = 0.0
            for outcome in outcomes(file, damage, count):
                ends["pixels" if outcome.error is None else type(outcome.error).__name__] += 1
                slowest = max(slowest, outcome.seconds * 1e3)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            listed = ", ".join(f"{name} {number}" for name, number in ends.most_common())
            print(f"{file.name}, {damage.__name__}: {listed}")
            print(f"  slowest {slowest:.1f} ms, a valid file {valid * 1e3:.1f} ms; peak memory {memory} MiB")


if __name__ == "__main__":
    main()
