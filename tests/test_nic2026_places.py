from __future__ import annotations

import numpy as np
import torch

from pillow_neural.codecs.nic2026_places import Places, joined


def test_values_by_picture_return_to_their_places() -> None:
    random = torch.Generator().manual_seed(0)
    chosen = torch.rand(3, 8, 5, 7, generator=random) < 0.2
    chosen[1] = False
    values = torch.randint(1, 99, chosen.shape, generator=random).int()
    places = Places.where(chosen)
    parts = list(places.by_picture(places.of(values)))
    for picture, (channels, own) in enumerate(parts):
        assert np.array_equal(own, values[picture][chosen[picture]].numpy())
        assert np.array_equal(channels, chosen[picture].nonzero()[:, 0].numpy())
    again = places.planes(joined([own for _, own in parts], values))
    assert torch.equal(again, values * chosen)


def test_planes_of_one_value_a_channel_and_of_any_layout() -> None:
    random = torch.Generator().manual_seed(0)
    chosen = torch.rand(2, 4, 6, 3, generator=random) < 0.5
    weights = torch.rand(2, 4, 1, 1, generator=random)
    planes = torch.rand(chosen.shape, generator=random).to(memory_format=torch.channels_last)
    places = Places.where(chosen)
    assert torch.equal(places.of(weights), weights.expand(chosen.shape)[chosen])
    assert torch.equal(places.of(planes), planes[chosen])
