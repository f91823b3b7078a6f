"""What a search goes over: pictures, and tiles of them where all at once would take too much memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import NamedTuple

from torch import Tensor

from pillow_neural.networks.transform import BLOCK
from pillow_neural.networks.transform_codec import HYPER_BLOCK

CELLS = HYPER_BLOCK // BLOCK


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


Part = tuple[slice, slice, slice, slice]


class Tile(NamedTuple):
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

    @property
    def corner(self) -> tuple[int, int]:
        """The row and column of decoded pixels where its own begin."""
        top, left = (span.start * BLOCK for span in self.own[2:])
        return top, left


def tiles(picture: Picture, decoded: Tensor, largest: int) -> Iterator[Tile]:
    """Of decoded latents [B, C, H, W], of at most so many cells of 64x64 pixels a side."""
    rows, columns = picture.hyper.shape[2:]
    for spans in product(_spans(rows, largest), _spans(columns, largest)):
        around = [slice(max(0, span.start - 1), span.stop + 1) for span in spans]
        own = [
            slice(span.start - outer.start, span.stop - outer.start)
            for span, outer in zip(spans, around, strict=True)
        ]
        latents = _part(around, CELLS)
        yield Tile(
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
