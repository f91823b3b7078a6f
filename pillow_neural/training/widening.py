"""Start a network with a larger pixel stage and deeper transforms from one that was trained, so that it does
the same at first."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pillow_neural.networks.packing import unpacked
from pillow_neural.networks.transform_codec import TransformCodec

STAGE = "pixel_stage."
FRESH = ("analysis.blocks.", "synthesis.blocks.", "analysis.pixel_stage.")


@torch.no_grad()
def grow(network: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors of a weights file, grown to the size of the network.

    Residual blocks and an analysis's pixel stage that the file does not have start as new ones do, which
    changes nothing. Features that its pixel stage behind the synthesis does not have start at random and
    nothing of them is used by those that it has; layers that it does not have change only such features.

    Raises:
        KeyError: the file has no pixel stage.
    """
    assert isinstance(network, TransformCodec)
    fresh = network.state_dict()
    added = {name: value for name, value in fresh.items() if name.startswith(FRESH)}
    if network.pixel_stage is None:
        return {**added, **tensors}
    kept = {name: value for name, value in tensors.items() if not name.startswith(STAGE)}
    return {**added, **kept, **_grown_stage(fresh, tensors)}


def _grown_stage(fresh: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    had = len(tensors[f"{STAGE}head.bias"])
    grown = {name: value.clone() for name, value in fresh.items() if name.startswith(STAGE)}
    for name, value in grown.items():
        if name in tensors:
            trained = unpacked(tensors, name)
            value[: len(trained)] = 0
            value[tuple(slice(size) for size in trained.shape)] = trained
        else:
            value[:had] = 0
    return grown
