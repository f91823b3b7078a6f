"""Cases after those of Pillow's own tests of WebP, AVIF, PNG and APNG that are not rows of the table."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageFile, ImageOps

from pillow_neural import container
from pillow_neural.container import Chunk
from pillow_neural.pillow_plugin import NicImageFile
from tests.conformance.kit import Kit, difference
from tests.conftest import picture

EXAMPLE = Path(__file__).parents[1] / "examples" / "kodim23.png"


@pytest.fixture
def kit(fake_codec: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kit:
    return Kit("NIC", tmp_path, monkeypatch)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_photograph_is_similar_at_default_quality(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "temp.nic"
    im = Image.open(EXAMPLE).crop((200, 100, 328, 228)).convert(mode)
    im.save(path)
    with Image.open(path) as reloaded:
        assert (reloaded.mode, reloaded.size, reloaded.format) == (mode, (128, 128), "NIC")
        assert difference(reloaded.resize((16, 16), Image.Resampling.BOX), im.resize((16, 16))) < 20


def test_animation_of_photographs_is_similar(tmp_path: Path) -> None:
    path = tmp_path / "temp.nic"
    frames = [Image.open(EXAMPLE).crop((x, 100, x + 64, 164)) for x in (0, 200, 400)]
    frames[0].save(path, save_all=True, append_images=frames[1:], quality=1.0)
    with Image.open(path) as reloaded:
        for number in (2, 0, 1):
            reloaded.seek(number)
            assert difference(reloaded.reduce(8), frames[number].reduce(8)) < 20


def test_uniform_transparent_picture(kit: Kit) -> None:
    im = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    assert kit.open(kit.save(im)).getcolors() == [(100, (0, 0, 0, 0))]


def test_half_transparent_red(kit: Kit) -> None:
    im = Image.new("RGBA", (10, 10), (255, 0, 0, 20))
    assert kit.open(kit.save(im)).tobytes() == im.tobytes()


def test_palette_of_rgba(kit: Kit) -> None:
    im = Image.new("RGBA", (2, 1)).convert("P")
    assert im.palette is not None
    assert im.palette.mode == "RGBA"
    assert kit.open(kit.save(im)).getpixel((0, 0)) == (0, 0, 0, 0)


def test_frames_with_palettes_of_their_own(kit: Kit) -> None:
    red, green = (Image.new("P", (1, 1), colour) for colour in ((255, 0, 0), (0, 255, 0)))
    im = kit.open(kit.save(red, save_all=True, append_images=[green]))
    assert (im.mode, im.getpixel((0, 0))) == ("RGB", (255, 0, 0))
    im.seek(1)
    assert (im.mode, im.getpixel((0, 0))) == ("RGB", (0, 255, 0))


def test_number_of_transparent_pixels_is_kept(kit: Kit) -> None:
    im = picture("L")
    im.info["transparency"] = 128
    transparent = im.histogram()[128]
    assert transparent > 0
    assert kit.open(kit.save(im)).getchannel("A").histogram()[0] == transparent


@pytest.mark.parametrize("profile", [None, b""])
def test_no_profile(kit: Kit, profile: bytes | None) -> None:
    im = picture()
    im.info["icc_profile"] = b"profile"
    assert "icc_profile" not in kit.open(kit.save(im, icc_profile=profile)).info


def test_exif_without_orientation(kit: Kit) -> None:
    exif = Image.Exif()
    exif[0x0110] = "model"
    assert kit.open(kit.save(exif=exif)).info["exif"] == exif.tobytes()


def test_exif_that_is_none_writes_nothing(kit: Kit) -> None:
    path = kit.folder / "x.nic"
    with pytest.raises(ValueError, match="exif must be a TIFF structure"):
        kit.save(target=path, exif=b"invalid")
    assert not path.exists()


def test_exif_of_a_jpeg(kit: Kit) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    jpeg = io.BytesIO()
    picture().save(jpeg, "JPEG", exif=exif)
    with Image.open(jpeg) as im:
        reloaded = kit.open(kit.save(im))
    assert reloaded.info["exif"] == exif.tobytes()
    assert reloaded.getexif()[0x010F] == "Maker"


def test_edited_exif(kit: Kit) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    im = kit.open(kit.save(exif=exif))
    edited = im.getexif()
    edited[0x0112] = 1
    assert kit.open(kit.save(im, exif=edited)).getexif()[0x0112] == 1


def test_picture_turned_upright_is_saved_upright(kit: Kit) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    upright = ImageOps.exif_transpose(kit.open(kit.save(exif=exif)))
    reloaded = kit.open(kit.save(upright))
    assert reloaded.size == (30, 40)
    assert dict(reloaded.getexif()) == {0x010F: "Maker"}


def test_unknown_ancillary_chunks_are_skipped(kit: Kit) -> None:
    data = kit.save()
    fp = io.BytesIO(data)
    index = container.read_index(fp)
    chunks = [Chunk(entry.kind, container.read_chunk(fp, entry)) for entry in index.entries]
    extended = container.write(index.header, [Chunk("teXt", b"x"), *chunks, Chunk("prVt", b"y")])
    im = kit.open(extended)
    assert im.info == {"codec": "nic2026"}
    assert im.tobytes() == kit.open(data).tobytes()
    kit.open(extended).verify()


def test_metadata_precedes_the_pixels(kit: Kit) -> None:
    index = container.read_index(io.BytesIO(kit.animation(xmp="<x/>", icc_profile=b"profile")))
    assert [entry.kind for entry in index.entries][:4] == ["iccp", "xmpd", "anim", "DATA"]


def test_damaged_header_is_never_tolerated(kit: Kit) -> None:
    damaged = bytearray(kit.save())
    damaged[20] ^= 1
    kit.monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(SyntaxError):
        NicImageFile(io.BytesIO(damaged))


@pytest.mark.parametrize("removed", [1, 3, 14])
def test_verify_of_truncated_files(kit: Kit, removed: int) -> None:
    with kit.open(kit.save()[:-removed]) as im, pytest.raises(OSError, match="truncated"):
        im.verify()


@pytest.mark.parametrize("tag", [".nic", ".NIC"])
def test_suffixes_in_any_case(kit: Kit, tag: str) -> None:
    path = kit.folder / f"temp{tag}"
    picture().save(path)
    with Image.open(path) as im:
        assert im.format == "NIC"
    assert Image.registered_extensions()[".nic"] == "NIC"


def test_append_images_of_none(kit: Kit) -> None:
    assert kit.save(save_all=True, append_images=None) == kit.save()


def test_append_images_that_are_no_pictures(kit: Kit) -> None:
    path = kit.folder / "x.nic"
    with pytest.raises(TypeError, match="append_images must hold pictures, not str"):
        kit.save(target=path, save_all=True, append_images=["x.png"])
    assert not path.exists()


def test_saving_an_animation_in_another_format(kit: Kit) -> None:
    with kit.open(kit.animation(loop=2)) as im:
        out = io.BytesIO()
        im.save(out, "PNG", save_all=True)
    with Image.open(out) as png:
        png.seek(2)
        assert (png.n_frames, png.info["duration"], png.info["loop"]) == (3, 30, 2)
