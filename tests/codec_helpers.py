"""What tests of codecs need: pictures, a codec in place of trained weights, a few steps, decoded symbols."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pillow_neural.codecs import loading
from pillow_neural.codecs.contract import Codec, Payload
from pillow_neural.codecs.nic2026 import Nic2026
from pillow_neural.training.data import CropSampler, Picture
from pillow_neural.training.recipe import StepResult
from pillow_neural.weights import WeightsEntry

EXAMPLE = Path(__file__).parents[1] / "examples" / "kodim23.png"

Step = Callable[[nn.Module, Tensor, torch.Generator], StepResult]


class Steps(NamedTuple):
    """Losses of all steps, and the last one's result."""

    losses: list[float]
    last: StepResult


def pictures(count: int, height: int, width: int) -> Tensor:
    """Smooth colours with some noise, uint8 [count, 3, height, width]."""
    random = torch.Generator().manual_seed(1)
    down = torch.arange(height)[:, None] / 9
    across = torch.arange(width) / 7
    phase = torch.arange(3 * count).reshape(count, 3, 1, 1)
    waves = torch.sin(down + phase) + torch.cos(across - 2 * phase)
    noise = torch.randn(waves.shape, generator=random) * (across > 3)
    return (128 + 45 * waves + 8 * noise).clamp(0, 255).to(torch.uint8)


def picture_sampler(height: int, width: int, crop: int) -> CropSampler:
    """Crops of four such pictures."""
    scenes = [Picture(str(n), p.permute(1, 2, 0).numpy()) for n, p in enumerate(pictures(4, height, width))]
    return CropSampler(scenes, crop, seed=0)


def as_batch(image: Image.Image) -> Tensor:
    """An RGB picture as a codec takes it, uint8 [1, 3, H, W]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def default_codec(tune: str | None = None) -> Nic2026:
    """The one that pictures are saved with, with its bundled weights."""
    loaded = loading.load_codec(loading.weights_for_saving("nic2026", tune), "cpu")
    assert isinstance(loaded, Nic2026)
    return loaded


def install(monkeypatch: pytest.MonkeyPatch, name: str, codec: Codec) -> None:
    """Let files be saved with this codec, under this registered name, and opened with it."""
    entry = WeightsEntry(name, "tiny.safetensors", 1, "0123456789abcdef" * 4, "Apache-2.0")
    monkeypatch.setattr(loading, "weights_for_saving", lambda name, tune=None: entry)
    monkeypatch.setattr(loading, "weights_for_opening", lambda name, weights_id: entry)
    monkeypatch.setattr(loading, "load_codec", lambda entry, device: codec)


def train(
    step: Step, network: nn.Module, batch: Tensor, learning_rate: float, count: int, seed: int = 1
) -> Steps:
    """Adam on one batch, with the same draws in every step."""
    optimiser = torch.optim.Adam(network.parameters(), learning_rate)
    losses = []
    for _ in range(count):
        result = step(network, batch, torch.Generator().manual_seed(seed))
        optimiser.zero_grad()
        result.loss.backward()
        optimiser.step()
        losses.append(result.loss.item())
    return Steps(losses, result)


class SymbolRecorder:
    """Collects the latents a decoder reconstructs, as whole symbols."""

    def __init__(self, codec: Nic2026) -> None:
        self.codec = codec

    def symbols(self, payloads: list[Payload], width: int, height: int) -> list[np.ndarray]:
        """Hyper-latents, then symbols of all phases, [B, C, H, W] each."""
        recorded: list[np.ndarray] = []
        latents = self.codec._network.prior.latents

        def recording(hyper: Tensor, symbols: Tensor, unit: Tensor, rate: Tensor) -> Tensor:
            recorded.extend([hyper.numpy().copy(), symbols.numpy().copy()])
            return latents(hyper, symbols, unit, rate)

        self.codec._network.prior.latents = recording  # type: ignore[method-assign]
        try:
            self.codec.decode(payloads, width, height)
        finally:
            del self.codec._network.prior.latents
        return recorded
