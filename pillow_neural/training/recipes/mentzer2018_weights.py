"""Weights file of mentzer2018: context, tables, calibration, and what the context is worth, in this order.

Each stage uses what is stored of the ones before it: floats rounded, integers frozen. The context model has
been trained together with the rest; here it is fitted to the symbols that the finished encoder gives.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pillow_neural.codecs.contract import RATE_LEVELS
from pillow_neural.codecs.mentzer2018 import Mentzer2018
from pillow_neural.codecs.shared import RateCalibration, pad_to_multiples
from pillow_neural.codecs.signs import Section, sign_section
from pillow_neural.networks.mentzer2018 import BLOCK, Mentzer2018Network
from pillow_neural.networks.packing import pack, thaw, unpack
from pillow_neural.networks.volume_context import LOGIT_STEP, VolumeContext
from pillow_neural.training.calibration import mean_rates, photographs
from pillow_neural.training.context import fit, prove_exact, sign_priors
from pillow_neural.training.data import CropSampler, Pixels
from pillow_neural.training.recipe import Packed
from pillow_neural.training.tables import Counts, count, pack_tables, tables_of

LOG = logging.getLogger(__name__)

SEED = 1801
EIGHT_BITS = (".trunk.", ".tail.", ".down.", "synthesis.up.", "synthesis.head.")
CONTEXT_CROP = 128
CONTEXT_CROPS = 480
POOL_BATCH = 16
CONTEXT_STEPS = 500
CONTEXT_BATCH = 8
CONTEXT_LEARNING_RATE = 1e-3
CALIBRATION_POINTS = 9
CALIBRATION_PICTURES = 6
MEASURED_LEVELS = (RATE_LEVELS // 4, RATE_LEVELS // 2, 3 * RATE_LEVELS // 4)


class Pool(NamedTuple):
    """What is coded of crops: symbols int8 [N, K, h, w], and the rate that the context sees, [N]."""

    volumes: Tensor
    rates: Tensor


class Spent(NamedTuple):
    """Bits of streams, their estimate in training, and what static tables would take for the same symbols."""

    real: float
    estimated: float
    static: float

    def facts(self) -> dict[str, str]:
        """Shares, for the metadata of a weights file."""
        return {
            "estimated_to_real": f"{self.estimated / self.real:.4f}",
            "context_saving": f"{1 - self.real / self.static:.4f}",
        }


def pack_mentzer2018(network: nn.Module, sampler: CropSampler, held_out: Sequence[Pixels]) -> Packed:
    """Everything `codecs.mentzer2018.load` needs, measured on the weights as they are stored."""
    assert isinstance(network, Mentzer2018Network)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stored = Mentzer2018Network(network.shape).to(device)
    unpack(stored, pack(network, EIGHT_BITS))
    thaw(stored)
    pool = coded_crops(stored, sampler.with_crop(CONTEXT_CROP, SEED))
    train_context(stored.context, pool)
    largest = prove_exact(stored.context)
    tensors = pack(stored, EIGHT_BITS)
    unpack(stored, tensors)
    lengths = [len(entries) for entries in priors()]
    tables = tables_of(priors(), count(_sections(stored.context, pool), lengths))
    codec = Mentzer2018(stored, tables, RateCalibration(), device)
    held_out = held_out[:CALIBRATION_PICTURES]
    calibration = mean_rates(codec, held_out, CALIBRATION_POINTS)
    facts = measured(stored, codec, photographs(held_out))
    tensors |= {**pack_tables(tables), **calibration.tensors()}
    return Packed.of(network.shape, largest, tensors, **facts)


def priors() -> list[Counts]:
    """Probabilities of the tables by their index."""
    return sign_priors(LOGIT_STEP)


@torch.no_grad()
def coded_crops(network: Mentzer2018Network, crops: CropSampler) -> Pool:
    """Symbols of CONTEXT_CROPS crops at random levels, on the network's device."""
    device = network.quantiser.log_gaps.device
    codec = Mentzer2018(network, tables_of(priors()), RateCalibration(), device)
    random = np.random.default_rng(SEED)
    volumes, levels = [], []
    for _ in range(max(1, CONTEXT_CROPS // POOL_BATCH)):
        levels += random.integers(RATE_LEVELS + 1, size=POOL_BATCH).tolist()
        volumes.append(codec.volumes(crops.batch(POOL_BATCH), levels[-POOL_BATCH:]))
    rates = network.whole_rate(torch.tensor(levels, device=device) / RATE_LEVELS)
    return Pool(torch.cat(volumes).to(device, torch.int64), rates)


def train_context(context: VolumeContext, pool: Pool) -> None:
    """Lower the cost of the pool's symbols, CONTEXT_BATCH crops at a time."""

    def cost(random: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(pool.rates), (CONTEXT_BATCH,), generator=random)
        volumes, rates = (part[chosen.to(part.device)] for part in pool)
        costs = context.symbol_bits(context((volumes - context.tree.home).float(), rates))
        return costs.gather(1, volumes[:, None]).sum(), torch.tensor(volumes.numel())

    fit(context, cost, CONTEXT_STEPS, CONTEXT_LEARNING_RATE, SEED)


@torch.no_grad()
def _sections(context: VolumeContext, pool: Pool) -> Iterator[Section]:
    """Decisions of the pool's symbols and their tables, a section a crop."""
    decisions = torch.from_numpy(context.tree.decisions).to(pool.rates.device)
    for volume, rate in zip(*(torch.split(part, 1) for part in pool), strict=True):
        index = context((volume - context.tree.home).float(), rate)
        signs = decisions[:, volume[0]][None]
        yield sign_section(signs, signs != 0, index)


@torch.no_grad()
def measured(network: Mentzer2018Network, codec: Mentzer2018, pictures: Sequence[Tensor]) -> dict[str, str]:
    """What the estimate is worth, and the context, over photographs uint8 [1, 3, H, W] at three levels.

    The static tables that the context is compared with are one a channel and level, counted on the same
    symbols.
    """
    device = network.quantiser.log_gaps.device
    total = [Spent(0, 0, 0)]
    for level in MEASURED_LEVELS:
        rate = torch.tensor([level / RATE_LEVELS], device=device)
        real = sum(8 * len(codec.encode(picture, [level])[0].sections[0]) for picture in pictures)
        padded = (pad_to_multiples(picture.to(device).float() / 255, BLOCK) for picture in pictures)
        estimated = sum(network(pixels, rate).bits.item() for pixels in padded)
        volumes = [codec.volumes(picture, [level])[0].flatten(1) for picture in pictures]
        spent = Spent(real, estimated, static_bits(torch.cat(volumes, 1)))
        LOG.info("level %d: %s", level, spent.facts())
        total.append(spent)
    return Spent(*map(sum, zip(*total, strict=True))).facts()


def static_bits(symbols: Tensor) -> float:
    """Bits of symbols [K, N] with the best table for each channel: their entropies of order zero."""
    total = 0.0
    for channel in symbols:
        counts = torch.bincount(channel.long()).double()
        total -= torch.xlogy(counts, counts / counts.sum()).sum().item() / math.log(2)
    return total
