"""Exif, ICC profiles and XMP: from Pillow's `info` and the keywords of `save` to what a file holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PIL import Image

from pillow_neural.container import EXIF_PREFIX

_MODES_WITH_OTHER_PROFILES = ("CMYK", "LAB")


def exif_of(im: Image.Image, keywords: Mapping[str, object]) -> bytes | None:
    """Return the TIFF structure that `im.save(..., **keywords)` asks to store, or None.

    Raises:
        TypeError, ValueError: the keyword `exif` is no Exif.
    """
    return _metadata(im, keywords, "exif", _exif_bytes)


def profile_of(im: Image.Image, keywords: Mapping[str, object]) -> bytes | None:
    """Return the ICC profile that `im.save(..., **keywords)` asks to store, or None.

    Raises:
        TypeError: the keyword `icc_profile` is not bytes.
    """
    return _metadata(im, keywords, "icc_profile", _profile_bytes)


def xmp_of(im: Image.Image, keywords: Mapping[str, object]) -> bytes | None:
    """Return the XMP packet that `im.save(..., **keywords)` asks to store, or None.

    Raises:
        TypeError: the keyword `xmp` is neither bytes nor str.
    """
    return _metadata(im, keywords, "xmp", _xmp_bytes)


def _metadata(
    im: Image.Image, keywords: Mapping[str, object], name: str, to_bytes: Callable[[object], bytes | None]
) -> bytes | None:
    if name in keywords:
        return to_bytes(keywords[name])
    if name == "icc_profile" and im.mode in _MODES_WITH_OTHER_PROFILES:
        return None
    try:
        return to_bytes(im.info.get(name))
    except (TypeError, ValueError):
        return None


def _exif_bytes(value: object) -> bytes | None:
    if isinstance(value, Image.Exif):
        data = value.tobytes()
        value = None if data == Image.Exif().tobytes() else data
    data = _bytes("exif", value, "bytes or Image.Exif").removeprefix(EXIF_PREFIX)
    if data and not data.startswith((b"II", b"MM")):
        raise ValueError(
            "exif must be a TIFF structure that begins with II or MM, as Image.Exif.tobytes() gives"
        )
    return data or None


def _profile_bytes(value: object) -> bytes | None:
    return _bytes("icc_profile", value, "bytes") or None


def _xmp_bytes(value: object) -> bytes | None:
    if isinstance(value, str):
        value = value.encode("utf-8")
    return _bytes("xmp", value, "bytes or str") or None


def _bytes(name: str, value: object, wanted: str) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name} must be {wanted} or None, not {type(value).__name__}")
    return bytes(value)
