"""The save options, validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real

from PIL import Image

from pillow_neural.codecs.contract import MAX_EFFORT
from pillow_neural.codecs.registry import DEFAULT_CODEC, codec_info
from pillow_neural.header import LOSSLESS_CODEC
from pillow_neural.metadata import exif_of, profile_of, xmp_of
from pillow_neural.timing import MAX_TIMING

MIN_QUALITY = 0.05
MAX_QUALITY = 2.0
DEFAULT_QUALITY = 0.5
DEFAULT_EFFORT = 1

_EXCLUDED = "a lossless picture has one size, and no {}: leave one of both out"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveOptions:
    """How one picture or animation is saved.

    Attributes:
        quality: nominal bits per pixel of a photograph, 0.05 to 2.0.
        target_size: the most bytes that the whole file may have; when given, it decides instead of `quality`.
        codec: a registered codec name; None for the default codec or, where that costs less, "lossless" or
            AVIF, which has no name here. Of "lossless", which excludes `target_size`, `quality` is not used.
        tune: what the codec's weights are best in, "psnr" or "ssim" of the default codec; None for its own.
        effort: 0, fast, to 9, best: how much the default codec looks for symbols that cost less. 1, the
            default, looks once and takes about twice as long as 0, every two more once more, each time two
            to three times as long as 0. From 5 up AVIF is coded more thoroughly. The other codecs do not
            search.
        exif: a TIFF structure beginning with `II` or `MM`, without the prefix of JPEG.
        icc_profile: an ICC profile.
        xmp: an XMP packet in UTF-8.
        duration: milliseconds that each frame is shown, or one number a frame, 0 to 2**31 - 1; None for what
            each picture says in `info["duration"]`. Not used for a single picture, nor is loop.
        loop: how often the frames are shown, 0 for ever, to 2**31 - 1.

    Raises:
        TypeError: quality, target_size, effort, duration or loop is not a number, or codec or tune not a
            string.
        ValueError: a value is out of its range, target_size given for the codec "lossless", or the codec
            cannot be tuned so.
    """

    quality: float = DEFAULT_QUALITY
    target_size: int | None = None
    codec: str | None = None
    tune: str | None = None
    effort: int = DEFAULT_EFFORT
    exif: bytes | None = None
    icc_profile: bytes | None = None
    xmp: bytes | None = None
    duration: int | tuple[int, ...] | None = None
    loop: int = 0

    def __post_init__(self) -> None:
        check_quality(self.quality)
        if self.target_size is not None:
            check_target_size(self.target_size)
        if self.codec is not None:
            _check_codec(self.codec)
        if self.tune is not None:
            _check_tune(self.tune, self.codec or DEFAULT_CODEC)
        check_effort(self.effort)
        if self.codec == LOSSLESS_CODEC and self.target_size is not None:
            raise ValueError(_EXCLUDED.format("target_size"))
        _check_duration(self.duration)
        check_timing("loop", self.loop)


def options_for(im: Image.Image, keywords: Mapping[str, object]) -> SaveOptions:
    """The options of `im.save(..., **keywords)`.

    Metadata that no keyword mentions is taken over from `im.info`, if it is what it should be; None leaves it
    out, and so does the conversion of CMYK or LAB for the ICC profile. The other keywords count as absent
    when None. `loop` is taken over as well. Keywords of other formats are ignored, as in Pillow. `lossless`
    asks for the codec of this name.

    Raises:
        TypeError, ValueError: a keyword is not what `SaveOptions` asks for, or two of quality, target_size
            and lossless are given, or lossless and another codec.
    """
    quality, target_size, tune, effort, loop = map(
        keywords.get, ("quality", "target_size", "tune", "effort", "loop")
    )
    codec = _codec_for(keywords.get("codec"), keywords.get("lossless"))
    if quality is not None and target_size is not None:
        raise ValueError("quality and target_size exclude each other: give one of them")
    if quality is not None and codec == LOSSLESS_CODEC:
        raise ValueError(_EXCLUDED.format("quality"))
    return SaveOptions(
        quality=DEFAULT_QUALITY if quality is None else check_quality(quality),
        target_size=None if target_size is None else check_target_size(target_size),
        codec=codec,
        tune=None if tune is None else _check_tune(tune, codec or DEFAULT_CODEC),
        effort=DEFAULT_EFFORT if effort is None else check_effort(effort),
        exif=exif_of(im, keywords),
        icc_profile=profile_of(im, keywords),
        xmp=xmp_of(im, keywords),
        duration=_check_duration(keywords.get("duration")),
        loop=carried_timing(im, "loop") if loop is None else check_timing("loop", loop),
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
    size = _whole_number(value, "target_size must be a whole number of bytes")
    if size <= 0:
        raise ValueError(f"target_size must be at least 1 byte, not {size}")
    return size


def check_effort(value: object) -> int:
    """Return the effort if it is one.

    Raises:
        TypeError: not an integer.
        ValueError: outside 0 to 9.
    """
    effort = _whole_number(value, "effort must be a whole number")
    if not 0 <= effort <= MAX_EFFORT:
        raise ValueError(f"effort must be from 0, fast, to {MAX_EFFORT}, best, not {effort}")
    return effort


def check_timing(name: str, value: object) -> int:
    """Return a duration in milliseconds or a number of loops as a whole number, if it is one.

    Raises:
        TypeError: not a number.
        ValueError: outside 0 to 2**31 - 1.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    number = float(value)
    if not 0 <= number <= MAX_TIMING:
        raise ValueError(f"{name} must be from 0 to {MAX_TIMING}, not {value}")
    return round(number)


def carried_timing(im: Image.Image, name: str) -> int:
    """Return the `duration` or `loop` in a picture's `info`, 0 if there is none that can be stored."""
    try:
        return check_timing(name, im.info.get(name, 0))
    except (TypeError, ValueError):
        return 0


def _whole_number(value: object, wanted: str) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{wanted}, not {type(value).__name__}")
    return int(value)


def _check_duration(value: object) -> int | tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return tuple(check_timing("duration", each) for each in value)
    return check_timing("duration", value)


def _codec_for(codec: object, lossless: object) -> str | None:
    """The codec that these keywords ask for."""
    if not (lossless is None or isinstance(lossless, bool)):
        raise TypeError(f"lossless must be True or False, not {type(lossless).__name__}")
    name = None if codec is None else _check_codec(codec)
    if not lossless:
        return name
    if name not in (None, LOSSLESS_CODEC):
        raise ValueError(f"codec {name} is not lossless: leave codec or lossless out")
    return LOSSLESS_CODEC


def _check_codec(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"codec must be a name, not {type(value).__name__}")
    return codec_info(value).name


def _check_tune(value: object, codec: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"tune must be a name such as 'ssim', not {type(value).__name__}")
    known = codec_info(codec).tunes
    if value not in known:
        choice = f"only for {' or '.join(known)}" if known else "nor for anything else: leave tune out"
        raise ValueError(f"codec {codec} cannot be tuned for {value!r}, {choice}")
    return value
