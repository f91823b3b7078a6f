"""The symbols of nic2026: which latents are coded, and what for each of them.

pictures --analysis--> latents --+--> symbols, phase by phase --> cost, derivative of what was left out --+
                                 +<-- moved, with an effort as often as that says <-----------------------+
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pillow_neural.codecs.nic2026_adjustment import finish_of_tiles, strengths_for
from pillow_neural.codecs.nic2026_places import Places, joined
from pillow_neural.codecs.nic2026_stream import Section, cells, coded_in_phase, hyper_tables, sign_tables
from pillow_neural.codecs.shared import pad_to_multiples, rate_positions
from pillow_neural.entropy.gaussian import SCALE_COUNT
from pillow_neural.entropy.hidden_signs import Coded, SignHider, capacities
from pillow_neural.entropy.tables import FrequencyTables
from pillow_neural.networks.adjustment import Equations
from pillow_neural.networks.companding import COMPRESSED_HALO
from pillow_neural.networks.hyper_prior import Spread
from pillow_neural.networks.masking import masking_weight, sensitivity
from pillow_neural.networks.precision import small_shares
from pillow_neural.networks.prior import Quantised
from pillow_neural.networks.quantise import other_parity, rate_distortion_round
from pillow_neural.networks.search import Rest, Search, errors_of, finish_of, rest_of
from pillow_neural.networks.search_tiles import Picture
from pillow_neural.networks.strips import in_strips
from pillow_neural.networks.transform import BLOCK
from pillow_neural.networks.transform_codec import HYPER_BLOCK, TransformCodec

SYMBOL_LIMIT = 2**20
STEPS = (0, 0, 0, 1, 2, 3, 4, 6, 10, 24)
"""Of each effort, by derivatives of whole networks, after a first of linear parts that all but 0 take."""


REFITTED = (1, 4, 10)
"""Steps before which strengths are fitted anew, to which what is decoded adapts."""


class Chosen(NamedTuple):
    """What to code for each picture of a batch: its numbers, and the strengths that finish it or none."""

    sections: list[list[Section]]
    strengths: list[tuple[int, ...]]


class Choice(NamedTuple):
    """Symbols that were chosen for a batch.

    Attributes:
        sections: what to code for each picture after the hyper-latents.
        decoded: symbols plus means in quantisation steps, [B, C, H, W].
        symbols: [B, C, H, W].
        indices: their scale indices, whole numbers, zero where nothing is coded, [B, C, H, W].
    """

    sections: list[list[Section]]
    decoded: Tensor
    symbols: Tensor
    indices: Tensor


class Kept(NamedTuple):
    """The cheapest choice of each picture of a batch: see `Choice`, and what it costs in bits, [B].

    What is decoded is here to fit strengths to, and half as exact, in half of the memory.
    """

    sections: list[list[Section]]
    decoded: Tensor
    costs: Tensor


class SymbolChooser:
    """The encoder's part of the codec; see `Nic2026` for the arguments; tables are from `stream_tables`."""

    def __init__(
        self, network: TransformCodec, tables: FrequencyTables, colour_channels: Tensor, device: torch.device
    ) -> None:
        self._network = network
        magnitudes = np.split(tables.bits()[:SCALE_COUNT], [int(tables.limits.max()) + 1], axis=1)[1]
        magnitudes[:, 1:] += 1
        self._costs = torch.from_numpy(magnitudes).to(device).contiguous()
        self.capacities = capacities(tables, network.shape.hidden_sign_share)
        self._tables = tables
        self._colour_channels = colour_channels.to(device)
        self._device = device

    def chosen(self, picture: Picture, effort: int) -> Chosen:
        """What to code for each picture that `prepare` gave; to be called in inference mode.

        The hyper-latents of four phases, then the magnitudes of four phases, then signs.
        """
        best = self._searched(picture, effort) if effort else self._finished(picture, self._at_once(picture))
        hyper = self._hyper_sections(picture)
        return best._replace(sections=[z + own for z, own in zip(hyper, best.sections, strict=True)])

    def coded_places(self, height: int, width: int, planes: int) -> Tensor:
        """Which latents of a picture may be in a stream, bool [C, H, W].

        Those whose block has a pixel of the picture and, of a grey one, that are not of colour.
        """
        sides = (side * (HYPER_BLOCK // BLOCK) for side in cells(height, width))
        inside = torch.zeros(*sides, dtype=torch.bool, device=self._device)
        inside[: -(-height // BLOCK), : -(-width // BLOCK)] = True
        channels = ~self._colour_channels if planes == 1 else torch.ones_like(self._colour_channels)
        return inside & channels[:, None, None]

    def prepare(self, pictures: Tensor, levels: Sequence[int]) -> Picture:
        """Latents of pictures, and what choosing their symbols goes by; see `Codec.encode`."""
        rate = rate_positions(levels, self._device)
        seen = self._seen(pad_to_multiples(pictures, HYPER_BLOCK))
        latents = self._analyse(seen, rate)
        hyper = torch.round(self._network.prior.hyper_latents(latents, rate))
        weight = self._network.error_weight(rate)
        if self._network.shape.masking:
            weight = weight * self._masking_weight(seen)
        return Picture(pictures, latents, hyper, self._network.unit(rate), weight, rate)

    def _seen(self, padded: Tensor) -> Tensor:
        """Pictures as the analysis sees them, [B, P, 16H, 16W]: uint8 as they are, or companded in 0..1."""
        if not self._network.shape.companding:
            return padded
        halo = -(-COMPRESSED_HALO // BLOCK)
        return in_strips(lambda strip: self._network.seen(self._pixels(strip)), padded, BLOCK, BLOCK, halo)

    def _pixels(self, strip: Tensor) -> Tensor:
        """In 0..1 and on the device, of uint8 or such pixels."""
        return strip if strip.is_floating_point() else strip.to(self._device).float() / 255

    def _analyse(self, seen: Tensor, rate: Tensor) -> Tensor:
        """Latents in quantisation steps, [B, C, H, W], of what `_seen` gives."""

        def analyse(strip: Tensor) -> Tensor:
            return self._network.latents(self._pixels(strip), rate)

        return in_strips(analyse, seen, BLOCK, 1, self._network.analysis.halo)

    def _masking_weight(self, seen: Tensor) -> Tensor:
        """How much errors in each block count, [B, 1, H, W], of what `_seen` gives."""
        return masking_weight(in_strips(lambda strip: sensitivity(self._pixels(strip)), seen, BLOCK, 1, 0))

    def _at_once(self, picture: Picture, hide: bool = True) -> Choice:
        weight = picture.weight * self._network.choice_value()
        return self._choose(picture, picture.latents, weight, hide)

    def _finished(self, picture: Picture, choice: Choice) -> Chosen:
        finish = finish_of_tiles(self._network, picture, choice.decoded)
        return Chosen(choice.sections, strengths_for(self._network, picture, finish))

    def _searched(self, picture: Picture, effort: int) -> Chosen:
        """A choice that knows what another one left out; with effort 3 or more the cheapest of several."""
        steps = STEPS[effort]
        search = Search(self._network, picture, steps)
        rest = self._first_rest(picture)
        choice = self._choose(picture, search.moved(rest.derivative), search.weight)
        foreseen = strengths_for(self._network, picture, rest.outcome.finish, foreseen=True)
        if not steps:
            return Chosen(choice.sections, foreseen)
        unknown = torch.full((len(choice.sections),), math.inf, device=self._device)
        best = Kept(choice.sections, choice.decoded.half(), unknown)
        strengths = self._network.strengths_of(foreseen, picture.rate)
        for number in range(steps):
            if number in REFITTED:
                strengths = self._network.strengths_of(self._strengths(picture, choice.decoded), picture.rate)
            rest = self._rest(picture, choice, strengths=strengths)
            best = self._cheaper(best, choice, rest.outcome.errors)
            moved = search.moved(rest.derivative)
            del rest, choice  # so that the next ones need no more memory
            choice = self._choose(picture, moved, search.weight)
        best = self._cheaper(best, choice, errors_of(self._network, picture, choice.decoded, strengths))
        return Chosen(best.sections, self._strengths(picture, best.decoded.float()))

    def _strengths(self, picture: Picture, decoded: Tensor) -> list[tuple[int, ...]]:
        """Those that are the best for decoded latents."""
        return strengths_for(self._network, picture, finish_of(self._network, picture, decoded))

    def _cheaper(self, best: Kept, new: Choice, errors: Tensor) -> Kept:
        """Of each picture what costs less, errors [B] in bits."""
        costs = errors + self._bits_of(new)
        less = costs < best.costs
        pairs = zip(best.sections, new.sections, less.tolist(), strict=True)
        sections = [other if cheaper else own for own, other, cheaper in pairs]
        decoded = torch.where(less[:, None, None, None], new.decoded.half(), best.decoded)
        return Kept(sections, decoded, torch.minimum(costs, best.costs))

    def _first_rest(self, picture: Picture) -> Rest:
        """What a choice leaves out that is not coded and has no hidden signs.

        What signs change in one choice is not what they change in another.
        """
        return self._rest(picture, self._first(picture), linear=True)

    def _first(self, picture: Picture) -> Choice:
        """One that is not coded: nobody has to find its means again."""
        with small_shares(self._device):
            return self._at_once(picture, hide=False)

    def foreseen_and_last(self, picture: Picture) -> tuple[Equations, Tensor]:
        """How a first choice is finished, and what is decoded of what an effort of 1 codes, [B, C, H, W]."""
        search, rest = Search(self._network, picture, steps=0), self._first_rest(picture)
        choice = self._choose(picture, search.moved(rest.derivative), search.weight)
        return rest.outcome.finish, choice.decoded

    def _rest(
        self, picture: Picture, choice: Choice, linear: bool = False, strengths: Tensor | None = None
    ) -> Rest:
        slope = self._slope(picture, choice)
        return rest_of(self._network, picture, choice.decoded, slope, linear, strengths)

    def _choose(self, picture: Picture, latents: Tensor, weight: Tensor, hide: bool = True) -> Choice:
        """Symbols for latents [B, C, H, W] with errors of a weight, in bits for each squared step.

        hide: change some of them so that they tell signs. Without that there are no sections.
        """
        planes, height, width = picture.pixels.shape[1:]
        places = self.coded_places(height, width, planes)
        hiders = [SignHider(self.capacities, torch.get_num_threads()) for _ in picture.hyper if hide]
        sections: list[list[Section]] = [[] for _ in hiders]
        all_symbols, all_indices = latents.new_zeros(latents.shape), latents.new_zeros(latents.shape)

        def quantise(mask: Tensor, index: Tensor, mean: Tensor) -> Quantised:
            coded = coded_in_phase(mask, places, index)
            indices = coded.of(index)
            tables = indices.long()
            residual = coded.of(latents - mean * picture.unit).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT)
            weights = coded.of(weight)

            def bits(symbols: Tensor) -> Tensor:
                return self._bits(symbols, tables)

            best = rate_distortion_round(residual, weights, bits)
            if hide:
                instead, costs = other_parity(best, residual, weights, bits)
                values = (best.int(), instead.int(), costs, tables.to(torch.uint8))
                pictures = zip(sections, hiders, coded.by_picture(*values), strict=True)
                hidden = []
                for own, hider, (channels, symbols, others, more, numbers) in pictures:
                    hidden.append(hider.hide(Coded(symbols, numbers, channels), others, more))
                    own.append(Section(np.abs(hidden[-1]), numbers))
                best = joined(hidden, index)
            chosen = coded.planes(best)
            all_symbols.add_(chosen)
            all_indices.add_(coded.planes(indices))
            return Quantised(chosen, chosen / picture.unit)

        decoded = self._network.prior.walk(picture.hyper, picture.unit, picture.rate, quantise)
        for own, hider in zip(sections, hiders, strict=True):
            signs = hider.left()
            own.append(Section(signs, sign_tables(self._tables, len(signs))))
        return Choice(sections, decoded * picture.unit, all_symbols, all_indices)

    def _bits_of(self, choice: Choice) -> Tensor:
        """Of the phases' symbols, [B]."""
        told = [len(own[-1].symbols) for own in choice.sections]
        signed = choice.symbols.count_nonzero(dim=(1, 2, 3))
        bits = (torch.tensor(told, device=self._device) - signed).float()
        coded = Places.where(choice.indices > 0)
        found = self._bits(coded.of(choice.symbols), coded.of(choice.indices).long())
        return bits + coded.planes(found).sum(dim=(1, 2, 3))

    def _slope(self, picture: Picture, choice: Choice) -> Tensor:
        """Bits that a latent costs more for each step that it is further above its mean, [B, C, H, W].

        For symbols that are not zero the table's slope; zeros stay so, and their error grows.
        """
        planes, height, width = picture.pixels.shape[1:]
        slope = 2 * picture.weight * (picture.latents - choice.decoded)
        slope *= self.coded_places(height, width, planes)
        has_symbol = choice.symbols != 0
        places = Places.where(has_symbol)
        symbols, tables = places.of(choice.symbols), places.of(choice.indices).long()
        rise = (self._bits(symbols + 1, tables) - self._bits(symbols - 1, tables)) / 2
        return torch.where(has_symbol, places.planes(rise), slope)

    def _hyper_sections(self, picture: Picture) -> list[list[Section]]:
        """The hyper-latents of each picture, phase by phase."""
        sections: list[list[Section]] = [[] for _ in picture.hyper]

        def take(mask: Tensor, spread: Spread) -> Tensor:
            coded = Places.where(mask.bool().expand_as(picture.hyper))
            values = coded.of(picture.hyper - spread.whole).int(), hyper_tables(spread, coded)
            for own, (_, *section) in zip(sections, coded.by_picture(*values), strict=True):
                own.append(Section(*section))
            return picture.hyper * mask

        self._network.prior.hyper_prior.walk(picture.hyper, picture.rate, take)
        return sections

    def _bits(self, symbols: Tensor, tables: Tensor) -> Tensor:
        columns = self._costs.shape[1]
        places = torch.add(symbols.abs().clamp(max=columns - 1).long(), tables, alpha=columns)
        return self._costs.view(-1).index_select(0, places)
