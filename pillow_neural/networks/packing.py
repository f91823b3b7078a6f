"""Network <-> tensors of a weights file: floats in 16 or 8 bits, integer layers as their integers.

What has 8 bits is "name", int8 [outputs, ...], times "name.step", bfloat16 [outputs].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from pillow_neural.networks.integer import IntegerLayer

Network = TypeVar("Network", bound=nn.Module)

STEPS = 127
"""Of 8-bit weights, to each side of zero."""


def channels_last(network: Network) -> Network:
    """Lay convolution weights out as CPUs and GPUs like them best; changes and returns the network."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def pack(network: nn.Module, eight_bits: Sequence[str] = ()) -> dict[str, Tensor]:
    """Everything that `unpack` needs, as contiguous CPU tensors.

    Args:
        network: of any kind; what was unpacked packs into the same tensors again.
        eight_bits: name fragments of kernels to store in 8 bits, a step for each output.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        module = network.get_submodule(name.rpartition(".")[0])
        if isinstance(module, IntegerLayer):
            continue
        if value.dim() == 4 and any(fragment in name for fragment in eight_bits):
            tensors[name], tensors[f"{name}.step"] = in_eight_bits(value.cpu())
        else:
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
        floats[name] = value if isinstance(module, IntegerLayer) else unpacked(tensors, name)
    network.load_state_dict(floats)
    for name, module in network.named_modules():
        if isinstance(module, IntegerLayer):
            module.freeze(*(tensors[f"{name}.{part}"] for part in ("weight", "bias", "shift")))


def unpacked(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """What a packed tensor stands for, in float32.

    Raises:
        KeyError: it is not there.
    """
    value = tensors[name].float()
    step = tensors.get(f"{name}.step")
    return value if step is None else value * _along_outputs(step, value)


def in_eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest multiples, int8, of one step for each output, bfloat16: small ones are as exact.

    For `unpacked` the second is named as the first with ".step" after it.
    """
    largest = weight.flatten(1).abs().amax(dim=1)
    step = (largest / STEPS).bfloat16().clamp_min(torch.finfo(torch.bfloat16).tiny)
    multiples = (weight / _along_outputs(step, weight)).round().clamp(-STEPS, STEPS)
    return multiples.to(torch.int8).contiguous(), step


def _along_outputs(step: Tensor, weight: Tensor) -> Tensor:
    return step.float().reshape(-1, *[1] * (weight.dim() - 1))


def thaw(network: nn.Module) -> None:
    """Let an unpacked network be trained on: its integer layers are rounded to the grid again."""
    for module in network.modules():
        if isinstance(module, IntegerLayer):
            module.thaw()
