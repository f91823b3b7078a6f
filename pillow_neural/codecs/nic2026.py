"""nic2026, the default codec.

    pixels --analysis--> y --x gains(rate)--> r --hyper analysis, round--> z --tables, phase 0..3--+
                                              |                            |                       |
                                              |              +-------------+-------------+         |
                                              |     integer network             float network      |
                                              |     scale index, phase 0..3     mean, phase 0..3   |
                                              |              |                       |             v
                                              +--> symbols = round(r - mean) --tables by index--> one stream
                                                       |         magnitudes, then signs            |
    pixels <--finish-- synthesis <-- y' <--x inverse gains-- symbols + mean <----------------------+

Hyperprior (Balle et al. 2018, arXiv 1802.01436) with means from context (Minnen et al. 2018, arXiv
1809.02736) in four phases, gains for all rates (Cui et al. 2021), and the coder fed from integers alone.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pillow_neural.codecs.contract import Payload
from pillow_neural.codecs.nic2026_places import Places, joined
from pillow_neural.codecs.nic2026_stream import (
    Section,
    cells,
    coded_in_phase,
    hyper_tables,
    sign_tables,
    stream_tables,
)
from pillow_neural.codecs.nic2026_symbols import SymbolChooser
from pillow_neural.codecs.shared import RateCalibration, rate_positions, read_weights
from pillow_neural.codecs.signs import read_signs
from pillow_neural.entropy import DecodeError
from pillow_neural.entropy.hidden_signs import Coded, Integers, with_signs
from pillow_neural.entropy.symbols import SymbolDecoder, SymbolEncoder
from pillow_neural.entropy.tables import FrequencyTables
from pillow_neural.networks.adaptive_filter import AdaptiveFilter
from pillow_neural.networks.adjustment import LARGEST, STRENGTHS, Equations
from pillow_neural.networks.directions import Directions
from pillow_neural.networks.hyper_prior import HYPER_LIMIT, Spread
from pillow_neural.networks.packing import channels_last, unpack
from pillow_neural.networks.search_tiles import Picture
from pillow_neural.networks.strips import in_strips
from pillow_neural.networks.transform import BLOCK
from pillow_neural.networks.transform_codec import (
    NetworkShape,
    TransformCodec,
    lambda_of_rate,
)

PARAMETERS = 3
"""Bytes without strengths."""


class Parameters(NamedTuple):
    """A picture's parameter bytes: its rate level as two, its planes, strengths, and how many more there are.

    Attributes:
        level: 0 to 65535.
        planes: 1 or 3.
        strengths: five numbers from -128 to 127 of `pillow_neural.networks.adjustment`, or none.
        directions: how many have strengths at the end of the stream, if there are those five; 0 to 255.
    """

    level: int
    planes: int
    strengths: tuple[int, ...] = ()
    directions: int = 0

    def to_bytes(self) -> bytes:
        """As they are in a file."""
        own = struct.pack(f">HB{len(self.strengths)}b", self.level, self.planes, *self.strengths)
        return own + bytes([self.directions] if self.directions else [])

    @classmethod
    def of(cls, payload: Payload) -> Parameters:
        """Those of a payload.

        Raises:
            DecodeError: they are not what `to_bytes` gives.
        """
        found = payload.parameters
        count = len(found) - PARAMETERS
        if count not in (0, STRENGTHS, STRENGTHS + 1) or found[PARAMETERS - 1] not in (1, 3):
            raise DecodeError(
                f"nic2026 has a rate level, 1 or 3 planes, {STRENGTHS} strengths or none and a number of"
                f" directions or none, not the parameters {found.hex()}"
            )
        directions = found[-1] if count > STRENGTHS else 0
        level, planes, *strengths = struct.unpack(
            f">HB{min(count, STRENGTHS)}b", found[: PARAMETERS + STRENGTHS]
        )
        return cls(level, planes, tuple(strengths), directions)


class Decoded(NamedTuple):
    """What streams of a batch say.

    Attributes:
        latents: symbols plus means in quantisation steps, [B, C, H, W].
        strengths: of each picture, five and those of directions, or none.
    """

    latents: Tensor
    strengths: list[tuple[int, ...]]


class Nic2026:
    """The codec with its weights; see pillow_neural.codecs.contract.Codec.

    Args:
        network: with frozen integer convolutions and its filter.
        tables: SCALE_COUNT tables by scale index, then HYPER_TABLES of hyper-latents.
        colour_channels: bool [C], the latents that are left out of grey pictures.
        calibration: what the rate levels mean.
        device: where the network runs.
    """

    def __init__(
        self,
        network: TransformCodec,
        tables: FrequencyTables,
        colour_channels: Tensor,
        calibration: RateCalibration,
        device: torch.device,
    ) -> None:
        self._network = channels_last(network.eval().to(device))
        self._tables = stream_tables(tables)
        self._chooser = SymbolChooser(self._network, self._tables, colour_channels, device)
        self._calibration = calibration
        self._device = device

    def level_of_quality(self, bits_per_pixel: float) -> int:
        """The rate level with this mean rate over photographs; see the contract."""
        return self._calibration.level_of(bits_per_pixel)

    def error_weight(self, level: int) -> float:
        """What an error in a pixel is worth, as in training; see `contract.WeighsErrors`."""
        weight_of_mse = lambda_of_rate(rate_positions([level], torch.device("cpu"))).item()
        return weight_of_mse / (3 * 255**2)

    @torch.inference_mode()
    def encode(self, pictures: Tensor, levels: Sequence[int], effort: int = 0) -> list[Payload]:
        """One stream a picture; see the contract. Effort: see `SymbolChooser`."""
        picture = self._chooser.prepare(pictures, levels)
        chosen = self._chooser.chosen(picture, effort)
        payloads = []
        for level, sections, own in zip(levels, *chosen, strict=True):
            encoder = SymbolEncoder(self._tables)
            for section in sections:
                encoder.encode(section.symbols, section.tables)
            for section in self._direction_sections(own[STRENGTHS:]):
                encoder.encode(section.symbols, section.tables)
            strengths, directions = own[:STRENGTHS], len(own[STRENGTHS:])
            parameters = Parameters(level, pictures.shape[1], strengths, directions)
            payloads.append(Payload(parameters.to_bytes(), (encoder.finish(),)))
        return payloads

    @torch.inference_mode()
    def symbols(self, pictures: Tensor, levels: Sequence[int], effort: int = 0) -> list[list[Section]]:
        """What `encode` codes for each picture, see `SymbolChooser.chosen`."""
        return self._chooser.chosen(self._chooser.prepare(pictures, levels), effort).sections

    @torch.inference_mode()
    def foreseen_and_last_choice(
        self, pictures: Tensor, levels: Sequence[int]
    ) -> tuple[Picture, Equations, Tensor]:
        """Pictures with their latents, how a choice is foreseen to be finished, and that; `SymbolChooser`."""
        picture = self._chooser.prepare(pictures, levels)
        return picture, *self._chooser.foreseen_and_last(picture)

    @torch.inference_mode()
    def decode(self, payloads: Sequence[Payload], width: int, height: int, reduction: int = 1) -> Tensor:
        """Pixels of streams of one size; see the contract. Reduced ones come from the linear synthesis."""
        decoded = self.decode_streams(payloads, width, height)
        parameters = self._parameters(payloads)
        strengths = self._network.strengths_of(decoded.strengths, self._rate(parameters))
        pixels = self._synthesise(decoded.latents, parameters, strengths, reduction)
        return pixels[:, :, : -(-height // reduction), : -(-width // reduction)]

    @torch.inference_mode()
    def decode_streams(self, payloads: Sequence[Payload], width: int, height: int) -> Decoded:
        """Latents, and the numbers of strengths.

        Raises:
            DecodeError: a stream is not what `encode` writes for this size.
        """
        if any(len(payload.sections) != 1 for payload in payloads):
            raise DecodeError("a nic2026 picture has exactly one DATA section")
        decoders = [SymbolDecoder(self._tables, payload.sections[0]) for payload in payloads]
        parameters = self._parameters(payloads)
        rate = self._rate(parameters)
        places = self._chooser.coded_places(height, width, parameters[0].planes)
        hyper = self._hyper_latents(decoders, rate, cells(height, width))
        coded_by_phase: list[Places] = []
        pictures: list[list[Coded]] = [[] for _ in decoders]

        def decode(mask: Tensor, index: Tensor) -> Tensor:
            coded = coded_in_phase(mask, places, index)
            coded_by_phase.append(coded)
            found = coded.by_picture(coded.of(index).to(torch.uint8))
            for decoder, own, (channels, tables) in zip(decoders, pictures, found, strict=True):
                own.append(Coded(_magnitudes(decoder, tables), tables, channels))
            return coded.planes(joined([own[-1].symbols for own in pictures], index))

        prior = self._network.prior
        symbols = prior.magnitudes(hyper, rate, self._network.shape.latents, decode).zero_()
        signed = [self._signed(*each) for each in zip(decoders, pictures, strict=True)]
        for coded, phase in zip(coded_by_phase, zip(*signed, strict=True), strict=True):
            symbols += coded.planes(joined(phase, symbols))
        numbers = [
            own.strengths + self._of_directions(decoder, own.directions)
            for decoder, own in zip(decoders, parameters, strict=True)
        ]
        for decoder in decoders:
            decoder.finish()
        unit = self._network.unit(rate)
        return Decoded(prior.latents(hyper, symbols, unit, rate) * unit, numbers)

    def _hyper_latents(
        self, decoders: Sequence[SymbolDecoder], rate: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Those of a batch, [B, hyper, *size]."""

        def decode(mask: Tensor, spread: Spread) -> Tensor:
            coded = Places.where(mask.bool().expand_as(spread.location))
            found = coded.by_picture(hyper_tables(spread, coded))
            symbols = [decoder.decode(tables) for decoder, (_, tables) in zip(decoders, found, strict=True)]
            values = coded.planes(joined(symbols, mask)) + spread.whole * mask
            if values.abs().max() > HYPER_LIMIT:
                raise DecodeError("hyper-latent out of range")
            return values

        like = torch.zeros(len(decoders), 1, *size, device=self._device)
        return self._network.prior.hyper_prior.walk(like, rate, decode)

    def _signed(self, decoder: SymbolDecoder, phases: Sequence[Coded]) -> list[Integers]:
        """The symbols of each phase of a picture, whose signs are next in the stream."""

        def read(count: int) -> Integers:
            return read_signs(decoder, sign_tables(self._tables, count))

        return with_signs(phases, self._chooser.capacities, read)

    def _direction_sections(self, numbers: Sequence[int]) -> list[Section]:
        """The strengths of directions: magnitudes, and the signs of those that are not zero."""
        if not numbers:
            return []
        values = np.array(numbers, np.int32)
        signs = np.sign(values[values != 0])
        magnitudes = Section(np.abs(values), self._direction_tables(len(numbers)))
        return [magnitudes, Section(signs, sign_tables(self._tables, len(signs)))]

    def _of_directions(self, decoder: SymbolDecoder, count: int) -> tuple[int, ...]:
        """The strengths of so many directions, which are next in the stream."""
        if not count:
            return ()
        values = _magnitudes(decoder, self._direction_tables(count))
        if values.max() > LARGEST:
            raise DecodeError("the strength of a direction is out of range")
        signed = values != 0
        values[signed] *= read_signs(decoder, sign_tables(self._tables, int(signed.sum())))
        return tuple(values.tolist())

    def _direction_tables(self, count: int) -> npt.NDArray[np.int32]:
        directions = self._network.directions
        known = 0 if directions is None else len(directions.scales)
        if directions is None or count > known:
            raise DecodeError(f"the picture has {count} directions, and its weights know of {known}")
        return directions.scales[:count].cpu().numpy().astype(np.int32)

    def _parameters(self, payloads: Sequence[Payload]) -> list[Parameters]:
        parameters = [Parameters.of(payload) for payload in payloads]
        if any(each.planes != parameters[0].planes for each in parameters):
            raise DecodeError("grey and colour pictures cannot be decoded in one batch")
        return parameters

    def _rate(self, parameters: Sequence[Parameters]) -> Tensor:
        return rate_positions([each.level for each in parameters], self._device)

    def _synthesise(
        self, latents: Tensor, parameters: Sequence[Parameters], strengths: Tensor | None, reduction: int
    ) -> Tensor:
        """Pixels uint8 [B, P, 16H / reduction, 16W / reduction] on the CPU, of decoded latents in steps."""
        rate = self._rate(parameters)

        def synthesise(strip: Tensor) -> Tensor:
            pixels = self._network.reconstruct(strip, rate, reduction, parameters[0].planes)
            pixels = self._network.finish(pixels, rate, reduction, strengths)
            return (pixels * 255).round_().clamp_(0, 255).to(torch.uint8).cpu()

        halo = self._network.synthesis.halo + -(-self._network.finish_halo // BLOCK)
        return in_strips(synthesise, latents, 1, BLOCK // reduction, halo)


def _magnitudes(decoder: SymbolDecoder, tables: Integers) -> Integers:
    symbols = decoder.decode(tables)
    if len(symbols) and symbols.min() < 0:
        raise DecodeError("a magnitude is negative")
    return symbols


def load(path: Path, device: str) -> Nic2026:
    """The codec from a weights file; see pillow_neural.training.export for what is in it."""
    tensors, shape, tables = read_weights(path)
    network = TransformCodec(NetworkShape(**shape))
    unpack(network, tensors)
    calibration = RateCalibration.of(tensors)
    chosen = torch.device(device)
    network.post_filter = AdaptiveFilter.of(tensors, chosen)
    network.directions = Directions.found(tensors, chosen)
    return Nic2026(network, tables, tensors["colour_channels"], calibration, chosen)
