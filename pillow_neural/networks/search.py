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

from typing import NamedTuple

import torch
from torch import Tensor

from pillow_neural.networks.adjustment import Equations, Stages, equations, no_equations, part_of
from pillow_neural.networks.box import halved
from pillow_neural.networks.ms_ssim import SMALLEST_SIDE
from pillow_neural.networks.search_tiles import Picture, Tile, tiles
from pillow_neural.networks.transform_codec import TransformCodec, lambda_of_rate, mixed_distortion


class Pace(NamedTuple):
    """How far latents move.

    Attributes:
        strength: of derivatives.
        largest_move: in quantisation steps, for derivatives hold nearby.
    """

    strength: float
    largest_move: float


PACE = Pace(1.5, 0.5)
"""Errors cost 1.5 times lambda where rate positions are (`transform_codec.SLOPE`)."""
LINEAR_PACE = Pace(1.1, 0.3)
"""Where there are derivatives of linear parts alone, and nothing that is cheaper to go back to."""
MASKED_PACE, MASKED_LINEAR_PACE = Pace(1.1, 0.25), Pace(0.9, 0.25)
"""Of MS-SSIM, whose derivatives hold less far, in smooth areas least."""

LARGEST_SHARE = 0.2
"""Of the newest derivative in the running mean that latents are moved by; the more steps, the less."""
SHARES = 2.0
"""About what the shares of many steps add up to."""

WORTH = 0.9
"""Of lambda: with all of it, choices would be better and larger."""

CURVATURE = 0.95
"""Of the error's weight in a choice without derivatives, which has to stand for some of what these tell."""

LARGEST_TILE = 8
LARGEST_LINEAR_TILE = 12
"""Cells of 64x64 pixels a side. When more are cut in two, both are large enough for MS-SSIM."""


class Outcome(NamedTuple):
    """What becomes of a choice of symbols.

    Attributes:
        errors: lambda * D, in bits, [B].
        finish: of the strengths that finish it best. Of linear parts where the network is for MS-SSIM it is
            nothing, for its finest scale, which says much of them, is left out then.
    """

    errors: Tensor
    finish: Equations

    @classmethod
    def none(cls, network: TransformCodec, like: Tensor) -> Outcome:
        """Of pictures of which no tile was seen yet, as many as something has."""
        pictures, device = len(like), like.device
        asked = no_equations(pictures, network.strength_count, device)
        return cls(torch.zeros(pictures, device=device), asked)

    def plus(self, other: Outcome) -> Outcome:
        """Of more tiles of the same pictures."""
        return Outcome(self.errors + other.errors, self.finish.plus(other.finish))


class Rest(NamedTuple):
    """What a choice of symbols left out.

    Attributes:
        outcome: what becomes of it; how it is finished is found of linear parts alone, for a first choice.
        derivative: of its errors and of what later phases pay, less what the choice knew, by decoded latents,
            [B, C, H, W].
    """

    outcome: Outcome
    derivative: Tensor


@torch.no_grad()
def errors_of(
    network: TransformCodec, picture: Picture, decoded: Tensor, strengths: Tensor | None = None
) -> Tensor:
    """lambda * D in bits, [B], of decoded latents [B, C, H, W] in steps that strengths [B, S] finish."""
    errors = torch.zeros(len(decoded), device=decoded.device)
    for tile in tiles(picture, decoded, LARGEST_TILE):
        pixels = network.reconstruct(tile.decoded, tile.rate, planes=tile.pixels.shape[1])
        finished = network.finish_compressed(pixels, tile.rate, strengths)
        errors += _errors_of_staged(network, tile, finished)
    return errors


def finish_of(network: TransformCodec, picture: Picture, decoded: Tensor) -> Equations:
    """For the strengths that finish decoded latents best, [B, C, H, W] in steps."""
    finish = no_equations(len(decoded), network.strength_count, decoded.device)
    with torch.inference_mode(False), torch.no_grad():
        for tile in tiles(picture, decoded, LARGEST_TILE):
            stages = _stages(network, tile)
            _, by_pixels = _by_staged(network, tile, stages.staged)
            finish = finish.plus(_finish(network, tile, stages, by_pixels, finely=True))
    return finish


def rest_of(
    network: TransformCodec,
    picture: Picture,
    decoded: Tensor,
    slope: Tensor,
    linear: bool = False,
    strengths: Tensor | None = None,
) -> Rest:
    """Differentiate what a choice of symbols left out.

    Args:
        network: the codec's; the classes of its filter count as constants.
        picture: what was coded.
        decoded: symbols plus means in steps, [B, C, H, W].
        slope: bits that a latent costs more for each step that it is further above its mean, [B, C, H, W].
        linear: take the derivatives of synthesis and means for those of their linear parts, which is nearly
            as good for a first step and takes a third of the time.
        strengths: that will finish what is decoded, [B, S], as far as they are known; not for linear parts.
    """
    outcome = Outcome.none(network, decoded)
    with torch.inference_mode(False):
        strengths = None if strengths is None else strengths.clone()
        derivative = WORTH * 2 * picture.weight * (picture.latents - decoded)
        for tile in tiles(picture, decoded, LARGEST_LINEAR_TILE if linear else LARGEST_TILE):
            own = torch.zeros_like(tile.decoded)
            own[tile.own] = slope[tile.latents][tile.own]
            if linear:
                more, seen = _linearised(network, tile, own)
            else:
                more, seen = _differentiated(network, tile, own, strengths)
            outcome = outcome.plus(more)
            derivative[tile.latents] += seen
    return Rest(outcome, derivative)


def _differentiated(
    network: TransformCodec, tile: Tile, slope: Tensor, strengths: Tensor | None
) -> tuple[Outcome, Tensor]:
    """Of a tile's own pixels, and the derivative by all its latents. Slopes are of its own."""
    with torch.enable_grad():
        seen = tile.decoded.requires_grad_()
        means = network.prior.means_after(tile.hyper, seen / tile.unit, tile.unit, tile.rate)
        pixels = network.reconstruct(seen, tile.rate, planes=tile.pixels.shape[1])
        finished = network.finish_compressed(pixels, tile.rate, strengths)
        errors = _errors_of_staged(network, tile, finished)
        loss = errors.sum() - (slope * means * tile.unit).sum()
        derivative = torch.autograd.grad(loss, seen)[0]
    return Outcome.none(network, tile.pixels)._replace(errors=errors.detach()), derivative


def _linearised(network: TransformCodec, tile: Tile, slope: Tensor) -> tuple[Outcome, Tensor]:
    """As `_differentiated`, of the linear parts of synthesis and means; the errors are those for that."""
    with torch.no_grad():
        stages = _stages(network, tile)
        errors, by_pixels = _by_staged(network, tile, stages.staged, coarse=True)
        finish = Outcome.none(network, tile.pixels).finish
        if not network.shape.masking:
            finish = _finish(network, tile, stages, by_pixels)
        seen = network.synthesis.linear_transposed(by_pixels) * network.inverse_gains(tile.rate)
        later = network.prior.linear_derivative(slope * tile.unit, tile.rate) / tile.unit
        return Outcome(errors, finish), seen - later


def _stages(network: TransformCodec, tile: Tile) -> Stages:
    """Of its pixels and those of neighbours."""
    return network.stages(tile.decoded, tile.rate, planes=tile.pixels.shape[1])


def _by_staged(
    network: TransformCodec, tile: Tile, staged: Tensor, coarse: bool = False
) -> tuple[Tensor, Tensor]:
    """`_errors_of_staged` and the derivative by what was staged, without its own past."""
    with torch.enable_grad():
        errors = _errors_of_staged(network, tile, staged.requires_grad_(), coarse)
        return errors.detach(), torch.autograd.grad(errors.sum(), staged)[0]


def _finish(
    network: TransformCodec, tile: Tile, stages: Stages, by_pixels: Tensor, finely: bool = False
) -> Equations:
    """For the strengths of the tile's own pixels, by the derivative of its errors by what was staged."""
    own = part_of(by_pixels, *tile.corner, tile.pixels)
    missing = network.lacking(own / _worth(tile)[:, None, None, None], own[0].numel())
    return equations(missing, stages, *tile.corner, network.directions, finely)


def _worth(tile: Tile) -> Tensor:
    """Bits that a unit of distortion of a tile's own pixels is worth, [B]."""
    return WORTH * lambda_of_rate(tile.rate) * (tile.pixels.shape[2] * tile.pixels.shape[3])


def _errors_of_staged(network: TransformCodec, tile: Tile, staged: Tensor, coarse: bool = False) -> Tensor:
    """lambda * D of a tile's own pixels in bits, [B].

    coarse: leave out the finest scale of MS-SSIM, which says little of it and takes most of the time.
    """
    pixels, worth = tile.pixels, _worth(tile)
    top, left = tile.corner
    if not (coarse and network.shape.masking and min(pixels.shape[2:]) >= SMALLEST_SIDE):
        return worth * network.distortion(part_of(network.expanded(staged), top, left, pixels), pixels)
    half, expanded = halved(pixels), network.expanded(halved(staged), reduction=2)
    return worth * mixed_distortion(part_of(expanded, top // 2, left // 2, half), half, halvings=1)


class Search:
    """Where latents have been moved so far.

    Args:
        network: the codec's.
        picture: what is coded.
        steps: how many derivatives of whole networks there will be.
    """

    def __init__(self, network: TransformCodec, picture: Picture, steps: int) -> None:
        self._picture = picture
        paces = (MASKED_LINEAR_PACE, MASKED_PACE) if network.shape.masking else (LINEAR_PACE, PACE)
        self._pace = paces[bool(steps)]
        self._share = min(LARGEST_SHARE, SHARES / max(steps, 1))
        self._mean = torch.zeros_like(picture.latents)
        self._known = 0.0
        self.weight = CURVATURE * network.context_value() * picture.weight

    def moved(self, derivative: Tensor) -> Tensor:
        """The latents to choose symbols for next, with `weight`: [B, C, H, W]."""
        self._mean += self._share * (derivative - self._mean)
        self._known += self._share * (1 - self._known)
        move = self._pace.strength / self._known * self._mean / (2 * self.weight)
        return self._picture.latents - move.clamp(-self._pace.largest_move, self._pace.largest_move)
