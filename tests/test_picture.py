import io
import re
import warnings
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageChops
from torch import Tensor

from pillow_neural import container
from pillow_neural.alpha import decode_alpha, encode_alpha
from pillow_neural.codecs.contract import Payload
from pillow_neural.container import Chunk, DamagedFileError
from pillow_neural.header import Header
from pillow_neural.picture import decode_picture, encode_frames, encode_picture
from pillow_neural.settings import SaveOptions
from tests.conftest import FakeCodec

Maker = Callable[..., Image.Image]
BEST = SaveOptions(quality=2.0)

MODES = {
    "1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA",
    "RGBa": "RGBA", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB",
}  # fmt: skip


def _decode(data: bytes, **options: int) -> Image.Image:
    fp = io.BytesIO(data)
    return decode_picture(fp, container.read_index(fp), **options)


@pytest.mark.usefixtures("fake_codec")
@pytest.mark.parametrize("mode", MODES)
def test_modes(mode: str, make_picture: Maker) -> None:
    im = make_picture(mode)
    before = (im.mode, im.tobytes(), dict(im.info))
    decoded = _decode(encode_picture(im, BEST))
    assert decoded.mode == MODES[mode]
    assert decoded.tobytes() == im.convert(MODES[mode]).tobytes()
    assert (im.mode, im.tobytes(), im.info) == before


@pytest.mark.usefixtures("fake_codec")
def test_palette_with_alpha(make_picture: Maker) -> None:
    im = make_picture("RGBA").convert("P")
    assert _decode(encode_picture(im, BEST)).tobytes() == im.convert("RGBA").tobytes()


@pytest.mark.usefixtures("fake_codec")
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_small_sizes(mode: str, size: tuple[int, int], make_picture: Maker) -> None:
    im = make_picture(mode, *size)
    decoded = _decode(encode_picture(im, BEST))
    assert (decoded.size, decoded.tobytes()) == (size, im.tobytes())


@pytest.mark.usefixtures("fake_codec")
@pytest.mark.parametrize(
    ("mode", "key"), [("1", 255), ("L", 128), ("RGB", (1, 2, 3)), ("P", 3), ("P", b"\0\x80")]
)
def test_transparent_colour_becomes_alpha(mode: str, key: object, make_picture: Maker) -> None:
    im = make_picture(mode)
    im.info["transparency"] = key
    decoded = _decode(encode_picture(im, BEST))
    assert decoded.mode == ("LA" if mode in "1L" else "RGBA")
    assert decoded.tobytes() == im.convert(decoded.mode).tobytes()
    assert im.info["transparency"] == key


@pytest.mark.usefixtures("fake_codec")
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_exact_at_any_quality(mode: str, make_picture: Maker) -> None:
    im = make_picture(mode)
    decoded = _decode(encode_picture(im, SaveOptions(quality=0.05)))
    assert decoded.getchannel("A").tobytes() == im.getchannel("A").tobytes()
    assert decoded.tobytes() != im.tobytes()


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_deep_modes_are_refused(mode: str) -> None:
    with pytest.raises(OSError, match=rf"cannot write mode {re.escape(mode)} as NIC.*convert"):
        encode_picture(Image.new(mode, (4, 4)), BEST)


@pytest.mark.parametrize("size", [(0, 0), (0, 3), (3, 0)])
def test_empty_pictures_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot write empty image"):
        encode_picture(Image.new("RGB", size), BEST)


def test_grey_is_the_rounded_mean_of_three_planes(
    fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch, make_picture: Maker
) -> None:
    original = fake_codec.decode

    def drift(*arguments: object) -> object:
        planes = original(*arguments).repeat(1, 3, 1, 1)  # type: ignore[arg-type]
        planes[:, 1] = planes[:, 1].clamp(max=253) + 2
        return planes

    monkeypatch.setattr(fake_codec, "decode", drift)
    im = make_picture("L")
    decoded = _decode(encode_picture(im, BEST))
    grey = np.asarray(im).astype(int)
    assert np.array_equal(np.asarray(decoded), np.rint((2 * grey + np.minimum(grey, 253) + 2) / 3))


@pytest.mark.parametrize(("codec", "planes"), [("nic2026", 1), ("toderici2016", 3)])
def test_grey_reaches_a_codec_as_it_knows_it(
    fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch, make_picture: Maker, codec: str, planes: int
) -> None:
    seen: list[Tensor] = []
    original = fake_codec.encode

    def noted(pictures: Tensor, levels: Sequence[int], effort: int) -> list[Payload]:
        seen.append(pictures)
        return original(pictures, levels)

    monkeypatch.setattr(fake_codec, "encode", noted)
    im = make_picture("L")
    encode_picture(im, SaveOptions(quality=2.0, codec=codec))
    assert seen[0].shape == (1, planes, im.height, im.width)
    assert all(np.array_equal(plane, np.asarray(im)) for plane in seen[0][0].numpy())


@pytest.mark.usefixtures("fake_codec")
@pytest.mark.parametrize("mode", ["RGB", "LA"])
@pytest.mark.parametrize("limit", [1500, 2000, 2500])
def test_target_size_counts_the_whole_file(mode: str, limit: int, make_picture: Maker) -> None:
    options = SaveOptions(target_size=limit, icc_profile=bytes(range(200)))
    data = encode_picture(make_picture(mode, 64, 48), options)
    assert len(data) <= limit
    assert mode == "LA" or len(data) > 0.9 * limit
    assert _decode(data).mode == mode


@pytest.mark.usefixtures("fake_codec")
def test_target_size_below_the_smallest_file(make_picture: Maker) -> None:
    with pytest.raises(ValueError, match=r"smallest possible file of this picture has \d+ bytes"):
        encode_picture(make_picture(), SaveOptions(target_size=50))


@pytest.mark.usefixtures("fake_codec")
@pytest.mark.parametrize(
    ("mode", "kinds"),
    [("RGB", "DATA ALPH"), ("RGBA", "DATA"), ("RGB", ""), ("L", "DATA"), ("RGB", "DATA DATA")],
)
def test_sound_checksums_around_nonsense_are_oserrors(mode: str, kinds: str) -> None:
    header = Header(3, 2, mode, "nic2026", bytes.fromhex("0123456789abcdef"), b"\xff\xff")
    with pytest.raises(OSError, match=r"alpha|cannot decode"):
        _decode(container.write(header, [Chunk(kind, b"\x01nonsense") for kind in kinds.split()]))


@pytest.mark.usefixtures("fake_codec")
def test_unknown_weights() -> None:
    header = Header(3, 2, "RGB", "other", bytes(8), b"")
    with pytest.raises(OSError, match="weights"):
        _decode(container.write(header, []))


def test_memory_errors_pass(
    fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch, make_picture: Maker
) -> None:
    data = encode_picture(make_picture(), BEST)

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(fake_codec, "decode", exhausted)
    with pytest.raises(MemoryError):
        _decode(data)


@pytest.mark.parametrize(
    ("error", "tolerant"), [(OSError, False), (RuntimeError, False), (RuntimeError, True)]
)
def test_errors_of_a_codec_are_oserrors_and_tolerated_only_for_bad_payloads(
    error: type[Exception],
    tolerant: bool,
    fake_codec: FakeCodec,
    monkeypatch: pytest.MonkeyPatch,
    make_picture: Maker,
) -> None:
    data = encode_picture(make_picture(), BEST)

    def failing(*_: object) -> None:
        raise error("out of order")

    monkeypatch.setattr(fake_codec, "decode", failing)
    with pytest.raises(OSError, match="codec nic2026 cannot decode this picture: out of order"):
        _decode(data, tolerant=tolerant)


def test_a_payload_that_the_codec_refuses_is_grey_if_tolerated(
    fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch, make_picture: Maker
) -> None:
    data = encode_picture(make_picture("LA"), BEST)

    def refusing(*_: object) -> None:
        raise OSError("refused")

    monkeypatch.setattr(fake_codec, "decode", refusing)
    decoded = _decode(data, tolerant=True)
    assert decoded.getchannel("L").getextrema() == (128, 128)
    assert decoded.getchannel("A").tobytes() == make_picture("LA").getchannel("A").tobytes()


@pytest.mark.usefixtures("fake_codec")
def test_damaged_alpha_is_opaque_if_tolerated(make_picture: Maker) -> None:
    im = make_picture("RGBA")
    data = bytearray(encode_picture(im, BEST))
    (entry,) = container.read_index(io.BytesIO(data)).of_kind("ALPH")
    data[entry.offset + 9] ^= 1
    with pytest.raises(OSError, match="chunk ALPH"):
        _decode(bytes(data))
    decoded = _decode(bytes(data), tolerant=True)
    assert decoded.getchannel("A").getextrema() == (255, 255)
    assert decoded.convert("RGB").tobytes() == im.convert("RGB").tobytes()


@pytest.mark.usefixtures("fake_codec")
@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_reduced_pictures(mode: str, reduction: int, make_picture: Maker) -> None:
    im = make_picture(mode, 41, 30)
    reduced = _decode(encode_picture(im, BEST), reduction=reduction)
    expected = im.reduce(reduction)
    assert (reduced.mode, reduced.size) == (mode, expected.size)
    assert np.abs(np.asarray(reduced, int) - np.asarray(expected, int)).max() <= 1


@pytest.mark.usefixtures("fake_codec")
def test_colours_of_transparent_pixels_do_not_show_in_reduced_pictures() -> None:
    im = Image.new("RGBA", (16, 16), (255, 0, 0, 255))
    im.paste((0, 0, 255, 0), (0, 0, 7, 16))
    reduced = _decode(encode_picture(im, BEST), reduction=2)
    assert reduced.getpixel((3, 3)) == (255, 0, 0, 128)


@pytest.mark.usefixtures("fake_codec")
@pytest.mark.parametrize("reduction", [0, 3, 16])
def test_reductions_that_no_codec_has(reduction: int, make_picture: Maker) -> None:
    with pytest.raises(ValueError, match="can be reduced by"):
        _decode(encode_picture(make_picture(), BEST), reduction=reduction)


@pytest.mark.usefixtures("fake_codec")
def test_no_frames_make_no_file() -> None:
    with pytest.raises(ValueError, match="no frame"):
        encode_frames(iter([]), BEST)


@pytest.mark.usefixtures("fake_codec")
@pytest.mark.parametrize(
    ("modes", "mode"), [("L L", "L"), ("L LA", "LA"), ("L RGB", "RGB"), ("LA RGB", "RGBA"), ("1 P", "RGB")]
)
def test_frames_get_the_mode_that_has_all_they_have(modes: str, mode: str, make_picture: Maker) -> None:
    frames = [make_picture(each) for each in modes.split()]
    data = encode_frames(iter(frames), BEST)
    for number, frame in enumerate(frames):
        decoded = _decode(data, frame=number)
        assert decoded.mode == mode
        assert decoded.tobytes() == frame.convert(mode).tobytes()


@pytest.mark.usefixtures("fake_codec")
def test_a_side_that_the_header_cannot_hold_is_refused_before_coding(
    fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_codec, "encode", pytest.fail)
    with pytest.raises(ValueError, match="picture size 1x16777216 is outside"):
        encode_picture(Image.new("1", (1, 2**24)), BEST)


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_alpha_chunk_follows_the_format(plane: np.ndarray) -> None:
    chunk = encode_alpha(Image.fromarray(plane))
    assert chunk[0] == 1
    assert _reference_unfilter(zlib.decompress(chunk[1:]), plane.shape[1]) == plane.tobytes()
    decoded = decode_alpha(chunk, plane.shape[1], plane.shape[0])
    assert (decoded.mode, decoded.tobytes()) == ("L", plane.tobytes())


@given(st.integers(0, 255), st.integers(1, 4))
def test_alpha_rows_of_every_filter(seed: int, width: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.integers(0, 256, (5, width + 1), np.uint8)
    rows[:, 0] = random.choice([0, 1, 2, 4], 5)
    decoded = decode_alpha(b"\x01" + zlib.compress(rows.tobytes()), width, 5)
    assert decoded.tobytes() == _reference_unfilter(rows.tobytes(), width)


def test_alpha_filters_pay() -> None:
    ramp = np.add.outer(np.arange(200), np.arange(300)).astype(np.uint8)
    assert len(encode_alpha(Image.fromarray(ramp))) < len(zlib.compress(ramp.tobytes())) / 2
    tall = np.zeros((2**20 + 3, 2), np.uint8)
    tall[-1] = 9
    chunk = encode_alpha(Image.fromarray(tall))
    assert decode_alpha(chunk, 2, len(tall)).tobytes() == tall.tobytes()


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        b"\x01",
        b"\x02" + zlib.compress(bytes(12)),
        b"\x01" + zlib.compress(bytes(11)),
        b"\x01" + zlib.compress(bytes(13)),
        b"\x01" + zlib.compress(bytes(10**7)),
        b"\x01" + zlib.compress(bytes(12)) + b"x",
        b"\x01" + zlib.compress(bytes(12))[:-4],
        b"\x01" + zlib.compress(b"\x03\0\0\0" * 3),
        b"\x01not zlib",
    ],
)
def test_impossible_alpha_chunks(chunk: bytes) -> None:
    with pytest.raises(DamagedFileError, match="alpha"):
        decode_alpha(chunk, 3, 3)


@pytest.mark.usefixtures("fake_codec")
def test_no_warnings_from_shared_memory(make_picture: Maker) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size in [(1, 5), (5, 1), (7, 4)]:
            im = make_picture("RGBA", *size)
            assert ImageChops.difference(_decode(encode_picture(im, BEST)), im).getbbox() is None


def _reference_unfilter(rows: bytes, width: int) -> bytes:
    """FORMAT.md's table, sample by sample."""
    plane: list[list[int]] = []
    for start in range(0, len(rows), width + 1):
        above = plane[-1] if plane else [0] * width
        row: list[int] = []
        for column in range(width):
            a, b = row[-1] if row else 0, above[column]
            c = above[column - 1] if column else 0
            nearest = min((a, b, c), key=lambda value: abs(a + b - c - value))
            row.append((rows[start + 1 + column] + {0: 0, 1: a, 2: b, 4: nearest}[rows[start]]) % 256)
        plane.append(row)
    return bytes(sample for row in plane for sample in row)
