"""The codec mentzer2018 small enough for tests, with random weights."""

from __future__ import annotations

import torch

from pillow_neural.codecs.mentzer2018 import Mentzer2018
from pillow_neural.codecs.shared import RateCalibration
from pillow_neural.networks.mentzer2018 import Mentzer2018Network, Mentzer2018Shape
from pillow_neural.networks.packing import pack, unpack
from pillow_neural.networks.volume_context import VolumeContext
from pillow_neural.training.recipes.mentzer2018_weights import priors
from pillow_neural.training.tables import tables_of

TINY = Mentzer2018Shape(features=8, groups=1, channels=6, context=8, knots=2)


def random_network(shape: Mentzer2018Shape = TINY) -> Mentzer2018Network:
    """A frozen network that uses all symbols, all channels of the map and indices from all over the range."""
    torch.manual_seed(0)
    network, frozen = Mentzer2018Network(shape), Mentzer2018Network(shape)
    with torch.no_grad():
        network.analysis.linear.weight.mul_(12)
        torch.nn.init.normal_(network.analysis.tail.weight, std=0.3)
        if network.analysis.tail_of_map is not None:
            torch.nn.init.normal_(network.analysis.tail_of_map.weight, std=0.3)
        torch.nn.init.normal_(network.synthesis.tail.weight, std=0.3)
        if network.importance is not None:
            network.importance.log_gains.sub_(1.5)
    _spread_indices(network.context)
    unpack(frozen, pack(network))
    return frozen.eval()


def random_context(channels: int = 6, centres: int = 6, features: int = 8) -> VolumeContext:
    """A context model, not frozen, whose indices are from all over the range and follow the rate."""
    torch.manual_seed(0)
    context = VolumeContext(channels, centres, features)
    _spread_indices(context)
    return context


def random_codec(shape: Mentzer2018Shape = TINY) -> Mentzer2018:
    """A codec of such a network."""
    calibration = RateCalibration([0, 65_535], [0.1, 1.0])
    return Mentzer2018(random_network(shape), tables_of(priors()), calibration, torch.device("cpu"))


@torch.no_grad()
def _spread_indices(context: VolumeContext) -> None:
    for layer in (context.first, context.second, context.third, context.to_index):
        slopes = layer.weight[:, layer.inputs * layer.taps :]
        torch.nn.init.normal_(slopes, std=0.1)
    context.to_index.weight.mul_(8)
