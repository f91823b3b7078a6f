"""What the tests of the `nic` command share."""

import io
from pathlib import Path

from PIL import Image, ImageCms

from pillow_neural.cli import main

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>caf\xc3\xa9</x:xmpmeta>"
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def run(*arguments: str) -> int:
    """The exit code, wherever it comes from."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(str(stop.code))


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def exif(orientation: int = 6) -> Image.Exif:
    made = Image.Exif()
    made[0x010F] = "Maker"
    made[0x0112] = orientation
    made.get_ifd(0x8769)[0x829A] = 0.5
    return made


def animation(file_format: str, frames: list[Image.Image], **keywords: object) -> bytes:
    data = io.BytesIO()
    frames[0].save(data, file_format, save_all=True, append_images=frames[1:], **keywords)
    return data.getvalue()
