"""A second decoder of nic2026 symbols, written from FORMAT.md: whole numbers in numpy, no torch."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from safetensors import safe_open

from pillow_neural import container
from pillow_neural.codecs.loading import load_codec, weights_for_saving
from pillow_neural.codecs.nic2026 import Nic2026
from pillow_neural.entropy.symbols import SymbolDecoder
from pillow_neural.entropy.tables import FrequencyTables
from pillow_neural.header import Header
from pillow_neural.modes import to_planes
from pillow_neural.settings import DEFAULT_EFFORT
from pillow_neural.weights import locate
from tests.codec_helpers import EXAMPLE, SymbolRecorder

Integers = npt.NDArray[np.int64]

OFFSETS = (0, 3, 1, 2)
SIGN_TABLE = [2**23 - 1, 1, 2**23 - 1, 1]


class Part(NamedTuple):
    """Places [N, 3], tables and magnitudes of what is coded, in order."""

    places: Integers
    tables: list[int]
    magnitudes: list[int]


class IntegerDecoder:
    """Follows FORMAT.md, section "Codec nic2026", up to the symbols."""

    def __init__(self, tensors: Mapping[str, npt.NDArray[np.generic]], shape: Mapping[str, int]) -> None:
        self.tensors = tensors
        self.channels, self.hyper, self.share = (
            shape[name] for name in ("latents", "hyper", "hidden_sign_share")
        )
        starts = np.cumsum(tensors["tables.lengths"])[:-1]
        tables = [*map(list, np.split(tensors["tables.frequencies"].astype(np.int64), starts))]
        folded = [_of_magnitudes(table) for table in tables[:64]] + tables[64:] + [SIGN_TABLE]
        self.tables = FrequencyTables.from_arrays(np.concatenate(folded), [len(table) for table in folded])

    def decode(self, data: bytes) -> list[Integers]:
        """The hyper-latents and the symbols, [C, H, W] each, and the numbers of strengths."""
        file = io.BytesIO(data)
        index = container.read_index(file)
        header = index.header
        level, planes = int.from_bytes(header.parameters[:2], "big"), header.parameters[2]
        (entry,) = index.of_kind("DATA")
        decoder = SymbolDecoder(self.tables, container.read_chunk(file, entry), "python")
        cells = -(-header.height // 64), -(-header.width // 64)
        plane = (127 * level + 32767) // 65535
        hyper = self.hyper_latents(decoder, cells, plane)
        features = self.scale_features(hyper, plane)
        inside = np.zeros((4 * cells[0], 4 * cells[1]), bool)
        inside[: -(-header.height // 16), : -(-header.width // 16)] = True
        left_out = self.tensors["colour_channels"] & (planes == 1)
        places = inside & ~left_out[:, None, None]
        magnitudes = np.zeros((self.channels, *inside.shape), np.int64)
        first_channels = np.arange(self.channels)[:, None, None] % 12 < 4
        parts: list[Part] = []
        for phase in range(4):
            table = self.indices(phase, features, magnitudes, plane)
            coded = self.phase_mask(phase, self.channels, *inside.shape) & places & (table > 0)
            magnitudes[coded] = decoder.decode(table[coded])
            for part in [coded] if phase else [coded & first_channels, coded & ~first_channels]:
                parts.append(Part(np.argwhere(part), table[part].tolist(), magnitudes[part].tolist()))
        symbols = self.signed(decoder, magnitudes, parts)
        strengths = [*np.frombuffer(header.parameters[3:8], np.int8), *self.of_directions(decoder, header)]
        decoder.finish()
        return [hyper, symbols, np.array(strengths, np.int64)]

    def of_directions(self, decoder: SymbolDecoder, header: Header) -> Integers:
        count = header.parameters[8] if len(header.parameters) > 8 else 0
        if not count:
            return np.zeros(0, np.int64)
        numbers = decoder.decode(self.tensors["directions.scales"][:count].astype(np.int64)).astype(np.int64)
        signs = np.full(np.count_nonzero(numbers), len(self.tables.lengths) - 1)
        numbers[numbers != 0] *= decoder.decode(signs)
        return numbers

    def hyper_latents(self, decoder: SymbolDecoder, cells: tuple[int, int], plane: int) -> Integers:
        hyper = np.zeros((self.hyper, *cells), np.int64)
        known = np.zeros((4, *cells), np.int64)
        for phase in range(4):
            name, rate = f"hyper_prior.phases.{phase}", np.full((1, *cells), plane)
            first = self.rounded(f"{name}.first", np.concatenate([8 * hyper, known, rate]))
            spread = self.convolve(
                f"{name}.to_spread", np.concatenate([self.rounded(f"{name}.mix", first), rate])
            )
            location, scale = np.split(_round(*spread), 2)
            location, scale = np.clip(location, -120, 120), np.clip(scale, 0, 31)
            whole = (location + 4) // 8
            own = self.phase_mask(phase, self.hyper, *cells)
            tables = 64 + 8 * scale + location + 4 - 8 * whole
            hyper[own] = whole[own] + decoder.decode(tables[own])
            known += 127 * self.phase_mask(phase, 4, *cells)
        return hyper

    def signed(self, decoder: SymbolDecoder, magnitudes: Integers, parts: list[Part]) -> Integers:
        """Magnitudes [C, H, W] with their signs."""
        places: list[tuple[int, ...]] = []
        signs: list[int] = []
        for part in parts:
            bits = self.told(part)
            signs += [1 - 2 * bit for bit in bits[: len(places) - len(signs)]]
            places += [tuple(place) for place, size in zip(part.places, part.magnitudes, strict=True) if size]
        signs += decoder.decode(np.full(len(places) - len(signs), len(self.tables.lengths) - 1)).tolist()
        symbols = magnitudes.copy()
        for place, sign in zip(places, signs, strict=True):
            symbols[place] *= sign
        return symbols

    def told(self, part: Part) -> list[int]:
        """The bits of a part."""
        capacities = map(self.capacity, part.tables)
        tellers = [(c, m % 2) for c, m in zip(capacities, part.magnitudes, strict=True) if c]
        lanes = max(1, -(-len(tellers) // 512))
        last = (len(tellers) - 1) // lanes * lanes
        rows = sum(capacity for capacity, _ in tellers[: max(0, last)]) // lanes >> 24
        bits = [[0] * lanes for _ in range(rows)]
        before, state = 0, 1
        for start in range(0, len(tellers), lanes):
            state = (1103515245 * state + 12345) % 2**31
            column, row = state >> 16 & 255 | 129, min(before // lanes >> 24, rows - 1)
            for lane, (capacity, odd) in enumerate(tellers[start : start + lanes]):
                for bit in range(row, min(row + 8, rows)):
                    bits[bit][lane] ^= odd & column >> (bit - row) & 1
                before += capacity
        return [bit for row_bits in bits for bit in row_bits]

    def capacity(self, table: int) -> int:
        frequencies = self.tables.table(table)
        other = 2**24 - int(frequencies[len(frequencies) // 2 - 1])
        return other * self.share // 256 if other >= 671_088 else 0

    def scale_features(self, hyper: Integers, plane: int) -> Integers:
        inputs = np.concatenate([8 * hyper, np.full((1, *hyper.shape[1:]), plane)])
        first = _shuffle(self.rounded("scale_synthesis.up", inputs))
        return _shuffle(self.rounded("scale_synthesis.up_again", self.rounded("scale_synthesis.mix", first)))

    def indices(self, phase: int, features: Integers, magnitudes: Integers, plane: int) -> Integers:
        name = f"scales.{phase}"
        total, shift = self.convolve(f"{name}.from_features", features)
        if phase:
            context, other = self.convolve(f"{name}.from_context", 4 * np.minimum(magnitudes, 12))
            common = np.maximum(shift, other)
            total = (total << (common - shift)) + (context << (common - other))
            shift = common
        hidden = self.rounded(f"{name}.mix", np.clip(_round(total, shift), 0, 127))
        planes = np.concatenate([hidden, np.full((1, *hidden.shape[1:]), plane)])
        return np.clip(_round(*self.convolve(f"{name}.to_index", planes)), 0, 63)

    def rounded(self, name: str, inputs: Integers) -> Integers:
        return np.clip(_round(*self.convolve(name, inputs)), 0, 127)

    def convolve(self, name: str, inputs: Integers) -> tuple[Integers, Integers]:
        """Sums in units of 2**-shift, and the shifts [outputs, 1, 1]."""
        weight, bias, shift = (
            self.tensors[f"prior.{name}.{part}"].astype(np.int64) for part in ("weight", "bias", "shift")
        )
        kernel = weight.shape[-1]
        height, width = inputs.shape[1:]
        padded = np.pad(inputs, ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2))
        total = np.broadcast_to(bias[:, None, None], (len(bias), height, width)).copy()
        for row in range(kernel):
            for column in range(kernel):
                window = padded[:, row : row + height, column : column + width]
                total += np.einsum("oi,ihw->ohw", weight[:, :, row, column], window)
        return total, shift[:, None, None]

    def phase_mask(self, phase: int, channels: int, height: int, width: int) -> npt.NDArray[np.bool_]:
        rows, columns = np.ogrid[:height, :width]
        group = (2 * (rows % 2) + columns % 2) ^ OFFSETS[phase]
        return np.arange(channels)[:, None, None] % 4 == group


def _of_magnitudes(table: list[int]) -> list[int]:
    limit = len(table) // 2 - 1
    negative, positive = table[:limit][::-1], table[limit + 1 : -1]
    both = [a + b - 1 for a, b in zip(negative, positive, strict=True)]
    return [1] * limit + [table[limit], *both, table[-1]]


def _round(total: Integers, shift: Integers) -> Integers:
    return (2 * total + (1 << shift)) >> (shift + 1)


def _shuffle(planes: Integers) -> Integers:
    channels, height, width = planes.shape
    cells = planes.reshape(channels // 4, 2, 2, height, width)
    return cells.transpose(0, 3, 1, 4, 2).reshape(channels // 4, 2 * height, 2 * width)


@pytest.mark.parametrize(
    ("box", "mode", "quality"),
    [((280, 80, 600, 300), "RGB", 0.5), ((300, 200, 364, 264), "RGB", 2.0), ((300, 200, 400, 264), "L", 1.0)],
)
def test_second_decoder_finds_the_same_symbols(
    box: tuple[int, int, int, int], mode: str, quality: float
) -> None:
    picture = Image.open(EXAMPLE).crop(box).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, "NIC", quality=quality)
    entry = weights_for_saving("nic2026")
    with safe_open(locate(entry), framework="numpy") as file:
        exact = [name for name in file.keys() if not name.endswith(".step")]  # noqa: SIM118 - of float kernels
        tensors = {name: file.get_tensor(name) for name in exact}
        shape = json.loads(file.metadata()["network_shape"])
    decoded = IntegerDecoder(tensors, shape).decode(buffer.getvalue())
    codec = load_codec(entry, "cpu")
    assert isinstance(codec, Nic2026)
    planes = to_planes(picture, grey=True)
    payloads = codec.encode(planes, [codec.level_of_quality(quality)], DEFAULT_EFFORT)
    expected = SymbolRecorder(codec).symbols(payloads, *picture.size)
    for symbols, recorded in zip(decoded, expected, strict=False):
        assert np.array_equal(symbols, recorded[0])
    (strengths,) = codec.decode_streams(payloads, *picture.size).strengths
    assert decoded[2].tolist() == list(strengths)
    assert (len(strengths) > 5) == (mode == "RGB" and quality == 0.5)
