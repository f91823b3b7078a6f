import numpy as np
import pytest
from PIL import Image

import pillow_neural
from pillow_neural import settings
from pillow_neural.settings import DEVICE_VARIABLE, SaveOptions, device, options_for

TIFF = b"II*\0\x08\0\0\0\0\0\0\0\0\0"


def _options(info: dict[str, object] | None = None, mode: str = "RGB", **keywords: object) -> SaveOptions:
    im = Image.new(mode, (1, 1))
    im.info.update(info or {})
    return options_for(im, keywords)


def test_defaults_and_unknown_keywords() -> None:
    assert _options(optimize=True, quality=None, target_size=None, codec=None) == SaveOptions()
    assert SaveOptions().quality == 0.5


@pytest.mark.parametrize("quality", [0.05, 0.25, 1, 2.0, np.float32(0.5)])
def test_quality_in_range(quality: float) -> None:
    assert _options(quality=quality).quality == quality


@pytest.mark.parametrize("quality", [0, 0.04, 2.1, 75, -1, float("nan"), float("inf")])
def test_quality_out_of_range_explains_the_scale(quality: float) -> None:
    with pytest.raises(ValueError, match=r"nominal bits per pixel of a photograph, 0\.05 to 2\.0"):
        _options(quality=quality)


def test_quality_75_is_recognised_as_jpeg() -> None:
    with pytest.raises(ValueError, match="75 looks like JPEG's scale"):
        _options(quality=75)


@pytest.mark.parametrize("quality", [True, "0.5", b"1", [0.5]])
def test_quality_of_a_wrong_type(quality: object) -> None:
    with pytest.raises(TypeError, match="quality"):
        _options(quality=quality)


def test_target_size() -> None:
    assert _options(target_size=np.int64(1000)).target_size == 1000
    for wrong in (0, -5):
        with pytest.raises(ValueError, match="target_size"):
            _options(target_size=wrong)
    for odd in (True, 1000.0, "20k"):
        with pytest.raises(TypeError, match="target_size"):
            _options(target_size=odd)
    with pytest.raises(ValueError, match="exclude each other"):
        _options(target_size=1000, quality=0.5)


def test_codec_must_be_registered() -> None:
    with pytest.raises(ValueError, match="registered codecs: nic2026"):
        _options(codec="jpeg")
    with pytest.raises(TypeError, match="codec"):
        _options(codec=1)


def test_metadata_is_carried_overridden_and_stripped() -> None:
    info = {"exif": b"Exif\0\0" + TIFF, "icc_profile": b"profile", "xmp": b"<x/>"}
    assert _options(info) == SaveOptions(exif=TIFF, icc_profile=b"profile", xmp=b"<x/>")
    other = _options(info, exif=TIFF + b"1", icc_profile=b"other", xmp="<é/>")
    assert other == SaveOptions(exif=TIFF + b"1", icc_profile=b"other", xmp="<é/>".encode())
    assert _options(info, exif=None, icc_profile=None, xmp=None) == SaveOptions()


def test_metadata_of_a_wrong_kind_fails_if_given_and_is_left_out_if_carried() -> None:
    assert _options({"exif": b"junk", "icc_profile": 3, "xmp": 4}) == SaveOptions()
    with pytest.raises(ValueError, match="II or MM"):
        _options(exif=b"junk")
    for name in ("exif", "icc_profile", "xmp"):
        with pytest.raises(TypeError, match=name):
            _options(**{name: 3})


def test_a_profile_of_another_colour_space_is_not_carried() -> None:
    assert _options({"icc_profile": b"cmyk"}, mode="CMYK").icc_profile is None


def test_exif_object_is_written_and_not_changed() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    before = dict(exif)
    assert _options(exif=exif).exif == exif.tobytes().removeprefix(b"Exif\0\0")
    assert dict(exif) == before
    assert _options(exif=Image.Exif()).exif is None


def test_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_chosen_device", None)
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    assert device() in ("cpu", "cuda")
    monkeypatch.setenv(DEVICE_VARIABLE, "toaster")
    with pytest.raises(ValueError, match="toaster"):
        device()
    pillow_neural.set_device("cpu")
    assert device() == "cpu"
    pillow_neural.set_device("cuda:99")
    with pytest.raises(ValueError, match="choose one of: cpu"):
        device()
    with pytest.raises(TypeError):
        pillow_neural.set_device(0)  # type: ignore[arg-type]
