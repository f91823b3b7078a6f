"""Start a wider and deeper pixel stage from one that was trained, so that it does the same at first."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pillow_neural.networks.packing import unpacked
from pillow_neural.networks.transform_codec import TransformCodec

STAGE = "pixel_stage."


@torch.no_grad()
def widen_pixel_stage(network: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors of a weights file with its pixel stage grown to the size of the network's.

    Features that the file does not have start at random and nothing of them is used by those that it has;
    layers that it does not have change only such features.

    Raises:
        KeyError: the file has no pixel stage.
    """
    assert isinstance(network, TransformCodec)
    if network.pixel_stage is None:
        return tensors
    had = len(tensors[f"{STAGE}head.bias"])
    grown = {name: value for name, value in tensors.items() if not name.startswith(STAGE)}
    for part, fresh in network.pixel_stage.state_dict().items():
        name, value = f"{STAGE}{part}", fresh.clone()
        if name in tensors:
            trained = unpacked(tensors, name)
            value[: len(trained)] = 0
            value[tuple(slice(size) for size in trained.shape)] = trained
        else:
            value[:had] = 0
        grown[name] = value
    return grown
