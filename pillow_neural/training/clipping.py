"""Limits to gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

CLIP_FACTOR = 2.0
USUAL_NORM_DECAY = 0.98


class GradientClipper:
    """Limits each parameter's gradient to CLIP_FACTOR times its own usual norm.

    One limit for all would let the parameters with the largest gradients scale those of all others, by
    another factor in each step: Adam takes the steps in which they are spared as outliers and goes far.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._usual = [0.0] * len(self._parameters)

    @torch.no_grad()
    def clip(self) -> float:
        """Scale the gradients; returns their joint norm before."""
        gradients = {n: p.grad for n, p in enumerate(self._parameters) if p.grad is not None}
        norms = torch.stack(torch._foreach_norm(list(gradients.values()))).tolist()
        for (number, gradient), norm in zip(gradients.items(), norms, strict=True):
            limit = CLIP_FACTOR * (self._usual[number] or norm)
            if norm > limit:
                gradient.mul_(limit / norm)
            if math.isfinite(norm):
                before = self._usual[number] or norm
                self._usual[number] = min(norm, limit) + USUAL_NORM_DECAY * (before - min(norm, limit))
        return math.hypot(*norms)
