"""Metadata carried from one picture to another, whatever their formats."""

from __future__ import annotations

import argparse
import io
from typing import Any

from PIL import Image, PngImagePlugin

from pillow_neural.container import METADATA

_RAW_EXIF = "Raw profile type exif"
"""Where ImageMagick 6 put Exif metadata in PNG files."""

_XMP_IN_PNG = "XML:com.adobe.xmp"
_XMP_IN_TIFF = 700

_EXIF_TAGS = frozenset(
    {0x010E, 0x010F, 0x0110, 0x0112, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x8298}
)
"""Tags of a TIFF's first directory that describe the picture, and not how its pixels lie."""

_EXIF_DIRECTORIES = frozenset({0x8769, 0x8825})
"""Tags of a TIFF's first directory that lead to those of Exif and of GPS."""


def metadata_of(im: Image.Image) -> dict[str, bytes]:
    """What of `exif`, `icc_profile` and `xmp` a picture has, as Pillow's `info` has it."""
    found = {key: im.info[key] for key in METADATA.values() if im.info.get(key)}
    if "exif" not in found and (im.format == "TIFF" or _RAW_EXIF in im.info):
        exif = im.getexif()
        kept = Image.Exif()
        kept.update({tag: exif[tag] for tag in exif if tag in _EXIF_TAGS})
        kept.update({tag: exif.get_ifd(tag) for tag in exif if tag in _EXIF_DIRECTORIES})
        if kept:
            found["exif"] = kept.tobytes()
    return found


def ignored_by(options: argparse.Namespace) -> set[str]:
    """Those of `exif`, `icc_profile` and `xmp` that the options leave out."""
    chosen = {"exif": options.ignore_exif, "icc_profile": options.ignore_icc, "xmp": options.ignore_xmp}
    return {key for key, ignored in chosen.items() if ignored or options.strip}


def sizes_in(data: bytes, file_format: str) -> dict[str, int]:
    """Length in bytes of each kind of metadata that a file of some format holds."""
    if file_format not in Image.OPEN:
        return {}
    with Image.open(io.BytesIO(data), formats=[file_format]) as im:
        return {key: len(value) for key, value in metadata_of(im).items()}


def save_keywords(metadata: dict[str, bytes], target_format: str) -> dict[str, Any]:
    """The keywords of Pillow's `save` that put this metadata, and no other, into a file of some format."""
    keywords: dict[str, Any] = {"icc_profile": None, **metadata}
    if "xmp" in metadata and target_format == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt(_XMP_IN_PNG, metadata["xmp"].decode("utf-8", "replace"))
        keywords["pnginfo"] = text
    if "xmp" in metadata and target_format == "TIFF":
        exif = Image.Exif()
        exif.load(metadata.get("exif", b""))
        exif[_XMP_IN_TIFF] = metadata["xmp"]
        keywords["exif"] = exif
    return keywords
