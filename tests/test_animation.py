"""Animations in files and as Pillow's objects, beyond the table of test_conformance.py."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageFile, ImageSequence

from pillow_neural import container
from pillow_neural.container import Chunk, DamagedFileError
from pillow_neural.header import Header
from pillow_neural.pillow_plugin import NicImageFile
from pillow_neural.timing import Timing, read_timing, timing_chunk
from tests.conformance.kit import frames
from tests.conftest import WEIGHTS, FakeCodec

pytestmark = pytest.mark.usefixtures("fake_codec")


def _save(*pictures: Image.Image, **keywords: object) -> bytes:
    out = io.BytesIO()
    options = {"quality": 2.0, "duration": [10, 20, 30]} | keywords
    pictures[0].save(out, "NIC", save_all=True, append_images=pictures[1:], **options)
    return out.getvalue()


def _open(data: bytes) -> NicImageFile:
    im = Image.open(io.BytesIO(data))
    assert isinstance(im, NicImageFile)
    return im


def _index(data: bytes) -> container.Index:
    return container.read_index(io.BytesIO(data))


@pytest.fixture
def data() -> bytes:
    return _save(*frames())


@pytest.fixture
def decodings(fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with each decoding."""
    calls: list[object] = []
    decode = fake_codec.decode

    def counted(*arguments: object) -> torch.Tensor:
        calls.append(arguments)
        return decode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(fake_codec, "decode", counted)
    return calls


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_every_mode(mode: str) -> None:
    im = _open(_save(*frames(mode)))
    for number, expected in enumerate(frames(mode)):
        im.seek(number)
        assert (im.mode, im.tobytes()) == (mode, expected.tobytes())


def test_a_frame_is_decoded_when_it_is_used_and_no_other(data: bytes, decodings: list[object]) -> None:
    im = _open(data)
    for number in (1, 2, 0, 2):
        im.seek(number)
    assert im.info["timestamp"] == 30
    assert decodings == []
    im.load()
    im.seek(2)
    im.load()
    assert len(decodings) == 1


def test_frames_are_coded_before_the_next_is_asked_for(
    fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    encode = fake_codec.encode
    monkeypatch.setattr(fake_codec, "encode", lambda *given: order.append("coded") or encode(*given))

    def generator() -> Iterator[Image.Image]:
        for picture in frames()[1:]:
            order.append("asked")
            yield picture

    frames()[0].save(io.BytesIO(), "NIC", save_all=True, append_images=generator())
    assert order == ["coded", "asked", "coded", "asked", "coded"]


def test_palettes_of_a_gif_become_colours_and_transparency(tmp_path: Path) -> None:
    path = tmp_path / "x.gif"
    first, second, _ = frames("RGBA")
    first.save(path, save_all=True, append_images=[second], duration=[40, 80], disposal=2)
    with Image.open(path) as gif:
        im = _open(_save(gif, duration=None))
        for frame, theirs in zip(ImageSequence.Iterator(im), ImageSequence.Iterator(gif), strict=True):
            assert frame.info["duration"] == theirs.info["duration"]
            assert frame.tobytes() == theirs.convert("RGBA").tobytes()
        assert im.mode == "RGBA"


def test_fractions_of_milliseconds_are_rounded() -> None:
    im = _open(_save(*frames()[:2], duration=[33.4, 66.6]))
    assert im.info["duration"] == 33
    im.seek(1)
    assert (im.info["duration"], im.info["timestamp"]) == (67, 33)


@pytest.mark.parametrize(("duration", "count"), [([1, 2], 3), ([1, 2, 3, 4], 3), ([], 2)])
def test_durations_that_do_not_fit_the_frames(duration: list[int], count: int) -> None:
    with pytest.raises(ValueError, match="durations are too"):
        _save(*frames()[:count], duration=duration)


def test_durations_do_not_matter_to_a_single_picture() -> None:
    assert _save(frames()[0], duration=[1, 2]) == _save(frames()[0], duration=3, loop=4)


def test_frames_of_another_size_are_named() -> None:
    with pytest.raises(ValueError, match="frame 1 has 5x6 pixels, but the first has 40x30"):
        _save(frames()[0], Image.new("RGB", (5, 6)))


def test_a_frame_that_cannot_be_stored_writes_nothing_and_leaves_the_source_where_it_was(data: bytes) -> None:
    source, out = _open(data), io.BytesIO()
    source.seek(1)
    with pytest.raises(OSError, match="cannot write mode F"):
        source.save(out, "NIC", save_all=True, append_images=[Image.new("F", source.size)])
    assert (out.getvalue(), source.tell()) == (b"", 1)


@pytest.mark.parametrize("limit", [4000, 6000])
def test_target_size_is_that_of_the_whole_file(limit: int) -> None:
    data = _save(*frames(), quality=None, target_size=limit, icc_profile=bytes(100))
    assert 0.9 * limit < len(data) <= limit
    im = _open(data)
    assert im.n_frames == 3
    levels = {_parameters(data, number) for number in range(3)}
    assert len(levels) == 1


def test_target_size_below_the_smallest_animation() -> None:
    with pytest.raises(ValueError, match=r"smallest possible file of this picture has \d+ bytes"):
        _save(*frames(), quality=None, target_size=300)


def _parameters(data: bytes, frame: int) -> bytes:
    index = _index(data)
    entry = index.frames[frame].parameters
    return index.header.parameters if entry is None else container.read_chunk(io.BytesIO(data), entry)


def test_loaded_animation_needs_its_file_no_more(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.nic"
    path.write_bytes(b"before" + data + b"after")
    with path.open("rb") as file:
        file.seek(6)
        im = NicImageFile(file)
        im.load()
    path.write_bytes(b"something else")
    im.seek(2)
    assert im.tobytes() == frames()[2].tobytes()


def test_thumbnail_of_one_frame_leaves_the_others_whole(data: bytes) -> None:
    im = _open(data)
    for number, expected in enumerate(frames()):
        im.seek(number)
        assert im.size == (40, 30)
        assert im.getpixel((3, 4)) == expected.getpixel((3, 4))
        im.thumbnail((10, 10))
        assert im.size == (10, 8)


def test_unpickled_frame_is_a_still(data: bytes) -> None:
    import pickle

    im = _open(data)
    im.seek(1)
    again = pickle.loads(pickle.dumps(im))
    again.seek(0)
    assert (again.n_frames, again.tobytes()) == (1, frames()[1].tobytes())
    with pytest.raises(EOFError):
        again.seek(1)


@pytest.mark.parametrize("tolerated", [False, True])
def test_damaged_timing(data: bytes, tolerated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = _index(data).of_kind("anim")
    damaged = data[: entry.offset] + b"\x7f" + data[entry.offset + 1 :]
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerated)
    if tolerated:
        im = _open(damaged)
        assert (im.info["loop"], im.info["duration"], im.n_frames) == (0, 0, 3)
    else:
        with pytest.raises(OSError, match="chunk anim"):
            _open(damaged)


def _file(*chunks: Chunk, mode: str = "RGB") -> bytes:
    return container.write(Header(3, 2, mode, WEIGHTS.codec, WEIGHTS.id, b"\xff\xff"), chunks)


TWO_FRAMES = [Chunk("DATA", b""), Chunk("FRAM", b""), Chunk("DATA", b"")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\0\1",
        b"\0\1\1\1",
        b"\0\1\x80",
        b"\0\1\x81\0",
        b"\xff\xff\xff\xff\x08\0\0",
        b"\0\0\xff\xff\xff\xff\x08",
    ],
)
def test_timing_for_another_number_of_frames_or_out_of_range(content: bytes) -> None:
    data = _file(Chunk("anim", content), *TWO_FRAMES)
    with pytest.raises(DamagedFileError, match="chunk anim"):
        read_timing(io.BytesIO(data), _index(data))
    with pytest.raises(OSError, match="chunk anim"):
        _open(data)


@pytest.mark.parametrize("timing", [Timing(0, (0, 2**31 - 1)), Timing(2**31 - 1, (7, 0))])
def test_timing_round_trip(timing: Timing) -> None:
    data = _file(timing_chunk(timing), *TWO_FRAMES)
    assert read_timing(io.BytesIO(data), _index(data)) == timing


def test_without_timing_frames_have_no_duration() -> None:
    data = _file(*TWO_FRAMES)
    assert read_timing(io.BytesIO(data), _index(data)) == Timing(0, (0, 0))
    assert _open(data).info["duration"] == 0


def test_timing_of_a_still_is_ignored() -> None:
    assert "duration" not in _open(_file(Chunk("anim", b"nonsense"), Chunk("DATA", b""))).info


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        ("RGB", "FRAM DATA"),
        ("RGB", "DATA FRAM"),
        ("RGBA", "ALPH DATA FRAM DATA"),
        ("L", "DATA FRAM ALPH DATA"),
    ],
)
def test_frames_without_their_chunks_are_oserrors_at_load(mode: str, kinds: str) -> None:
    im = _open(_file(*(Chunk(kind, b"") for kind in kinds.split()), mode=mode))
    errors = 0
    for frame in ImageSequence.Iterator(im):
        with pytest.raises(OSError, match=r"alpha|cannot decode"):
            frame.load()
        errors += 1
    assert errors == 2


@pytest.mark.parametrize("kinds", ["ALPH ALPH DATA FRAM", "DATA FRAM ALPH DATA ALPH", "anim DATA FRAM anim"])
def test_contradictory_chunks_are_refused_at_opening(kinds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "_check_kinds", lambda kinds: None)
    data = _file(*(Chunk(kind, b"") for kind in kinds.split()), mode="LA")
    monkeypatch.undo()
    with pytest.raises(SyntaxError, match="occurs more than once"):
        NicImageFile(io.BytesIO(data))


def test_the_greatest_number_of_frames_opens_at_once(make_picture: Callable[..., Image.Image]) -> None:
    im = _open(_file(*[Chunk("FRAM", b"")] * 65_535))
    assert im.n_frames == 65_536
    im.seek(65_535)
    with pytest.raises(OSError, match="cannot decode"):
        im.load()
    with pytest.raises(EOFError):
        im.seek(65_536)
