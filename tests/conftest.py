import io
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import pillow_neural  # noqa: F401 - registers the format
from pillow_neural.codecs import loading
from pillow_neural.codecs.contract import RATE_LEVELS, Payload
from pillow_neural.codecs.nic2026 import Nic2026
from pillow_neural.networks import precision
from pillow_neural.weights import WeightsEntry, WeightsUnavailableError
from tests.codec_helpers import EXAMPLE, default_codec

WEIGHTS = WeightsEntry("nic2026", "fake.safetensors", 1, "0123456789abcdef" * 4, "Apache-2.0")


class FakeCodec:
    """Deflated pixels in steps of 1 (level 65535, lossless) to 65; a section for each half of the picture."""

    def level_of_quality(self, bits_per_pixel: float) -> int:
        return round(bits_per_pixel / 2 * RATE_LEVELS)

    def encode(self, pictures: Tensor, levels: Sequence[int], effort: int = 0) -> list[Payload]:
        return [self._encode(p.numpy(), level) for p, level in zip(pictures, levels, strict=True)]

    def decode(self, payloads: Sequence[Payload], width: int, height: int, reduction: int = 1) -> Tensor:
        whole = torch.stack([self._decode(payload, width, height) for payload in payloads])
        return self._reduced(whole, reduction) if reduction > 1 else whole

    def _encode(self, pixels: np.ndarray, level: int) -> Payload:
        assert pixels.dtype == np.uint8
        assert 0 <= level <= RATE_LEVELS
        step = self._step(level)
        symbols = ((pixels.astype(np.int64) + step // 2) // step).astype(np.uint8)
        halves = np.array_split(symbols.ravel(), 2)
        return Payload(level.to_bytes(2), tuple(zlib.compress(half.tobytes()) for half in halves))

    def _decode(self, payload: Payload, width: int, height: int) -> Tensor:
        step = self._step(int.from_bytes(payload.parameters))
        symbols = np.frombuffer(b"".join(map(zlib.decompress, payload.sections)), np.uint8)
        pixels = np.clip(symbols.astype(np.int64) * step, 0, 255).astype(np.uint8)
        planes = 3 if pixels.size == 3 * height * width else 1
        return torch.from_numpy(pixels.reshape(planes, height, width))

    @staticmethod
    def _reduced(pictures: Tensor, reduction: int) -> Tensor:
        means = F.avg_pool2d(pictures.float(), reduction, ceil_mode=True, count_include_pad=False)
        return means.round().to(torch.uint8)

    @staticmethod
    def _step(level: int) -> int:
        return 1 + (RATE_LEVELS - level) // 1024


@pytest.fixture
def fake_codec(monkeypatch: pytest.MonkeyPatch) -> FakeCodec:
    """A fast stand-in for the codec and weights that the package would load."""
    codec = FakeCodec()

    def opening(name: str, weights_id: bytes) -> WeightsEntry:
        if (name, weights_id) != (WEIGHTS.codec, WEIGHTS.id):
            raise WeightsUnavailableError(f"no weights {weights_id.hex()}")
        return WEIGHTS

    monkeypatch.setattr(loading, "weights_for_saving", lambda name, tune=None: WEIGHTS)
    monkeypatch.setattr(loading, "weights_for_opening", opening)
    monkeypatch.setattr(loading, "load_codec", lambda entry, device: codec)
    return codec


def saved(im: Image.Image, **keywords: object) -> bytes:
    """The .nic file of a picture."""
    out = io.BytesIO()
    im.save(out, "NIC", **keywords)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """The picture of a .nic file, decoded."""
    im = Image.open(io.BytesIO(data), formats=["NIC"])
    im.load()
    return im


def picture(mode: str = "RGB", width: int = 40, height: int = 30) -> Image.Image:
    """Smooth colours with some noise, and an alpha channel with transparent, soft and opaque parts."""
    random = np.random.default_rng(7)
    down, across = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(down / (5 + c)) + np.cos(across / (9 - c)) for c in range(3)], axis=-1)
    colours = np.clip(128 + 50 * waves + random.normal(0, 6, waves.shape), 0, 255)
    alpha = np.clip(8 * across - 60 + random.integers(0, 2, across.shape), 0, 255)
    rgba = Image.fromarray(np.dstack([colours, alpha]).astype(np.uint8))
    for via in {
        "P": ("RGB",),
        "PA": ("P",),
        "La": ("LA",),
        "HSV": ("RGB",),
        "LAB": ("RGB",),
        "YCbCr": ("RGB",),
    }.get(mode, ()):
        rgba = rgba.convert(via)
    if mode == "LAB":
        return Image.frombytes("LAB", rgba.size, rgba.tobytes())
    return rgba.convert(mode)


@pytest.fixture
def make_picture() -> Callable[..., Image.Image]:
    """`make_picture(mode="RGB", width=40, height=30)`."""
    return picture


@pytest.fixture(scope="module")
def codec() -> Nic2026:
    """The default one, with its bundled weights."""
    return default_codec()


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """RGB, 768x512."""
    return Image.open(EXAMPLE).convert("RGB")


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bfloat16 anywhere, as on processors that do not multiply it."""
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: False)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of torch's threads, which is as before after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def one_thread(threads: Callable[[int], None]) -> None:
    """With another number a sum may be rounded in its last bit, and one pixel of many with it."""
    threads(1)
