from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pillow_neural.networks.hyper_prior import (
    HYPER_LIMIT,
    HYPER_SCALES,
    HYPER_TABLES,
    LOCATIONS,
    HyperPrior,
    Spread,
)
from pillow_neural.networks.phases import PHASES, phase_mask

SIZE = (3, 5)
RATE = torch.tensor([0.2, 0.7])


@pytest.fixture
def prior() -> HyperPrior:
    torch.manual_seed(1)
    prior = HyperPrior(8, 12)
    for phase in prior.phases:
        torch.nn.init.normal_(phase.to_spread.weight, std=0.3)
    return prior


def _hyper_latents(seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(len(RATE), 8, *SIZE, generator=random).mul(3).round()


@torch.no_grad()
def test_a_walk_brings_back_what_was_coded(prior: HyperPrior) -> None:
    values = _hyper_latents(1)
    symbols = values - prior.spread(values, RATE).whole
    decoded = prior.walk(values, RATE, lambda mask, spread: (symbols + spread.whole) * mask)
    assert torch.equal(decoded, values)


@torch.no_grad()
def test_what_is_known_are_whole_numbers_of_few_values(prior: HyperPrior) -> None:
    spread = prior.spread(5 * _hyper_latents(2), RATE)
    assert torch.equal(spread.location, spread.location.round())
    assert spread.location.abs().max() <= LOCATIONS * HYPER_LIMIT
    assert len(spread.scale.unique()) > 5
    assert set(spread.scale.unique().tolist()) <= set(range(HYPER_SCALES))


@torch.no_grad()
def test_nothing_depends_on_what_comes_later(prior: HyperPrior) -> None:
    values = _hyper_latents(3)
    before = prior.spread(values, RATE)
    for phase in range(PHASES):
        mask = phase_mask(phase, 8, *SIZE, torch.device("cpu"))
        after = prior.spread(torch.where(mask, 7, values), RATE)
        earlier = sum(phase_mask(p, 8, *SIZE, torch.device("cpu")).int() for p in range(phase + 1)) > 0
        for own, other in zip(before, after, strict=True):
            assert torch.equal(own[:, earlier], other[:, earlier])
        assert torch.equal(before.location, after.location) == (phase == PHASES - 1)


def test_tables_stand_for_scales_and_rests_of_locations() -> None:
    location, scale = torch.meshgrid(
        torch.arange(-20.0, 21), torch.arange(float(HYPER_SCALES)), indexing="ij"
    )
    spread = Spread(location, scale)
    assert sorted(spread.table.unique().tolist()) == list(range(HYPER_TABLES))
    rest = spread.table % LOCATIONS / LOCATIONS - 0.5
    assert torch.equal(spread.whole + rest, location / LOCATIONS)
    assert torch.equal(spread.table // LOCATIONS, scale)


def test_training_learns_from_neighbours(prior: HyperPrior) -> None:
    values = _hyper_latents(4).mean(dim=(1, 2, 3), keepdim=True).round().expand(-1, 8, *SIZE)
    values = values + 3 * torch.tensor([1.0, -1.0])[:, None, None, None]
    optimiser = torch.optim.Adam(prior.parameters(), 3e-3)
    bits = []
    for _ in range(150):
        sign = torch.randint(0, 2, (2, 1, 1, 1)) * 2 - 1
        total = prior.bits(sign * values, sign * values, RATE).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        bits.append(total.item())
    assert sum(bits[-10:]) < 0.4 * sum(bits[:10])
