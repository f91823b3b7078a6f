"""mentzer2018: a volume of few symbols with a context model over channels, rows and columns.

    pixels --analysis--> values --mask by importance--> nearest centre --> symbols [K, h, w]
                                                                              |
                                        VolumeContext in integers, tables --> one stream

    pixels <--synthesis-- centres <-- symbols <-- stream

Mentzer, Agustsson, Tschannen, Timofte, Van Gool 2018 (arXiv 1801.04260): a residual auto-encoder whose
symbols the context model predicts one by one. The authors' coder takes minutes for a picture since it runs
its network for each symbol; here some hundreds of steps do (pillow_neural.networks.causal).

Parameters: two bytes, the rate level, big-endian. The one section is the volume; the importance map is what
the volume shows of it (pillow_neural.networks.mentzer2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

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
from pillow_neural.codecs.volume_coder import decode_volume, encode_volume
from pillow_neural.entropy import DecodeError, FrequencyTables
from pillow_neural.networks.mentzer2018 import BLOCK, Mentzer2018Network, Mentzer2018Shape
from pillow_neural.networks.packing import channels_last, unpack


class Mentzer2018:
    """The codec with its weights; see pillow_neural.codecs.contract.Codec.

    Args:
        network: with frozen integer layers.
        tables: one for each index of the context model.
        calibration: what the rate levels mean.
        device: where the networks run.
    """

    def __init__(
        self,
        network: Mentzer2018Network,
        tables: FrequencyTables,
        calibration: RateCalibration,
        device: torch.device,
    ) -> None:
        self._network = channels_last(network.eval().to(device))
        self._tables = tables
        self._calibration = calibration
        self._device = device

    def level_of_quality(self, bits_per_pixel: float) -> int:
        """The rate level with this mean rate over photographs; see the contract."""
        return self._calibration.level_of(bits_per_pixel)

    @torch.inference_mode()
    def encode(self, pictures: Tensor, levels: Sequence[int], effort: int = 0) -> list[Payload]:
        """One stream a picture; see the contract."""
        rates = torch.split(self._network.whole_rate(rate_positions(levels, self._device)), 1)
        payloads = []
        for level, rate, volume in zip(levels, rates, self.volumes(pictures, levels), strict=True):
            stream = encode_volume(self._network.context, self._tables, volume.numpy(), rate)
            payloads.append(Payload(rate_parameters(level), (stream,)))
        return payloads

    @torch.inference_mode()
    def volumes(self, pictures: Tensor, levels: Sequence[int]) -> Tensor:
        """Symbols of pictures uint8 [B, 3, H, W]: int8 [B, K, ceil(H / 8), ceil(W / 8)] on the CPU."""
        pixels = pad_to_multiples(pictures.to(self._device).float() / 255, BLOCK)
        values, mask = self._network.analyse(pixels, rate_positions(levels, self._device))
        symbols: Tensor = self._network.quantiser(values * mask).symbols
        return symbols.to(torch.int8).cpu()

    @torch.inference_mode()
    def decode(self, payloads: Sequence[Payload], width: int, height: int, reduction: int = 1) -> Tensor:
        """Pixels of streams of one size; see the contract. Reduced ones are decoded whole and averaged."""
        volumes = torch.stack([self.decode_volume(payload, width, height) for payload in payloads])
        rate = rate_positions([parameter_level(payload) for payload in payloads], self._device)
        centres = self._network.quantiser.centres()[volumes.long().to(self._device)]
        pixels = self._network.synthesise(centres, rate)[..., :height, :width].clamp(0, 1)
        return (mean_pixels(pixels, reduction) * 255).round_().to(torch.uint8).cpu()

    @torch.inference_mode()
    def decode_volume(self, payload: Payload, width: int, height: int) -> Tensor:
        """Symbols of the stream of one picture of this size, as `volumes` gives them.

        Raises:
            DecodeError: the stream is not what `encode` writes for this size.
        """
        rate = self._network.whole_rate(rate_positions([parameter_level(payload)], self._device))
        if len(payload.sections) != 1:
            raise DecodeError(f"a mentzer2018 picture has one section, not {len(payload.sections)}")
        rows, columns = -(-height // BLOCK), -(-width // BLOCK)
        volume = decode_volume(self._network.context, self._tables, payload.sections[0], rows, columns, rate)
        return torch.from_numpy(volume)

    def importance_map(self, payload: Payload, width: int, height: int) -> Tensor:
        """Channels of each 8x8 block, up to the last that is not 0, over K; see the contract."""
        volume = self.decode_volume(payload, width, height)
        counts = torch.arange(1, len(volume) + 1)[:, None, None] * (volume != self._network.quantiser.home)
        return counts.amax(dim=0).float() / len(volume)


def load(path: Path, device: str) -> Mentzer2018:
    """The codec from a weights file; see pillow_neural.training.recipes.mentzer2018_weights."""
    tensors, fields, tables = read_weights(path)
    network = Mentzer2018Network(Mentzer2018Shape(**fields))
    unpack(network, tensors)
    calibration = RateCalibration.of(tensors)
    return Mentzer2018(network, tables, calibration, torch.device(device))
