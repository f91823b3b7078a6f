"""Contrast companding: what expands to pixels, where from, and how much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.networks.companding import COMPRESSED_HALO, HALO, LEVELS, compressed, expanded
from pillow_neural.networks.strips import in_strips

EXPONENT = 0.75
EXAMPLE = Path(__file__).parents[1] / "examples" / "kodim23.png"


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """A photograph, [1, 3, 256, 384] in 0..1."""
    picture = np.array(Image.open(EXAMPLE).convert("RGB").resize((384, 256)))
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def _contrast(pixels: Tensor) -> Tensor:
    """Deviation of 16x16 blocks, [B, 1, h, w]."""
    grey = pixels.mean(dim=1, keepdim=True)
    return (F.avg_pool2d(grey.square(), 16) - F.avg_pool2d(grey, 16).square()).clamp_min(0).sqrt()


def test_what_was_compressed_expands_to_the_picture(pixels: Tensor) -> None:
    error = expanded(compressed(pixels, EXPONENT), EXPONENT) - pixels
    assert -10 * torch.log10(error.square().mean()) > 55


def test_busy_places_lose_contrast_against_quiet_ones(pixels: Tensor) -> None:
    before, after = _contrast(pixels).flatten(), _contrast(compressed(pixels, EXPONENT)).flatten()
    order = before.argsort()
    third = len(order) // 3
    gain = (after / before.clamp_min(1e-3))[order]
    assert gain[:third].mean() > 1.3 * gain[-third:].mean()
    ranks = torch.stack([before.argsort().argsort(), after.argsort().argsort()]).float()
    assert torch.corrcoef(ranks)[0, 1] > 0.95


def test_errors_become_those_of_a_busier_place(pixels: Tensor) -> None:
    small = compressed(pixels, EXPONENT)
    noise = 0.01 * torch.randn(small.shape, generator=torch.Generator().manual_seed(0))
    error = (expanded(small + noise, EXPONENT) - expanded(small, EXPONENT)).square().mean(dim=1, keepdim=True)
    by_block = F.avg_pool2d(error, 16).sqrt().flatten()[_contrast(pixels).flatten().argsort()]
    third = len(by_block) // 3
    assert by_block[-third:].mean() > 1.5 * by_block[:third].mean()


def test_flat_pictures_stay() -> None:
    flat = torch.full((1, 3, 32, 48), 0.3)
    assert torch.allclose(expanded(flat, EXPONENT), flat, atol=1e-6)
    assert torch.allclose(compressed(flat, EXPONENT), flat, atol=1e-6)


def test_one_plane_is_as_three_equal_ones(pixels: Tensor) -> None:
    grey = pixels.mean(dim=1, keepdim=True)
    planes = grey.expand(-1, 3, -1, -1)
    assert torch.allclose(expanded(grey, EXPONENT), expanded(planes, EXPONENT)[:, :1], atol=1e-5)
    assert torch.allclose(compressed(grey, EXPONENT), compressed(planes, EXPONENT)[:, :1], atol=1e-5)


@pytest.mark.parametrize("halvings", range(1, LEVELS))
def test_means_expand_to_about_the_means(pixels: Tensor, halvings: int) -> None:
    small = compressed(pixels, EXPONENT)
    side = 2**halvings
    wanted = F.avg_pool2d(pixels, side)
    found = expanded(F.avg_pool2d(small, side), EXPONENT, LEVELS - halvings)
    assert found.shape == wanted.shape
    error, unchanged = ((each - wanted).square().mean() for each in (found, F.avg_pool2d(small, side)))
    assert error <= 0.3 * unchanged + 1e-9


def test_an_expanded_pixel_depends_on_what_the_halo_says() -> None:
    random = torch.Generator().manual_seed(0)
    reach = 0
    for row in range(192, 208):
        pixels = torch.rand(1, 1, 400, 64, generator=random).requires_grad_()
        gradient = torch.autograd.grad(expanded(pixels, EXPONENT)[:, :, row].square().sum(), pixels)[0]
        seen = gradient.abs().amax(dim=(0, 1, 3)).nonzero()[:, 0] - row
        reach = max(reach, -int(seen.min()), int(seen.max()))
    assert reach == HALO


def test_strips_compress_as_the_whole(pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pillow_neural.networks.strips.STRIP_BLOCKS", 1)
    monkeypatch.setattr("pillow_neural.networks.strips.HALOS", 0)
    tall = torch.cat([pixels, pixels.flip(2)], dim=2)[..., :64]
    rows = []

    def apply(strip: Tensor) -> Tensor:
        rows.append(strip.shape[2])
        return compressed(strip, EXPONENT)

    found = in_strips(apply, tall, 16, 16, -(-COMPRESSED_HALO // 16))
    assert max(rows) < tall.shape[2]
    assert torch.allclose(found, compressed(tall, EXPONENT), atol=1e-5)


def test_pixels_of_a_damaged_stream_expand_to_numbers() -> None:
    wild = 1e9 + 100 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert expanded(wild, EXPONENT).isfinite().all()
