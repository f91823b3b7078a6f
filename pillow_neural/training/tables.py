"""Frequency tables from counted symbols, smoothed by the distribution that was trained for."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch

from pillow_neural.entropy.gaussian import SCALE_COUNT, gaussian_bits, logistic_bits, scale_of_index
from pillow_neural.entropy.tables import FrequencyTables, quantise
from pillow_neural.networks.hyper_prior import HYPER_LIMIT, HYPER_TABLES, LOCATIONS, hyper_scale

Counts = npt.NDArray[np.float64]

PRIOR_WEIGHT = 300.0
TABLE_DEVIATIONS = 5.0
TABLE_SCALES = 8.0
LARGEST_LIMIT = 511


def scale_limits() -> list[int]:
    """M of the table of each scale index: five deviations."""
    scales = scale_of_index(torch.arange(SCALE_COUNT, dtype=torch.float64))
    return [min(LARGEST_LIMIT, math.ceil(TABLE_DEVIATIONS * s) + 1) for s in scales.tolist()]


def gaussian_prior() -> list[Counts]:
    """Probabilities of -M..M and the escape for each scale index."""
    priors = []
    for index, limit in enumerate(scale_limits()):
        scale = scale_of_index(torch.tensor(float(index), dtype=torch.float64))
        values = torch.arange(-limit, limit + 1, dtype=torch.float64)
        inside = torch.exp2(-gaussian_bits(values, scale)).numpy()
        priors.append(np.append(inside, max(1e-7, 1 - inside.sum())))
    return priors


def hyper_priors() -> list[Counts]:
    """Probabilities of -M..M and the escape for each table of hyper-latents, see `Spread.table`."""
    priors = []
    for number in range(HYPER_TABLES):
        index, rest = divmod(number, LOCATIONS)
        scale = hyper_scale(torch.tensor(float(index), dtype=torch.float64))
        limit = min(HYPER_LIMIT, math.ceil(TABLE_SCALES * scale.item()) + 1)
        values = torch.arange(-limit, limit + 1, dtype=torch.float64)
        location = torch.tensor(rest / LOCATIONS - 0.5, dtype=torch.float64)
        inside = torch.exp2(-logistic_bits(values, location, scale)).numpy()
        priors.append(np.append(inside, max(1e-7, 1 - inside.sum())))
    return priors


def count(
    sections: Iterable[tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]], lengths: list[int]
) -> list[Counts]:
    """How often each entry of each table, 2M + 1 symbols and the escape, is used by (symbols, tables)."""
    counts = [np.zeros(length) for length in lengths]
    for symbols, tables in sections:
        for table in np.unique(tables):
            limit = lengths[table] // 2 - 1
            chosen = symbols[tables == table]
            inside = chosen[np.abs(chosen) <= limit]
            counts[table][:-1] += np.bincount(inside + limit, minlength=2 * limit + 1)
            counts[table][-1] += len(chosen) - len(inside)
    return counts


def tables_of(priors: list[Counts], counts: list[Counts] | None = None) -> FrequencyTables:
    """Integer tables of the priors, moved towards the counts as far as these are many."""
    frequencies = []
    for number, prior in enumerate(priors):
        weighed = PRIOR_WEIGHT * prior / prior.sum()
        frequencies.append(quantise(weighed if counts is None else weighed + counts[number]))
    return FrequencyTables.from_arrays(np.concatenate(frequencies), [len(f) for f in frequencies])


def pack_tables(tables: FrequencyTables) -> dict[str, torch.Tensor]:
    """The tables as tensors of a weights file, which `pillow_neural.codecs.shared.read_weights` reads."""
    return {
        "tables.frequencies": torch.from_numpy(tables.flat.copy()),
        "tables.lengths": torch.from_numpy(tables.lengths.copy()),
    }
