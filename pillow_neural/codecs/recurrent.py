"""The recurrent codecs: one picture, many iterations, a section of bits each.

    pixels --tiles--> RecurrentNetwork --> bits of iterations 1, 2, ... and their number for each block
                                             |                              |
                         integer context network, tables             coarse-to-fine map
                                             |                              |
                                       sections 1, 2, ...               section 0
    pixels <- filter <- DecoderLoop <- bits <+------------------------------+

The first n sections are the picture after n - 1 iterations. What the networks see of a large picture are
tiles of at most TILE pixels a side, each with states of its own, so that memory does not grow with the
picture; the map and the bits are coded for the picture as a whole.

Parameters: one byte, 1 if each block has its own number of iterations, 0 if all have the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pillow_neural.codecs.bit_planes import BitPlaneCoder
from pillow_neural.codecs.contract import RATE_LEVELS, Payload
from pillow_neural.codecs.shared import calibrated_level, mean_pixels, pad_to_multiples, read_weights
from pillow_neural.entropy import DecodeError, FrequencyTables
from pillow_neural.networks.adaptive_filter import AdaptiveFilter
from pillow_neural.networks.bit_context import BitContext
from pillow_neural.networks.packing import channels_last, unpack
from pillow_neural.networks.recurrent_codec import DecoderLoop, RecurrentNetwork
from pillow_neural.networks.recurrent_transforms import BITS, BLOCK, GRID, RecurrentShape

TILE = 768
NEVER_ENOUGH = -1.0


class Planes(NamedTuple):
    """What is coded of a batch of pictures, over whole 32x32 squares; even h and w.

    Attributes:
        bits: int8 [iterations, B, 32, h, w]: -1 or 1, and 0 where a block has none.
        counts: iterations of each block, int64 [B, h, w], 0 outside the picture.
    """

    bits: Tensor
    counts: Tensor


class Tile(NamedTuple):
    """A rectangle in pixels, its corners multiples of 32."""

    top: int
    bottom: int
    left: int
    right: int

    def pixels(self) -> tuple[slice, slice]:
        """Rows and columns of a picture."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def blocks(self) -> tuple[slice, slice]:
        """Rows and columns of a map of blocks."""
        return (
            slice(self.top // BLOCK, self.bottom // BLOCK),
            slice(self.left // BLOCK, self.right // BLOCK),
        )


class CodecNetwork(nn.Module):
    """All networks of one weights file: the loop and the context of its bits."""

    def __init__(self, shape: RecurrentShape) -> None:
        super().__init__()
        self.shape = shape
        self.loop = RecurrentNetwork(shape)
        self.context = BitContext(BITS, shape.iterations, counted=shape.components > 0)


class Calibration(NamedTuple):
    """What levels mean.

    Attributes:
        targets: distortion of level 0 and of level 65535, for spatially adaptive bit rates.
        levels: rising.
        bits_per_pixel: mean of photographs at these levels, rising, with spatially adaptive bit rates.
        fixed_bits_per_pixel: mean of photographs after each number of iterations, rising.
    """

    targets: tuple[float, float]
    levels: Sequence[int]
    bits_per_pixel: Sequence[float]
    fixed_bits_per_pixel: Sequence[float]


class RecurrentCodec:
    """A recurrent codec with its weights; see pillow_neural.codecs.contract.Codec.

    Args:
        network: with frozen integer convolutions.
        tables: of the bits by index, then of the map.
        calibration: what the levels mean.
        adaptive: how to encode: each block up to its target, or all blocks the same number of iterations.
        device: where the networks run.
        post_filter: what a reconstruction passes when it is shown, by its number of iterations; or None.
    """

    def __init__(
        self,
        network: CodecNetwork,
        tables: FrequencyTables,
        calibration: Calibration,
        adaptive: bool,
        device: torch.device,
        post_filter: AdaptiveFilter | None = None,
    ) -> None:
        self._network = channels_last(network.eval().to(device))
        self._tables = tables
        self._calibration = calibration
        self._adaptive = adaptive
        self._device = device
        self._filter = post_filter
        self._coder = BitPlaneCoder(self._network.context, tables)

    def with_rates(self, adaptive: bool) -> RecurrentCodec:
        """The same codec, encoding with spatially adaptive bit rates or with a fixed rate."""
        return RecurrentCodec(
            self._network, self._tables, self._calibration, adaptive, self._device, self._filter
        )

    def level_of_quality(self, bits_per_pixel: float) -> int:
        """The rate level with this mean rate over photographs, log-linear between calibrated levels."""
        calibration = self._calibration
        levels, rates = calibration.levels, calibration.bits_per_pixel
        if not self._adaptive:
            rates = calibration.fixed_bits_per_pixel
            levels = np.linspace(0, RATE_LEVELS, len(rates)).tolist()
        return calibrated_level(bits_per_pixel, rates, levels)

    @torch.inference_mode()
    def encode(self, pictures: Tensor, levels: Sequence[int], effort: int = 0) -> list[Payload]:
        """The map and one section an iteration; see the contract."""
        rows, columns = _blocks(pictures.shape[2]), _blocks(pictures.shape[3])
        planes = self.planes(pictures, levels)
        payloads = []
        for number, counts in enumerate(planes.counts):
            section = self._coder.encode_counts(counts[:rows, :columns].numpy(), self._adaptive)
            bits = planes.bits[: int(counts.max()), number].to(self._device)
            sections = self._coder.encode_bits(list(bits), counts.to(self._device))
            payloads.append(Payload(bytes([self._adaptive]), (section, *sections)))
        return payloads

    @torch.inference_mode()
    def planes(self, pictures: Tensor, levels: Sequence[int]) -> Planes:
        """What `encode` codes for pictures uint8 [B, 3, H, W], on the CPU."""
        batch, _, height, width = pictures.shape
        rows, columns = _blocks(height), _blocks(width)
        shape = (rows + rows % 2, columns + columns % 2)
        most = self._network.shape.iterations
        bits = torch.zeros(most, batch, BITS, *shape, dtype=torch.int8)
        counts = torch.zeros(batch, *shape, dtype=torch.int64)
        inside = torch.zeros(batch, *shape, dtype=torch.bool)
        inside[:, :rows, :columns] = True
        limits = [self._iterations(level) for level in levels]
        targets = torch.tensor([self._target(level) for level in levels], device=self._device)
        for tile in tiles(height, width):
            pixels = pad_to_multiples(pictures[..., *tile.pixels()].to(self._device).float() / 255, GRID)
            part = (..., *tile.blocks())
            loop = self._network.loop.encode(pixels, targets, inside[part].to(self._device))
            for number, iteration in enumerate(islice(loop, max(limits))):
                within = torch.tensor([number < limit for limit in limits])[:, None, None]
                bits[number][part] = iteration.bits.cpu().to(torch.int8) * within[:, None]
                counts[part] += iteration.active.cpu() & within
        return Planes(bits, counts)

    @torch.inference_mode()
    def decode(self, payloads: Sequence[Payload], width: int, height: int, reduction: int = 1) -> Tensor:
        """Pixels of the sections that there are, at least those of one iteration; see the contract.

        Reduced pictures are decoded whole and averaged.
        """
        planes = self.decode_planes(payloads, width, height)
        rate = self._shown(planes)
        side = (-(-height // reduction), -(-width // reduction))
        pictures = torch.empty(len(payloads), 3, *side, dtype=torch.uint8)
        for tile in tiles(height, width):
            pixels = self._decode_tile(planes, tile)
            if self._filter is not None:
                pixels = self._filter(pixels, rate)
            pixels = pixels[..., : height - tile.top, : width - tile.left].clamp(0, 1)
            pixels = mean_pixels(pixels, reduction)
            top, left = tile.top // reduction, tile.left // reduction
            place = pictures[..., top : top + pixels.shape[2], left : left + pixels.shape[3]]
            place.copy_((pixels * 255).round_())
        return pictures

    @torch.inference_mode()
    def decode_planes(self, payloads: Sequence[Payload], width: int, height: int) -> Planes:
        """Bits and counts of streams of one size, on the device; bits of the iterations that there are.

        Raises:
            DecodeError: a stream is not what `encode` writes for this size.
        """
        rows, columns = _blocks(height), _blocks(width)
        shape = (rows + rows % 2, columns + columns % 2)
        for payload in payloads:
            _check(payload)
        most = max(len(payload.sections) for payload in payloads) - 1
        if most > self._network.shape.iterations:
            raise DecodeError(f"{most} iterations are more than {self._network.shape.iterations}")
        bits = torch.zeros(most, len(payloads), BITS, *shape, dtype=torch.int8, device=self._device)
        counts = torch.zeros(len(payloads), *shape, dtype=torch.int64, device=self._device)
        for number, (parameters, sections) in enumerate(payloads):
            known = self._coder.decode_counts(sections[0], rows, columns, parameters == b"\1")
            counts[number, :rows, :columns] = torch.from_numpy(known)
            for iteration, plane in enumerate(self._coder.decode_bits(sections[1:], counts[number])):
                bits[iteration, number] = plane
        return Planes(bits, counts)

    def importance_map(self, payload: Payload, width: int, height: int) -> Tensor:
        """Iterations of each 16x16 block over the most there may be; see MapsImportance of the contract."""
        _check(payload)
        adaptive = payload.parameters == b"\1"
        counts = self._coder.decode_counts(payload.sections[0], _blocks(height), _blocks(width), adaptive)
        return torch.from_numpy(counts).float() / self._network.shape.iterations

    def _decode_tile(self, planes: Planes, tile: Tile) -> Tensor:
        """Reconstruction of one tile of all pictures, [B, 3, H, W] in 0..1 and a little beyond."""
        counts = planes.counts[..., *tile.blocks()]
        height, width = BLOCK * counts.shape[1], BLOCK * counts.shape[2]
        decoder = DecoderLoop(self._network.loop, len(counts), height, width)
        for number, bits in enumerate(planes.bits[..., *tile.blocks()]):
            active = (counts > number) & bits[:, 0].bool()
            if not active.any():
                break
            decoder.step(bits.float(), active)
        return decoder.picture

    def _shown(self, planes: Planes) -> Tensor:
        """Rate positions [B] in 0..1: 0 for pictures with one iteration, 1 with the most there may be."""
        iterations = planes.bits[:, :, 0].flatten(2).any(2).sum(0)
        return (iterations - 1).float() / max(1, self._network.shape.iterations - 1)

    def _target(self, level: int) -> float:
        """Distortion that a block needs to reach, log-linear in the level."""
        if not self._adaptive:
            return NEVER_ENOUGH
        first, last = self._calibration.targets
        return first * math.exp(level / RATE_LEVELS * math.log(last / first))

    def _iterations(self, level: int) -> int:
        """The most iterations a block may have."""
        most = self._network.shape.iterations
        return most if self._adaptive else 1 + round(level / RATE_LEVELS * (most - 1))


def tiles(height: int, width: int) -> Iterator[Tile]:
    """Cut a picture into the fewest tiles of at most TILE pixels a side, nearly equal, in raster order."""
    for (top, bottom), (left, right) in product(_spans(height), _spans(width)):
        yield Tile(top, bottom, left, right)


def _spans(length: int) -> list[tuple[int, int]]:
    squares = -(-length // GRID)
    count = -(-squares * GRID // TILE)
    return list(pairwise(GRID * (number * squares // count) for number in range(count + 1)))


def _blocks(length: int) -> int:
    return -(-length // BLOCK)


def _check(payload: Payload) -> None:
    if payload.parameters not in (b"\0", b"\1"):
        raise DecodeError(f"the parameters of a recurrent codec are 00 or 01, not {payload.parameters.hex()}")
    if len(payload.sections) < 2:
        raise DecodeError(f"{len(payload.sections)} sections hold no iteration; the first is the map")


def load(path: Path, device: str) -> RecurrentCodec:
    """The codec from a weights file; see pillow_neural.training.recipes.recurrent_weights."""
    tensors, fields, tables = read_weights(path)
    shape = RecurrentShape(**fields)
    network = CodecNetwork(shape)
    unpack(network, tensors)
    calibration = Calibration(
        tuple(tensors["calibration.targets"].tolist()),
        tensors["calibration.levels"].tolist(),
        tensors["calibration.bits_per_pixel"].tolist(),
        tensors["calibration.fixed_bits_per_pixel"].tolist(),
    )
    chosen = torch.device(device)
    post_filter = AdaptiveFilter.found(tensors, chosen)
    return RecurrentCodec(network, tables, calibration, shape.adaptive, chosen, post_filter)
