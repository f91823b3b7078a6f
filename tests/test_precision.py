from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pillow_neural.networks import precision


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    precision.multiplies_bfloat16.cache_clear()
    yield
    precision.multiplies_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("tiles", "vectors", "amd", "expected"),
    [
        (True, True, False, True),
        (False, True, True, True),
        (False, True, False, False),
        (False, False, True, False),
    ],
)
def test_bfloat16_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, tiles: bool, vectors: bool, amd: bool, expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    monkeypatch.setattr(precision, "_is_made_by_amd", lambda: amd)
    assert precision.multiplies_bfloat16() is expected
    assert precision.small_shares(torch.device("cpu"))._enabled is expected
