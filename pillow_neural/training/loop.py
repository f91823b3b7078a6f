"""The training loop of every codec: seeded, resumable, limited by time, with EMA weights."""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pillow_neural.codecs.shared import read_weights
from pillow_neural.networks.adaptive_filter import AdaptiveFilter
from pillow_neural.networks.packing import channels_last, thaw, unpack
from pillow_neural.networks.precision import multiplies_bfloat16
from pillow_neural.training import parallel
from pillow_neural.training.clipping import USUAL_NORM_DECAY, GradientClipper
from pillow_neural.training.data import CropSampler, prefetch
from pillow_neural.training.recipe import Recipe
from pillow_neural.weights import WeightsEntry, locate

LOG = logging.getLogger(__name__)

HOLD = 0.15
FINAL_RATE = 0.01
WARM_UP_STEPS = 200
EMA_DECAY = 0.998
LOG_SECONDS = 30.0
CHECKPOINT_SECONDS = 150.0
SLOW_FACTOR = 0.1
QUICK_FACTOR = 5.0
OUTLIER = 10.0
OUTLIER_GROWTH = 1.02
RECENT = 4
"""Log lines whose mean loss is judged: of one alone, slow machines see too few batches."""

HEALTHY = 1.15
DIVERGED = 1.4
CAUTION = 0.5


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """Limits and places of one run.

    Attributes:
        minutes: wall-clock length; the learning rate is held, then falls to 1 % at the end.
        folder: receives checkpoint.pt.
        resume: continue from the folder's checkpoint, with a schedule of its own.
        weights: continue from a listed weights file, where there is no checkpoint of its run any more.
        balance: balance quantisation steps before the first step.
    """

    minutes: float
    folder: Path
    seed: int
    batch: int
    learning_rate: float
    resume: bool
    device: torch.device
    weights: WeightsEntry | None = None
    balance: bool = False


def schedule(progress: float) -> float:
    """Learning-rate factor at 0..1 of the time: held, then a cosine to 1 %."""
    if progress < HOLD:
        return 1.0
    fall = min(1.0, (progress - HOLD) / (1 - HOLD))
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * fall))


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device multiplies it in hardware, else None for float32."""
    return torch.bfloat16 if device.type == "cuda" or multiplies_bfloat16() else None


class Trainer:
    """Network, optimiser, EMA and counters of one run; save and load keep them together."""

    def __init__(self, recipe: Recipe, network: nn.Module, options: LoopOptions) -> None:
        self.recipe = recipe
        self.options = options
        self.network = channels_last(network.to(options.device))
        self._start_optimiser()
        self._start_average()
        self.steps = self.first_step = 0
        self.seconds = 0.0
        self.pixels = 0
        self.caution = 1.0
        self.has_checkpoint = False
        self.post_filter: AdaptiveFilter | None = None

    def _start_optimiser(self) -> None:
        groups: dict[float, list[nn.Parameter]] = {1.0: [], SLOW_FACTOR: [], QUICK_FACTOR: []}
        for name, parameter in self.network.named_parameters():
            groups[self._factor(name)].append(parameter)
        self.optimiser = torch.optim.Adam(
            [{"params": group, "factor": factor} for factor, group in groups.items() if group],
            lr=self.options.learning_rate,
            fused=True,
        )
        self._usual_norm = math.inf
        self._clipper = GradientClipper(self.network.parameters())

    def _factor(self, name: str) -> float:
        """How fast a parameter learns."""
        if any(fragment in name for fragment in self.recipe.slow):
            return SLOW_FACTOR
        return QUICK_FACTOR if any(fragment in name for fragment in self.recipe.quick) else 1.0

    def _start_average(self) -> None:
        self.average = {n: p.detach().clone() for n, p in self.network.state_dict().items()}

    def balance(self, sampler: CropSampler) -> None:
        """Balance the quantisation steps, in the first process for all.

        Raises:
            ValueError: the recipe does not know how.
        """
        if self.recipe.balance is None:
            raise ValueError("the recipe cannot balance quantisation steps")
        if not parallel.rank():
            self.recipe.balance(self.network, sampler)
        parallel.take_from_first(self.network)
        self._start_average()

    def checkpoint(self) -> None:
        """Write network, EMA, optimiser and counters to the folder, atomically; the first process does."""
        self.has_checkpoint = True
        if parallel.rank():
            return
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
            "seconds": self.seconds,
            "pixels": self.pixels,
            "filter": {} if self.post_filter is None else self.post_filter.tensors(),
        }
        self.options.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.options.folder / "checkpoint.tmp"
        torch.save(state, temporary)
        temporary.replace(self.options.folder / "checkpoint.pt")

    def resume(self) -> None:
        """Continue from the folder's checkpoint."""
        state = torch.load(self.options.folder / "checkpoint.pt", self.options.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = state["average"]
        self.steps, self.seconds, self.pixels = state["steps"], state["seconds"], state["pixels"]
        self.first_step = self.steps
        self.has_checkpoint = True
        self._use_filter(state.get("filter", {}))

    def _use_filter(self, tensors: Mapping[str, Tensor]) -> None:
        self.post_filter = self.recipe.use_found_filter(self.network, tensors, self.options.device)

    def retreat(self) -> None:
        """Go on from the averages of the last checkpoint with half the learning rate, after a divergence.

        Weights and optimiser may have been on their way to it when they were saved; averages hardly move in
        so few steps.
        """
        self.resume()
        self.network.load_state_dict(self.average)
        self._start_optimiser()
        self.caution *= CAUTION

    def start_from(self, entry: WeightsEntry) -> None:
        """Continue from a weights file and its counters, with a new optimiser."""
        tensors = read_weights(locate(entry)).tensors
        widen = self.recipe.widen
        unpack(self.network, tensors if widen is None else widen(self.network, tensors))
        thaw(self.network)
        self._use_filter(tensors)
        self._start_average()
        if entry.training is not None:
            self.steps = self.first_step = entry.training.steps
            self.seconds = 60 * entry.training.minutes
            self.pixels = round(1e6 * entry.training.megapixels)

    def update(self, batch: Tensor, random: torch.Generator, progress: float) -> list[float]:
        """One optimiser step at 0..1 of the run; returns loss, bpp, PSNR and the gradient's norm."""
        factor = schedule(progress) * min(1.0, (self.steps - self.first_step + 1) / WARM_UP_STEPS)
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.learning_rate * self.caution * group["factor"] * factor
        dtype = autocast_dtype(self.options.device)
        with torch.autocast(self.options.device.type, dtype, enabled=dtype is not None):
            result = self.recipe.step(self.network, batch.to(self.options.device), random)
        self.optimiser.zero_grad(set_to_none=True)
        result.loss.backward()  # type: ignore[no-untyped-call]
        parallel.average_gradients(self.network.parameters())
        norm = self._clipper.clip()
        if self._is_usual(norm):
            self.optimiser.step()
        self.steps += 1
        self.pixels += parallel.processes() * batch.shape[0] * batch.shape[2] * batch.shape[3]
        self._average()
        return [result.loss.item(), result.bpp.item(), result.psnr.item(), norm]

    def _is_usual(self, norm: float) -> bool:
        """Whether a gradient is to be followed: a few that are far too large can ruin a network."""
        if not math.isfinite(norm):
            return False
        if norm > OUTLIER * self._usual_norm:
            self._usual_norm *= OUTLIER_GROWTH
            return False
        before = self._usual_norm if math.isfinite(self._usual_norm) else norm
        self._usual_norm = norm + USUAL_NORM_DECAY * (before - norm)
        return True

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.steps) / (10 + self.steps))
        current = self.network.state_dict()
        torch._foreach_lerp_(list(self.average.values()), [current[n] for n in self.average], 1 - decay)


def train(recipe: Recipe, sampler: CropSampler, options: LoopOptions) -> Trainer:
    """Train one codec for the given minutes; the result's EMA is its weights.

    As one of several processes (`pillow_neural.training.parallel`) with the pictures of this one.
    """
    seed = options.seed + parallel.rank()
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    network = recipe.build()
    if not options.resume and options.weights is None:
        recipe.initialise(network, sampler)
    parallel.take_from_first(network)
    trainer = Trainer(recipe, network, options)
    if options.weights is not None:
        trainer.start_from(options.weights)
    elif options.resume:
        trainer.resume()
    if options.balance:
        trainer.balance(sampler)
    start = last_log = last_checkpoint = parallel.of_first(time.monotonic())
    sums, count = torch.zeros(4), 0
    lowest = loss = math.inf
    recent: deque[float] = deque(maxlen=RECENT)
    batches = prefetch(sampler, options.batch)
    for batch in batches:
        now = parallel.of_first(time.monotonic())
        progress = (now - start) / (60 * options.minutes)
        if progress >= 1:
            break
        sums += torch.tensor(trainer.update(batch, random, progress))
        count += 1
        trainer.seconds += parallel.processes() * (time.monotonic() - now)
        if now - last_log > LOG_SECONDS:
            loss, bpp, psnr, norm = parallel.mean(sums / count).tolist()
            pixels = parallel.processes() * options.batch * batch.shape[2] * batch.shape[3]
            speed = count * pixels / (now - last_log) / 1e6
            LOG.info(
                "step %d  %.1f min  loss %.4f  bpp %.4f  PSNR %.2f  norm %.2f  %.3f Mpixel/s",
                trainer.steps, trainer.seconds / 60, loss, bpp, psnr, norm, speed,
            )  # fmt: skip
            sums, count, last_log = torch.zeros(4), 0, now
            recent.append(loss)
            usual = statistics.fmean(recent)
            lowest = min(lowest, usual) if len(recent) == RECENT else lowest
            if trainer.has_checkpoint and not usual <= DIVERGED * lowest:
                LOG.warning("the loss has diverged: back to the last checkpoint, with a lower learning rate")
                trainer.retreat()
                recent.clear()
                last_checkpoint = now
        if now - last_checkpoint > CHECKPOINT_SECONDS and loss <= HEALTHY * lowest:
            trainer.checkpoint()
            last_checkpoint = now
    batches.close()
    trainer.checkpoint()
    return trainer
