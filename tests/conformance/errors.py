"""Damaged files, bombs, and pictures that cannot be saved."""

from __future__ import annotations

import warnings

import pytest
from PIL import Image, ImageFile

from tests.conformance.kit import Kit, outcome

_TOO_WIDE = {"NIC": 2**24, "WEBP": 2**14}


def truncated(kit: Kit) -> str:
    data = kit.save()
    im = kit.open(data[: len(data) // 2])
    return f"open: ok, load: {outcome(im.load)}, again: {outcome(im.load)}"


def truncated_but_tolerated(kit: Kit) -> str:
    data = kit.save()
    kit.monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    im = kit.open(data[: len(data) // 2])
    return f"load: {outcome(im.load)}, size: {im.size}"


def truncated_animation(kit: Kit) -> str:
    im = kit.open(kit.animation()[:-20])
    first = outcome(im.load)
    im.seek(2)
    return f"first frame: {first}, last: {outcome(im.load)}"


def damaged(kit: Kit) -> str:
    data = kit.damaged()
    return f"verify: {outcome(kit.open(data).verify)}, load: {outcome(kit.open(data).load)}"


def damaged_header(kit: Kit) -> str:
    changed = bytearray(kit.save())
    changed[18] ^= 1
    return outcome(lambda: kit.open(bytes(changed)))


def verified(kit: Kit) -> str:
    im = kit.open()
    return f"{outcome(im.verify)}, load after it: {outcome(im.load)}"


def bombs(kit: Kit) -> str:
    data = kit.save()
    seen = []
    for limit in (1000, 500):
        kit.monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            seen.append(outcome(lambda: kit.open(data)))
    return ", ".join(seen)


def deep_pixels(kit: Kit) -> str:
    with pytest.raises(OSError, match="cannot write mode F as") as caught:
        kit.save(Image.new("F", (4, 4)))
    return type(caught.value).__name__


def empty_picture(kit: Kit) -> str:
    with pytest.raises(ValueError, match="cannot write empty image") as caught:
        kit.save(Image.new("RGB", (0, 3)))
    return type(caught.value).__name__


def too_wide(kit: Kit) -> str:
    im = Image.new("L", (_TOO_WIDE[kit.format], 1))
    return outcome(lambda: kit.save(im))


def wrong_quality(kit: Kit) -> str:
    return ", ".join(f"{value}: {outcome(lambda v=value: kit.save(quality=v))}" for value in ("bad", 101))  # type: ignore[misc]


def failed_save_to_a_new_path(kit: Kit) -> str:
    path = kit.folder / f"new{kit.suffix}"
    error = outcome(lambda: kit.save(Image.new("RGB", (0, 0)), path))
    return f"{error}, {'a file is left' if path.exists() else 'no file'}"


def failed_save_over_a_file(kit: Kit) -> str:
    path = kit.path(b"precious")
    error = outcome(lambda: kit.save(Image.new("RGB", (0, 0)), path))
    return f"{error}, {'kept' if path.read_bytes() == b'precious' else 'emptied'}"


def failed_save_to_an_open_file(kit: Kit) -> str:
    path = kit.path(b"precious")
    with path.open("r+b") as file:
        error = outcome(lambda: kit.save(Image.new("RGB", (0, 0)), file))
    return f"{error}, {'kept' if path.read_bytes() == b'precious' else 'overwritten'}"
