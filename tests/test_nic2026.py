"""The default codec with its bundled weights, through real files."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import pillow_neural
from pillow_neural.benchmark.complexity import complexity
from pillow_neural.benchmark.metrics import ms_ssim
from pillow_neural.codecs.contract import Payload
from pillow_neural.codecs.loading import load_codec, weights_for_saving
from pillow_neural.codecs.nic2026 import Nic2026
from pillow_neural.container import read_index
from pillow_neural.entropy import DecodeError, SymbolEncoder
from pillow_neural.networks import integer, precision, strips
from pillow_neural.networks.masking import masking_weight, sensitivity
from pillow_neural.networks.phases import phase_mask
from pillow_neural.networks.transform_codec import NetworkShape, TransformCodec
from tests.codec_helpers import EXAMPLE, SymbolRecorder, as_batch


def _psnr(first: Image.Image, second: Image.Image) -> float:
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return float(10 * np.log10(255**2 / max(1e-9, np.mean(difference**2))))


def _saved(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "NIC", **options)
    return buffer.getvalue()


def test_readme_example(tmp_path: Path) -> None:
    path = tmp_path / "x.nic"
    Image.open(EXAMPLE).save(path, quality=0.25)
    opened = Image.open(path)
    assert opened.size == (768, 512)
    assert opened.format == "NIC"
    assert 0.1 < 8 * path.stat().st_size / (768 * 512) < 0.4
    assert _psnr(opened, Image.open(EXAMPLE)) > 30


def test_size_and_quality_rise_with_quality(photograph: Image.Image) -> None:
    files = [_saved(photograph, quality=q) for q in (0.05, 0.15, 0.5, 1.5, 2.0)]
    quality = [_psnr(Image.open(io.BytesIO(f)), photograph) for f in files]
    assert sorted(map(len, files)) == [len(f) for f in files]
    assert sorted(quality) == quality


@pytest.mark.parametrize("size", [(1, 1), (7, 1), (1, 7), (33, 17), (16, 64), (767, 511)])
def test_every_size_round_trips(photograph: Image.Image, size: tuple[int, int]) -> None:
    picture = photograph.crop((100, 100, 100 + size[0], 100 + size[1]))
    opened = Image.open(io.BytesIO(_saved(picture, quality=1.0)))
    assert opened.size == size
    assert _psnr(opened, picture) > 25


def test_twelve_megapixels_round_trip(photograph: Image.Image) -> None:
    picture = photograph.resize((4000, 3000), Image.Resampling.BICUBIC)
    opened = Image.open(io.BytesIO(_saved(picture, quality=0.05)))
    assert opened.size == (4000, 3000)
    assert _psnr(opened, picture) > 28


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_modes_keep_their_alpha_exactly(photograph: Image.Image, mode: str) -> None:
    picture = photograph.crop((200, 100, 300, 180)).convert(mode)
    if "A" in mode:
        picture.putalpha(photograph.crop((300, 200, 400, 280)).convert("L"))
    opened = Image.open(io.BytesIO(_saved(picture, quality=1.0)))
    assert opened.mode == mode
    if "A" in mode:
        assert opened.getchannel("A").tobytes() == picture.getchannel("A").tobytes()
    assert _psnr(opened.getchannel(0), picture.getchannel(0)) > 25


@pytest.mark.parametrize("target", [3000, 12_000, 40_000])
def test_target_size_is_used_and_never_exceeded(photograph: Image.Image, target: int) -> None:
    size = len(_saved(photograph, target_size=target))
    assert 0.97 * target <= size <= target


def test_same_symbols_with_any_threads_layout_and_batch(
    codec: Nic2026, photograph: Image.Image, one_thread: None
) -> None:
    pictures = torch.cat([as_batch(photograph.crop((x, 64, x + 192, 192))) for x in range(0, 512, 64)])
    levels = [8000 * (n + 1) for n in range(8)]
    payloads = codec.encode(pictures, levels)
    recorder = SymbolRecorder(codec)
    together = recorder.symbols(payloads, 192, 128)
    for number, payload in enumerate(payloads):
        alone = recorder.symbols([payload], 192, 128)
        assert all(np.array_equal(a[0], t[number]) for a, t in zip(alone, together, strict=True))
    torch.set_num_threads(2)
    two_threads = recorder.symbols(payloads, 192, 128)
    assert all(np.array_equal(a, b) for a, b in zip(two_threads, together, strict=True))
    for parameter in codec._network.parameters():
        parameter.data = parameter.data.contiguous()
    contiguous = recorder.symbols(payloads, 192, 128)
    assert all(np.array_equal(a, b) for a, b in zip(contiguous, together, strict=True))


@pytest.mark.parametrize("quality", [0.2, 1.2])
def test_a_file_opens_as_well_with_parts_in_bfloat16(
    photograph: Image.Image, monkeypatch: pytest.MonkeyPatch, quality: float
) -> None:
    picture = photograph.crop((300, 100, 500, 290))
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: False)
    file = _saved(picture, quality=quality)
    exact = Image.open(io.BytesIO(file)).convert("RGB")
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
    rounded = Image.open(io.BytesIO(file)).convert("RGB")
    assert rounded != exact
    assert _psnr(rounded, picture) > _psnr(exact, picture) - 0.01
    assert _psnr(rounded, exact) > 55


def test_what_is_decoded_is_what_was_encoded(codec: Nic2026, photograph: Image.Image) -> None:
    picture = as_batch(photograph.crop((0, 0, 200, 120)))
    sections = codec.symbols(picture, [30_000])[0]
    decoded = SymbolRecorder(codec).symbols(codec.encode(picture, [30_000]), 200, 120)
    with torch.inference_mode():
        assert np.array_equal(codec._chooser.prepare(picture, [30_000]).hyper, decoded[0])
    for phase, section in enumerate(sections[4:-1]):
        symbols = decoded[1] * phase_mask(phase, *decoded[1].shape[1:], torch.device("cpu")).numpy()
        assert section.symbols.min() == 0
        assert section.symbols.sum() == np.abs(symbols).sum()
    assert 0.3 < len(sections[-1].symbols) / np.count_nonzero(decoded[1]) < 0.7


def test_negative_magnitudes_are_refused(codec: Nic2026, photograph: Image.Image) -> None:
    picture = as_batch(photograph.crop((0, 0, 64, 64)))
    sections = codec.symbols(picture, [30_000])[0]
    sections[4] = sections[4]._replace(symbols=-sections[4].symbols)
    encoder = SymbolEncoder(codec._tables)
    for section in sections:
        encoder.encode(section.symbols, section.tables)
    parameters = codec.encode(picture, [30_000])[0].parameters
    with pytest.raises(DecodeError, match="negative"):
        codec.decode([Payload(parameters, (encoder.finish(),))], 64, 64)


def test_grey_and_colour_are_not_decoded_together(codec: Nic2026, photograph: Image.Image) -> None:
    colour = as_batch(photograph.crop((0, 0, 64, 64)))
    payloads = codec.encode(colour, [30_000]) + codec.encode(colour[:, :1], [30_000])
    assert [codec.decode([payload], 64, 64).shape[1] for payload in payloads] == [3, 1]
    with pytest.raises(DecodeError, match="in one batch"):
        codec.decode(payloads, 64, 64)


@pytest.mark.parametrize(
    "parameters", ["", "0000", "000002", "00000001", "0000010000000000aabb", "0000020000000000"]
)
def test_damaged_parameters(codec: Nic2026, photograph: Image.Image, parameters: str) -> None:
    payload = codec.encode(as_batch(photograph.crop((0, 0, 64, 64))), [30_000])[0]
    with pytest.raises(DecodeError, match=f"not the parameters {parameters}"):
        codec.decode([payload._replace(parameters=bytes.fromhex(parameters))], 64, 64)


def test_grey_needs_fewer_bytes_than_the_same_in_colour(codec: Nic2026, photograph: Image.Image) -> None:
    grey = torch.from_numpy(np.array(photograph.convert("L")))[None, None]
    alone = codec.encode(grey, [40_000])[0]
    repeated = codec.encode(grey.repeat(1, 3, 1, 1), [40_000])[0]
    assert len(alone.sections[0]) < len(repeated.sections[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_decodes_the_same_symbols(codec: Nic2026, photograph: Image.Image) -> None:
    other = load_codec(weights_for_saving("nic2026"), "cuda")
    payload = codec.encode(as_batch(photograph), [30_000])
    difference = codec.decode(payload, 768, 512).int() - other.decode(payload, 768, 512).int()
    assert difference.abs().max() <= 1


def test_flipped_bytes_never_give_pixels(photograph: Image.Image) -> None:
    contents = _saved(photograph.crop((0, 0, 64, 64)), quality=0.3)
    for position in range(len(contents)):
        damaged = bytearray(contents)
        damaged[position] ^= 0x10
        with pytest.raises(OSError):  # noqa: PT011 (UnidentifiedImageError is one too)
            Image.open(io.BytesIO(damaged)).load()


@pytest.mark.parametrize(
    "payload",
    [
        Payload(b"\x00", (b"",)),
        Payload(b"\x40\x00", ()),
        Payload(b"\x40\x00", (b"", b"")),
        Payload(b"\x40\x00", (bytes(range(256)) * 8,)),
    ],
)
def test_streams_that_no_encoder_wrote_are_refused(codec: Nic2026, payload: Payload) -> None:
    with pytest.raises(DecodeError):
        codec.decode([payload], 64, 64)


def test_decoder_stays_below_sixty_thousand_multiplications_a_pixel(photograph: Image.Image) -> None:
    counted = complexity("nic2026", photograph)
    assert counted.encode > 1000
    assert 1000 < counted.decode < 60_000


def test_products_of_bytes_are_counted(photograph: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = complexity("nic2026", photograph)
    monkeypatch.setattr(integer, "multiplies_bytes", lambda: False)
    assert complexity("nic2026", photograph).decode == usual.decode


def test_header_is_read_without_torch(tmp_path: Path, photograph: Image.Image) -> None:
    path = tmp_path / "x.nic"
    photograph.save(path, quality=0.3)
    program = (
        "import sys, pillow_neural; from PIL import Image; "
        f"i = Image.open({str(path)!r}); assert i.size == (768, 512); "
        "assert not {'torch', 'numpy', 'imageio', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ)


def test_package_has_a_version() -> None:
    assert pillow_neural.__version__


@pytest.mark.parametrize(("transform", "stage"), [("analysis", 0), ("analysis", 5), ("synthesis", 0)])
def test_strips_are_what_the_whole_is(transform: str, stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_BLOCKS", 1)
    monkeypatch.setattr(strips, "HALOS", 1)
    shape = NetworkShape(latents=16, features=12, hyper=4, mean_features=8, mean_hidden=8, knots=2)
    shape = replace(shape, analysis_pixel_features=stage, analysis_pixel_layers=5)
    torch.manual_seed(3)
    network = getattr(TransformCodec(shape), transform)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    rate = torch.tensor([0.3, 0.8])
    step = torch.rand(2, 16, 1, 1)
    strides = (16, 1) if transform == "analysis" else (1, 16)
    whole = torch.randn(2, *((3, 13 * 16, 32) if transform == "analysis" else (16, 13, 2)))
    calls = []

    def apply(part: Tensor) -> Tensor:
        calls.append(part.shape[2])
        given = (part, rate) if transform == "analysis" else (part, step, rate)
        result: Tensor = network(*given)
        return result

    with torch.no_grad():
        expected = apply(whole)
        found = strips.in_strips(apply, whole, *strides, network.halo)
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))
        assert max(calls[1:]) < calls[0]
        narrower = strips.in_strips(apply, whole, *strides, network.halo - 1)
        assert not torch.allclose(narrower, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_tuned_for_ssim_files_of_one_size_are_better_in_it_and_worse_in_psnr(photograph: Image.Image) -> None:
    found = {}
    for tune in ("psnr", "ssim"):
        data = _saved(photograph, target_size=16_000, tune=tune)
        index = read_index(io.BytesIO(data))
        assert index.header.weights == weights_for_saving("nic2026", tune).id
        opened = Image.open(io.BytesIO(data)).convert("RGB")
        found[tune] = ms_ssim(np.asarray(photograph), np.asarray(opened)), _psnr(photograph, opened)
    assert found["ssim"][0] > found["psnr"][0]
    assert found["ssim"][1] < found["psnr"][1]
    assert _saved(photograph, quality=0.1) == _saved(photograph, quality=0.1, tune="psnr")


def test_with_masking_errors_move_to_where_the_picture_is_busy(
    codec: Nic2026, photograph: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = as_batch(photograph)
    level = codec.level_of_quality(0.5)

    def errors(masking: bool) -> Tensor:
        shape = replace(codec._network.shape, masking=masking)
        monkeypatch.setattr(codec._network, "shape", shape)
        monkeypatch.setattr(strips, "STRIP_BLOCKS", 100)
        decoded = codec.decode(codec.encode(picture, [level]), 768, 512)
        return torch.nn.functional.avg_pool2d((decoded.float() - picture).square(), 16).mean(dim=1).flatten()

    order = sensitivity(picture / 255).flatten().argsort()
    plain, masked = errors(masking=False)[order], errors(masking=True)[order]
    third = len(order) // 3
    assert masked[:third].mean() > 1.02 * plain[:third].mean()
    assert masked[-third:].mean() < plain[-third:].mean()


def test_masking_weights_are_one_on_average_and_bounded() -> None:
    weights = masking_weight(sensitivity(torch.rand(2, 3, 64, 32) * torch.linspace(0, 1, 32) ** 2))
    assert weights.shape == (2, 1, 4, 2)
    assert torch.allclose(weights.log().mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5)
    assert (weights[..., 0] > weights[..., 1]).all()
    extreme = masking_weight(torch.logspace(0, 9, 10)[None, None, None])
    assert (extreme.min().item(), extreme.max().item()) == pytest.approx((0.1, 10))
