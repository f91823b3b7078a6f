"""What a codec tells the common training loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pillow_neural.training.data import CropSampler, Pixels


class StepResult(NamedTuple):
    """The loss to differentiate and the means to log: bits per pixel and PSNR in dB."""

    loss: Tensor
    bpp: Tensor
    psnr: Tensor


class Packed(NamedTuple):
    """Contents of a weights file: tensors and string metadata, as safetensors takes them."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A codec's recipe.

    Attributes:
        build: makes the network, untrained.
        initialise: data-driven start of the weights, once, before the first step.
        step: loss of one batch, uint8 pixels [B, 3, H, W] on the network's device, at a progress of 0..1
            through the run's time.
        pack: weights file of a trained network; gets a sampler of training crops for statistics and
            photographs, uint8 [H, W, 3], that were held out, for calibration.
        slow: name fragments of parameters that learn at a tenth of the rate.
        crop, batch, learning_rate: defaults, open to the command line.
    """

    build: Callable[[], nn.Module]
    initialise: Callable[[nn.Module, CropSampler], None]
    step: Callable[[nn.Module, Tensor, torch.Generator, float], StepResult]
    pack: Callable[[nn.Module, CropSampler, Sequence[Pixels]], Packed]
    slow: tuple[str, ...] = ()
    crop: int = 256
    batch: int = 4
    learning_rate: float = 4e-4
