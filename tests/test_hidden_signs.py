from __future__ import annotations

import numpy as np
import pytest
import torch

from pillow_neural.entropy.gaussian import SCALE_COUNT, gaussian_bits, scale_of_index
from pillow_neural.entropy.hidden_signs import SHARE_UNIT, Coded, SignHider, capacities, with_signs
from pillow_neural.entropy.syndrome import CAPACITY_UNIT
from pillow_neural.entropy.tables import FrequencyTables
from pillow_neural.networks.telling import expected_capacities, telling, tells_in_first_phase
from pillow_neural.training.tables import gaussian_prior, tables_of

SHARE = 160


@pytest.fixture(scope="module")
def tables() -> FrequencyTables:
    """Gaussian ones by scale index, folded."""
    return tables_of(gaussian_prior()).of_magnitudes()


def _phases(sizes: list[int], seed: int, rate: float) -> list[Coded]:
    """Symbols that their tables fit, of scales about `rate` of all."""
    random = np.random.default_rng(seed)
    phases = []
    for size in sizes:
        index = (rate * SCALE_COUNT * random.random(size)).astype(np.uint8)
        scale = scale_of_index(torch.from_numpy(index).double()).numpy()
        symbols = np.rint(random.normal(0, scale)).astype(np.int32)
        phases.append(Coded(symbols, index, np.sort(random.integers(0, 64, size))))
    return phases


def _hidden(phases: list[Coded], amounts: np.ndarray, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Symbols to code, and the signs for the stream."""
    random = np.random.default_rng(seed)
    hider = SignHider(amounts)
    chosen = []
    for phase in phases:
        away = np.where(random.random(len(phase.symbols)) < 0.5, 1, -1)
        instead = np.where(phase.symbols == 0, away, phase.symbols - np.sign(phase.symbols))
        chosen.append(
            hider.hide(phase, instead.astype(np.int32), random.random(len(away)).astype(np.float32))
        )
        changed = chosen[-1] != phase.symbols
        assert np.array_equal(chosen[-1][changed], instead[changed])
    return chosen, hider.left()


def _told(
    phases: list[Coded], chosen: list[np.ndarray], signs: np.ndarray, amounts: np.ndarray
) -> list[np.ndarray]:
    magnitudes = [phase._replace(symbols=np.abs(own)) for phase, own in zip(phases, chosen, strict=True)]

    def read(count: int) -> np.ndarray:
        assert count == len(signs)
        return signs

    return with_signs(magnitudes, amounts, read)


@pytest.mark.parametrize("sizes", [[0, 0, 0, 0], [1, 0, 2, 1], [40, 30, 0, 50], [3000, 2500, 2600, 2800]])
@pytest.mark.parametrize("rate", [0.3, 0.7, 1.0])
def test_signs_left_out_are_told(tables: FrequencyTables, sizes: list[int], rate: float) -> None:
    amounts = capacities(tables, SHARE)
    phases = _phases(sizes, 1, rate)
    chosen, signs = _hidden(phases, amounts, 2)
    told = _told(phases, chosen, signs, amounts)
    for own, expected in zip(told, chosen, strict=True):
        assert np.array_equal(own, expected)


def test_as_many_are_left_out_as_the_share_says(tables: FrequencyTables) -> None:
    phases = _phases([9000, 9000, 9000, 9000], 3, 0.8)
    amounts = capacities(tables, SHARE)
    chosen, signs = _hidden(phases, amounts, 4)
    not_zero = [phase.symbols.astype(bool) for phase in phases]
    tellers = sum(map(np.sum, not_zero)) - not_zero[0][phases[0].channels % 12 < 4].sum()
    hidden = sum(np.count_nonzero(own) for own in chosen) - len(signs)
    assert hidden == pytest.approx(tellers * SHARE / SHARE_UNIT, rel=0.03)
    assert np.array_equal(
        chosen[0][phases[0].channels % 12 < 4], phases[0].symbols[phases[0].channels % 12 < 4]
    )


def test_no_more_are_told_than_there_are(tables: FrequencyTables) -> None:
    phases = _phases([60, 5000, 5000, 5000], 5, 1.0)
    chosen, signs = _hidden(phases, capacities(tables, SHARE_UNIT), 6)
    assert len(signs) < sum(map(len, chosen)) / 2
    amounts = capacities(tables, SHARE_UNIT)
    for own, expected in zip(_told(phases, chosen, signs, amounts), chosen, strict=True):
        assert np.array_equal(own, expected)


def test_capacities_in_training_are_those_of_tables(tables: FrequencyTables) -> None:
    scales = scale_of_index(torch.arange(SCALE_COUNT))
    expected = expected_capacities(gaussian_bits(torch.zeros(SCALE_COUNT), scales), SHARE)
    difference = np.abs(expected.numpy() - capacities(tables, SHARE)) / CAPACITY_UNIT
    assert difference.max() < 0.002
    assert 5 < (expected == 0).sum() < 30


def test_training_tells_random_signs() -> None:
    torch.manual_seed(1)
    symbols = torch.randint(-2, 3, (2, 24 * 24)).float()
    capacity = torch.zeros(symbols.shape, dtype=torch.int64)
    capacity.view(2, 24, 24)[:, 3::2] = CAPACITY_UNIT // 5
    changed, told = telling(symbols, symbols + 1, torch.rand(symbols.shape), capacity)
    assert told.tolist() == [263 // 5, 263 // 5]
    places = changed != symbols
    assert torch.equal(changed[places], symbols[places] + 1)
    assert not places[capacity == 0].any()
    assert 20 < places.sum() < 60


def test_the_first_part_tells_nothing_in_training() -> None:
    assert tells_in_first_phase(26, torch.device("cpu"))[:, 0, 0].nonzero().flatten().tolist() == [
        *range(4, 12),
        *range(16, 24),
    ]
