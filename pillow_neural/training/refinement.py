"""Closed-form start of a progressive code: which component each digit of each iteration refines, and how.

A digit is -1, 0 or 1, see pillow_neural.networks.linear_path. Digits are given away one after another, each
to the component whose squared error falls the most by it, with the best threshold and step for what is
missing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pillow_neural.networks.linear_path import LinearPath, ternary

THRESHOLDS = torch.linspace(0.2, 1.6, 15)
"""Those that are tried, in deviations."""


@torch.no_grad()
def start_refinement(path: LinearPath, blocks: Tensor) -> None:
    """Choose the digits of all iterations for training blocks in pixel-unshuffle order, [N, 3 * side**2]."""
    missing = blocks @ path.vectors.T
    lost = blocks.square().sum() - missing.square().sum()
    errors = []
    falls, thresholds, steps = fit_digits(missing)
    for number, components in enumerate(path.component.long()):
        threshold, step = torch.zeros(len(components)), torch.zeros(len(components))
        for digit in range(len(components)):
            chosen = components[digit] = falls.argmax()
            threshold[digit], step[digit] = thresholds[chosen], steps[chosen]
            column = missing[:, chosen : chosen + 1]
            column -= ternary(column, threshold[digit]) * step[digit]
            for kept, new in zip((falls, thresholds, steps), fit_digits(column), strict=True):
                kept[chosen] = new[0]
        path.set_digits(number, components, threshold, step)
        errors.append(missing.square().sum() + lost)
    path.trust.copy_(torch.stack(errors) / errors[0])


def fit_digits(missing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fall of the mean squared error by a digit of each component, its threshold and its step, [C] each.

    The step is the mean magnitude of what is beyond the threshold.
    """
    deviation = missing.square().mean(0).sqrt()
    trials = []
    for threshold in (share * deviation for share in THRESHOLDS):
        beyond = missing.abs() >= threshold
        step = (missing.abs() * beyond).mean(0) / beyond.float().mean(0).clamp_min(1 / len(missing))
        trials.append(torch.stack([step.square() * beyond.float().mean(0), threshold, step]))
    stacked = torch.stack(trials)
    best = stacked[:, :1].argmax(0, keepdim=True).expand(1, 3, -1)
    falls, thresholds, steps = stacked.gather(0, best)[0]
    return falls, thresholds, steps
