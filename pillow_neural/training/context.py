"""Context networks in exact integer arithmetic: training on coded bits, the proof, the tables to start from.

They are trained when the weights file is made: until then the bits that they tell the odds of still change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from pillow_neural.networks.bit_context import INDICES, LOGIT_STEP, logit_of_index
from pillow_neural.networks.integer import ACTIVATION_LIMIT, IntegerLayer, largest_exact
from pillow_neural.training.loop import schedule
from pillow_neural.training.tables import Counts

LOG = logging.getLogger(__name__)

LOG_STEPS = 500

Cost = Callable[[torch.Generator], tuple[Tensor, Tensor]]
"""From a random choice of bits to the estimated bits to code them, differentiable, and their number."""


def fit(context: nn.Module, cost: Cost, steps: int, learning_rate: float, seed: int) -> None:
    """Lower the bits to code a bit by Adam, one call of `cost` a step."""
    optimiser = torch.optim.Adam(context.parameters(), learning_rate)
    random = torch.Generator().manual_seed(seed)
    spent = coded = 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * schedule(step / steps)
        bits, count = cost(random)
        optimiser.zero_grad()
        (bits / count.clamp_min(1)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        spent, coded = spent + bits.item(), coded + count.item()
        if (step + 1) % LOG_STEPS == 0:
            LOG.info("context step %d: %.4f bits to code a bit", step + 1, spent / max(coded, 1))
            spent = coded = 0.0


def prove_exact(context: nn.Module) -> int:
    """Largest possible partial sum of the integer layers, in grid units.

    Raises:
        OverflowError: float32 could not hold it exactly.
    """
    layers = (module for module in context.modules() if isinstance(module, IntegerLayer))
    return largest_exact(layer.largest_sums(ACTIVATION_LIMIT) for layer in layers)


def sign_priors(step: float = LOGIT_STEP) -> list[Counts]:
    """Probabilities of the symbols -1, 0, 1 and the escape for each index; `step` as for logit_of_index."""
    ones = torch.sigmoid(logit_of_index(torch.arange(INDICES, dtype=torch.float64), step)).tolist()
    return [np.array([1 - one, 0, one, 0]) for one in ones]
