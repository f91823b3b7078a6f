"""The search for better symbols: what the choice of one latent by itself leaves out.

    decoded latents --means of later phases--> what their symbols pay more --+
          |                                                                  +--> derivative --> moved latents
          +--synthesis, finish--> distortion, less the error of each latent -+

Symbols are chosen latent by latent, each with its own error and as if nothing followed from it
(pillow_neural.networks.quantise). Once all are chosen, the derivative of the rest of bits + lambda * D by
what was decoded is known, and the choice can be made again with it: a linear term in the cost of a symbol
moves the latent that it is chosen for. Literature refines latents by the gradient of a relaxed rate (Yang,
Bamler and Mandt 2020, arXiv 2006.04240), in hundreds of steps; this way a few do.

Networks need not be differentiated for the first of these. Synthesis and means are a linear part and a
network beside it that mends what the linear part leaves, so what they give is taken as it is, and its
derivative as the linear part's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pillow_neural.networks.ms_ssim import SMALLEST_SIDE
from pillow_neural.networks.transform import BLOCK
from pillow_neural.networks.transform_codec import (
    HYPER_BLOCK,
    TransformCodec,
    lambda_of_rate,
    mixed_distortion,
)

STRENGTH = 1.1
SHARE = 0.2
"""Of the newest derivative in the running mean that latents are moved by."""

WORTH = 0.9
"""Of lambda: with all of it, choices would be better and larger."""

CURVATURE = 0.95
"""Of the error's weight in a choice without derivatives, which has to stand for some of what these tell."""

LARGEST_MOVE = 0.3
"""In quantisation steps: derivatives hold nearby, those of MS-SSIM in smooth areas most of all."""

CELLS = HYPER_BLOCK // BLOCK
LARGEST_TILE = 9
LARGEST_LINEAR_TILE = 12
"""Cells of 64x64 pixels a side. When more are cut in two, both are large enough for MS-SSIM."""


class Picture(NamedTuple):
    """What is coded and with what, of a batch of pictures of one size.

    Attributes:
        pixels: uint8 [B, P, h, w], not padded.
        latents: what symbols are chosen for, in quantisation steps, [B, C, H, W].
        hyper: rounded hyper-latents, [B, hyper, H / 4, W / 4].
        unit: expected magnitude of the latents in steps, [B, C, 1, 1].
        weight: bits that a squared step of error is worth, [B, C, 1, 1] or [B, C, H, W].
        rate: [B] in 0..1.
    """

    pixels: Tensor
    latents: Tensor
    hyper: Tensor
    unit: Tensor
    weight: Tensor
    rate: Tensor


class Rest(NamedTuple):
    """What the choice of symbols left out.

    Attributes:
        errors: lambda * D, in bits, [B].
        derivative: of that and of what later phases pay, less what the choice knew, by what was decoded,
            [B, C, H, W].
    """

    errors: Tensor
    derivative: Tensor


def errors_of(network: TransformCodec, picture: Picture, decoded: Tensor) -> Tensor:
    """lambda * D, in bits, of what was decoded, [B, C, H, W] in steps: [B]."""
    return torch.stack([_errors(network, tile) for tile in _tiles(picture, decoded, LARGEST_TILE)]).sum(dim=0)


def rest_of(
    network: TransformCodec, picture: Picture, decoded: Tensor, slope: Tensor, linear: bool = False
) -> Rest:
    """Differentiate what a choice of symbols left out.

    Args:
        network: the codec's; the classes of its filter count as constants.
        picture: what was coded.
        decoded: symbols plus means in steps, [B, C, H, W].
        slope: bits that a latent costs more for each step that it is further above its mean, [B, C, H, W].
        linear: take the derivatives of synthesis and means for those of their linear parts, which is nearly
            as good for a first step and takes a third of the time.
    """
    errors = torch.zeros(len(decoded), device=decoded.device)
    differentiated = _linearised if linear else _differentiated
    with torch.inference_mode(False):
        derivative = WORTH * 2 * picture.weight * (picture.latents - decoded)
        for tile in _tiles(picture, decoded, LARGEST_LINEAR_TILE if linear else LARGEST_TILE):
            own = torch.zeros_like(tile.decoded)
            own[tile.own] = slope[tile.latents][tile.own]
            more, seen = differentiated(network, tile, own)
            errors = errors + more
            derivative[tile.latents] += seen
    return Rest(errors, derivative)


Part = tuple[slice, slice, slice, slice]


class _Tile(NamedTuple):
    """A part of a batch, with cells of its neighbours around where there are any.

    In tiles the memory is bounded; what MS-SSIM loses at their borders does not matter here.

    Attributes:
        pixels: of its own, in 0..1.
        decoded, hyper, unit, rate: as of the whole, those of neighbours included.
        latents: which of the whole these are.
        own: which of these are its own.
    """

    pixels: Tensor
    decoded: Tensor
    hyper: Tensor
    unit: Tensor
    rate: Tensor
    latents: Part
    own: Part


def _tiles(picture: Picture, decoded: Tensor, largest: int) -> Iterator[_Tile]:
    rows, columns = picture.hyper.shape[2:]
    for spans in product(_spans(rows, largest), _spans(columns, largest)):
        around = [slice(max(0, span.start - 1), span.stop + 1) for span in spans]
        own = [
            slice(span.start - outer.start, span.stop - outer.start)
            for span, outer in zip(spans, around, strict=True)
        ]
        latents = _part(around, CELLS)
        yield _Tile(
            picture.pixels[_part(spans, HYPER_BLOCK)].to(decoded.device).float() / 255,
            decoded[latents].clone(),
            picture.hyper[_part(around, 1)].clone(),
            picture.unit.clone(),
            picture.rate.clone(),
            latents,
            _part(own, CELLS),
        )


def _spans(cells: int, largest: int) -> list[slice]:
    """About equal parts of at most so many cells."""
    count = -(-cells // largest)
    return [slice(*span) for span in pairwise(cells * number // count for number in range(count + 1))]


def _part(spans: Sequence[slice], factor: int) -> Part:
    """Spans of cells in rows and columns that each cell has so many of."""
    rows, columns = (slice(span.start * factor, span.stop * factor) for span in spans)
    return slice(None), slice(None), rows, columns


def _differentiated(network: TransformCodec, tile: _Tile, slope: Tensor) -> tuple[Tensor, Tensor]:
    """lambda * D of a tile's own pixels, and the derivative by all its latents. Slopes are of its own."""
    with torch.enable_grad():
        seen = tile.decoded.requires_grad_()
        means = network.prior.means_after(tile.hyper, seen / tile.unit, tile.unit, tile.rate)
        errors = _errors(network, tile)
        loss = errors.sum() - (slope * means * tile.unit).sum()
        return errors.detach(), torch.autograd.grad(loss, seen)[0]


def _linearised(network: TransformCodec, tile: _Tile, slope: Tensor) -> tuple[Tensor, Tensor]:
    """As `_differentiated`, of the linear parts of synthesis and means; the errors are those for that."""
    with torch.no_grad():
        staged = _staged(network, tile)
    with torch.enable_grad():
        errors = _errors_of_staged(network, tile, staged.requires_grad_(), coarse=True)
        by_pixels = torch.autograd.grad(errors.sum(), staged)[0]
    with torch.no_grad():
        seen = network.synthesis.linear_transposed(by_pixels) * network.inverse_gains(tile.rate)
        later = network.prior.linear_derivative(slope * tile.unit, tile.rate) / tile.unit
        return errors.detach(), seen - later


def _errors(network: TransformCodec, tile: _Tile) -> Tensor:
    """lambda * D of a tile's own pixels in bits, [B]."""
    return _errors_of_staged(network, tile, _staged(network, tile))


def _staged(network: TransformCodec, tile: _Tile) -> Tensor:
    """Its pixels, and those of neighbours, before contrast is expanded."""
    synthesised = network.reconstruct(tile.decoded, tile.rate, planes=tile.pixels.shape[1])
    return network.filtered_and_staged(synthesised, tile.rate)[1]


def _errors_of_staged(network: TransformCodec, tile: _Tile, staged: Tensor, coarse: bool = False) -> Tensor:
    """`_errors` of what `_staged` gave.

    coarse: leave out the finest scale of MS-SSIM, which says little of it and takes most of the time.
    """
    pixels = tile.pixels
    worth = WORTH * lambda_of_rate(tile.rate) * (pixels.shape[2] * pixels.shape[3])
    top, left = (span.start * BLOCK for span in tile.own[2:])
    if not (coarse and network.shape.masking and min(pixels.shape[2:]) >= SMALLEST_SIDE):
        return worth * network.distortion(_part_of(network.expanded(staged), top, left, pixels), pixels)
    half, expanded = F.avg_pool2d(pixels, 2), network.expanded(F.avg_pool2d(staged, 2), reduction=2)
    return worth * mixed_distortion(_part_of(expanded, top // 2, left // 2, half), half, halvings=1)


def _part_of(pixels: Tensor, top: int, left: int, like: Tensor) -> Tensor:
    """What begins at a row and a column and is of the size of something else, [B, P, h, w]."""
    height, width = like.shape[2:]
    return pixels[:, :, top : top + height, left : left + width]


class Search:
    """Where latents have been moved so far."""

    def __init__(self, picture: Picture, context_value: Tensor) -> None:
        self._picture = picture
        self._mean = torch.zeros_like(picture.latents)
        self._known = 0.0
        self.weight = CURVATURE * context_value * picture.weight

    def moved(self, derivative: Tensor) -> Tensor:
        """The latents to choose symbols for next, with `weight`: [B, C, H, W]."""
        self._mean += SHARE * (derivative - self._mean)
        self._known += SHARE * (1 - self._known)
        move = STRENGTH / self._known * self._mean / (2 * self.weight)
        return self._picture.latents - move.clamp(-LARGEST_MOVE, LARGEST_MOVE)
