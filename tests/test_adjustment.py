"""What a picture says about its own finish: what strengths do, and how they are found."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.benchmark.metrics import ms_ssim, psnr
from pillow_neural.codecs import nic2026_adjustment
from pillow_neural.codecs.contract import Payload
from pillow_neural.codecs.nic2026 import Nic2026, Parameters
from pillow_neural.networks import strips
from pillow_neural.networks.adjustment import (
    UNITS,
    Stages,
    adjusted,
    equations,
    fitted,
    luma,
    with_colours,
)
from pillow_neural.networks.search import finish_of
from tests.codec_helpers import EXAMPLE, as_batch, default_codec


@pytest.fixture(scope="module")
def photograph() -> Tensor:
    """uint8 [1, 3, 512, 768]."""
    return as_batch(Image.open(EXAMPLE).convert("RGB"))


@pytest.fixture(scope="module")
def pixels(photograph: Tensor) -> Tensor:
    """uint8 [1, 3, 200, 310]."""
    return photograph[..., 100:300, 130:440]


def _numbers(*values: int) -> Tensor:
    return torch.tensor([values]) * torch.tensor(UNITS)


@pytest.mark.parametrize("planes", [1, 3])
def test_adjusted_is_what_the_format_says(planes: int) -> None:
    pixels = torch.rand(1, planes, 7, 9, generator=torch.Generator().manual_seed(0))
    found = adjusted(pixels, _numbers(9, 9, 40, -30, 20))
    x = pixels[0].numpy()
    v = np.tensordot([0.299, 0.587, 0.114], x, 1) if planes == 3 else x[0]

    def around(plane: np.ndarray, row: int, column: int) -> np.ndarray:
        padded = np.pad(plane, 1, mode="edge")
        return padded[1 + row : 8 + row, 1 + column : 10 + column]

    straight = sum(around(v, *at) for at in ((0, 1), (0, -1), (1, 0), (-1, 0))) - 4 * v
    diagonal = sum(around(v, *at) for at in ((1, 1), (1, -1), (-1, 1), (-1, -1))) - 4 * v
    for plane, own in zip(x, found[0].numpy(), strict=True):
        colour = plane - v
        mean = sum(around(colour, row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)) / 9
        wanted = plane + 40 / 64 * (mean - colour) - 30 / 512 * straight + 20 / 512 * diagonal
        np.testing.assert_allclose(own, wanted, atol=1e-5)


def test_only_colours_of_a_change_are_strengthened() -> None:
    change = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    strengths = torch.cat([_numbers(0, -64, 0, 0, 0), _numbers(0, 32, 0, 0, 0)])
    found = with_colours(change, strengths)
    assert torch.allclose(luma(found), luma(change), atol=1e-5)
    assert torch.allclose(found[0], luma(change)[0].expand(3, -1, -1), atol=1e-5)
    assert torch.allclose(found[1] - luma(found)[1], 1.5 * (change - luma(change))[1], atol=1e-5)


@pytest.mark.parametrize("place", range(5))
def test_a_strength_that_was_used_is_found(place: int) -> None:
    random = torch.Generator().manual_seed(0)
    synthesised = F.avg_pool2d(torch.rand(3, 3, 44, 52, generator=random), 5, 1)
    filtered = synthesised + 0.02 * torch.randn(3, 1, 40, 48, generator=random)
    change = 0.02 * torch.randn(3, 3, 40, 48, generator=random)
    numbers = 40 * F.one_hot(torch.tensor([place]), 5)
    strengths = numbers * torch.tensor(UNITS)
    partly = synthesised + (1 + strengths[:, :1, None, None]) * (filtered - synthesised)
    wanted = adjusted(partly + with_colours(change, strengths), strengths)
    inner, stages = wanted[:, :, 4:-6, 4:-4], Stages(synthesised, filtered, filtered + change, None)
    missing = inner - stages.staged[:, :, 4:-6, 4:-4]
    each = equations(missing, stages, 4, 4)
    assert each.aims.shape == (3, 5)
    first, others = (
        equations(missing[part], Stages(*(stage[part] for stage in stages[:3]), None), 4, 4)
        for part in (slice(0, 1), slice(1, 3))
    )
    fits = [
        fitted(own, torch.tensor([UNITS])) for own in (each, each.together(), first.plus(others.together()))
    ]
    for fit in fits:
        assert (fit.numbers - numbers).abs().max() <= 1
    errors = missing.square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(fits[0].saved, errors.double(), rtol=0.01, atol=0)
    torch.testing.assert_close(fits[1].saved, errors.sum()[None].double(), rtol=0.01, atol=0)
    torch.testing.assert_close(each.saved()[:, -1], errors.double(), rtol=0.01, atol=0)
    assert (each.saved()[:, place] > 0.95 * errors).all()


def _without(
    codec: Nic2026, pixels: Tensor, level: int, effort: int = 0
) -> tuple[Tensor, Tensor, Parameters]:
    """What is decoded with the strengths of a picture and without, and its parameters."""
    (payload,) = codec.encode(pixels, [level], effort)
    size = pixels.shape[3], pixels.shape[2]
    return codec.decode([payload], *size), _plain(codec, payload, *size), Parameters.of(payload)


@torch.inference_mode()
def _plain(codec: Nic2026, payload: Payload, width: int, height: int) -> Tensor:
    """What is decoded of a payload without its strengths."""
    latents = codec.decode_streams([payload], width, height).latents
    return codec._synthesise(latents, [Parameters.of(payload)], None, 1)[:, :, :height, :width]


def _changed(payload: Payload, *strengths: int) -> Payload:
    """A payload with other strengths, or none; those of directions it must not have."""
    parameters = Parameters.of(payload)
    assert not parameters.directions
    return payload._replace(parameters=parameters._replace(strengths=strengths).to_bytes())


@pytest.mark.parametrize(
    ("planes", "level", "effort"), [(1, 20_000, 0), (3, 20_000, 0), (3, 40_000, 1), (3, 40_000, 3)]
)
def test_files_are_nearer_to_their_pictures_with_strengths(
    codec: Nic2026, pixels: Tensor, planes: int, level: int, effort: int
) -> None:
    picture = pixels.float().mean(dim=1, keepdim=True).to(torch.uint8) if planes == 1 else pixels
    with_them, plain, parameters = _without(codec, picture, level, effort)
    assert len(parameters.strengths) == 5
    errors = [(each.float() - picture).square().mean().item() for each in (with_them, plain)]
    assert errors[0] < errors[1]


def test_colours_at_half_the_resolution_are_smoothed_more(codec: Nic2026, pixels: Tensor) -> None:
    image = Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).convert("YCbCr")
    y, *colours = image.split()
    blurred = [plane.filter(ImageFilter.GaussianBlur(2)) for plane in colours]
    soft = torch.from_numpy(np.array(Image.merge("YCbCr", [y, *blurred]).convert("RGB"))).permute(2, 0, 1)[
        None
    ]
    strengths = [_without(codec, each, 40_000)[2].strengths for each in (pixels, soft)]
    assert strengths[1][2] > strengths[0][2] + 10


def test_pictures_where_strengths_save_less_than_they_cost_have_none(codec: Nic2026, pixels: Tensor) -> None:
    small = pixels[..., :90, :90]
    for effort in (0, 1):
        assert Parameters.of(codec.encode(small, [40_000], effort)[0]).strengths == ()
    flat = torch.full((1, 3, 128, 128), 90, dtype=torch.uint8)
    assert Parameters.of(codec.encode(flat, [20_000])[0]).strengths == ()


@pytest.mark.parametrize("effort", [1, 3])
def test_a_search_fits_strengths_to_what_is_coded(codec: Nic2026, photograph: Tensor, effort: int) -> None:
    """Near to those that are the best for the decoded picture; a first choice asks for other first six."""
    (payload,) = codec.encode(photograph, [35_000], effort)
    chooser, network = codec._chooser, codec._network
    with torch.inference_mode():
        picture = chooser.prepare(photograph, [35_000])
        coded, (found,) = codec.decode_streams([payload], 768, 512)
        first = chooser._at_once(picture, hide=False).decoded
        finishes = [finish_of(network, picture, each).first(len(found)) for each in (coded, first)]
        units = network.strength_units(picture.rate)[:, : len(found)]
        best, other = (fitted(finish, units).numbers[0].numpy() for finish in finishes)
    assert np.abs(found - best).mean() <= (0.5 if effort == 3 else 2)
    assert np.abs(other - best)[:6].mean() > 3


def test_a_place_between_others_has_a_say(codec: Nic2026, pixels: Tensor) -> None:
    """A patch of colour in a grey picture, where nine tiles would not have seen it."""
    grey = pixels.float().mean(dim=1, keepdim=True).expand_as(pixels).to(torch.uint8)
    large = torch.cat([torch.cat([grey] * 3, 2)] * 4, 3)
    large[:, :, 200:400, 292:572] = pixels[..., :280]
    strengths = [_without(codec, each, 40_000)[2].strengths for each in (pixels[..., :280], large)]
    np.testing.assert_allclose(strengths[1][1:3], strengths[0][1:3], atol=10)


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("effort", [0, 1])
def test_a_batch_has_the_strengths_of_each_picture(codec: Nic2026, pixels: Tensor, effort: int) -> None:
    both = torch.cat([pixels, pixels.flip(3)])
    payloads = codec.encode(both, [20_000, 40_000], effort)
    alone = [
        codec.encode(each[None], [level], effort)[0]
        for each, level in zip(both, (20_000, 40_000), strict=True)
    ]
    assert [each.parameters for each in payloads] == [each.parameters for each in alone]
    mixed = [_changed(codec.encode(pixels, [20_000])[0]), payloads[1]]
    together = codec.decode(mixed, 310, 200)
    for each, found in zip(mixed, together, strict=True):
        difference = codec.decode([each], 310, 200)[0].int() - found.int()
        assert difference.abs().max() <= 1
        assert difference.count_nonzero() < 0.001 * difference.numel()


@pytest.mark.usefixtures("in_float32")
def test_strips_are_adjusted_as_the_whole(
    codec: Nic2026, pixels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tall = torch.cat([pixels, pixels.flip(2), pixels], dim=2)[..., :64]
    (payload,) = codec.encode(tall, [30_000])
    strong = _changed(payload, 20, 50, 60, 100, -90)
    whole = codec.decode([strong], 64, 600)
    monkeypatch.setattr(strips, "STRIP_BLOCKS", 1)
    monkeypatch.setattr(strips, "HALOS", 1)
    difference = whole.int() - codec.decode([strong], 64, 600).int()
    assert difference.abs().max() <= 1
    assert difference.count_nonzero() < 0.001 * difference.numel()


def test_tuned_for_ssim_a_long_search_finds_them(photograph: Tensor) -> None:
    codec = default_codec("ssim")
    for effort in (0, 1):
        assert Parameters.of(codec.encode(photograph, [30_000], effort)[0]).strengths == ()
    with_them, plain, parameters = _without(codec, photograph, 30_000, effort=3)
    assert parameters.strengths
    assert parameters.directions
    original, *found = (each[0].permute(1, 2, 0).numpy() for each in (photograph, with_them, plain))
    better, worse = (1 - ms_ssim(original, each) for each in found)
    assert better < 0.995 * worse
    small = photograph[..., 100:260, 130:430]
    assert Parameters.of(codec.encode(small, [30_000], 3)[0]).strengths == ()


def test_through_files_they_are_in_the_parameters(pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    found = []
    for bits in (nic2026_adjustment.BITS, 1e9):
        monkeypatch.setattr(nic2026_adjustment, "BITS", bits)
        buffer = io.BytesIO()
        image.save(buffer, "NIC", quality=0.5, effort=0)
        found.append((len(buffer.getvalue()), psnr(np.asarray(image), np.asarray(Image.open(buffer)))))
    (size, better), (smaller, plain) = found
    assert size == smaller + 5
    assert better > plain
