import copy
import io
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image, ImageFile, UnidentifiedImageError

import pillow_neural
from pillow_neural import container
from pillow_neural.container import Chunk
from pillow_neural.header import Header
from pillow_neural.pillow_plugin import NicImageFile
from tests.conftest import FakeCodec

Maker = Callable[..., Image.Image]

pytestmark = pytest.mark.usefixtures("fake_codec")


def _save(im: Image.Image, **keywords: object) -> bytes:
    out = io.BytesIO()
    im.save(out, format="NIC", **keywords)
    return out.getvalue()


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.fixture
def data(make_picture: Maker) -> bytes:
    return _save(make_picture(), quality=2.0)


def test_identity(data: bytes, tmp_path: Path, make_picture: Maker) -> None:
    path = tmp_path / "photo.NIC"
    path.write_bytes(data)
    with Image.open(path) as im:
        assert (im.format, im.mode, im.size) == ("NIC", "RGB", (40, 30))
        assert im.get_format_mimetype() == "image/x-nic"
        assert im.info == {"codec": "nic2026"}
        assert (im.n_frames, im.is_animated, im.tell()) == (1, False, 0)
        with pytest.raises(EOFError):
            im.seek(1)
        im.seek(0)
        assert im.tobytes() == make_picture().tobytes()


def test_import_open_and_verify_import_nothing_heavy(tmp_path: Path, make_picture: Maker) -> None:
    path = tmp_path / "x.nic"
    path.write_bytes(_save(make_picture(), save_all=True, append_images=[make_picture()], xmp="<x/>"))
    script = f"""
import sys, pillow_neural
heavy = {{"torch", "numpy", "imageio", "huggingface_hub"}}
at_import = heavy | {{"dataclasses", "importlib.metadata", "PIL.ImageFile", "PIL.PngImagePlugin"}}
assert not at_import & set(sys.modules), "import"
from PIL import Image
im = Image.open({str(path)!r})
im.seek(1)
im.verify()
assert not heavy & set(sys.modules), "open"
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_nic_info_imports_neither_torch_nor_numpy(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.nic"
    path.write_bytes(data)
    script = f"""
import sys
from pillow_neural.cli import main
assert main(["info", {str(path)!r}]) == 0
try: main(["--help"])
except SystemExit: pass
assert not {{"torch", "numpy"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_version_and_unknown_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"1.2.3 of {name}")
    assert pillow_neural.__version__ == "1.2.3 of pillow-neural"
    with pytest.raises(AttributeError):
        pillow_neural.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_metadata_round_trip(make_picture: Maker) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    im = _open(_save(make_picture(), exif=exif, icc_profile=b"icc", xmp="<x/>"))
    assert (im.info["icc_profile"], im.info["xmp"]) == (b"icc", b"<x/>")
    assert im.info["exif"] == exif.tobytes()
    assert im.getexif()[0x0112] == 6
    assert (im.size, dict(exif)) == ((40, 30), {0x0112: 6})

    carried = _open(_save(im))
    assert {key: carried.info[key] for key in ("exif", "icc_profile", "xmp")} == {
        key: im.info[key] for key in ("exif", "icc_profile", "xmp")
    }
    assert _open(_save(im, exif=None, icc_profile=None, xmp=None)).info == {"codec": "nic2026"}


def test_metadata_passes_on_to_jpeg(make_picture: Maker) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    im = _open(_save(make_picture(), exif=exif))
    out = io.BytesIO()
    im.save(out, format="JPEG", exif=im.info["exif"])
    assert Image.open(out).getexif()[0x0112] == 6


@pytest.mark.parametrize("end", [0, 4, 8, 20, -1, -100])
def test_truncated_files_fail_each_time(data: bytes, end: int) -> None:
    cut = data[:end]
    if 0 <= end < 50:
        with pytest.raises(UnidentifiedImageError):
            _open(cut)
        return
    im = _open(cut)
    for _ in range(2):
        with pytest.raises(OSError, match="truncated"):
            im.load()


def test_truncated_files_are_grey_if_tolerated(
    data: bytes, make_picture: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    im = _open(data[:-1])
    assert (im.size, im.getextrema()) == (make_picture().size, ((128, 128),) * 3)
    reduced = _open(data[:-1])
    reduced.draft("L", (20, 15))
    assert (reduced.convert("L").size, reduced.getextrema()) == ((20, 15), (128, 128))
    rgba = _save(make_picture("RGBA"))
    (alpha,) = container.read_index(io.BytesIO(rgba)).of_kind("ALPH")
    assert _open(rgba[: alpha.offset + 9]).getpixel((20, 20)) == (128, 128, 128, 255)


def test_missing_weights_are_never_tolerated(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    header = container.read_index(io.BytesIO(data)).header._replace(weights=bytes(8))
    im = _open(container.write(header, []))
    with pytest.raises(OSError, match="weights"):
        im.load()


def test_a_flipped_byte_anywhere_never_gives_pixels(make_picture: Maker) -> None:
    first, second = make_picture("LA", 6, 5), make_picture("LA", 6, 5).transpose(Image.Transpose.ROTATE_180)
    exif = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
    data = _save(first, exif=exif, save_all=True, append_images=[second], duration=50)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        with pytest.raises(OSError):  # noqa: PT011, PT012 - any message, at opening or loading
            im = _open(bytes(damaged))
            im.load()
            im.seek(1)
            im.load()
        with pytest.raises((OSError, SyntaxError)):
            NicImageFile(io.BytesIO(damaged)).verify()


def test_header_errors_are_syntax_errors(data: bytes) -> None:
    for wrong in (b"", b"GIF89a", data[:30], data[:8] + b"\x02" + data[9:]):
        with pytest.raises(SyntaxError):
            NicImageFile(io.BytesIO(wrong))


def test_damaged_metadata(make_picture: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    im = make_picture()
    damaged = _save(im, xmp="<x/>", quality=2.0).replace(b"<x/>", b"<y/>")
    with pytest.raises(OSError, match="chunk xmpd"):
        _open(damaged)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    rescued = _open(damaged)
    assert "xmp" not in rescued.info
    assert rescued.tobytes() == im.tobytes()


def test_verify(data: bytes) -> None:
    im = _open(data)
    im.verify()
    for after in (im.verify, im.load):
        with pytest.raises(ValueError, match="closed"):
            after()


def test_decompression_bombs() -> None:
    for side, outcome in (
        (10_000, Image.DecompressionBombWarning),
        (2**24 - 1, Image.DecompressionBombError),
    ):
        bomb = container.write(Header(side, side, "RGBA", "nic2026", bytes(8), b""), [Chunk("DATA", b"x")])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(outcome):
                _open(bomb)


def test_own_file_is_closed_and_foreign_file_is_not(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.nic"
    path.write_bytes(data)
    im = Image.open(path)
    own = im.fp
    im.load()
    assert own is not None
    assert own.closed
    assert im.fp is None
    with path.open("rb") as foreign:
        with Image.open(foreign) as first:
            first.load()
        assert Image.open(foreign).tobytes() == im.tobytes()


def test_picture_inside_a_larger_file(data: bytes, make_picture: Maker) -> None:
    fp = io.BytesIO(b"before" + data + b"after")
    fp.seek(6)
    assert NicImageFile(fp).tobytes() == make_picture().tobytes()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_pickle(protocol: int, mode: str, make_picture: Maker) -> None:
    im = _open(_save(make_picture(mode), xmp="<x/>"))
    again = pickle.loads(pickle.dumps(im, protocol))
    assert again == im
    assert again.load() is not None
    assert copy.deepcopy(im) == im


def test_threads_share_one_picture(
    data: bytes, fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    decode = fake_codec.decode
    monkeypatch.setattr(fake_codec, "decode", lambda *arguments: calls.append(1) or decode(*arguments))
    im = _open(data)
    with ThreadPoolExecutor(8) as pool:
        results = set(pool.map(lambda _: im.tobytes(), range(32)))
    assert results == {_open(data).tobytes()}
    assert len(calls) == 2


def test_pixels_can_be_changed(data: bytes) -> None:
    im = _open(data)
    im.putpixel((0, 0), (1, 2, 3))
    assert im.getpixel((0, 0)) == (1, 2, 3)
    assert _open(data).getpixel((0, 0)) != (1, 2, 3)


def test_failing_codec_writes_nothing(
    tmp_path: Path, make_picture: Maker, fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(fake_codec, "encode", failing)
    with pytest.raises(MemoryError):
        make_picture().save(tmp_path / "x.nic")
    assert list(tmp_path.iterdir()) == []


def test_failed_save_writes_nothing(tmp_path: Path, make_picture: Maker) -> None:
    path = tmp_path / "x.nic"
    with pytest.raises(ValueError, match="JPEG"):
        make_picture().save(path, quality=75)
    assert not path.exists()
    path.write_bytes(b"precious")
    with path.open("r+b") as fp, pytest.raises(OSError, match="mode F"):
        Image.new("F", (2, 2)).save(fp, format="NIC")
    assert path.read_bytes() == b"precious"
