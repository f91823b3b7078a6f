"""Closed-form start of a progressive code: which component each digit of each iteration refines, and how.

A digit is -1, 0 or 1, see pillow_neural.networks.linear_path. Digits are given away one after another, each
to the component with the largest merit, the fall of the squared error over a power of the digit's entropy,
with the threshold and step that are best by that. By the fall alone thresholds would be lower and iterations
fewer, but files larger: figures in training/NOTES.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pillow_neural.networks.linear_path import LinearPath, ternary
from pillow_neural.training.data import CropSampler
from pillow_neural.training.klt import block_samples, klt

CROP = 256
CROPS = 200
SEED = 1703

THRESHOLDS = torch.linspace(0.3, 2.6, 20)
"""Those that are tried, in deviations."""

ENTROPY_POWER = 0.35
"""Larger ones give more PSNR at equal bits, and less MS-SSIM."""

RAREST = 1e-3


@torch.no_grad()
def start_path(path: LinearPath, sampler: CropSampler) -> None:
    """The KLT, and the digits that refine it the most."""
    blocks = block_samples(sampler.with_crop(CROP, SEED), CROPS, path.block)
    vectors, deviations = klt(blocks, len(path.vectors))
    path.vectors.copy_(vectors)
    path.deviations.copy_(deviations)
    start_refinement(path, blocks)


@torch.no_grad()
def start_refinement(path: LinearPath, blocks: Tensor) -> None:
    """Choose the digits of all iterations for training blocks in pixel-unshuffle order, [N, 3 * side**2]."""
    missing = blocks @ path.vectors.T
    lost = blocks.square().sum() - missing.square().sum()
    errors = []
    merits, thresholds, steps = fit_digits(missing)
    for number, components in enumerate(path.component.long()):
        threshold, step = torch.zeros(len(components)), torch.zeros(len(components))
        for digit in range(len(components)):
            chosen = components[digit] = merits.argmax()
            threshold[digit], step[digit] = thresholds[chosen], steps[chosen]
            column = missing[:, chosen : chosen + 1]
            column -= ternary(column, threshold[digit]) * step[digit]
            for kept, new in zip((merits, thresholds, steps), fit_digits(column), strict=True):
                kept[chosen] = new[0]
        path.set_digits(number, components, threshold, step)
        errors.append(missing.square().sum() + lost)
    path.remaining.copy_((torch.stack(errors) / errors[0]).sqrt())


def fit_digits(missing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best merit of a digit of each component, with its threshold and its step, [C] each.

    The step is the mean magnitude of what is beyond the threshold.
    """
    deviation = missing.square().mean(0).sqrt()
    trials = []
    for threshold in (share * deviation for share in THRESHOLDS):
        beyond = missing.abs() >= threshold
        share = beyond.float().mean(0).clamp(RAREST, 1 - RAREST)
        step = (missing.abs() * beyond).mean(0) / share
        trials.append(torch.stack([step.square() * share / entropy(share) ** ENTROPY_POWER, threshold, step]))
    stacked = torch.stack(trials)
    best = stacked[:, :1].argmax(0, keepdim=True).expand(1, 3, -1)
    merits, thresholds, steps = stacked.gather(0, best)[0]
    return merits, thresholds, steps


def entropy(share: Tensor) -> Tensor:
    """Of a digit that is as often 1 as -1, and one of both with this probability, in bits."""
    return -(share * (share / 2).log2() + (1 - share) * (1 - share).log2())
