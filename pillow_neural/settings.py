"""The save options, validated, and the device that codecs run on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real

from PIL import Image

from pillow_neural.codecs.registry import DEFAULT_CODEC, codec_info
from pillow_neural.container import EXIF_PREFIX

MIN_QUALITY = 0.05
MAX_QUALITY = 2.0
DEFAULT_QUALITY = 0.5

DEVICE_VARIABLE = "PILLOW_NEURAL_DEVICE"

_MODES_WITH_OTHER_PROFILES = ("CMYK", "LAB")

_chosen_device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveOptions:
    """How one picture is saved.

    Attributes:
        quality: nominal bits per pixel of a photograph, 0.05 to 2.0.
        target_size: the most bytes that the whole file may have; when given, it decides instead of `quality`.
        codec: a registered codec name.
        exif: a TIFF structure beginning with `II` or `MM`, without the prefix of JPEG.
        icc_profile: an ICC profile.
        xmp: an XMP packet in UTF-8.

    Raises:
        TypeError: quality or target_size is not a number, or codec not a string.
        ValueError: a value is out of its range.
    """

    quality: float = DEFAULT_QUALITY
    target_size: int | None = None
    codec: str = DEFAULT_CODEC
    exif: bytes | None = None
    icc_profile: bytes | None = None
    xmp: bytes | None = None

    def __post_init__(self) -> None:
        check_quality(self.quality)
        if self.target_size is not None:
            check_target_size(self.target_size)
        _check_codec(self.codec)


def options_for(im: Image.Image, keywords: Mapping[str, object]) -> SaveOptions:
    """The options of `im.save(..., **keywords)`.

    Metadata that no keyword mentions is taken over from `im.info`, if it is what it should be; None leaves it
    out, and so does the conversion of CMYK or LAB for the ICC profile. `quality`, `target_size` and `codec`
    count as absent when None. Other keywords are ignored, as in Pillow.

    Raises:
        TypeError, ValueError: a keyword is not what `SaveOptions` asks for, or quality and target_size are
            both given.
    """
    quality, target_size, codec = (keywords.get(name) for name in ("quality", "target_size", "codec"))
    if quality is not None and target_size is not None:
        raise ValueError("quality and target_size exclude each other: give one of them")
    return SaveOptions(
        quality=DEFAULT_QUALITY if quality is None else check_quality(quality),
        target_size=None if target_size is None else check_target_size(target_size),
        codec=DEFAULT_CODEC if codec is None else _check_codec(codec),
        exif=_metadata(im, keywords, "exif", _exif_bytes),
        icc_profile=_metadata(im, keywords, "icc_profile", _profile_bytes),
        xmp=_metadata(im, keywords, "xmp", _xmp_bytes),
    )


def check_quality(value: object) -> float:
    """Return the quality if it is one.

    Raises:
        TypeError: not a number.
        ValueError: outside 0.05 to 2.0.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"quality must be a number of bits per pixel, not {type(value).__name__}")
    quality = float(value)
    if not MIN_QUALITY <= quality <= MAX_QUALITY:
        remark = "looks like JPEG's scale" if quality > MAX_QUALITY else "is outside"
        raise ValueError(
            f"quality is the nominal bits per pixel of a photograph, {MIN_QUALITY} to {MAX_QUALITY} "
            f"(0.25 is a good start); {value} {remark}"
        )
    return quality


def check_target_size(value: object) -> int:
    """Return the target size if it is one.

    Raises:
        TypeError: not an integer.
        ValueError: not positive.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"target_size must be a whole number of bytes, not {type(value).__name__}")
    if value <= 0:
        raise ValueError(f"target_size must be at least 1 byte, not {value}")
    return int(value)


def _check_codec(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"codec must be a name, not {type(value).__name__}")
    return codec_info(value).name


def set_device(name: str | None) -> None:
    """Choose where codecs run: "cpu", "cuda" or "cuda:1"; None returns to the default.

    The default is the environment variable PILLOW_NEURAL_DEVICE, else a CUDA device if there is one, else the
    CPU. The name is checked when pixels are next coded, which then raises ValueError for an impossible one.

    Raises:
        TypeError: not a string or None.
    """
    global _chosen_device
    if not (name is None or isinstance(name, str)):
        raise TypeError(f"a device is a name such as 'cpu' or 'cuda:0', not {type(name).__name__}")
    _chosen_device = name


def device() -> str:
    """The device that codecs run on. Imports torch.

    Raises:
        ValueError: the chosen device does not exist here.
    """
    import torch

    name = _chosen_device if _chosen_device is not None else os.environ.get(DEVICE_VARIABLE) or None
    available = ["cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if name is None:
        return "cuda" if "cuda" in available else "cpu"
    if name not in available:
        raise ValueError(
            f"there is no device {name!r} for codecs here; choose one of: {', '.join(available)}"
        )
    return name


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
