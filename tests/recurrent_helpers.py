"""Recurrent codecs small enough for tests, with random weights."""

from __future__ import annotations

import pytest
import torch

from pillow_neural.codecs import loading
from pillow_neural.codecs.recurrent import Calibration, CodecNetwork, RecurrentCodec
from pillow_neural.networks.packing import pack, unpack
from pillow_neural.networks.recurrent_codec import RecurrentShape
from pillow_neural.training.recipes.recurrent_weights import priors
from pillow_neural.training.tables import tables_of
from pillow_neural.weights import WeightsEntry

TINY = RecurrentShape(unit="gru", width=1 / 32, iterations=4, priming=1, ssim_weighted=True, adaptive=True)
CALIBRATION = Calibration((0.2, 0.02), [0, 65_535], [0.1, 0.5], [0.1, 0.2, 0.3, 0.5])


def random_codec(shape: RecurrentShape = TINY, seed: int = 0) -> RecurrentCodec:
    """A codec whose context network gives indices from all over the range."""
    torch.manual_seed(seed)
    network, frozen = CodecNetwork(shape), CodecNetwork(shape)
    with torch.no_grad():
        for phase in network.context.phases:
            phase.to_index.weight.mul_(8)
    unpack(frozen, pack(network))
    tables = tables_of(priors(shape.iterations))
    return RecurrentCodec(frozen, tables, CALIBRATION, shape.adaptive, torch.device("cpu"))


def install(monkeypatch: pytest.MonkeyPatch, codec: RecurrentCodec) -> None:
    """Let files be saved with this codec, under the name johnston2018, and opened with it."""
    entry = WeightsEntry("johnston2018", "tiny.safetensors", 1, "0123456789abcdef" * 4, "Apache-2.0")
    monkeypatch.setattr(loading, "weights_for_saving", lambda name: entry)
    monkeypatch.setattr(loading, "weights_for_opening", lambda name, weights_id: entry)
    monkeypatch.setattr(loading, "load_codec", lambda entry, device: codec)


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    """Smooth colours with some noise, uint8 [count, 3, height, width]."""
    random = torch.Generator().manual_seed(1)
    down = torch.arange(height)[:, None] / 9
    across = torch.arange(width) / 7
    phase = torch.arange(3 * count).reshape(count, 3, 1, 1)
    waves = torch.sin(down + phase) + torch.cos(across - 2 * phase)
    noise = torch.randn(waves.shape, generator=random) * (across > 3)
    return (128 + 45 * waves + 8 * noise).clamp(0, 255).to(torch.uint8)
