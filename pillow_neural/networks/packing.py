"""Network <-> tensors of a weights file: floats in 16 bits, integer layers as their integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from pillow_neural.networks.integer import IntegerLayer

Network = TypeVar("Network", bound=nn.Module)


def channels_last(network: Network) -> Network:
    """Lay convolution weights out as CPUs and GPUs like them best; changes and returns the network."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def pack(network: nn.Module) -> dict[str, Tensor]:
    """Everything that `unpack` needs, as contiguous CPU tensors."""
    tensors: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        module = network.get_submodule(name.rpartition(".")[0])
        if not isinstance(module, IntegerLayer):
            tensors[name] = value.half().cpu().contiguous()
    for name, module in network.named_modules():
        if isinstance(module, IntegerLayer):
            for part, value in zip(("weight", "bias", "shift"), module.integers(), strict=True):
                tensors[f"{name}.{part}"] = value.cpu().contiguous()
    return tensors


def unpack(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill a network from packed tensors and freeze its integer layers.

    Raises:
        KeyError, RuntimeError: the tensors are not this network's.
    """
    floats: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        module = network.get_submodule(name.rpartition(".")[0])
        floats[name] = value if isinstance(module, IntegerLayer) else tensors[name].to(torch.float32)
    network.load_state_dict(floats)
    for name, module in network.named_modules():
        if isinstance(module, IntegerLayer):
            module.freeze(*(tensors[f"{name}.{part}"] for part in ("weight", "bias", "shift")))


def thaw(network: nn.Module) -> None:
    """Let an unpacked network be trained on: its integer layers are rounded to the grid again."""
    for module in network.modules():
        if isinstance(module, IntegerLayer):
            module.thaw()
