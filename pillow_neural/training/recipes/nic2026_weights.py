"""Weights file of the default codec: filter, directions, tables of counted symbols, calibration, proofs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from pillow_neural.codecs.contract import RATE_LEVELS
from pillow_neural.codecs.nic2026 import Nic2026
from pillow_neural.codecs.nic2026_stream import Section
from pillow_neural.codecs.shared import RateCalibration
from pillow_neural.entropy.tables import FrequencyTables
from pillow_neural.networks.integer import ACTIVATION_LIMIT, IntegerConv2d, largest_exact
from pillow_neural.networks.packing import pack, unpack
from pillow_neural.networks.prior_layers import CONTEXT_LIMIT, CONTEXT_UNIT, ScalePhase
from pillow_neural.networks.transform_codec import TransformCodec
from pillow_neural.training.calibration import mean_rates
from pillow_neural.training.data import CropSampler, Pixels
from pillow_neural.training.direction_fit import DirectionSize, fit_directions, with_lines
from pillow_neural.training.filter_fit import FilterSize, fit_filter
from pillow_neural.training.recipe import Packed
from pillow_neural.training.tables import count, gaussian_prior, hyper_priors, pack_tables, tables_of

EIGHT_BITS = ("prior.means", ".blocks.", "analysis.tail", "pixel_stage")
"""6.4 of 8.4 million parameters; at most 0.2 % more bits."""

STATISTICS_BATCHES = 150
STATISTICS_BATCH = 4
CALIBRATION_POINTS = 13
FILTER = FilterSize()
DIRECTIONS = DirectionSize()


def prove_exact(network: TransformCodec) -> int:
    """Largest possible partial sum of the integer networks, in grid units.

    Raises:
        OverflowError: float32 could not hold it exactly.
    """
    layers = [
        module.largest_sums(ACTIVATION_LIMIT)
        for name, module in network.named_modules()
        if isinstance(module, IntegerConv2d) and not name.endswith("from_context")
    ]
    phases = [_largest_joint_sums(phase) for phase in network.prior.scales if isinstance(phase, ScalePhase)]
    return largest_exact(layers + phases)


def _largest_joint_sums(phase: ScalePhase) -> Tensor:
    """Bounds on a phase's two first convolutions added up, in units of the finer of their grids."""
    shift = phase.from_features.integers()[2].double()
    sums = phase.from_features.largest_sums(ACTIVATION_LIMIT)
    if phase.from_context is None:
        return sums
    other = phase.from_context.integers()[2].double()
    context = phase.from_context.largest_sums(CONTEXT_LIMIT * CONTEXT_UNIT)
    finest = torch.maximum(shift, other)
    return sums * torch.exp2(finest - shift) + context * torch.exp2(finest - other)


def _statistics(codec: Nic2026, sampler: CropSampler) -> Iterator[Section]:
    """Hyper-latents and magnitudes: signs have a table that is not counted."""
    levels = np.random.default_rng(0).integers(RATE_LEVELS + 1, size=(STATISTICS_BATCHES, STATISTICS_BATCH))
    for batch_levels in levels.tolist():
        for sections in codec.symbols(sampler.batch(STATISTICS_BATCH), batch_levels):
            yield from sections[:-1]


def _knots(network: TransformCodec, pixels: Tensor) -> Iterator[Tensor]:
    """What is decoded of crops at evenly spaced rates, those that the filter is fitted to."""
    for rate in torch.linspace(0, 1, FILTER.knots):
        yield network(pixels, rate.expand(len(pixels)), as_coded=True).reconstruction


def pack_transform_codec(network: nn.Module, sampler: CropSampler, held_out: Sequence[Pixels]) -> Packed:
    """Everything `nic2026.load` needs, measured on the weights as they are stored."""
    assert isinstance(network, TransformCodec)
    largest = prove_exact(network)
    tensors = pack(network, EIGHT_BITS)
    stored = TransformCodec(network.shape)
    unpack(stored, tensors)
    trained_with = network.post_filter if network.pixel_stage is not None else None
    post_filter = trained_with or fit_filter(partial(_knots, stored), sampler, FILTER)
    stored.post_filter = post_filter
    if stored.pixel_stage is not None:
        stored.directions = fit_directions(stored, sampler, DIRECTIONS)
    priors = gaussian_prior() + hyper_priors()
    lengths = [len(entries) for entries in priors]
    counts = count(_statistics(_codec(stored, tables_of(priors)), sampler), lengths)
    tables = tables_of(priors, counts)
    codec = _codec(stored, tables)
    calibration = mean_rates(codec, held_out, CALIBRATION_POINTS)
    tensors |= {
        **pack_tables(tables),
        **calibration.tensors(),
        **post_filter.tensors(),
        "colour_channels": stored.synthesis.colour_channels(),
    }
    if stored.directions is not None:
        tensors |= with_lines(codec, stored, sampler, stored.directions, DIRECTIONS).tensors()
    return Packed.of(network.shape, largest, tensors)


def _codec(network: TransformCodec, tables: FrequencyTables) -> Nic2026:
    colours = network.synthesis.colour_channels()
    return Nic2026(network, tables, colours, RateCalibration(), torch.device("cpu"))
