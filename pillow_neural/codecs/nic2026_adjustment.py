"""The strengths of a picture's adjustment, fitted to what a decoder will have of it.

decoded latents --> synthesis, filter, pixel stage --+--> least squares --> strengths, or none
pixels ----------------------------------------------+

A search sees all of a picture decoded. Without one, some tiles of it are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pillow_neural.networks.adjustment import (
    STRENGTHS,
    Equations,
    Fit,
    equations,
    fitted,
    no_equations,
    strengths_of,
)
from pillow_neural.networks.search_tiles import Picture
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

FORESEEN_SHARES = (0.81, 0.97, 1.05, 0.89, 0.85)
FORESEEN_MORE = (7.1, 0.3, -1.9, -2.1, 1.3)
"""What becomes of each strength between a first choice and the last, as a line through that of the first: the
noise of hidden signs asks for more of the filter."""

Corner = tuple[int, int]


def strengths_for(picture: Picture, finish: Equations, foreseen: bool = False) -> list[tuple[int, ...]]:
    """Bytes of each picture, as signed numbers; none where they cost more than they save.

    Nothing is foreseen of pictures smaller than a tile, for icons are not like photographs.

    Args:
        picture: what was coded.
        finish: of what is decoded of it.
        foreseen: that was a first choice, without hidden signs, and what is coded will be another one.
    """
    if foreseen and _is_small(picture):
        return [()] * len(picture.pixels)
    fit = _foreseen(fitted(finish), finish) if foreseen else fitted(finish)
    worth = lambda_of_rate(picture.rate.cpu()) / picture.pixels.shape[1] * fit.saved
    numbers: list[list[int]] = fit.numbers.int().tolist()
    return [tuple(own) if bits > BITS else () for own, bits in zip(numbers, worth.tolist(), strict=True)]


def _foreseen(first: Fit, finish: Equations) -> Fit:
    """What a fit to a first choice will be for the last, if what strengths do stays the same."""
    numbers = first.numbers * torch.tensor(FORESEEN_SHARES) + torch.tensor(FORESEEN_MORE)
    numbers = numbers.round().clamp(-128, 127)
    strengths = strengths_of(numbers)
    return Fit(
        numbers, torch.einsum("ni,nij,nj->n", strengths, finish.products.cpu().to(strengths), strengths)
    )


def finish_of_tiles(network: TransformCodec, picture: Picture, decoded: Tensor) -> Equations:
    """For strengths of squared error, of some tiles of each picture, as if they were all of it.

    Nothing where the network is for MS-SSIM or pictures are smaller than a tile.

    Args:
        network: the codec's.
        picture: what was coded.
        decoded: its latents in quantisation steps, [B, C, H, W].
    """
    if network.shape.masking or _is_small(picture):
        return no_equations(len(decoded), decoded.device)
    pictures = [_of_tiles(network, picture, own, number) for number, own in enumerate(decoded)]
    return Equations(*(torch.cat(values) for values in zip(*pictures, strict=True)))


def _of_tiles(network: TransformCodec, picture: Picture, latents: Tensor, number: int) -> Equations:
    """Those of one picture, as a batch of one."""
    height, width = picture.pixels.shape[2:]
    corners = [(row, column) for row in _starts(height // BLOCK) for column in _starts(width // BLOCK)]
    share = height * width / (len(corners) * ((TILE - 2) * BLOCK) ** 2)
    found = no_equations(1, latents.device)
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
    return equations(wanted.to(parts.device).float() / 255, stages, BLOCK, BLOCK)


def _is_small(picture: Picture) -> bool:
    return min(picture.pixels.shape[2:]) < TILE * BLOCK


def _starts(blocks: int) -> list[int]:
    """Where tiles begin, evenly over the blocks."""
    count = -(-blocks // SPACING)
    return [round((blocks - TILE) * (number + 0.5) / count) for number in range(count)]
