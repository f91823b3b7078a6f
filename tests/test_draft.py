"""Decoding less of real files when less is asked for: draft() and thumbnail()."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from pillow_neural.codecs.loading import load_codec, weights_for_saving
from pillow_neural.networks.transform import BLOCK, Synthesis
from pillow_neural.pillow_plugin import NicImageFile

EXAMPLE = Path(__file__).parents[1] / "examples" / "kodim23.png"


@pytest.fixture(scope="module")
def data() -> bytes:
    out = io.BytesIO()
    Image.open(EXAMPLE).save(out, "NIC", quality=0.25)
    return out.getvalue()


@pytest.fixture(scope="module")
def whole(data: bytes) -> Image.Image:
    return _open(data).copy()


@pytest.fixture
def synthesised(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows when the synthesis network runs."""
    calls: list[object] = []
    forward = Synthesis.forward

    def counted(*arguments: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return forward(*arguments)

    monkeypatch.setattr(Synthesis, "forward", counted)
    return calls


def _open(data: bytes) -> NicImageFile:
    im = Image.open(io.BytesIO(data))
    assert isinstance(im, NicImageFile)
    return im


def _distance(first: Image.Image, second: Image.Image) -> float:
    """Mean absolute difference of samples."""
    return float(np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).mean())


@pytest.mark.parametrize("side", [128, 96, 64, 30])
def test_thumbnail_is_close_to_that_of_the_whole_picture(
    data: bytes, whole: Image.Image, synthesised: list[object], side: int
) -> None:
    fast, thorough = _open(data), whole.copy()
    fast.thumbnail((side, side))
    thorough.thumbnail((side, side))
    assert fast.size == thorough.size
    assert _distance(fast, thorough) < 1.5
    assert synthesised == []


def test_thumbnail_that_is_not_much_smaller_is_the_same(
    data: bytes, whole: Image.Image, synthesised: list[object]
) -> None:
    fast, thorough = _open(data), whole.copy()
    fast.thumbnail((300, 300))
    thorough.thumbnail((300, 300))
    assert fast.tobytes() == thorough.tobytes()
    assert len(synthesised) == 1


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_synthesis_is_the_mean_of_the_linear_transform(reduction: int) -> None:
    synthesis = Synthesis(latents=16, features=8, blocks=1, knots=2)
    latents = torch.randn(2, 16, 3, 4)
    with torch.inference_mode():
        whole = F.pixel_shuffle(synthesis.linear(latents), BLOCK)
        expected = F.avg_pool2d(whole, reduction)
        assert torch.allclose(synthesis.reduced(latents, reduction), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(33, 17), (1, 1), (9, 70)])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_sizes_are_rounded_up(size: tuple[int, int], reduction: int) -> None:
    codec = load_codec(weights_for_saving("nic2026"), "cpu")
    picture = torch.from_numpy(np.array(Image.open(EXAMPLE).crop((0, 0, *size)))).permute(2, 0, 1)[None]
    payloads = codec.encode(picture, [50_000])
    reduced = codec.decode(payloads, *size, reduction)
    assert reduced.shape == (1, 3, -(-size[1] // reduction), -(-size[0] // reduction))
    expected = torch.from_numpy(np.array(Image.open(EXAMPLE).crop((0, 0, *size)).reduce(reduction)))
    assert (reduced[0].permute(1, 2, 0).int() - expected.int()).abs().float().mean() < 6


@pytest.mark.parametrize(
    ("asked", "size"),
    [((768, 512), (768, 512)), ((385, 256), (768, 512)), ((384, 256), (384, 256)), ((100, 100), (192, 128)),
     ((50, 64), (96, 64)), ((1, 1), (96, 64)), ((0, 0), (96, 64)), ((2000, 9), (768, 512))],
)  # fmt: skip
def test_draft_is_never_smaller_than_asked(
    data: bytes, asked: tuple[int, int], size: tuple[int, int]
) -> None:
    im = _open(data)
    assert im.draft(None, asked) == ("RGB", (0, 0, *map(float, size)))
    assert im.size == size


def test_draft_in_grey(data: bytes, whole: Image.Image) -> None:
    im = _open(data)
    assert im.draft("L", None) == ("L", (0, 0, 768, 512))
    assert (im.mode, im.size) == ("L", (768, 512))
    assert im.tobytes() == whole.convert("L").tobytes()


@pytest.mark.parametrize("mode", [None, "RGB", "RGBA", "CMYK"])
def test_draft_ignores_other_modes(data: bytes, mode: str | None) -> None:
    im = _open(data)
    im.draft(mode, None)
    assert im.mode == "RGB"


def test_a_second_draft_replaces_the_first(data: bytes) -> None:
    im = _open(data)
    im.draft(None, (90, 60))
    im.draft(None, (200, 100))
    im.load()
    assert im.size == (384, 256)
