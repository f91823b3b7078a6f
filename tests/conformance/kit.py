from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.conftest import picture

_LOSSLESS: dict[str, dict[str, Any]] = {"NIC": {"quality": 2.0}, "WEBP": {"lossless": True}}


@dataclass(frozen=True)
class Kit:
    """One format, and where its checks may write.

    Attributes:
        format: Pillow's name for it.
        folder: an empty folder.
        monkeypatch: undone after the check.
        keywords: of every save; None for those that are lossless, or nearly so, where the format can.
    """

    format: str
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    keywords: dict[str, Any] | None = None

    @property
    def suffix(self) -> str:
        return f".{self.format.lower()}"

    def save(self, im: Image.Image | None = None, target: Any = None, **keywords: Any) -> bytes:  # noqa: ANN401
        """Save a picture to bytes, unless there is another target."""
        out = io.BytesIO() if target is None else target
        usual = _LOSSLESS.get(self.format, {}) if self.keywords is None else self.keywords
        options = usual | keywords
        (im or picture()).save(out, format=self.format, **options)
        return out.getvalue() if target is None else b""

    def animation(self, **keywords: object) -> bytes:
        """Three frames of 10, 20 and 30 milliseconds."""
        first, *others = frames()
        keywords = {"duration": [10, 20, 30]} | keywords
        return self.save(first, save_all=True, append_images=others, **keywords)

    def open(self, data: bytes | None = None) -> ImageFile.ImageFile:
        return cast(ImageFile.ImageFile, Image.open(io.BytesIO(self.save() if data is None else data)))

    def open_path(self, data: bytes | None = None) -> ImageFile.ImageFile:
        return cast(ImageFile.ImageFile, Image.open(self.path(data)))

    def path(self, data: bytes | None = None) -> Path:
        path = self.folder / f"x{self.suffix}"
        path.write_bytes(self.save() if data is None else data)
        return path

    def damaged(self, data: bytes | None = None) -> bytes:
        """A byte changed in the middle of the pixels."""
        changed = bytearray(self.save() if data is None else data)
        changed[len(changed) // 2] ^= 0x55
        return bytes(changed)


def frames(mode: str = "RGB") -> list[Image.Image]:
    """Three pictures that differ."""
    first = picture(mode)
    return [
        first,
        first.transpose(Image.Transpose.ROTATE_180),
        first.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    ]


def outcome(action: Callable[[], object]) -> str:
    """Run it; "ok", or the name of the error: of the nearest class that Python or Pillow defines."""
    try:
        action()
    except Exception as error:
        return next(c.__name__ for c in type(error).__mro__ if c.__module__.startswith(("builtins", "PIL")))
    return "ok"


def difference(first: Image.Image, second: Image.Image) -> int:
    """The greatest difference of two samples."""
    return int(np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max())


class Stream(io.RawIOBase):
    """Neither seeks nor tells."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.buffer.read(size)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self.buffer.write(data)
