"""Modes, alpha and metadata."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable

from PIL import Image

from tests.conformance.kit import Kit, difference
from tests.conftest import picture

_ORIENTATION = 0x0112
_XMP = "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def modes(kit: Kit) -> str:
    """The mode that each of Pillow's modes is read back in."""
    return " ".join(f"{mode}>{_mode_back(kit, mode)}" for mode in Image.MODES)


def _mode_back(kit: Kit, mode: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kit.open(kit.save(Image.new(mode, (4, 4)))).mode
    except Exception as error:
        return f"!{type(error).__name__}"


def alpha_at_default_quality(kit: Kit) -> str:
    im = picture("RGBA")
    out = io.BytesIO()
    im.save(out, kit.format)
    exact = kit.open(out.getvalue()).getchannel("A").tobytes() == im.getchannel("A").tobytes()
    return "exact" if exact else "changed"


def palette_with_transparency(kit: Kit) -> str:
    im = picture("P")
    im.info["transparency"] = 3
    return kit.open(kit.save(im)).mode


def colours_under_transparent_pixels(kit: Kit) -> str:
    im = Image.merge("RGBA", (*picture().split(), Image.new("L", picture().size, 0)))
    return "kept" if difference(kit.open(kit.save(im)).convert("RGB"), picture()) < 8 else "lost"


def source(kit: Kit) -> str:
    im = picture("P")
    im.info["transparency"] = 3
    before = (im.mode, im.tobytes(), dict(im.info), im.getpalette())
    kit.save(im)
    return "unchanged" if (im.mode, im.tobytes(), im.info, im.getpalette()) == before else "changed"


def keyword_values(kit: Kit) -> str:
    exif, im = _exif(6), picture()
    more = [picture()]
    keywords = {"exif": exif, "append_images": more, "duration": [1, 2]}
    before = (dict(exif), list(more), dict(keywords))
    kit.save(im, save_all=True, **keywords)
    same = (dict(exif), list(more), dict(keywords)) == before and not im.encoderinfo
    return "unchanged" if same else "changed"


def kinds_of_exif(kit: Kit) -> str:
    exif = _exif(6)
    given = (exif, exif.tobytes(), exif.tobytes().removeprefix(b"Exif\0\0"))
    return " ".join(str(_reopened(kit, exif=each).getexif()[_ORIENTATION]) for each in given)


def orientations(kit: Kit) -> str:
    pictures = [_reopened(kit, exif=_exif(number)) for number in range(1, 9)]
    kept = " ".join(str(im.getexif().get(_ORIENTATION)) for im in pictures)
    return kept + (", not turned" if {im.tobytes() for im in pictures} == {picture().tobytes()} else "")


def metadata_of_the_source(kit: Kit) -> str:
    """Which of a picture's metadata is saved unasked."""
    im = picture()
    im.info |= {"exif": _exif(6).tobytes(), "icc_profile": b"profile", "xmp": _XMP.encode()}
    return _keys(kit.open(kit.save(im)).info)


def metadata_in_keywords(kit: Kit) -> str:
    im = _reopened(kit, exif=_exif(6), icc_profile=b"profile", xmp=_XMP)
    return _keys(im.info)


def metadata_overridden(kit: Kit) -> str:
    im = picture()
    im.info["icc_profile"] = b"profile"
    replaced, left_out = (kit.open(kit.save(im, icc_profile=value)).info for value in (b"other", None))
    return f"{replaced.get('icc_profile')!r}, {left_out.get('icc_profile')}"


def xmp_kinds(kit: Kit) -> str:
    given = (_XMP, _XMP.encode())
    return ", ".join(type(_reopened(kit, xmp=xmp).info["xmp"]).__name__ for xmp in given)


def no_metadata(kit: Kit) -> str:
    return _keys(_reopened(kit).info) or "none"


def unknown_keyword(kit: Kit) -> str:
    return "ignored" if kit.save(nonsense=1) == kit.save() else "used"


def _reopened(kit: Kit, **keywords: object) -> Image.Image:
    return kit.open(kit.save(**keywords))


def _keys(info: Iterable[object]) -> str:
    return " ".join(key for key in ("exif", "icc_profile", "xmp") if key in info)


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[_ORIENTATION], exif[0x010F] = orientation, "Maker"
    return exif
