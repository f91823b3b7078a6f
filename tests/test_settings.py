import numpy as np
import pytest
from PIL import Image

from pillow_neural.settings import SaveOptions, options_for

TIFF = b"II*\0\x08\0\0\0\0\0\0\0\0\0"


def _options(info: dict[str, object] | None = None, mode: str = "RGB", **keywords: object) -> SaveOptions:
    im = Image.new(mode, (1, 1))
    im.info.update(info or {})
    return options_for(im, keywords)


def test_defaults_and_unknown_keywords() -> None:
    absent = dict.fromkeys(("quality", "target_size", "codec", "duration", "loop"))
    assert _options(optimize=True, **absent) == SaveOptions()
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


def test_effort() -> None:
    assert SaveOptions().effort == _options(effort=None).effort == 1
    assert _options(effort=np.int64(9)).effort == SaveOptions(codec="li2018", effort=9).effort == 9
    for wrong in (-1, 10):
        with pytest.raises(ValueError, match="effort must be from 0, fast, to 9, best"):
            _options(effort=wrong)
    for odd in (True, 1.0, "best"):
        with pytest.raises(TypeError, match="effort"):
            _options(effort=odd)


def test_codec_must_be_registered() -> None:
    with pytest.raises(ValueError, match="registered codecs: nic2026"):
        _options(codec="jpeg")
    with pytest.raises(TypeError, match="codec"):
        _options(codec=1)


def test_tune_is_one_that_the_codec_has() -> None:
    assert _options(tune="ssim").tune == SaveOptions(codec="nic2026", tune="ssim").tune == "ssim"
    with pytest.raises(ValueError, match="nic2026 cannot be tuned for 'vmaf', only for psnr or ssim"):
        _options(tune="vmaf")
    with pytest.raises(ValueError, match="mentzer2018 cannot be tuned for 'ssim', nor for anything else"):
        _options(codec="mentzer2018", tune="ssim")
    with pytest.raises(ValueError, match="lossless cannot be tuned"):
        _options(lossless=True, tune="ssim")
    with pytest.raises(TypeError, match="tune"):
        _options(tune=1)


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


@pytest.mark.parametrize(
    ("given", "duration"),
    [(40, 40), (33.4, 33), ([10, 20.6], (10, 21)), ((), ()), (np.float32(2), 2), (2**31 - 1, 2**31 - 1)],
)
def test_duration(given: object, duration: object) -> None:
    assert _options(duration=given).duration == duration


@pytest.mark.parametrize("keyword", ["duration", "loop"])
@pytest.mark.parametrize("value", [-1, 2**31, float("nan"), float("inf")])
def test_duration_and_loop_out_of_range(keyword: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{keyword} must be from 0 to 2147483647"):
        _options(**{keyword: value})


@pytest.mark.parametrize("keyword", ["duration", "loop"])
@pytest.mark.parametrize("value", ["5", True, b"5"])
def test_duration_and_loop_of_a_wrong_type(keyword: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{keyword} must be a number"):
        _options(**{keyword: value})


def test_duration_that_is_wrong_in_a_list() -> None:
    with pytest.raises(TypeError, match="duration must be a number, not str"):
        _options(duration=[1, "2"])


@pytest.mark.parametrize(("carried", "loop"), [(3, 3), (2.0, 2), ("x", 0), (-1, 0)])
def test_loop_is_carried(carried: object, loop: int) -> None:
    assert _options({"loop": carried}).loop == loop
    assert _options({"loop": carried}, loop=7).loop == 7
