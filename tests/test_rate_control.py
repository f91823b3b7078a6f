import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillow_neural.codecs.contract import RATE_LEVELS
from pillow_neural.rate_control import largest_within, level_within


class _Counted:
    """Encodings as ranges, whose length is their size."""

    def __init__(self, smallest: int, largest: int, bend: float = 1.0, step: int = 1) -> None:
        self.trials = 0
        self._smallest, self._largest, self._bend, self._step = smallest, largest, bend, step

    def __call__(self, level: int) -> range:
        assert 0 <= level <= RATE_LEVELS
        self.trials += 1
        share = (level // self._step * self._step / RATE_LEVELS) ** self._bend
        return range(round(self._smallest * (self._largest / self._smallest) ** share))


@pytest.mark.parametrize("bend", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("limit", [3_000, 20_000, 99_000])
@pytest.mark.parametrize("guess", [0, 20_000, 60_000, RATE_LEVELS])
def test_smooth_sizes_are_used_to_97_percent_in_few_trials(bend: float, limit: int, guess: int) -> None:
    encode = _Counted(2_500, 100_000, bend)
    assert 0.97 * limit <= len(largest_within(encode, limit, guess)) <= limit
    assert encode.trials <= 8


def test_all_levels_fit() -> None:
    encode = _Counted(100, 5_000)
    assert len(largest_within(encode, 10**9, 30_000)) == 5_000
    assert encode.trials <= 3


@pytest.mark.parametrize("limit", [3_000, 20_000, 10**6])
def test_level_of_the_largest(limit: int) -> None:
    encode = _Counted(2_500, 100_000)
    assert encode(level_within(encode, limit, 30_000)) == largest_within(encode, limit, 30_000)


def test_no_level_fits() -> None:
    with pytest.raises(ValueError, match=r"target_size 99 is too small.* has 100 bytes"):
        largest_within(_Counted(100, 5_000), 99, 30_000)


def test_only_the_lowest_level_fits() -> None:
    assert len(largest_within(_Counted(100, 5_000, bend=0.1), 100, RATE_LEVELS)) == 100


@given(
    sizes=st.lists(st.integers(0, 5_000), min_size=1, max_size=40),
    limit=st.integers(1, 6_000),
    guess=st.integers(0, RATE_LEVELS),
)
def test_the_limit_holds_whatever_the_sizes_are(sizes: list[int], limit: int, guess: int) -> None:
    def encode(level: int) -> range:
        return range(sizes[math.floor(level / (RATE_LEVELS + 1) * len(sizes))])

    try:
        assert len(largest_within(encode, limit, guess)) <= limit
    except ValueError:
        assert sizes[0] > limit
