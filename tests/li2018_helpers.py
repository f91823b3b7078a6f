"""li2018 codecs small enough for tests, with random weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from pillow_neural.codecs.li2018 import CodecNetwork, Li2018
from pillow_neural.codecs.shared import RateCalibration
from pillow_neural.networks.digit_context import DigitContext
from pillow_neural.networks.li2018 import Li2018Shape
from pillow_neural.networks.packing import pack, unpack
from pillow_neural.training.recipes.li2018_weights import priors
from pillow_neural.training.tables import tables_of
from tests.recurrent_helpers import fill_path, random_filter

TINY = Li2018Shape(bits=32, head=4, body=8, synthesis=8, fine=4, hidden=4, knots=2)
DIGITS = replace(TINY, bits=64, components=12)
"""With a linear path."""


def random_codec(shape: Li2018Shape = TINY, seed: int = 0) -> Li2018:
    """A codec with uneven maps, and contexts that give indices from all over the range."""
    torch.manual_seed(seed)
    network, frozen = CodecNetwork(shape), CodecNetwork(shape)
    with torch.no_grad():
        bits = network.bit_context
        steps = bits.bits.phases if isinstance(bits, DigitContext) else bits.steps
        for step in (*network.map_context.steps, *steps):
            step.to_index.weight.mul_(8)
        network.transforms.synthesis.tail.weight.normal_(std=0.1)
        if network.transforms.analysis.importance is not None:
            network.transforms.analysis.importance.last.weight.normal_(std=1.5)
        if network.transforms.path is not None:
            fill_path(network.transforms.path, bits.bits.statistics)
    unpack(frozen, pack(network))
    calibration = RateCalibration([0, 65_535], [0.1, 0.8])
    post_filter = random_filter() if shape.components else None
    return Li2018(frozen, tables_of(priors()), calibration, torch.device("cpu"), post_filter)
