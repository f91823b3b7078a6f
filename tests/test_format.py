"""A second decoder of nic2026 symbols, written from FORMAT.md: whole numbers in numpy, no torch."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

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
from pillow_neural.modes import to_planes
from pillow_neural.weights import locate
from tests.codec_helpers import SymbolRecorder

Integers = npt.NDArray[np.int64]

EXAMPLE = Path(__file__).parents[1] / "examples" / "kodim23.png"
OFFSETS = (0, 3, 1, 2)
SIGN_TABLE = [2**23 - 1, 1, 2**23 - 1, 1]


class IntegerDecoder:
    """Follows FORMAT.md, section "Codec nic2026", up to the symbols."""

    def __init__(self, tensors: Mapping[str, npt.NDArray[np.generic]], shape: Mapping[str, int]) -> None:
        self.tensors = tensors
        self.channels, self.enough = shape["latents"], shape["hidden_sign_sum"]
        starts = np.cumsum(tensors["tables.lengths"])[:-1]
        tables = [*map(list, np.split(tensors["tables.frequencies"].astype(np.int64), starts))]
        folded = [_of_magnitudes(table) for table in tables[:64]] + tables[64:] + [SIGN_TABLE]
        self.tables = FrequencyTables.from_arrays(np.concatenate(folded), [len(table) for table in folded])

    def decode(self, data: bytes) -> list[Integers]:
        """The hyper-latents and the symbols of the four phases, [C, H, W] each."""
        file = io.BytesIO(data)
        index = container.read_index(file)
        header = index.header
        level, planes = int.from_bytes(header.parameters[:2], "big"), header.parameters[2]
        (entry,) = index.of_kind("DATA")
        decoder = SymbolDecoder(self.tables, container.read_chunk(file, entry), "python")
        cells = -(-header.height // 64), -(-header.width // 64)
        hyper_channels = len(self.tables.lengths) - 65
        numbers = np.repeat(np.arange(64, 64 + hyper_channels), cells[0] * cells[1])
        hyper = decoder.decode(numbers).astype(np.int64).reshape(hyper_channels, *cells)
        plane = (127 * level + 32767) // 65535
        features = self.scale_features(hyper, plane)
        inside = np.zeros((4 * cells[0], 4 * cells[1]), bool)
        inside[: -(-header.height // 16), : -(-header.width // 16)] = True
        left_out = self.tensors["colour_channels"] & (planes == 1)
        places = inside & ~left_out[:, None, None]
        magnitudes = np.zeros((self.channels, *inside.shape), np.int64)
        result = [hyper]
        for phase in range(4):
            table = self.indices(phase, features, magnitudes, plane)
            coded = self.phase_mask(phase, *inside.shape) & places & (table > 0)
            symbols = np.zeros_like(magnitudes)
            symbols[coded] = decoder.decode(table[coded])
            self.read_signs(decoder, symbols)
            magnitudes += np.abs(symbols)
            result.append(symbols)
        decoder.finish()
        return result

    def read_signs(self, decoder: SymbolDecoder, symbols: Integers) -> None:
        """Give magnitudes [C, H, W] their signs."""
        signs, hidden = np.ones_like(symbols), np.zeros(symbols.shape, bool)
        for row, column in np.argwhere(symbols.sum(axis=0) >= self.enough):
            block = symbols[:, row, column]
            place = np.flatnonzero(block)[0], row, column
            hidden[place], signs[place] = True, -1 if block.sum() % 2 else 1
        told = (symbols > 0) & ~hidden
        signs[told] = decoder.decode(np.full(told.sum(), len(self.tables.lengths) - 1))
        symbols *= signs

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

    def phase_mask(self, phase: int, height: int, width: int) -> npt.NDArray[np.bool_]:
        rows, columns = np.ogrid[:height, :width]
        group = (2 * (rows % 2) + columns % 2) ^ OFFSETS[phase]
        return np.arange(self.channels)[:, None, None] % 4 == group


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
    [((0, 0, 200, 130), "RGB", 0.5), ((300, 200, 364, 264), "RGB", 2.0), ((300, 200, 400, 264), "L", 1.0)],
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
    payloads = codec.encode(planes, [codec.level_of_quality(quality)])
    expected = SymbolRecorder(codec).symbols(payloads, *picture.size)
    for symbols, recorded in zip(decoded, expected, strict=True):
        assert np.array_equal(symbols, recorded[0])
