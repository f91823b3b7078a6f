"""The strengths of a picture's adjustment, fitted to tiles of what a decoder will have of it.

decoded latents --tiles--> synthesis, filter, pixel stage --+--> least squares --> strengths, or none
pixels ---------tiles---------------------------------------+
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pillow_neural.networks.adjustment import STRENGTHS, Equations, equations, fitted
from pillow_neural.networks.search import Picture
from pillow_neural.networks.transform import BLOCK
from pillow_neural.networks.transform_codec import TransformCodec, lambda_of_rate

TILE = 6
"""Blocks a side of a tile, of which the outer ones lack their neighbours and do not count."""

SPACING = 10
"""Blocks from tile to tile at most, all over the picture: what a few tiles lack, such as the one place with
fine lines, may be what their strengths spoil."""

TOGETHER = 20
"""Tiles that are synthesised at a time."""

BITS = 8 * STRENGTHS
"""What strengths cost."""

Corner = tuple[int, int]


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
    starts = range(0, len(corners), TOGETHER)
    fit = fitted(_equations(network, picture, latents, number, corners[n : n + TOGETHER]) for n in starts)
    share = height * width / (len(corners) * ((TILE - 2) * BLOCK) ** 2)
    worth = lambda_of_rate(picture.rate[number]).item() / len(pixels) * share * fit.saved
    return tuple(fit.numbers.int().tolist()) if worth > BITS else ()


def _equations(
    network: TransformCodec, picture: Picture, latents: Tensor, number: int, corners: Sequence[Corner]
) -> Equations:
    """Those of tiles of a picture that begin at these rows and columns of blocks."""
    side = TILE * BLOCK
    pixels = picture.pixels[number]
    parts = torch.stack([latents[:, r : r + TILE, c : c + TILE] for r, c in corners])
    wanted = torch.stack([pixels[:, y : y + side, x : x + side] for y, x in BLOCK * np.array(corners)])
    rate = picture.rate[number].expand(len(parts))
    synthesised = network.reconstruct(parts, rate, planes=len(pixels))
    stages = network.filtered_and_staged(synthesised, rate)
    return equations(wanted.to(parts.device).float() / 255, synthesised, *stages, margin=BLOCK)


def _starts(blocks: int) -> list[int]:
    """Where tiles begin, evenly over the blocks."""
    count = -(-blocks // SPACING)
    return [round((blocks - TILE) * (number + 0.5) / count) for number in range(count)]
