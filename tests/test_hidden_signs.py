from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from pillow_neural.codecs.hidden_signs import Hiding, group_numbers, with_parity

ENOUGH = 3


def _phase(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """What symbols stand for, what errors cost, and groups of up to a dozen symbols."""
    random = torch.Generator().manual_seed(seed)
    coded = torch.rand(2, 12, 3, 4, generator=random) < 0.8
    groups = group_numbers(coded)
    nearest = torch.randn(len(groups), generator=random) * 1.3
    return nearest, torch.rand(len(groups), generator=random) * 5, groups


def _told(symbols: Tensor, groups: Tensor) -> Tensor:
    magnitudes = symbols.abs().long()
    hiding = Hiding.of(magnitudes, groups, ENOUGH)
    return hiding.symbols(magnitudes, symbols[hiding.shown].sign().long())


def _neighbours(symbols: Tensor) -> Iterator[Tensor]:
    for position, value in enumerate(symbols.tolist()):
        for other in {value + 1, value - 1}:
            changed = symbols.clone()
            changed[position] = other
            yield changed


def test_groups_are_blocks_of_pictures() -> None:
    coded = torch.rand(3, 8, 2, 5) < 0.5
    pictures, _, rows, columns = coded.nonzero(as_tuple=True)
    blocks = torch.stack([pictures, rows, columns], 1)
    assert len(blocks.unique(dim=0)) == len(group_numbers(coded).unique())
    for number in group_numbers(coded).unique():
        assert len(blocks[group_numbers(coded) == number].unique(dim=0)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_signs_left_out_are_told_by_parities(seed: int) -> None:
    nearest, weights, groups = _phase(seed)
    symbols = with_parity(
        nearest.round(),
        nearest,
        groups,
        ENOUGH,
        lambda s, at: s.abs() + weights[at] * (s - nearest[at]).square(),
    )
    assert torch.equal(_told(symbols, groups), symbols.long())
    hidden = symbols.count_nonzero() - Hiding.of(symbols.abs().long(), groups, ENOUGH).shown.sum()
    sums = torch.zeros(int(groups.max()) + 1).index_add_(0, groups, symbols.abs())
    assert hidden == (sums >= ENOUGH).sum() > 5


@pytest.mark.parametrize("seed", range(5))
def test_no_single_change_costs_less(seed: int) -> None:
    nearest, weights, groups = _phase(seed)
    best = nearest.round()

    def total(symbols: Tensor, chosen: Tensor) -> float:
        own = symbols[chosen]
        hidden = own.abs().sum() >= ENOUGH
        errors = weights[chosen] * (own - nearest[chosen]).square()
        return float((2 * own.abs() + errors).sum() - 1.0 * hidden)

    changed = with_parity(
        best, nearest, groups, ENOUGH, lambda s, at: 2 * s.abs() + weights[at] * (s - nearest[at]).square()
    )
    moved = 0
    for number in groups.unique():
        chosen = groups == number
        own = torch.zeros(int(chosen.sum()), dtype=torch.int64)
        if torch.equal(_told(best[chosen], own), best[chosen].long()):
            assert torch.equal(changed[chosen], best[chosen])
            continue
        moved += 1
        towards = [
            other
            for other in _neighbours(best[chosen])
            if torch.equal(_told(other, own), other.long())
            and not ((best[chosen] == 0) & (other * nearest[chosen] < 0)).any()
        ]
        costs = [total(torch.zeros_like(best).masked_scatter(chosen, other), chosen) for other in towards]
        assert total(changed, chosen) == pytest.approx(min(costs), abs=1e-4)
    assert moved > 3


def test_nothing_coded_hides_nothing() -> None:
    none = torch.zeros(0)
    groups = group_numbers(torch.zeros(1, 4, 2, 2, dtype=torch.bool))
    assert len(with_parity(none, none, groups, ENOUGH, lambda s, _: s)) == 0
    assert len(Hiding.of(none.long(), groups, ENOUGH).first) == 0
