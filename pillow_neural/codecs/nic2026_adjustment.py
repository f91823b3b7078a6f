"""The strengths of a picture's adjustment, fitted to what a decoder will have of it.

decoded latents --> synthesis, filter, pixel stage --+--> least squares --> strengths, as many as pay
pixels ----------------------------------------------+

A search sees all of a picture decoded. Without one, some tiles of it are, and directions have no strengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pillow_neural.entropy.gaussian import scale_of_index
from pillow_neural.networks.adjustment import (
    LARGEST,
    STRENGTHS,
    Equations,
    equations,
    fitted,
    no_equations,
    part_of,
)
from pillow_neural.networks.directions import Directions
from pillow_neural.networks.ms_ssim import SMALLEST_SIDE
from pillow_neural.networks.search_tiles import Picture
from pillow_neural.networks.transform import BLOCK
from pillow_neural.networks.transform_codec import SLOPE, TransformCodec, lambda_of_rate

TILE = 6
"""Blocks a side of a tile, of which the outer ones lack their neighbours and do not count."""

SPACING = 10
"""Blocks from tile to tile at most, all over the picture: what a few tiles lack, such as the one place with
fine lines, may be what their strengths spoil."""

TOGETHER = 20
"""Tiles that are synthesised at a time."""

BITS = 8
"""What each of five strengths costs."""

MORE_BITS = 2.05
"""What a strength of a direction costs, less the logarithm of its scale: the entropy of a normal one."""

Corner = tuple[int, int]


def strengths_for(
    network: TransformCodec, picture: Picture, finish: Equations, foreseen: bool = False
) -> list[tuple[int, ...]]:
    """Numbers of each picture; none where they cost more than they save.

    Nothing is foreseen of pictures smaller than a tile, for icons are not like photographs. Nor have pictures
    strengths that are for MS-SSIM and too small for it.

    Args:
        network: the codec's.
        picture: what was coded.
        finish: of what is decoded of it.
        foreseen: that was a first choice, without hidden signs, and what is coded will be another one.
    """
    for_nothing = network.shape.masking and min(picture.pixels.shape[2:]) < SMALLEST_SIDE
    if for_nothing or (foreseen and _is_small(picture)):
        return [()] * len(picture.pixels)
    rate = picture.rate.cpu()
    worth = SLOPE * network.staged_value * lambda_of_rate(rate) / picture.pixels.shape[1]
    units = network.strength_units(rate)
    parts = [(value[None] for value in values) for values in zip(*(v.cpu() for v in finish), strict=True)]
    alone = zip((Equations(*part) for part in parts), torch.split(units, 1), worth.tolist(), strict=True)
    return [_strengths_of_one(wanted, own, each, network.directions, foreseen) for wanted, own, each in alone]


def _strengths_of_one(
    wanted: Equations, units: Tensor, worth: float, directions: Directions | None, foreseen: bool
) -> tuple[int, ...]:
    """Of one picture.

    Args:
        wanted: of S strengths, N is 1.
        units: what one in each stands for, [1, S or more].
        worth: bits that a unit of squared error is worth.
        directions: the network's.
        foreseen: see `strengths_for`.
    """
    bits = _costs(directions).cumsum(dim=0)[: wanted.aims.shape[1]]
    profit = worth * wanted.saved()[0] - bits
    count = STRENGTHS + int(profit[STRENGTHS - 1 :].argmax())
    asked, steps = wanted.first(count), units[:, :count]
    numbers, saved = fitted(asked, steps)
    if foreseen and directions is not None:
        numbers = directions.foreseen(numbers).round_().clamp_(-LARGEST, LARGEST)
        strengths = steps * numbers
        saved = torch.einsum("ni,nij,nj->n", strengths, asked.products.to(strengths), strengths)
    return tuple(numbers[0].int().tolist()) if worth * saved.item() > bits[count - 1] else ()


def _costs(directions: Directions | None) -> Tensor:
    """Bits of each strength, [5 + K]."""
    own = torch.full((STRENGTHS,), BITS, dtype=torch.float64)
    if directions is None:
        return own
    scales = directions.scales.cpu().double()
    return torch.cat([own, (MORE_BITS + scale_of_index(scales).log2()).clamp(min=0)])


def finish_of_tiles(network: TransformCodec, picture: Picture, decoded: Tensor) -> Equations:
    """For strengths of squared error, of some tiles of each picture, as if they were all of it.

    Nothing where the network is for MS-SSIM or pictures are smaller than a tile.

    Args:
        network: the codec's.
        picture: what was coded.
        decoded: its latents in quantisation steps, [B, C, H, W].
    """
    if network.shape.masking or _is_small(picture):
        return no_equations(len(decoded), STRENGTHS, decoded.device)
    pictures = [_of_tiles(network, picture, own, number) for number, own in enumerate(decoded)]
    return Equations(*(torch.cat(values) for values in zip(*pictures, strict=True)))


def _of_tiles(network: TransformCodec, picture: Picture, latents: Tensor, number: int) -> Equations:
    """Those of one picture, as a batch of one."""
    height, width = picture.pixels.shape[2:]
    corners = [(row, column) for row in _starts(height // BLOCK) for column in _starts(width // BLOCK)]
    share = height * width / (len(corners) * ((TILE - 2) * BLOCK) ** 2)
    found = no_equations(1, STRENGTHS, latents.device)
    for first in range(0, len(corners), TOGETHER):
        some = _equations(network, picture, latents, number, corners[first : first + TOGETHER])
        found = found.plus(some.together())
    return Equations(share * found.products, share * found.aims)


def _equations(
    network: TransformCodec, picture: Picture, latents: Tensor, number: int, corners: Sequence[Corner]
) -> Equations:
    """Those of tiles of a picture that begin at these rows and columns of blocks."""
    side, pixels = (TILE - 2) * BLOCK, picture.pixels[number]
    parts = torch.stack([latents[:, r : r + TILE, c : c + TILE] for r, c in corners])
    inner = [(y + BLOCK, x + BLOCK) for y, x in BLOCK * np.array(corners)]
    wanted = torch.stack([pixels[:, y : y + side, x : x + side] for y, x in inner])
    rate = picture.rate[number].expand(len(parts))
    stages = network.stages(parts, rate, planes=len(pixels))
    wanted = wanted.to(parts.device).float() / 255
    return equations(wanted - part_of(stages.staged, BLOCK, BLOCK, wanted), stages, BLOCK, BLOCK)


def _is_small(picture: Picture) -> bool:
    return min(picture.pixels.shape[2:]) < TILE * BLOCK


def _starts(blocks: int) -> list[int]:
    """Where tiles begin, evenly over the blocks."""
    count = -(-blocks // SPACING)
    return [round((blocks - TILE) * (number + 0.5) / count) for number in range(count)]
