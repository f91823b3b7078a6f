"""Pillow: make it know `.nic`, without importing what only opening and saving need."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from pillow_neural.pillow_plugin import NicImageFile

_FORMAT = "NIC"
_MAGIC = b"\x89NIC"


def register_nic_opener() -> None:
    """Make Pillow open and save `.nic`; `import pillow_neural` has done so already. May be called again."""
    Image.register_open(_FORMAT, _open, _accept)
    Image.register_save(_FORMAT, _save)
    Image.register_save_all(_FORMAT, _save_all)
    Image.register_extension(_FORMAT, ".nic")
    Image.register_mime(_FORMAT, "image/x-nic")


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(_MAGIC)


def _open(fp: IO[bytes], filename: str | bytes) -> NicImageFile:
    from pillow_neural.pillow_plugin import NicImageFile

    return NicImageFile(fp, filename)


def _save(im: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    from pillow_neural.pillow_plugin import save

    save(im, fp)


def _save_all(im: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    from pillow_neural.pillow_plugin import save_all

    save_all(im, fp)
