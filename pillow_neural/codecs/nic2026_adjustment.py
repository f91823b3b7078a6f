"""The strengths of a picture's adjustment, fitted to tiles of what a decoder will have of it.

decoded latents --3x3 tiles--> synthesis, filter, pixel stage --+--> least squares --> strengths, or none
pixels ---------3x3 tiles---------------------------------------+
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pillow_neural.networks.adjustment import STRENGTHS, fitted
from pillow_neural.networks.search import Picture
from pillow_neural.networks.transform import BLOCK
from pillow_neural.networks.transform_codec import TransformCodec, lambda_of_rate

TILES = 3
"""So many across and down."""

TILE = 6
"""Blocks a side of a tile, of which the outer ones lack their neighbours and do not count."""

BITS = 8 * STRENGTHS
"""What strengths cost."""


def strengths_for(network: TransformCodec, picture: Picture, decoded: Tensor) -> list[tuple[int, ...]]:
    """Bytes of each picture, as signed numbers; none where they cost more than they save.

    Of squared error: a network for MS-SSIM has none.

    Args:
        network: the codec's.
        picture: what was coded.
        decoded: its latents in quantisation steps, [B, C, H, W].
    """
    if network.shape.masking or min(picture.pixels.shape[2:]) < TILE * BLOCK:
        return [()] * len(decoded)
    return [_strengths(network, picture, latents, number) for number, latents in enumerate(decoded)]


def _strengths(network: TransformCodec, picture: Picture, latents: Tensor, number: int) -> tuple[int, ...]:
    pixels = picture.pixels[number]
    height, width = pixels.shape[1:]
    corners = [(row, column) for row in _starts(height // BLOCK) for column in _starts(width // BLOCK)]
    side = TILE * BLOCK
    parts = torch.stack([latents[:, r : r + TILE, c : c + TILE] for r, c in corners])
    wanted = torch.stack([pixels[:, y : y + side, x : x + side] for y, x in BLOCK * np.array(corners)])
    rate = picture.rate[number].expand(len(parts))
    synthesised = network.reconstruct(parts, rate, planes=len(pixels))
    stages = network.filtered_and_staged(synthesised, rate)
    fit = fitted(wanted.to(parts.device).float() / 255, synthesised, *stages, margin=BLOCK)
    share = height * width / (len(parts) * (side - 2 * BLOCK) ** 2)
    worth = lambda_of_rate(picture.rate[number]).item() / len(pixels) * share * fit.saved
    return tuple(fit.numbers.int().tolist()) if worth > BITS else ()


def _starts(blocks: int) -> list[int]:
    """Where tiles begin: evenly over the blocks, the same twice where there are few."""
    return [round((blocks - TILE) * (number + 0.5) / TILES) for number in range(TILES)]
