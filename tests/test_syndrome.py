from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pillow_neural.entropy.syndrome import CAPACITY_UNIT, STEPS, Lanes


def _capacities(amount: int, largest: float, seed: int = 0) -> np.ndarray:
    shares = np.minimum(1, largest * np.random.default_rng(seed).random(amount))
    return (shares * CAPACITY_UNIT).astype(np.int64)


@pytest.mark.parametrize("amount", [0, 1, 2, 7, STEPS - 1, STEPS, STEPS + 1, 5 * STEPS + 3, 6 * STEPS - 5])
@pytest.mark.parametrize("largest", [0.02, 0.5, 1.0, 2.0])
def test_changes_make_numbers_tell_what_is_wanted(amount: int, largest: float) -> None:
    random = np.random.default_rng(amount)
    lanes = Lanes.of(_capacities(amount, largest))
    odd, wanted = random.random(amount) < 0.4, random.random(lanes.bits) < 0.5
    wrong = lanes.told(odd) ^ wanted
    changes = lanes.cheapest(wrong, random.random(amount).astype(np.float32))
    assert np.array_equal(lanes.told(odd ^ changes), wanted)
    assert not lanes.cheapest(np.zeros(lanes.bits, bool), np.ones(amount, np.float32)).any()


def test_lanes_tell_what_capacities_add_up_to() -> None:
    capacities = _capacities(2 * STEPS + 1, 0.3)
    lanes = Lanes.of(capacities)
    assert lanes.lanes == 3
    assert lanes.bits == 3 * (int(capacities[: 3 * (len(lanes.rows) - 1)].sum()) // (3 * CAPACITY_UNIT))
    assert sorted(set(lanes.rows.tolist())) == list(range(lanes.told_by_lane))


@pytest.mark.parametrize("seed", range(6))
def test_no_other_changes_cost_less(seed: int) -> None:
    random = np.random.default_rng(seed)
    amount = 13
    lanes = Lanes.of(_capacities(amount, 0.8, seed))
    costs = random.integers(1, 50, amount).astype(np.float32)
    wrong = random.random(lanes.bits) < 0.5
    changes = lanes.cheapest(wrong, costs)
    sets = (np.array(each) for each in product([False, True], repeat=amount))
    assert costs[changes].sum() == min(
        costs[each].sum() for each in sets if (lanes.told(each) == wrong).all()
    )


def test_numbers_that_cost_infinitely_much_stay() -> None:
    random = np.random.default_rng(1)
    lanes = Lanes.of(np.full(3 * STEPS, CAPACITY_UNIT // 10))
    costs = random.random(3 * STEPS).astype(np.float32)
    fixed = np.arange(3 * STEPS) // 3 % 2 > 0
    costs[fixed] = np.inf
    changes = lanes.cheapest(random.random(lanes.bits) < 0.5, costs)
    assert changes.any()
    assert not changes[fixed].any()


def test_a_trellis_costs_less_than_a_parity_for_each_bit() -> None:
    random = np.random.default_rng(2)
    amount, share = 20 * STEPS, 4
    lanes = Lanes.of(np.full(amount, CAPACITY_UNIT // share))
    costs = random.random(amount).astype(np.float32)
    wrong = random.random(lanes.bits) < 0.5
    assert lanes.bits == (STEPS - 1) // share * 20
    alone = costs.reshape(-1, share).min(axis=1)[: lanes.bits][wrong].sum()
    assert costs[lanes.cheapest(wrong, costs)].sum() < 0.7 * alone


def test_threads_find_the_same() -> None:
    random = np.random.default_rng(3)
    amount = 300 * STEPS
    lanes = Lanes.of(np.full(amount, CAPACITY_UNIT // 50))
    wrong, costs = random.random(lanes.bits) < 0.5, random.random(amount).astype(np.float32)
    assert np.array_equal(lanes.cheapest(wrong, costs), lanes.cheapest(wrong, costs, threads=3))
