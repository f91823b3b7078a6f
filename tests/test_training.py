"""Training: data, closed-form starts, the loop, and the way from a checkpoint to a codec."""

from __future__ import annotations

import io
import math
import tarfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

import pillow_neural  # noqa: F401 - registers the format
from pillow_neural.codecs import nic2026
from pillow_neural.codecs.loading import weights_for_saving
from pillow_neural.networks import ms_ssim as ms_ssim_module
from pillow_neural.networks.adaptive_filter import AdaptiveFilter
from pillow_neural.networks.ms_ssim import ms_ssim
from pillow_neural.networks.prior_training import estimate
from pillow_neural.networks.transform_codec import (
    MEANS_SIDE,
    MEANS_VALUE,
    SIMILARITY_UNIT,
    TransformCodec,
    mixed_distortion,
)
from pillow_neural.training import data, direction_fit, export, filter_fit, loop
from pillow_neural.training.clipping import CLIP_FACTOR, GradientClipper
from pillow_neural.training.data import (
    CropSampler,
    Picture,
    is_validation,
    load_pictures,
    prefetch,
    subsampled,
)
from pillow_neural.training.direction_fit import DirectionSize
from pillow_neural.training.filter_fit import FilterSize
from pillow_neural.training.klt import klt, linear_predictors, neighbourhood_moments
from pillow_neural.training.loop import LoopOptions, Trainer, schedule
from pillow_neural.training.loop import train as train_codec
from pillow_neural.training.recipe import Recipe, StepResult, find_recipe
from pillow_neural.training.recipes import nic2026 as recipe_module
from pillow_neural.training.recipes import nic2026_weights
from pillow_neural.training.tables import count, gaussian_prior, tables_of
from pillow_neural.training.widening import grow
from pillow_neural.weights import locate
from pillow_neural.weights.manifest import MANIFEST
from tests.codec_helpers import train
from tests.test_networks import SMALL

RECIPE: Recipe = replace(
    recipe_module.RECIPE,
    build=lambda: TransformCodec(replace(SMALL, latents=64, pixel_features=6)),
    crop=64,
    batch=2,
)


def _noise(seed: int, height: int, width: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def sampler() -> CropSampler:
    return CropSampler([Picture(str(n), _noise(n, 320, 400)) for n in range(4)], 256, seed=0)


@pytest.fixture
def small_sampler(monkeypatch: pytest.MonkeyPatch) -> CropSampler:
    monkeypatch.setattr(recipe_module, "KLT_CROPS", 40)
    monkeypatch.setattr(recipe_module, "PREDICTION_CROPS", 8)
    return CropSampler([Picture(str(n), _noise(n, 320, 400)) for n in range(4)], 256, seed=0)


def test_pictures_come_from_tars_and_folders_split_by_name(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(60)]
    buffer = io.BytesIO()
    Image.fromarray(_noise(0, 64, 64)).save(buffer, "PNG")
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for name in names[:30]:
            member = tarfile.TarInfo(name)
            member.size = len(buffer.getvalue())
            archive.addfile(member, io.BytesIO(buffer.getvalue()))
    for name in names[30:]:
        (tmp_path / name).write_bytes(buffer.getvalue())
    (tmp_path / "notes.txt").write_text("not a picture")
    training = {p.name for p in load_pictures([tmp_path], validation=False, smallest_side=32)}
    held_out = {p.name for p in load_pictures([tmp_path], validation=True, smallest_side=32)}
    assert training | held_out == set(names)
    assert not training & held_out
    assert held_out == {name for name in names if is_validation(name)} != set()
    with pytest.raises(ValueError, match="no pictures"):
        load_pictures([tmp_path], validation=False, smallest_side=1000)


def test_crops_are_seeded_and_of_the_right_shape() -> None:
    pictures = [Picture("a", _noise(1, 128, 160))]
    first, again = (CropSampler(pictures, 64, seed=3).batch(5) for _ in range(2))
    assert first.shape == (5, 3, 64, 64)
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)


def test_the_thread_that_prepares_batches_ends_with_them(sampler: CropSampler) -> None:
    running = threading.active_count()
    batches = prefetch(sampler, 2)
    assert next(batches).shape[0] == 2
    assert threading.active_count() == running + 1
    batches.close()
    assert threading.active_count() == running


def test_half_of_the_crops_lose_colour_and_keep_their_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SUBSAMPLED_SHARE", 0)
    red, green, blue = np.full((3, 80, 80), 100) + np.array([90, 0, -60])[:, None, None]
    pixels = np.stack([red, green, blue], axis=2).astype(np.uint8)
    crops = CropSampler([Picture("a", pixels)], 64, seed=3).batch(60)[:, :, 0, 0].float()
    spread = crops.amax(dim=1) - crops.amin(dim=1)
    assert 15 <= (spread < 145).sum() <= 45
    assert 30 <= spread.min() < 80
    assert (crops.mean(dim=1) - 110).abs().max() <= 1


def test_half_of_the_crops_have_colours_at_half_the_resolution() -> None:
    columns = np.arange(80) % 2 == 0
    striped = np.where(columns[:, None], [150, 100, 100], [100, 125, 100]).astype(np.uint8)
    pixels = np.broadcast_to(striped, (80, 80, 3))
    crops = CropSampler([Picture("a", pixels)], 64, seed=3).batch(60).float()
    luma = (crops * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1)
    red = (crops[:, 0] - luma).flatten(1)
    flat = red.std(dim=1) < 1.5
    assert 15 <= flat.sum() <= 45
    assert red[~flat].std(dim=1).max() > 8


def test_subsampled_colours_keep_luma_and_their_mean() -> None:
    pixels = np.random.default_rng(4).integers(60, 190, (33, 40, 3), dtype=np.uint8)
    smooth = subsampled(pixels)
    first, second = (np.asarray(Image.fromarray(p).convert("YCbCr")).astype(float) for p in (pixels, smooth))
    assert np.abs(first - second)[:, :, 0].max() <= 1
    assert np.abs((first - second).mean(axis=(0, 1))).max() < 1
    assert second[:, :, 1:].std() < 0.6 * first[:, :, 1:].std()


def test_klt_compacts_energy() -> None:
    torch.manual_seed(0)
    mixing = torch.randn(4, 768)
    blocks = torch.randn(2000, 4) @ mixing + 0.01 * torch.randn(2000, 768)
    vectors, spread = klt(blocks, 4)
    residual = blocks - blocks @ vectors.T @ vectors
    assert residual.square().mean() < 1e-3 * blocks.square().mean()
    assert torch.allclose(vectors @ vectors.T, torch.eye(4), atol=1e-4)
    assert (spread[:-1] >= spread[1:]).all()


def test_linear_prediction_explains_smooth_latents() -> None:
    smooth = torch.nn.functional.avg_pool2d(torch.randn(8, 8, 34, 34), 3, stride=1)
    moments = neighbourhood_moments(smooth)
    weights = linear_predictors(moments, torch.full((8,), 1e-3), phase=3)
    assert weights.shape == (8, 8, 3, 3)
    predicted = torch.nn.functional.conv2d(smooth, weights[:2], padding=1)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    target = smooth[:, [0, 4]]
    error = (predicted - target)[inner].square().mean() / target[inner].square().mean()
    assert error < 0.5


def test_schedule_holds_then_falls_to_one_percent() -> None:
    assert schedule(0.0) == schedule(0.1) == 1.0
    assert schedule(0.8) < schedule(0.6) < 1.0
    assert schedule(1.0) == pytest.approx(0.01)


def test_training_resumes_where_it_stopped(tmp_path: Path, small_sampler: CropSampler) -> None:
    options = LoopOptions(0.05, tmp_path, 0, 2, 1e-3, resume=False, device=torch.device("cpu"))
    first = train_codec(RECIPE, small_sampler, options)
    assert first.steps > 0
    again = train_codec(RECIPE, small_sampler, replace(options, resume=True))
    assert again.steps > first.steps
    assert again.pixels > first.pixels
    assert (tmp_path / "checkpoint.pt").exists()


def _toy_recipe(loss: Callable[[Tensor, Tensor], Tensor]) -> Recipe:
    """A network of one number, `loss` of which is lowered."""

    def step(network: nn.Module, batch: Tensor, random: torch.Generator) -> StepResult:
        return StepResult(loss(network.get_parameter("weight"), batch), torch.zeros(()), torch.zeros(()))

    return replace(
        RECIPE, build=lambda: nn.Linear(1, 1, bias=False), initialise=lambda network, sampler: None, step=step
    )


def test_gradients_far_larger_than_usual_are_not_followed(tmp_path: Path) -> None:
    options = LoopOptions(1, tmp_path, 0, 1, 1e-3, resume=False, device=torch.device("cpu"))
    recipe = _toy_recipe(lambda weight, batch: (weight * batch.float().mean()).sum())
    trainer = Trainer(recipe, recipe.build(), options)
    random = torch.Generator()

    def moved(gradient: int) -> bool:
        before = trainer.network.get_parameter("weight").item()
        norm = trainer.update(torch.full((1, 3, 8, 8), gradient, dtype=torch.uint8), random, 0.0)[-1]
        assert norm == pytest.approx(gradient, rel=0.01)
        return trainer.network.get_parameter("weight").item() != before

    assert all(moved(gradient) for gradient in (2, 3, 2, 2, 15))
    assert not moved(200)
    assert moved(2)
    assert any(moved(200) for _ in range(150)), "what has become usual must be followed"


def test_gains_learn_faster_and_linear_transforms_slower_than_the_rest(tmp_path: Path) -> None:
    options = LoopOptions(1, tmp_path, 0, 1, 1e-3, resume=False, device=torch.device("cpu"))
    network = RECIPE.build()
    trainer = Trainer(RECIPE, network, options)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    factors = {
        names[id(parameter)]: group["factor"]
        for group in trainer.optimiser.param_groups
        for parameter in group["params"]
    }
    assert len(factors) == len(names)
    assert factors["gains.log_gains"] == factors["prior.hyper_gains.log_gains"] == 5
    assert factors["synthesis.linear.weight"] == 0.1
    assert factors["synthesis.head.weight"] == factors["synthesis.blocks.0.strength.log_gains"] == 1


def test_tuned_for_ssim_the_network_sees_contrast_companded_and_gives_it_back() -> None:
    network = find_recipe("nic2026", tune="ssim").build()
    assert isinstance(network, TransformCodec)
    noise = torch.tensor(_noise(1, 192, 192)).permute(2, 0, 1)[None].float() / 255 - 0.5
    pixels = 0.5 + noise * torch.where(torch.arange(192) < 96, 0.1, 1.0)
    seen = network.seen(pixels)
    quiet, busy = (
        (seen[part].std() / pixels[part].std()).item() for part in (np.s_[..., :80], np.s_[..., 112:])
    )
    assert quiet > 1.3 * busy
    assert torch.allclose(network.finish(seen, torch.tensor([0.5])), pixels, atol=0.02)
    plain = RECIPE.build()
    assert isinstance(plain, TransformCodec)
    assert torch.equal(plain.seen(pixels), pixels)


def test_a_loss_that_diverges_goes_back_to_the_averages_from_before_it_rose(
    tmp_path: Path, small_sampler: CropSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOG_SECONDS", -1)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    values = iter([1.0, 1.1, 0.9, 1.2, 1.3, 5.0])
    losses: list[float] = []

    def loss(weight: Tensor, batch: Tensor) -> Tensor:
        losses.append(next(values, 1.0))
        return weight.sum() * 0 + losses[-1]

    retreat = Trainer.retreat

    def watched(trainer: Trainer) -> None:
        retreat(trainer)
        weights = trainer.network.state_dict()
        assert all(torch.equal(weights[name], average) for name, average in trainer.average.items())
        assert not trainer.optimiser.state

    monkeypatch.setattr(Trainer, "retreat", watched)
    options = LoopOptions(0.02, tmp_path, 0, 1, 1e-3, resume=False, device=torch.device("cpu"))
    trainer = train_codec(_toy_recipe(loss), small_sampler, options)
    assert len(losses) > 6
    assert trainer.caution == 0.5
    assert trainer.first_step == 4, "nothing is saved while the loss is high"
    assert trainer.steps == len(losses) - 2


def test_training_continues_from_listed_weights(tmp_path: Path) -> None:
    entry = weights_for_saving("nic2026")
    options = LoopOptions(1, tmp_path, 0, 1, 1e-3, resume=False, device=torch.device("cpu"), weights=entry)
    trainer = Trainer(recipe_module.RECIPE, recipe_module.build(), options)
    trainer.start_from(entry)
    assert entry.training is not None
    assert (trainer.steps, trainer.seconds) == (entry.training.steps, 60 * entry.training.minutes)
    stored = load_file(locate(entry))
    head = trainer.network.get_parameter("synthesis.head.weight").half()
    assert torch.equal(head, stored["synthesis.head.weight"])
    assert torch.equal(trainer.average["synthesis.head.weight"].half(), head)

    trainer.checkpoint()
    again = Trainer(recipe_module.RECIPE, recipe_module.build(), options)
    again.resume()
    for network in (trainer.network, again.network):
        assert isinstance(network, TransformCodec)
        assert network.post_filter is not None
        assert torch.equal(network.post_filter.kernels.half(), stored["filter.kernels"])


@pytest.mark.parametrize("coded_share", [0.0, 1.0])
def test_training_lowers_the_loss(
    small_sampler: CropSampler, monkeypatch: pytest.MonkeyPatch, coded_share: float
) -> None:
    monkeypatch.setattr(recipe_module, "CODED_SHARE", coded_share)
    torch.manual_seed(0)
    network = RECIPE.build()
    RECIPE.initialise(network, small_sampler)
    batch = small_sampler.batch(2)
    losses, _ = train(RECIPE.step, network, batch, learning_rate=1e-3, count=25, seed=0)
    assert np.mean(losses[-5:]) < 0.95 * losses[0]


def test_tuned_for_ssim_structure_counts_where_contrast_is_low_and_means_count_everywhere() -> None:
    random = torch.Generator().manual_seed(0)
    texture = torch.rand(1, 3, 192, 192, generator=random) - 0.5
    noise = 0.03 * (torch.rand(1, 3, 192, 192, generator=random) - 0.5)
    quiet, busy = (
        mixed_distortion(pixels + noise, pixels).item() for pixels in (0.5 + 0.03 * texture, 0.5 + texture)
    )
    assert quiet > 20 * busy > 0
    pixels = 0.5 + texture
    brighter = mixed_distortion(pixels + 0.1, pixels).item()
    assert brighter > MEANS_VALUE * 0.1**2
    structured = (1 - ms_ssim(pixels + 0.1, pixels).item()) / SIMILARITY_UNIT
    assert brighter == pytest.approx(structured + MEANS_VALUE * 0.1**2, rel=1e-3)
    small = pixels[..., :100]
    assert mixed_distortion(small + 0.1, small).item() == pytest.approx(0.1**2, rel=1e-3)


def test_of_halved_pictures_coarser_scales_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(2)
    first, second = torch.rand(2, 1, 3, 161, 190, generator=generator)
    monkeypatch.setattr(ms_ssim_module, "SCALE_WEIGHTS", (0.0, *ms_ssim_module.SCALE_WEIGHTS[1:]))
    half, other = (F.avg_pool2d(F.pad(each, (0, 0, 0, 1), "replicate"), 2) for each in (first, second))
    found = ms_ssim(half, other, halvings=1)
    assert found.item() < 0.9
    torch.testing.assert_close(found, ms_ssim(first, second))
    with pytest.raises(ValueError, match="needs 81 pixels a side"):
        ms_ssim(half[:, :, :80], other[:, :, :80], halvings=1)
    means = MEANS_VALUE * F.avg_pool2d(half - other, MEANS_SIDE // 2).square().mean()
    mixed = mixed_distortion(half, other, halvings=1)
    torch.testing.assert_close(mixed, (1 - found) / SIMILARITY_UNIT + means)


@pytest.mark.parametrize("masking", [False, True])
def test_training_for_squared_errors_has_some_of_structure(masking: bool) -> None:
    network = TransformCodec(replace(SMALL, masking=masking))
    pixels = torch.rand(2, 3, 161, 170, generator=torch.Generator().manual_seed(3))
    found = recipe_module.training_distortion(network, pixels + 0.1, pixels)
    structured = (1 - ms_ssim(pixels + 0.1, pixels)) / SIMILARITY_UNIT
    expected = mixed_distortion(pixels + 0.1, pixels) if masking else 0.95 * 0.1**2 + 0.05 * structured
    torch.testing.assert_close(found, expected)
    small = pixels[..., :100]
    torch.testing.assert_close(
        recipe_module.training_distortion(network, small + 0.1, small), torch.full((2,), 0.1**2)
    )


def test_a_recipe_knows_what_it_can_be_tuned_for() -> None:
    with pytest.raises(ValueError, match="cannot be tuned for 'vmaf'; there is ssim"):
        find_recipe("nic2026", tune="vmaf")
    with pytest.raises(ValueError, match="cannot be tuned for 'ssim'; there is none"):
        find_recipe("li2018", tune="ssim")
    with pytest.raises(ValueError, match="no settings"):
        find_recipe("nic2026", ["priming=1"], tune="ssim")


def test_latents_have_the_gradient_of_what_is_decoded_as_far_as_it_follows_and_none_of_the_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(5)
    model = TransformCodec(replace(SMALL, latents=64)).prior
    latents = torch.randn(1, 64, 8, 8).mul_(1.5).requires_grad_()
    monkeypatch.setattr(model, "hyper_latents", lambda latents, rate: torch.zeros(1, SMALL.hyper, 2, 2))
    weight, importance = torch.full((1, 64, 1, 1), 3.0), torch.randn(1, 64, 8, 8)
    unit, rate = torch.ones(1, 64, 1, 1), torch.tensor([0.5])
    decoded, bits, followed, change = estimate(model, latents, unit, rate, weight)
    assert 0.1 < (decoded.abs() < 0.5).float().mean() < 0.9
    (gradient,) = torch.autograd.grad((importance * decoded).sum(), latents, retain_graph=True)
    torch.testing.assert_close(gradient, importance * followed)
    assert followed.min() < 0.1
    assert followed.max() > 0.9
    assert change.abs().unique().tolist() == [1]
    (of_bits,) = torch.autograd.grad(bits.sum(), latents, allow_unused=True)
    assert of_bits is None or not of_bits.any()


def test_tables_follow_what_was_counted() -> None:
    priors = gaussian_prior()[:2]
    lengths = [len(p) for p in priors]
    symbols = np.array([0, 1, 1, 1, 99] * 1000, dtype=np.int32)
    tables = np.zeros(len(symbols), dtype=np.int32)
    counts = count([(symbols, tables)], lengths)
    assert counts[0].sum() == len(symbols)
    assert counts[0][-1] == 1000
    fitted = tables_of(priors, counts)
    middle = lengths[0] // 2 - 1
    assert fitted.table(0)[middle + 1] > fitted.table(0)[middle]
    assert fitted.table(1).tolist() == tables_of(priors).table(1).tolist()


def _few_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    """For filter and directions."""
    monkeypatch.setattr(nic2026_weights, "FILTER", FilterSize(knots=2, batches=1))
    monkeypatch.setattr(filter_fit, "BATCH", 2)
    monkeypatch.setattr(filter_fit, "CROP", 128)
    monkeypatch.setattr(nic2026_weights, "DIRECTIONS", DirectionSize(3, 2, 1, 4))
    monkeypatch.setattr(direction_fit, "CROP", 64)
    monkeypatch.setattr(direction_fit, "CODED_CROP", 96)


def test_checkpoint_becomes_a_codec(
    tmp_path: Path, small_sampler: CropSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nic2026_weights, "STATISTICS_BATCHES", 2)
    _few_crops(monkeypatch)
    monkeypatch.setattr(nic2026_weights, "CALIBRATION_POINTS", 3)
    network = RECIPE.build()
    RECIPE.initialise(network, small_sampler)
    packed = RECIPE.pack(network, small_sampler, [_noise(9, 96, 128)])
    assert 0 < int(packed.metadata["largest_integer_sum"]) < 2**24
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save(packed.tensors, packed.metadata))
    codec = nic2026.load(path, "cpu")
    post_filter = codec._network.post_filter
    assert post_filter is not None
    assert post_filter.kernels.shape[0] == 2
    assert post_filter.kernels.ne(0).any()
    directions = codec._network.directions
    assert directions is not None
    assert directions.kernels.shape[0] == len(directions.scales) == 3
    assert directions.shares.shape == directions.more.shape == (8,)
    picture = torch.from_numpy(_noise(5, 50, 70).copy()).permute(2, 0, 1)[None]
    low, high = codec.encode(picture, [10_000])[0], codec.encode(picture, [60_000])[0]
    assert len(low.sections[0]) < len(high.sections[0])
    errors = [
        (codec.decode([p], 70, 50).float() - picture.float()).square().mean().item() for p in (low, high)
    ]
    assert errors[1] < errors[0]


def test_the_filter_that_a_pixel_stage_was_trained_with_stays(
    small_sampler: CropSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nic2026_weights, "STATISTICS_BATCHES", 1)
    monkeypatch.setattr(nic2026_weights, "CALIBRATION_POINTS", 2)
    _few_crops(monkeypatch)
    network = RECIPE.build()
    RECIPE.initialise(network, small_sampler)
    post_filter = AdaptiveFilter(torch.rand(3, 8, 20).half().float(), torch.zeros(3, 0), torch.zeros(3, 0))
    assert RECIPE.use_filter is not None
    RECIPE.use_filter(network, post_filter)
    packed = RECIPE.pack(network, small_sampler, [_noise(9, 96, 128)])
    assert torch.equal(packed.tensors["filter.kernels"].float(), post_filter.kernels)


@torch.no_grad()
@pytest.mark.usefixtures("in_float32")
def test_a_grown_network_starts_as_the_one_that_was_trained() -> None:
    small = replace(SMALL, pixel_features=6, pixel_layers=1)
    more = {"analysis_blocks": 2, "synthesis_blocks": 3, "analysis_pixel_features": 5}
    trained = TransformCodec(small)
    grown = TransformCodec(replace(small, pixel_features=9, pixel_layers=3, **more))
    assert trained.pixel_stage is not None
    assert grown.pixel_stage is not None
    for tail in (trained.pixel_stage.tail, trained.analysis.tail, trained.synthesis.tail):
        torch.nn.init.normal_(tail.weight)
    grown.load_state_dict(dict(grow(grown, trained.state_dict())))
    pixels, rate = torch.rand(1, 3, 64, 64), torch.tensor([0.4])
    latents = trained.latents(pixels, rate)
    torch.testing.assert_close(grown.latents(pixels, rate), latents)
    expected = trained.pixel_stage(trained.reconstruct(latents, rate), rate)
    assert not torch.allclose(expected, trained.reconstruct(latents, rate), atol=0.01)
    torch.testing.assert_close(grown.pixel_stage(grown.reconstruct(latents, rate), rate), expected)


def test_pictures_are_saved_and_opened_with_weights_of_ones_own(
    tmp_path: Path, small_sampler: CropSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nic2026_weights, "STATISTICS_BATCHES", 1)
    _few_crops(monkeypatch)
    monkeypatch.setattr(nic2026_weights, "CALIBRATION_POINTS", 2)
    monkeypatch.setattr(export, "CALIBRATION_SIDE", 64)
    monkeypatch.setattr(export, "load_pictures", lambda *_: [Picture("a", _noise(9, 96, 128))])
    options = LoopOptions(1, tmp_path, 0, 1, 1e-3, resume=False, device=torch.device("cpu"))
    network = RECIPE.build()
    RECIPE.initialise(network, small_sampler)
    trainer = Trainer(RECIPE, network, options)
    trainer.steps, trainer.seconds, trainer.pixels = 1, 60.0, 1_000_000
    trainer.checkpoint()
    folder = tmp_path / "own"
    to = export.Destination(folder, folder / MANIFEST.name)
    written = export.export("nic2026", RECIPE, tmp_path, [], to)
    assert written.parent == folder

    monkeypatch.setenv("PILLOW_NEURAL_WEIGHTS", str(folder))
    assert locate(weights_for_saving("nic2026")) == written
    Image.fromarray(_noise(3, 40, 50)).save(tmp_path / "x.nic")
    Image.open(tmp_path / "x.nic").load()
    monkeypatch.delenv("PILLOW_NEURAL_WEIGHTS")
    with pytest.raises(OSError, match="does not know"):
        Image.open(tmp_path / "x.nic").load()
    monkeypatch.setenv("PILLOW_NEURAL_WEIGHTS", str(folder))
    (folder / MANIFEST.name).write_text("nonsense")
    with pytest.raises(OSError, match=r"own/weights_manifest\.toml, in the folder .* is not TOML"):
        Image.open(tmp_path / "x.nic").load()


def test_manifest_entry_is_readable_toml() -> None:
    import tomllib

    entry = export.manifest_entry("nic2026", "a.safetensors", b"abc", {"training_steps": "7"})
    table = tomllib.loads(entry)["weights"][0]
    assert "tune" not in table
    assert table["size"] == 3
    assert table["sha256"].startswith("ba7816bf")
    assert table["training_steps"] == 7
    tuned = tomllib.loads(export.manifest_entry("nic2026", "a", b"abc", {}, "ssim"))["weights"][0]
    assert (tuned["tune"], tuned["repository"]) == ("ssim", "pillow-neural/nic2026-ssim")


def test_an_outlier_is_limited_for_its_own_parameter_alone() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(4)) for _ in range(3)]
    clipper = GradientClipper(parameters)

    def clipped(*norms: float | None) -> list[float]:
        for parameter, norm in zip(parameters, norms, strict=True):
            parameter.grad = None if norm is None else torch.full((4,), norm / 2)
        clipper.clip()
        return [0.0 if p.grad is None else p.grad.norm().item() for p in parameters]

    assert clipped(1.0, 100.0, 0.0) == [1.0, 100.0, 0.0]
    assert clipped(50.0, 100.0, 3.0) == pytest.approx([CLIP_FACTOR, 100.0, 3.0])
    assert clipped(1.0, None, 3.0) == [1.0, 0.0, 3.0]
    assert clipped(1.0, 150.0, 3.0) == [1.0, 150.0, 3.0]
    parameters[0].grad = torch.full((4,), torch.nan)
    assert not math.isfinite(clipper.clip())
    assert clipped(1.0, 100.0, 3.0) == [1.0, 100.0, 3.0]
