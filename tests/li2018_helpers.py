"""li2018 codecs small enough for tests, with random weights."""

from __future__ import annotations

import torch

from pillow_neural.codecs.li2018 import CodecNetwork, Li2018
from pillow_neural.codecs.shared import RateCalibration
from pillow_neural.networks.li2018 import Li2018Shape
from pillow_neural.networks.packing import pack, unpack
from pillow_neural.training.recipes.li2018_weights import priors
from pillow_neural.training.tables import tables_of

TINY = Li2018Shape(bits=32, head=4, body=8, synthesis=8, fine=4, hidden=4, knots=2)


def random_codec(shape: Li2018Shape = TINY, seed: int = 0) -> Li2018:
    """A codec with uneven maps, and contexts that give indices from all over the range."""
    torch.manual_seed(seed)
    network, frozen = CodecNetwork(shape), CodecNetwork(shape)
    with torch.no_grad():
        for context in (network.map_context, network.bit_context):
            for step in context.steps:
                step.to_index.weight.mul_(8)
        network.transforms.synthesis.tail.weight.normal_(std=0.1)
        if network.transforms.analysis.importance is not None:
            network.transforms.analysis.importance.last.weight.mul_(3)
    unpack(frozen, pack(network))
    return Li2018(frozen, tables_of(priors()), RateCalibration([0, 65_535], [0.1, 0.8]), torch.device("cpu"))
