"""li2018: binary codes whose length an importance map decides.

    pixels --analysis--> bits, 15 groups a place ----+--> the first L groups of each place
                    |                                |                  |
                    +--> importance --> level L -----+      integer context, tables --> section 1
                                           |                            |
                                           +----------------------------+
                                           |
                               integer context, tables --> section 0

    pixels <--filter-- synthesis <-- bits, 0 where there is none <-- section 1 <-- levels <-- section 0

Li, Zuo, Gu, Zhao, Zhang 2018 (arXiv 1703.10553): each place of 8x8 pixels keeps as many of its bits as it is
worth to the picture. The map and the bits are both coded by trimmed contexts
(pillow_neural.networks.trimmed_context), the map as answers: is the level above 0, above 1, ..., asked until
one is no. Question g is plane g of the map. With a linear path, which the paper does not have
(pillow_neural.networks.li2018), the bits are coded as those of recurrent codecs are, a group an iteration.

Parameters: two bytes, the rate level, big-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pillow_neural.codecs.contract import Payload
from pillow_neural.codecs.shared import (
    RateCalibration,
    mean_pixels,
    pad_to_multiples,
    parameter_level,
    rate_parameters,
    rate_positions,
    read_weights,
)
from pillow_neural.codecs.signs import Section, decode_signs, sign_section
from pillow_neural.entropy import DecodeError, FrequencyTables, SymbolDecoder, SymbolEncoder
from pillow_neural.networks.adaptive_filter import AdaptiveFilter
from pillow_neural.networks.bit_context import INDICES
from pillow_neural.networks.digit_context import DigitContext
from pillow_neural.networks.importance import GROUPS, leading_channels, level_of_importance
from pillow_neural.networks.li2018 import BLOCK, Li2018Network, Li2018Shape
from pillow_neural.networks.packing import channels_last, unpack
from pillow_neural.networks.rate import rate_plane
from pillow_neural.networks.trimmed_context import Presence, TrimmedContext

Context = TrimmedContext | DigitContext

SECTIONS = 2
LEVEL_UNIT = 8
MAP_HIDDEN = 32
MAP_TABLES = INDICES
"""The first table of the map; those of the bits come before."""


class CodecNetwork(nn.Module):
    """All networks of one weights file: transforms and the contexts of the map and of the bits."""

    def __init__(self, shape: Li2018Shape) -> None:
        super().__init__()
        self.shape = shape
        self.transforms = Li2018Network(shape)
        self.map_context = TrimmedContext(GROUPS, 1, sides=1, hidden=MAP_HIDDEN)
        self.bit_context: Context
        if shape.components:
            self.bit_context = DigitContext(GROUPS, shape.width)
        else:
            self.bit_context = TrimmedContext(GROUPS, shape.width, sides=2)


class Volume(NamedTuple):
    """What is coded of a batch of pictures, one place an 8x8 block that touches the picture.

    Attributes:
        levels: importance of each place, int64 0..15 [B, h, w].
        bits: -1 or 1, and 0 where a place has none, float32 [B, channels, h, w].
        rate: rate positions 0..1, float32 [B].
    """

    levels: Tensor
    bits: Tensor
    rate: Tensor

    def split(self, size: int = 1) -> list[Volume]:
        """Volumes of so many pictures each, in order."""
        parts = zip(*(torch.split(part, size) for part in self), strict=True)
        return [Volume(*part) for part in parts]

    def map_planes(self) -> Tensor:
        """The levels as answers to "is it above g?": 1 yes, -1 no, 0 not asked, float32 [B, 15, h, w]."""
        above = self.levels[:, None] - torch.arange(GROUPS, device=self.levels.device)[:, None, None]
        return ((above > 0).int() - (above == 0).int()).float()

    def map_sides(self) -> Tensor:
        """What is known before the map: the rate, [B, 1, h, w]."""
        return rate_plane(self.rate, self.bits)

    def bit_sides(self) -> Tensor:
        """What is known before the bits: map and rate, [B, 2, h, w]."""
        return torch.cat([LEVEL_UNIT * self.levels[:, None].float(), self.map_sides()], 1)


class Li2018:
    """The codec with its weights; see pillow_neural.codecs.contract.Codec.

    Args:
        network: with frozen integer convolutions.
        tables: INDICES tables of the bits, then as many of the map.
        calibration: what the rate levels mean.
        device: where the networks run.
        post_filter: what pixels pass after the synthesis, or None.
    """

    def __init__(
        self,
        network: CodecNetwork,
        tables: FrequencyTables,
        calibration: RateCalibration,
        device: torch.device,
        post_filter: AdaptiveFilter | None = None,
    ) -> None:
        self._network = channels_last(network.eval().to(device))
        self._tables = tables
        self._calibration = calibration
        self._device = device
        self._filter = post_filter

    def level_of_quality(self, bits_per_pixel: float) -> int:
        """The rate level with this mean rate over photographs; see the contract."""
        return self._calibration.level_of(bits_per_pixel)

    @torch.inference_mode()
    def encode(self, pictures: Tensor, levels: Sequence[int], effort: int = 0) -> list[Payload]:
        """The map and the bits, a section each; see the contract."""
        payloads = []
        for level, volume in zip(levels, self.volume(pictures, levels).split(), strict=True):
            sections = []
            for parts in (map_sections(self._network, volume), bit_sections(self._network, volume)):
                encoder = SymbolEncoder(self._tables)
                for symbols, tables in parts:
                    encoder.encode(symbols, tables)
                sections.append(encoder.finish())
            payloads.append(Payload(rate_parameters(level), tuple(sections)))
        return payloads

    @torch.inference_mode()
    def volume(self, pictures: Tensor, levels: Sequence[int]) -> Volume:
        """What `encode` codes for pictures uint8 [B, 3, H, W]."""
        rate = rate_positions(levels, self._device)
        pixels = pad_to_multiples(pictures.to(self._device).float() / 255, BLOCK)
        code = self._network.transforms.code(pixels, rate)
        importance = level_of_importance(code.importance)
        mask = leading_channels(self._network.shape.width * importance, self._network.shape.channels)
        return Volume(importance, code.signs * mask, rate)

    @torch.inference_mode()
    def decode(self, payloads: Sequence[Payload], width: int, height: int, reduction: int = 1) -> Tensor:
        """Pixels of streams of one size; see the contract. Reduced ones are decoded whole and averaged."""
        volumes = [self.decode_volume(payload, width, height) for payload in payloads]
        bits, rate = torch.cat([v.bits for v in volumes]), torch.cat([v.rate for v in volumes])
        pixels = self._network.transforms.reconstruction(bits, rate)
        if self._filter is not None:
            pixels = self._filter(pixels, rate)
        pixels = pixels[..., :height, :width].clamp(0, 1)
        return (mean_pixels(pixels, reduction) * 255).round_().to(torch.uint8).cpu()

    @torch.inference_mode()
    def decode_volume(self, payload: Payload, width: int, height: int) -> Volume:
        """What one stream says of a picture of this size.

        Raises:
            DecodeError: the stream is not what `encode` writes for this size.
        """
        shape = self._network.shape
        levels, rate = self._decode_map(payload, width, height), self._payload_rate(payload)
        nothing = levels.new_zeros(1, shape.channels, *levels.shape[1:], dtype=torch.float32)
        volume = Volume(levels, nothing, rate)
        present = leading_channels(shape.width * levels, shape.channels)
        bits = self._decode_planes(
            payload.sections[1], self._network.bit_context, volume.bit_sides(), lambda known: present, 0
        )
        return volume._replace(bits=bits)

    def importance_map(self, payload: Payload, width: int, height: int) -> Tensor:
        """Level of each 8x8 block over the highest; see MapsImportance of the contract."""
        with torch.inference_mode():
            return self._decode_map(payload, width, height)[0].float().cpu() / GROUPS

    def _decode_map(self, payload: Payload, width: int, height: int) -> Tensor:
        """Levels of the places, int64 [1, h, w]."""
        rate = self._payload_rate(payload)
        if len(payload.sections) != SECTIONS:
            raise DecodeError(f"a li2018 picture has the sections map and bits, not {len(payload.sections)}")
        places = rate.new_zeros(1, 1, -(-height // BLOCK), -(-width // BLOCK))
        sides = rate_plane(rate, places)

        def asked(known: Tensor) -> Tensor:
            return torch.cat([torch.ones_like(places), known[:, :-1]], 1) > 0

        planes = self._decode_planes(payload.sections[0], self._network.map_context, sides, asked, MAP_TABLES)
        return (planes > 0).sum(dim=1)

    def _decode_planes(
        self, section: bytes, context: Context, sides: Tensor, present: Presence, first_table: int
    ) -> Tensor:
        """The planes of a section; see TrimmedContext.walk."""
        decoder = SymbolDecoder(self._tables, section)

        def take(channels: slice, coded: Tensor, index: Tensor) -> Tensor:
            return decode_signs(decoder, coded, index, first_table)

        planes = context.walk(sides, present, take)
        decoder.finish()
        return planes

    def _payload_rate(self, payload: Payload) -> Tensor:
        return rate_positions([parameter_level(payload)], self._device)


def map_sections(network: CodecNetwork, volume: Volume) -> list[Section]:
    """Symbols and tables of the maps of a batch, a section a step; those of each picture together."""
    return _sections(network.map_context, volume.map_planes(), volume.map_sides(), MAP_TABLES)


def bit_sections(network: CodecNetwork, volume: Volume) -> list[Section]:
    """Symbols and tables of the bits of a batch, a section a step; those of each picture together."""
    return _sections(network.bit_context, volume.bits, volume.bit_sides(), 0)


@torch.no_grad()
def _sections(context: Context, planes: Tensor, sides: Tensor, first_table: int) -> list[Section]:
    sections = []

    def take(channels: slice, coded: Tensor, index: Tensor) -> Tensor:
        sections.append(sign_section(planes[:, channels], coded, index, first_table))
        return planes[:, channels] * coded

    context.walk(sides, lambda known: planes != 0, take)
    return sections


def load(path: Path, device: str) -> Li2018:
    """The codec from a weights file; see pillow_neural.training.recipes.li2018_weights."""
    tensors, fields, tables = read_weights(path)
    network = CodecNetwork(Li2018Shape(**fields))
    unpack(network, tensors)
    calibration = RateCalibration.of(tensors)
    chosen = torch.device(device)
    return Li2018(network, tables, calibration, chosen, AdaptiveFilter.found(tensors, chosen))
