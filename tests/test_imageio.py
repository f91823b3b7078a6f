import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import imageio
import imageio.v2
import imageio.v3 as iio
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pillow_neural import container
from pillow_neural.header import Header
from pillow_neural.imageio_plugin import NicPlugin

Maker = Callable[..., Image.Image]
Pixels = npt.NDArray[np.uint8]

MAGIC = b"\x89NIC"

pytestmark = pytest.mark.usefixtures("fake_codec")


@pytest.fixture
def pixels(make_picture: Maker) -> Pixels:
    return np.asarray(make_picture())


@pytest.fixture
def batch(pixels: Pixels) -> Pixels:
    """Three frames [3, 30, 40, 3]."""
    return np.stack([pixels, 255 - pixels, pixels[::-1]])


@pytest.fixture
def path(tmp_path: Path, pixels: Pixels) -> Path:
    """A picture of `pixels`, exact with the fake codec."""
    iio.imwrite(tmp_path / "x.nic", pixels, quality=2.0)
    return tmp_path / "x.nic"


@pytest.fixture
def animation(tmp_path: Path, batch: Pixels) -> Path:
    iio.imwrite(tmp_path / "animation.nic", batch, quality=2.0, duration=[10, 20, 30], loop=4)
    return tmp_path / "animation.nic"


# Reading and writing with imageio.v3


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_v3_round_trip_keeps_shape_and_pixels(mode: str, tmp_path: Path, make_picture: Maker) -> None:
    pixels = np.asarray(make_picture(mode))
    assert iio.imwrite(tmp_path / "x.nic", pixels, quality=2.0) is None
    again = iio.imread(tmp_path / "x.nic")
    assert (again.dtype, again.tolist()) == (np.uint8, pixels.tolist())
    assert Image.open(tmp_path / "x.nic").mode == mode


def test_files_are_those_of_pillow(path: Path, make_picture: Maker) -> None:
    out = io.BytesIO()
    make_picture().save(out, format="NIC", quality=2.0)
    assert path.read_bytes() == out.getvalue()


def test_upper_case_file_names(tmp_path: Path, pixels: Pixels) -> None:
    iio.imwrite(str(tmp_path / "X.NIC"), pixels, quality=2.0)
    assert np.array_equal(iio.imread(str(tmp_path / "X.NIC")), pixels)


@pytest.mark.parametrize("choice", [{"extension": ".nic"}, {"plugin": "NIC"}, {"plugin": NicPlugin}])
def test_targets_without_a_name(choice: dict[str, object], path: Path, pixels: Pixels) -> None:
    data = path.read_bytes()
    assert iio.imwrite("<bytes>", pixels, quality=2.0, **choice) == data
    out = io.BytesIO()
    iio.imwrite(out, pixels, quality=2.0, **choice)
    assert out.getvalue() == data


@pytest.mark.parametrize("choice", [{}, {"extension": ".nic"}, {"plugin": "NIC"}])
def test_sources_without_a_name(choice: dict[str, object], path: Path, pixels: Pixels) -> None:
    data = path.read_bytes()
    with path.open("rb") as file:
        for source in (data, memoryview(data), io.BytesIO(data), file):
            assert np.array_equal(iio.imread(source, **choice), pixels)


def test_format_hint(path: Path, pixels: Pixels) -> None:
    with pytest.warns(DeprecationWarning, match="format_hint"):
        data = iio.imwrite("<bytes>", pixels, format_hint=".nic", quality=2.0)
    assert data == path.read_bytes()
    with pytest.warns(DeprecationWarning, match="format_hint"):
        assert np.array_equal(iio.imread(io.BytesIO(data), format_hint=".nic"), pixels)


def test_pictures_in_zip_files(tmp_path: Path, pixels: Pixels) -> None:
    iio.imwrite(tmp_path / "album.zip" / "x.nic", pixels, quality=2.0)
    assert np.array_equal(iio.imread(tmp_path / "album.zip" / "x.nic"), pixels)


class Pipe(io.BytesIO):
    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation("seek")


class OnlyReads:
    def __init__(self, data: bytes) -> None:
        self.read, self.close = io.BytesIO(data).read, lambda: None


@pytest.mark.parametrize("source", [Pipe, OnlyReads])
def test_sources_that_cannot_seek(source: Callable[[bytes], object], path: Path, pixels: Pixels) -> None:
    assert np.array_equal(iio.imread(source(path.read_bytes()), plugin="NIC"), pixels)
    with pytest.raises(OSError, match="`NIC` can not handle"):
        iio.imread(source(b"GIF89a"), plugin="NIC")


def test_reading_options(tmp_path: Path, pixels: Pixels) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    iio.imwrite(tmp_path / "x.nic", pixels, quality=2.0, exif=exif)
    with iio.imopen(tmp_path / "x.nic", "r") as file:
        assert np.array_equal(file.read(), pixels)
        assert np.array_equal(file.read(rotate=True), np.rot90(pixels, k=3))
        grey = np.asarray(Image.fromarray(pixels).convert("L"))
        assert np.array_equal(file.read(mode="L"), grey)
        assert np.array_equal(file.read(mode="L", rotate=True), np.rot90(grey, k=3))
        assert np.array_equal(next(file.iter(mode="L", rotate=True)), np.rot90(grey, k=3))
        assert np.array_equal(file.read(apply_gamma=True), pixels)
        assert file.read().flags.writeable
        assert not file.read(writeable_output=False).flags.writeable


def test_array_may_be_reused_before_the_file_is_closed(tmp_path: Path, make_picture: Maker) -> None:
    pixels = np.array(make_picture("RGBA"))
    wanted = pixels.copy()
    with iio.imopen(tmp_path / "x.nic", "w") as file:
        file.write(pixels, quality=2.0)
        pixels[:] = 0
    assert np.array_equal(iio.imread(tmp_path / "x.nic"), wanted)


def test_arrays_that_are_views(tmp_path: Path, pixels: Pixels) -> None:
    view = pixels[::-2, 1::3, ::-1]
    iio.imwrite(tmp_path / "x.nic", view, quality=2.0)
    assert np.array_equal(iio.imread(tmp_path / "x.nic"), view)


def test_channels_of_another_mode(tmp_path: Path, make_picture: Maker) -> None:
    picture = make_picture("YCbCr")
    iio.imwrite(tmp_path / "x.nic", np.asarray(picture), mode="YCbCr", quality=2.0)
    assert np.array_equal(iio.imread(tmp_path / "x.nic"), np.asarray(picture.convert("RGB")))


# Properties and metadata


def test_properties(path: Path) -> None:
    properties = iio.improps(path)
    assert (properties.shape, properties.dtype) == ((30, 40, 3), np.uint8)
    assert (properties.n_images, properties.is_batch) == (None, False)
    all_frames = iio.improps(path, index=...)
    assert (all_frames.shape, all_frames.n_images, all_frames.is_batch) == ((1, 30, 40, 3), 1, True)


def test_metadata(tmp_path: Path, pixels: Pixels) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    keywords = {"exif": exif, "icc_profile": b"icc", "xmp": "<x/>"}
    iio.imwrite(tmp_path / "x.nic", pixels, **keywords)
    metadata = iio.immeta(tmp_path / "x.nic")
    assert metadata == {
        "codec": "nic2026",
        "exif": exif.tobytes(),
        "icc_profile": b"icc",
        "xmp": b"<x/>",
        "mode": "RGB",
        "shape": (40, 30),
        "Make": "Maker",
    }
    assert iio.immeta(tmp_path / "x.nic", exclude_applied=False) == {**metadata, "Orientation": 6}


def test_properties_and_metadata_without_torch(path: Path) -> None:
    script = f"""
import sys, pillow_neural, imageio.v3 as iio
assert iio.improps({str(path)!r}).shape == (30, 40, 3)
assert iio.immeta({str(path)!r}, plugin="NIC")["codec"] == "nic2026"
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


# Several frames


def test_frames_round_trip(animation: Path, batch: Pixels) -> None:
    assert np.array_equal(iio.imread(animation), batch)
    assert np.array_equal(iio.imread(animation, index=...), batch)
    assert np.array_equal(iio.imread(animation, index=2), batch[2])
    assert np.array_equal(list(iio.imiter(animation)), batch)


def test_frames_of_bytes_without_extension_are_read_by_imageios_pillow_plugin(
    animation: Path, batch: Pixels
) -> None:
    data = animation.read_bytes()
    assert np.array_equal(iio.imread(data), batch[0])
    assert np.array_equal(iio.imread(data, index=...), batch)
    assert np.array_equal(iio.imread(data, extension=".nic"), batch)


def test_properties_of_frames(animation: Path) -> None:
    everything, one = iio.improps(animation), iio.improps(animation, index=1)
    assert (everything.shape, everything.n_images, everything.is_batch) == ((3, 30, 40, 3), 3, True)
    assert (one.shape, one.n_images, one.is_batch) == ((30, 40, 3), None, False)


def test_durations_and_loop(animation: Path) -> None:
    metadata = [iio.immeta(animation, index=number) for number in range(3)]
    assert [entry["duration"] for entry in metadata] == [10, 20, 30]
    assert [entry["loop"] for entry in metadata] == [4, 4, 4]


@pytest.mark.parametrize("index", [3, -1, np.int64(3)])
def test_frames_that_are_not_there(animation: Path, index: int) -> None:
    for function in (iio.imread, iio.improps, iio.immeta):
        with pytest.raises(ValueError, match="no frame"):
            function(animation, index=index)


def test_index_of_a_still(path: Path, pixels: Pixels) -> None:
    assert np.array_equal(iio.imread(path, index=0), pixels)
    assert np.array_equal(iio.imread(path, index=...), pixels[None])
    with pytest.raises(ValueError, match="no frame 1"):
        iio.imread(path, index=1)


@pytest.mark.parametrize("kind", [list, tuple, np.asarray, iter])
def test_ways_to_give_frames(
    kind: Callable[[Pixels], object], tmp_path: Path, batch: Pixels, animation: Path
) -> None:
    keywords = {"quality": 2.0, "duration": [10, 20, 30], "loop": 4}
    with iio.imopen(tmp_path / "x.nic", "w") as file:
        frames = kind(batch)
        if isinstance(frames, Iterator):
            for frame in frames:
                file.write(frame, **keywords)
        else:
            file.write(frames, **keywords)
    assert (tmp_path / "x.nic").read_bytes() == animation.read_bytes()


def test_a_batch_of_one_frame_is_a_still(tmp_path: Path, pixels: Pixels, path: Path) -> None:
    iio.imwrite(tmp_path / "one.nic", pixels[None], quality=2.0)
    assert (tmp_path / "one.nic").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("shape", "keywords", "read"),
    [
        ((5, 20, 30), {}, (5, 20, 30)),
        ((20, 30, 5), {"is_batch": True}, (20, 30, 5)),
        ((5, 20, 3), {"mode": "L"}, (5, 20, 3)),
        ((5, 20, 3), {}, (5, 20, 3)),
        ((1, 20, 3), {"is_batch": True}, (20, 3)),
        ((2, 4, 4, 4), {}, (2, 4, 4, 4)),
        ((2, 4, 5, 3), {"mode": "HSV"}, (2, 4, 5, 3)),
    ],
)
def test_what_is_a_batch(
    shape: tuple[int, ...], keywords: dict[str, object], read: tuple[int, ...], tmp_path: Path
) -> None:
    iio.imwrite(tmp_path / "x.nic", np.zeros(shape, np.uint8), **keywords)
    assert iio.improps(tmp_path / "x.nic").shape == read


# Refusals


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "int8", "int64", "bool", "complex64", "O"])
def test_dtypes_that_cannot_be_stored(dtype: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"uint8 pixels, not .*: scale"):
        iio.imwrite(tmp_path / "x.nic", np.zeros((30, 40, 3), dtype))
    assert not (tmp_path / "x.nic").exists()


@pytest.mark.parametrize(
    ("shape", "keywords", "message"),
    [
        ((), {}, "shape"),
        ((7,), {}, "shape"),
        ((30, 40, 1), {}, "is_batch=True"),
        ((30, 40, 5), {}, r"\(30, 40, 5\).*is_batch=True"),
        ((30, 40, 5), {"is_batch": False}, r"not \(30, 40, 5\)"),
        ((2, 30, 40, 3), {"is_batch": False}, r"not \(2, 30, 40, 3\)"),
        ((2, 30, 40, 5), {}, r"not \(30, 40, 5\)"),
        ((2, 2, 30, 40, 3), {}, r"not \(2, 30, 40, 3\)"),
        ((30, 40, 3), {"mode": "L", "is_batch": False}, "mode L"),
        ((30, 40, 3), {"mode": "CMYK"}, "mode CMYK"),
        ((30, 40), {"mode": "F"}, "cannot write arrays of mode 'F'"),
        ((0, 30, 40, 3), {}, "no frames"),
        ((0, 40, 3), {}, "empty"),
    ],
)
def test_shapes_that_cannot_be_stored(
    shape: tuple[int, ...], keywords: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        iio.imwrite(tmp_path / "x.nic", np.zeros(shape, np.uint8), **keywords)
    assert not (tmp_path / "x.nic").exists()


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"quality": 75}, ValueError, "JPEG"),
        ({"quality": "high"}, TypeError, "quality"),
        ({"quality": 1, "target_size": 1000}, ValueError, "exclude"),
        ({"target_size": 3}, ValueError, "3"),
        ({"codec": "zip"}, ValueError, "zip"),
        ({"exif": 5}, TypeError, "exif"),
        ({"fps": 25}, TypeError, "duration"),
    ],
)
def test_wrong_keywords_leave_the_file_as_it_was(
    keywords: dict[str, object], error: type[Exception], message: str, path: Path, pixels: Pixels
) -> None:
    before = path.read_bytes()
    with pytest.raises(error, match=message):
        iio.imwrite(path, pixels, **keywords)
    assert path.read_bytes() == before


def test_target_size(tmp_path: Path, pixels: Pixels) -> None:
    iio.imwrite(tmp_path / "x.nic", pixels, target_size=900)
    assert 500 < (tmp_path / "x.nic").stat().st_size <= 900


def test_an_exception_in_the_block_writes_nothing(path: Path, pixels: Pixels) -> None:
    def fail_after_writing() -> None:
        with iio.imopen(path, "w") as file:
            file.write(pixels)
            raise KeyboardInterrupt

    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        fail_after_writing()
    assert path.read_bytes() == before


def test_other_extensions_are_refused(tmp_path: Path, pixels: Pixels) -> None:
    for name in ("x.dat", "x.png"):
        with pytest.raises(OSError, match="`NIC` can not handle") as caught:
            iio.imwrite(tmp_path / name, pixels, plugin="NIC")
        assert "extension='.nic'" in str(caught.value.__cause__)
    iio.imwrite(tmp_path / "x.dat", pixels, extension=".nic")
    assert (tmp_path / "x.dat").read_bytes().startswith(MAGIC)


def test_unknown_extensions_do_not_become_ours(tmp_path: Path, pixels: Pixels) -> None:
    with suppress(OSError):
        iio.imwrite(tmp_path / "x.unknown", pixels)
    assert not any(file.read_bytes().startswith(MAGIC) for file in tmp_path.iterdir())


@pytest.mark.filterwarnings("error")
def test_other_formats_under_our_name_are_read_by_their_plugins(tmp_path: Path, pixels: Pixels) -> None:
    Image.fromarray(pixels).save(tmp_path / "x.nic", format="PNG")
    for source in (tmp_path / "x.nic", (tmp_path / "x.nic").read_bytes()):
        assert np.array_equal(iio.imread(source, extension=".nic"), pixels)


def test_damaged_files_say_what_is_wrong(path: Path) -> None:
    data = path.read_bytes()
    for damaged, message in (
        (data[:20], "header"),
        (data[:4] + b"\x09" + data[5:], "version 9"),
        (data[:12] + b"?" + data[13:], "checksum"),
        (data[:-5], "truncated"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(OSError, match=message):
            iio.imread(path)


def test_decompression_bombs(path: Path) -> None:
    side = 2**24 - 1
    header = Header(side, side, "RGB", "nic2026", bytes(8), b"")
    path.write_bytes(container.write(header, [container.Chunk("DATA", b"x")]))
    with pytest.raises(Image.DecompressionBombError):
        iio.improps(path)


# imageio.v2


def test_v2_stills(path: Path, pixels: Pixels) -> None:
    imageio.v2.imwrite(path.with_name("y.nic"), pixels, quality=2.0)
    assert path.with_name("y.nic").read_bytes() == path.read_bytes()
    assert np.array_equal(imageio.v2.imread(path), pixels)
    with pytest.warns(DeprecationWarning, match="imread"):
        assert np.array_equal(imageio.imread(path), pixels)


def test_older_names_of_reading_options(tmp_path: Path, pixels: Pixels) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    imageio.v2.imwrite(tmp_path / "x.nic", pixels, quality=2.0, exif=exif)
    turned = imageio.v2.imread(tmp_path / "x.nic", pilmode="L", exifrotate=True)
    assert np.array_equal(turned, np.rot90(Image.fromarray(pixels).convert("L"), k=3))


@pytest.mark.parametrize("name", ["nic", "NIC", ".nic"])
def test_v2_format_names(name: str, path: Path, pixels: Pixels) -> None:
    data = imageio.v2.imwrite("<bytes>", pixels, format=name, quality=2.0)
    assert data == path.read_bytes()
    assert np.array_equal(imageio.v2.imread(data, format=name), pixels)


def test_v2_frames(tmp_path: Path, batch: Pixels, animation: Path) -> None:
    imageio.v2.mimwrite(tmp_path / "x.nic", batch, quality=2.0, duration=[10, 20, 30], loop=4)
    assert (tmp_path / "x.nic").read_bytes() == animation.read_bytes()
    assert np.array_equal(imageio.v2.mimread(animation), batch)
    assert np.array_equal(imageio.v2.imread(animation), batch[0])


def test_v2_reader_and_writer(tmp_path: Path, batch: Pixels) -> None:
    with imageio.v2.get_writer(tmp_path / "x.nic", quality=2.0, duration=40) as writer:
        for frame in batch:
            writer.append_data(frame)
    with imageio.v2.get_reader(tmp_path / "x.nic") as reader:
        assert len(reader) == 3
        assert np.array_equal(reader.get_data(1), batch[1])
        assert np.array_equal(reader.get_next_data(), batch[2])
        assert np.array_equal(list(reader), batch)
        assert reader.get_meta_data(index=1)["duration"] == 40
