"""Weights file of li2018: contexts, tables, calibration, and what contexts and map are worth, in this order.

Each stage uses what is stored of the ones before it: floats rounded, integers frozen. The contexts are
trained on the maps and bits of CONTEXT_CROPS crops at random rate levels, a step of a context at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pillow_neural.codecs.contract import RATE_LEVELS
from pillow_neural.codecs.li2018 import CodecNetwork, Li2018, Volume, bit_sections, map_sections
from pillow_neural.codecs.recurrent import Planes
from pillow_neural.codecs.shared import RateCalibration
from pillow_neural.codecs.signs import Section
from pillow_neural.entropy.tables import FrequencyTables
from pillow_neural.networks.li2018 import Li2018Network
from pillow_neural.networks.packing import pack, unpack
from pillow_neural.networks.trimmed_context import TrimmedContext
from pillow_neural.training.bit_counts import count_bits
from pillow_neural.training.calibration import mean_rates, photographs
from pillow_neural.training.context import fit, prove_exact, sign_priors
from pillow_neural.training.data import CropSampler, Pixels
from pillow_neural.training.filter_fit import COARSE, fit_filter
from pillow_neural.training.recipe import Packed
from pillow_neural.training.recipes.recurrent_weights import train_context as train_digit_context
from pillow_neural.training.tables import Counts, count, pack_tables, tables_of

LOG = logging.getLogger(__name__)

SEED = 1703
EIGHT_BITS = ("_block.", ".mix.", ".down.", "synthesis.head.", ".fine.", "importance.")
CONTEXT_CROP = 128
CONTEXT_CROPS = 640
POOL_BATCH = 16
BIT_STEPS = 9000
MAP_STEPS = 7200
CONTEXT_BATCH = 16
CONTEXT_LEARNING_RATE = 3e-3
CALIBRATION_POINTS = 9
CALIBRATION_PICTURES = 10
MEASURED_LEVELS = (RATE_LEVELS // 4, RATE_LEVELS // 2, 3 * RATE_LEVELS // 4)


class Spent(NamedTuple):
    """Bits spent on some pictures: on the map and on the bits, by contexts and by a static table a plane."""

    map_context: float
    map_static: float
    bit_context: float
    bit_static: float

    def facts(self) -> dict[str, str]:
        """Shares, for the metadata of a weights file."""
        return {
            "context_saving": f"{1 - self.bit_context / self.bit_static:.4f}",
            "map_context_saving": f"{1 - self.map_context / self.map_static:.4f}",
            "map_share": f"{self.map_context / (self.map_context + self.bit_context):.4f}",
        }


def pack_li2018(network: nn.Module, sampler: CropSampler, held_out: Sequence[Pixels]) -> Packed:
    """Everything `pillow_neural.codecs.li2018.load` needs, measured on the weights as they are stored."""
    assert isinstance(network, CodecNetwork)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stored = CodecNetwork(network.shape).to(device).eval()
    unpack(stored.transforms, pack(network.transforms, EIGHT_BITS))
    pool = coded_crops(stored, sampler.with_crop(CONTEXT_CROP, SEED))
    train_context(stored.map_context, pool.map_planes(), pool.map_sides(), MAP_STEPS)
    train_bit_context(stored, pool)
    largest = prove_exact(stored)
    tensors = pack(stored, EIGHT_BITS)
    unpack(stored, tensors)
    tables = tables_of(priors(), counted(stored, pool))
    codec = Li2018(stored, tables, RateCalibration(), device)
    held_out = held_out[:CALIBRATION_PICTURES]
    calibration = mean_rates(codec, held_out, CALIBRATION_POINTS)
    facts = measured(stored, codec, tables, pool, photographs(held_out))
    post_filter = fit_filter(partial(knots, stored.transforms), sampler, COARSE)
    tensors |= {**pack_tables(tables), **calibration.tensors(), **post_filter.tensors()}
    return Packed.of(network.shape, largest, tensors, **facts)


def knots(transforms: Li2018Network, pixels: Tensor) -> Iterator[Tensor]:
    """What is decoded of crops at evenly spaced rates, those that the filter is fitted to."""
    device = next(transforms.parameters()).device
    for rate in torch.linspace(0, 1, COARSE.knots, device=device):
        yield transforms(pixels.to(device), rate.expand(len(pixels))).reconstruction.cpu()


def priors() -> list[Counts]:
    """Probabilities of the tables, of the bits and of the map, by their index."""
    return 2 * sign_priors()


def coded_crops(network: CodecNetwork, crops: CropSampler) -> Volume:
    """What is coded of CONTEXT_CROPS crops at random levels."""
    codec = Li2018(network, tables_of(priors()), RateCalibration(), _device(network))
    random = np.random.default_rng(SEED)
    volumes = []
    for _ in range(max(1, CONTEXT_CROPS // POOL_BATCH)):
        levels = random.integers(RATE_LEVELS + 1, size=POOL_BATCH).tolist()
        volumes.append(codec.volume(crops.batch(POOL_BATCH), levels))
    return Volume(*(torch.cat(parts) for parts in zip(*volumes, strict=True)))


def train_bit_context(network: CodecNetwork, pool: Volume) -> None:
    """Lower the cost of the pool's bits."""
    context, path = network.bit_context, network.transforms.path
    if isinstance(context, TrimmedContext):
        train_context(context, pool.bits, pool.bit_sides(), BIT_STEPS)
        return
    assert path is not None
    planes = Planes(context.planes(pool.bits.to(torch.int8)), pool.levels)
    count_bits(context.bits, path.component, *planes)
    train_digit_context(context.bits, [planes])


def train_context(context: TrimmedContext, planes: Tensor, sides: Tensor, steps: int) -> None:
    """Lower the cost of planes [N, C, h, w]: one step of the context, CONTEXT_BATCH crops at a time."""

    def cost(random: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(planes), (CONTEXT_BATCH,), generator=random).to(planes.device)
        step = int(torch.randint(len(context.steps), (), generator=random))
        return context.cost(planes[chosen], sides[chosen], step)

    fit(context, cost, steps, CONTEXT_LEARNING_RATE, SEED)


def counted(network: CodecNetwork, pool: Volume) -> list[Counts]:
    """How often each entry of each table is used by the pool."""

    def sections() -> Iterator[Section]:
        for volume in pool.split(POOL_BATCH):
            yield from map_sections(network, volume)
            yield from bit_sections(network, volume)

    return count(sections(), [len(entries) for entries in priors()])


def measured(
    network: CodecNetwork, codec: Li2018, tables: FrequencyTables, pool: Volume, pictures: Sequence[Tensor]
) -> dict[str, str]:
    """What contexts save, and what the map takes of the file, over photographs uint8 [1, 3, H, W].

    The static tables that contexts are compared with are counted on the pool: for the bits one a channel, for
    the map one for the answers to each question, which is a table of its levels.
    """
    costs, static = tables.bits(), [_plane_costs(planes) for planes in (pool.map_planes(), pool.bits)]
    total = np.zeros(len(Spent._fields))
    for level in MEASURED_LEVELS:
        spent = np.zeros(len(Spent._fields))
        for picture in pictures:
            volume = codec.volume(picture, [level])
            spent += Spent(
                _context_bits(costs, map_sections(network, volume)),
                _static_bits(static[0], volume.map_planes()),
                _context_bits(costs, bit_sections(network, volume)),
                _static_bits(static[1], volume.bits),
            )
        LOG.info("level %d: %s", level, Spent(*spent).facts())
        total += spent
    return Spent(*total).facts()


def _plane_costs(planes: Tensor) -> Tensor:
    """Bits that -1 and 1 cost in each channel by their share in planes [N, C, h, w]: [2, C]."""
    counts = torch.stack([(planes == sign).sum(dim=(0, 2, 3)) for sign in (-1, 1)]) + 0.5
    return -torch.log2(counts / counts.sum(dim=0))


def _static_bits(costs: Tensor, planes: Tensor) -> float:
    negative, positive = costs[:, None, :, None, None]
    return float((negative * (planes < 0) + positive * (planes > 0)).sum())


def _context_bits(costs: npt.NDArray[np.float32], sections: Sequence[Section]) -> float:
    centre = costs.shape[1] // 2
    return float(sum(costs[tables, centre + symbols].sum() for symbols, tables in sections))


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
