"""Closed-form starts: the Karhunen-Loeve transform and linear prediction between neighbouring blocks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.networks.phases import GROUPS, OFFSETS, PHASES
from pillow_neural.networks.transform import BLOCK
from pillow_neural.training.data import CropSampler

SHIFTED_BLOCKS = 4


def block_samples(sampler: CropSampler, crops: int, side: int = BLOCK) -> Tensor:
    """Pixels -0.5..0.5 of square blocks at several alignments: [N, 3 * side**2] in pixel-unshuffle order."""
    rows = []
    for number in range(crops):
        pixels = torch.from_numpy(sampler.crop().copy()).permute(2, 0, 1).float() / 255 - 0.5
        shift = (number % SHIFTED_BLOCKS) * (side // SHIFTED_BLOCKS)
        used = (pixels.shape[1] // side - 1) * side
        pixels = pixels[:, shift : shift + used, shift : shift + used]
        rows.append(F.pixel_unshuffle(pixels, side).flatten(1).T)
    return torch.cat(rows)


def klt(blocks: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Leading eigenvectors [components, D] of the second moments of blocks [N, D], and their deviations."""
    moments = (blocks.double().T @ blocks.double()) / len(blocks)
    values, vectors = torch.linalg.eigh(moments)
    leading = vectors.flip(1)[:, :components].T
    return leading.float(), values.flip(0)[:components].clamp_min(1e-8).sqrt().float()


def neighbourhood_moments(latents: Tensor) -> Tensor:
    """Second moments of 3x3 neighbourhoods of latents [B, C, H, W]: [9 * C, 9 * C], channel-major."""
    total = torch.zeros(9 * latents.shape[1], 9 * latents.shape[1])
    count = 0
    for picture in latents:
        patches = F.unfold(picture[None], 3)[0]
        total += patches @ patches.T
        count += patches.shape[1]
    return total / count


def _available(phase: int, group: int, channels: int) -> Tensor:
    """Which inputs [C, 3, 3] are decoded before this phase where this group is decoded, flattened."""
    parity = group ^ OFFSETS[phase]
    known = torch.zeros(channels, 3, 3, dtype=torch.bool)
    for row in range(3):
        for column in range(3):
            neighbour = parity ^ (2 * ((row + 1) % 2) + (column + 1) % 2)
            for earlier in range(phase):
                known[neighbour ^ OFFSETS[earlier] :: GROUPS, row, column] = True
    return known.flatten()


def linear_predictors(moments: Tensor, noise: Tensor, phase: int) -> Tensor:
    """Least-squares 3x3 prediction of each group in one phase, group after group: [C, C, 3, 3].

    Args:
        moments: of normalised latents, from neighbourhood_moments.
        noise: variance of the quantisation noise of each channel's inputs, [C].
        phase: 1..3.
    """
    channels = len(noise)
    assert 0 < phase < PHASES
    noisy = moments + torch.diag(noise.repeat_interleave(9))
    weights = torch.zeros(GROUPS, channels // GROUPS, channels * 9)
    for group in range(GROUPS):
        known = _available(phase, group, channels).nonzero().flatten()
        targets = torch.arange(group, channels, GROUPS) * 9 + 4
        solution = torch.linalg.solve(noisy[known][:, known], moments[known][:, targets])
        weights[group][:, known] = solution.T
    return weights.reshape(channels, channels, 3, 3)
