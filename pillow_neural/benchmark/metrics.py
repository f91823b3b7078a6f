"""How far one picture is from another: PSNR and MS-SSIM over RGB, NLPD over luma."""

import math
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float64]

MIN_SIDE = 176
"""Shortest side in pixels for MS-SSIM: the 11x11 window has to fit at a sixteenth of the size."""

HAS_NLPD = find_spec("plenoptic") is not None
"""Whether `nlpd` can be computed here."""

_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_RADIUS = 5
_SIGMA = 1.5
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32) / 255


def psnr(reference: Pixels, picture: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of two [H, W, 3] uint8 pictures, one MSE over all three channels.

    Infinite for equal pictures. Raises ValueError when the shapes differ.
    """
    _check_shapes(reference, picture)
    error = reference.astype(np.float64) - picture
    mse = float(np.mean(error * error))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


def ms_ssim(reference: Pixels, picture: Pixels) -> float:
    """Multi-scale structural similarity of two [H, W, 3] uint8 pictures, at most 1 (equal pictures).

    Wang, Simoncelli and Bovik 2003, equation 7: five scales, 11x11 Gaussian window of sigma 1.5, valid
    convolution, 2x2 means between the scales (an odd side repeats its last row or column). Computed for each
    channel and averaged; a negative contrast term counts as 0. Raises ValueError when the shapes differ or a
    side is shorter than 176 pixels.
    """
    _check_shapes(reference, picture)
    height, width, _ = reference.shape
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"MS-SSIM needs {MIN_SIDE} pixels a side, the picture is {width}x{height}")
    channels = zip(np.moveaxis(reference, -1, 0), np.moveaxis(picture, -1, 0), strict=True)
    return float(np.mean([_plane_ms_ssim(a.astype(np.float64), b.astype(np.float64)) for a, b in channels]))


def ms_ssim_db(value: float) -> float:
    """MS-SSIM on the scale that curves are drawn in: -10 log10(1 - value) dB, infinite at 1."""
    return math.inf if value >= 1 else -10 * math.log10(1 - value)


def nlpd(reference: Pixels, picture: Pixels) -> float:
    """Normalised Laplacian pyramid distance of the luma of two [H, W, 3] uint8 pictures, 0 for equal ones.

    Laparra, Balle, Berardino and Simoncelli 2016, "Perceptual image quality assessment using a normalized
    Laplacian pyramid": local luminance subtraction and contrast gain control at six scales, as plenoptic
    computes it. Raises ValueError when the shapes differ, ImportError when plenoptic isn't installed.
    """
    _check_shapes(reference, picture)
    import torch
    from plenoptic.metric import nlpd as distance

    with torch.inference_mode():
        planes = [torch.from_numpy(pixels @ _LUMA)[None, None].clamp(0, 1) for pixels in (reference, picture)]
        return float(distance(*planes, epsilon=0.0))


def nlpd_db(value: float) -> float:
    """NLPD on the scale that curves are drawn in: -20 log10(value) dB, infinite at 0."""
    return math.inf if value <= 0 else -20 * math.log10(value)


def _check_shapes(reference: Pixels, picture: Pixels) -> None:
    if reference.ndim != 3 or reference.shape[-1] != 3 or reference.shape != picture.shape:
        raise ValueError(f"expected two equal [H, W, 3] shapes, got {reference.shape} and {picture.shape}")


def _plane_ms_ssim(a: Plane, b: Plane) -> float:
    product = 1.0
    for weight in _SCALE_WEIGHTS[:-1]:
        _, contrast = _similarity(a, b)
        product *= max(contrast, 0.0) ** weight
        a, b = _halve(a), _halve(b)
    similarity, _ = _similarity(a, b)
    return float(product * max(similarity, 0.0) ** _SCALE_WEIGHTS[-1])


def _similarity(a: Plane, b: Plane) -> tuple[float, float]:
    """Mean SSIM of two planes, and the mean of its contrast-structure part alone."""
    mean_a, mean_b = _blur(a), _blur(b)
    variances = _blur(a * a + b * b) - mean_a * mean_a - mean_b * mean_b
    covariance = _blur(a * b) - mean_a * mean_b
    contrast = (2 * covariance + _C2) / (variances + _C2)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a * mean_a + mean_b * mean_b + _C1)
    return float(np.mean(luminance * contrast)), float(np.mean(contrast))


def _blur(plane: Plane) -> Plane:
    return _blur_rows(_blur_rows(plane).T).T


def _blur_rows(plane: Plane) -> Plane:
    taps = np.exp(-0.5 * (np.arange(_RADIUS + 1) / _SIGMA) ** 2)
    taps /= taps[0] + 2 * taps[1:].sum()
    length = plane.shape[0] - 2 * _RADIUS
    blurred: Plane = taps[0] * plane[_RADIUS : _RADIUS + length]
    for distance in range(1, _RADIUS + 1):
        before, after = _RADIUS - distance, _RADIUS + distance
        blurred += taps[distance] * (plane[before : before + length] + plane[after : after + length])
    return blurred


def _halve(plane: Plane) -> Plane:
    height, width = plane.shape
    even = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    rows = even[0::2] + even[1::2]
    return 0.25 * (rows[:, 0::2] + rows[:, 1::2])
