"""Mutations of every kind of file through open and load; tests/fuzz.py makes as many as wanted."""

import contextlib
import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageFile

from pillow_neural.codecs.registry import DEFAULT_CODEC
from pillow_neural.header import AVIF_CODEC, LOSSLESS_CODEC
from tests.fuzz import ALLOWED, KINDS, Damage, Kind, damaged, forged, kind, outcomes

DAMAGED_STILLS = 10_000
DAMAGED_ANIMATIONS = 500
FORGED = 150
TOLERATED = 60
TRACED = 500
OPENING_BYTES = 2**20
SLOW_SHARE = 5
"""Codecs of papers take longer to decode and share the container: one in so many mutations is theirs."""

FAST = (DEFAULT_CODEC, LOSSLESS_CODEC, AVIF_CODEC)


@pytest.fixture(params=KINDS, ids=" ".join)
def file(request: pytest.FixtureRequest) -> Kind:
    return kind(*request.param)


def _share(file: Kind, count: int) -> int:
    return count if file.name.startswith(FAST) else count // SLOW_SHARE


def test_damage_is_an_error_of_the_right_type_and_never_other_pixels(file: Kind) -> None:
    count = DAMAGED_STILLS if len(file.pixels) == 1 else DAMAGED_ANIMATIONS
    for outcome in outcomes(file, damaged, _share(file, count)):
        if outcome.error is None:
            assert outcome.pixels == file.pixels
        else:
            assert isinstance(outcome.error, ALLOWED)


def test_forged_files_give_pixels_or_an_error_of_the_right_type(file: Kind) -> None:
    errors = [
        outcome.error for outcome in outcomes(file, forged, _share(file, FORGED)) if outcome.error is not None
    ]
    assert errors
    for error in errors:
        assert isinstance(error, ALLOWED)


@pytest.mark.parametrize("damage", [damaged, forged])
def test_tolerated_damage_gives_pixels_or_an_error_of_the_right_type(
    file: Kind, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    tolerated = list(outcomes(file, damage, _share(file, TOLERATED)))
    assert any(outcome.pixels is not None for outcome in tolerated)
    assert all(outcome.error is None or isinstance(outcome.error, ALLOWED) for outcome in tolerated)


def test_opening_a_forged_file_allocates_no_more_than_the_file_explains(file: Kind) -> None:
    random = np.random.default_rng(0)
    tracemalloc.start()
    try:
        for _ in range(TRACED):
            data = forged(file.data, random)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with contextlib.suppress(ALLOWED):
                Image.open(io.BytesIO(data), formats=["NIC"]).close()
            assert tracemalloc.get_traced_memory()[1] - before < OPENING_BYTES
    finally:
        tracemalloc.stop()
