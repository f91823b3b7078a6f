"""Bjontegaard delta rate: how many per cent more or fewer bits one curve needs for the same quality.

Bjontegaard, VCEG-M33 (2001), with the piecewise cubic interpolation (PCHIP) of later practice in place of
its single cubic.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A rate-distortion curve: bits per pixel (> 0) and quality in dB of each setting, in any order."""

    rates: Vector
    qualities: Vector


@dataclass(frozen=True)
class BdRate:
    """A Bjontegaard delta rate, or the reason why there is none.

    percent is negative when the curve needs fewer bits than the anchor; low and high bound the qualities in
    dB that it was averaged over. All three are None, and reason a sentence, when it can't be computed.
    """

    percent: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Pchip:
    """Shape-preserving piecewise cubic through (x, y), x strictly rising, at least 2 knots.

    Fritsch and Butland 1984: harmonic-mean slopes, so that it never leaves the range of two neighbours.
    """

    x: Vector
    y: Vector
    slopes: Vector

    @classmethod
    def through(cls, x: ArrayLike, y: ArrayLike) -> Self:
        """Fit the knots. Raises ValueError unless x rises strictly and has 2 or more values, as many as y."""
        knots, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if knots.ndim != 1 or knots.shape != values.shape or len(knots) < 2 or not np.all(np.diff(knots) > 0):
            raise ValueError("PCHIP needs at least 2 knots whose x rises strictly")
        return cls(knots, values, _slopes(np.diff(knots), np.diff(values) / np.diff(knots)))

    def __call__(self, at: ArrayLike) -> Vector:
        """Values at positions of any shape; outside the knots the end cubics go on."""
        position = np.asarray(at, dtype=np.float64)
        piece = np.clip(np.searchsorted(self.x, position, side="right") - 1, 0, len(self.x) - 2)
        step = self.x[piece + 1] - self.x[piece]
        t = (position - self.x[piece]) / step
        left = self.y[piece] * (1 + 2 * t) + self.slopes[piece] * step * t
        right = self.y[piece + 1] * (3 - 2 * t) + self.slopes[piece + 1] * step * (t - 1)
        result: Vector = left * (1 - t) ** 2 + right * t**2
        return result

    def mean(self, low: float, high: float) -> float:
        """Exact mean of the curve over low < high, which have to lie within the knots."""
        edges = np.concatenate(([low], self.x[(self.x > low) & (self.x < high)], [high]))
        middles, halves = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
        offsets = halves / np.sqrt(3)  # two Gauss-Legendre points integrate a cubic exactly
        return float(np.sum(halves * (self(middles - offsets) + self(middles + offsets))) / (high - low))


def bd_rate(curve: Curve, anchor: Curve, rates: tuple[float, float] | None = None) -> BdRate:
    """Mean difference in rate of curve against anchor over the qualities that both reach.

    With rates, a pair in bits per pixel, only over the qualities that the anchor has between those rates
    (cut to the rates that the anchor has). Points of infinite quality are left out.
    """
    try:
        ours, theirs = _log_rate_over_quality(curve), _log_rate_over_quality(anchor)
    except ValueError:
        return BdRate(None, reason="fewer than two points of finite, different quality")
    low, high = max(ours.x[0], theirs.x[0]), min(ours.x[-1], theirs.x[-1])
    if rates is not None:
        window = _qualities_between(anchor, rates)
        if window is None:
            return BdRate(None, reason=f"the anchor has no rates between {rates[0]:g} and {rates[1]:g} bpp")
        low, high = max(low, window[0]), min(high, window[1])
    if low >= high:
        return BdRate(None, reason="the curves share no quality interval")
    ratio = 10 ** (ours.mean(low, high) - theirs.mean(low, high))
    return BdRate(100 * (ratio - 1), float(low), float(high))


def _log_rate_over_quality(curve: Curve) -> Pchip:
    """log10(rate) over quality; of several points of one quality the cheapest stays."""
    finite = np.isfinite(curve.qualities)
    rates, qualities = curve.rates[finite], curve.qualities[finite]
    order = np.lexsort((rates, qualities))
    distinct, first = np.unique(qualities[order], return_index=True)
    return Pchip.through(distinct, np.log10(rates[order][first]))


def _qualities_between(anchor: Curve, rates: tuple[float, float]) -> tuple[float, float] | None:
    """The anchor's qualities at two rates, moved to its nearest rate where it has none so low or high."""
    finite = np.isfinite(anchor.qualities)
    log_rates, first = np.unique(np.log10(anchor.rates[finite]), return_index=True)
    low, high = np.clip(np.log10(rates), log_rates[0], log_rates[-1])
    if low >= high:
        return None
    quality = Pchip.through(log_rates, anchor.qualities[finite][first])
    return float(quality(low)), float(quality(high))


def _slopes(steps: Vector, secants: Vector) -> Vector:
    if len(secants) == 1:
        return np.repeat(secants, 2)
    left, right = secants[:-1], secants[1:]
    rising = left * right > 0
    weight_left, weight_right = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
    inner = np.zeros_like(left)
    weighted = weight_left[rising] / left[rising] + weight_right[rising] / right[rising]
    inner[rising] = (weight_left + weight_right)[rising] / weighted
    first = _end_slope(steps[0], steps[1], secants[0], secants[1])
    last = _end_slope(steps[-1], steps[-2], secants[-1], secants[-2])
    return np.concatenate(([first], inner, [last]))


def _end_slope(step: float, next_step: float, secant: float, next_secant: float) -> float:
    """Three-point slope at an end, limited so that the end piece stays monotone."""
    slope = ((2 * step + next_step) * secant - step * next_secant) / (step + next_step)
    if slope * secant <= 0:
        return 0.0
    if secant * next_secant <= 0 and abs(slope) > 3 * abs(secant):
        return 3 * secant
    return slope
