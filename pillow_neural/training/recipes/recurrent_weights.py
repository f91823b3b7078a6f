"""Weights file of a recurrent codec: targets, context network, tables, calibration, filter, in this order.

Each stage uses what is stored of the ones before it: floats rounded, integers frozen. The context
network is trained on the bits of CONTEXT_CROPS crops, coded as pictures are: with the sign for a binarizer
and at all rate levels, with a fixed number of iterations and, where the codec has spatially adaptive bit
rates, for half of the crops with those. The bits of a linear path do not change in training, so there the
context has been trained before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from pillow_neural.codecs.bit_planes import bit_symbols
from pillow_neural.codecs.contract import RATE_LEVELS
from pillow_neural.codecs.iteration_map import map_symbols, table_count
from pillow_neural.codecs.recurrent import NEVER_ENOUGH, Calibration, CodecNetwork, Planes, RecurrentCodec
from pillow_neural.entropy.tables import FrequencyTables
from pillow_neural.networks.bit_context import INDICES, BitContext
from pillow_neural.networks.packing import pack, unpack
from pillow_neural.networks.recurrent_codec import RecurrentNetwork
from pillow_neural.training.bit_counts import count_bits
from pillow_neural.training.calibration import bits_per_pixel, mean_rates, photographs, rising
from pillow_neural.training.context import fit, prove_exact, sign_priors
from pillow_neural.training.data import CropSampler, Pixels
from pillow_neural.training.filter_fit import COARSE, fit_filter
from pillow_neural.training.recipe import Packed
from pillow_neural.training.tables import Counts, count, pack_tables, tables_of

SEED = 1608
EIGHT_BITS = ("stack.units",)
CONTEXT_CROP = 128
CONTEXT_CROPS = 640
POOL_BATCH = 16
CONTEXT_STEPS = 6000
CONTEXT_BATCH = 16
CONTEXT_LEARNING_RATE = 2e-3
TARGET_QUANTILES = (0.98, 0.02)
CALIBRATION_POINTS = 9
CALIBRATION_PICTURES = 10
LAPLACE_SCALE = 0.7


def pack_recurrent_codec(network: nn.Module, sampler: CropSampler, held_out: Sequence[Pixels]) -> Packed:
    """Everything `pillow_neural.codecs.recurrent.load` needs, measured on the weights as they are stored."""
    assert isinstance(network, CodecNetwork)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stored = CodecNetwork(network.shape).to(device).eval()
    unpack(stored.loop, pack(network.loop, EIGHT_BITS))
    calibration, pool = coded_crops(stored, sampler.with_crop(CONTEXT_CROP, SEED))
    if stored.loop.path is None:
        train_context(stored.context, pool)
    else:
        stored.context.load_state_dict(network.context.state_dict())
    largest = prove_exact(stored.context)
    tensors = pack(stored, EIGHT_BITS)
    unpack(stored, tensors)
    tables = tables_of(priors(network.shape.iterations), counted(stored.context, pool))
    calibration = calibrate(stored, tables, calibration, held_out[:CALIBRATION_PICTURES])
    tensors |= {
        **pack_tables(tables),
        **fit_filter(partial(knots, stored.loop), sampler, COARSE).tensors(),
        "calibration.targets": torch.tensor(calibration.targets),
        "calibration.levels": torch.tensor(calibration.levels, dtype=torch.int32),
        "calibration.bits_per_pixel": torch.tensor(calibration.bits_per_pixel),
        "calibration.fixed_bits_per_pixel": torch.tensor(calibration.fixed_bits_per_pixel),
    }
    return Packed.of(network.shape, largest, tensors)


def knots(loop: RecurrentNetwork, pixels: Tensor) -> Iterator[Tensor]:
    """Reconstructions of crops after evenly spaced numbers of iterations, for the filter."""
    last = loop.shape.iterations - 1
    wanted = [round(number * last / (COARSE.knots - 1)) for number in range(COARSE.knots)]
    never = pixels.new_full((len(pixels),), NEVER_ENOUGH)
    for number, iteration in enumerate(loop(pixels.to(_device(loop)), never)):
        for _ in range(wanted.count(number)):
            yield iteration.picture.cpu()


def learn_path_bits(network: CodecNetwork, sampler: CropSampler) -> None:
    """Count bits and train the context of a network with a linear path: its files will have the same bits."""
    assert network.loop.path is not None
    _, pool = coded_crops(deepcopy(network), sampler.with_crop(CONTEXT_CROP, SEED))
    count_bits(network.context, network.loop.path.component, *merged(pool))
    train_context(network.context, pool)


@torch.no_grad()
def target_range(loop: RecurrentNetwork, crops: Tensor) -> tuple[float, float]:
    """Distortions that nearly all blocks reach with their first bits, and only few with their last."""
    pixels = crops.to(_device(loop)).float() / 255
    never = pixels.new_full((len(pixels),), NEVER_ENOUGH)
    pictures = [iteration.picture for iteration in loop.encode(pixels, never)]
    ends = zip((pictures[0], pictures[-1]), TARGET_QUANTILES, strict=True)
    first, last = (loop.distortion(pixels, picture).quantile(share).item() for picture, share in ends)
    return first, min(last, first / 2)


def coded_crops(network: CodecNetwork, crops: CropSampler) -> tuple[Calibration, list[Planes]]:
    """Targets, and bits and maps of CONTEXT_CROPS crops at random levels, in batches."""
    calibration = Calibration(target_range(network.loop, crops.batch(POOL_BATCH)), [], [], [])
    fixed = RecurrentCodec(
        network, tables_of(priors(network.shape.iterations)), calibration, False, _device(network)
    )
    codecs = [fixed, fixed.with_rates(adaptive=network.shape.adaptive)]
    random = np.random.default_rng(SEED)
    batches = []
    for number in range(max(2, CONTEXT_CROPS // POOL_BATCH)):
        levels = random.integers(RATE_LEVELS + 1, size=POOL_BATCH).tolist()
        batches.append(codecs[number % 2].planes(crops.batch(POOL_BATCH), levels))
    return calibration, batches


def merged(pool: Sequence[Planes]) -> Planes:
    """All batches as one."""
    return Planes(
        torch.cat([planes.bits for planes in pool], 1), torch.cat([planes.counts for planes in pool])
    )


def train_context(context: BitContext, pool: Sequence[Planes]) -> None:
    """Lower the cost of the pool's bits, one random iteration of CONTEXT_BATCH crops a step."""
    device = _device(context)
    bits, counts = merged(pool)

    def cost(random: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(counts.shape[0], (CONTEXT_BATCH,), generator=random)
        number = int(torch.randint(int(counts[chosen].max()), (), generator=random))
        planes = bits[: number + 1, chosen].to(device).float()
        spent = context.cost(list(planes[:-1]), planes[-1], counts[chosen].to(device), number)
        return spent.sum(), planes[-1].abs().sum()

    fit(context, cost, CONTEXT_STEPS, CONTEXT_LEARNING_RATE, SEED)


def priors(iterations: int) -> list[Counts]:
    """Probabilities of the tables: bits by their index, the map by a Laplacian about its prediction."""
    differences = np.abs(np.arange(-iterations, iterations + 1))
    laplacian = np.append(np.exp(-LAPLACE_SCALE * differences), 0)
    return sign_priors() + [laplacian] * table_count(iterations)


def counted(context: BitContext, pool: Sequence[Planes]) -> list[Counts]:
    """How often each entry of each table is used by the pool."""
    lengths = [len(entries) for entries in priors(context.iterations)]
    return count(_sections(context, pool), lengths)


@torch.no_grad()
def _sections(context: BitContext, pool: Sequence[Planes]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for planes in pool:
        for number, counts in enumerate(planes.counts):
            bits = planes.bits[: int(counts.max()), number].to(_device(context))
            for phases in bit_symbols(context, list(bits), counts.to(bits.device)):
                yield from phases
            for symbols, tables in map_symbols(counts.numpy(), context.iterations):
                yield symbols, INDICES + tables


def calibrate(
    network: CodecNetwork, tables: FrequencyTables, calibration: Calibration, pictures: Sequence[Pixels]
) -> Calibration:
    """Mean bits per pixel of whole files of these photographs at rate levels and after iterations."""
    codec = RecurrentCodec(network, tables, calibration, True, _device(network))
    levels, rates = mean_rates(codec, pictures, CALIBRATION_POINTS)
    fixed = codec.with_rates(adaptive=False)
    planes = photographs(pictures)
    after = [bits_per_pixel(p, fixed.encode(p, [RATE_LEVELS])[0])[1:] for p in planes]
    return Calibration(calibration.targets, levels, rates, rising(np.mean(after, axis=0)))


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
