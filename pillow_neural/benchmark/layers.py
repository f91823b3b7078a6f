"""What each layer of a progressive codec brings: every prefix of a file, opened and measured.

    picture -> file -> cut after layer 1, 2, ... -> opened again -> bytes, PSNR, MS-SSIM

Layout of layers.json:

    {"codec": "johnston2018", "quality": null, "environment": {"python": "3.12.1", ...},
     "pictures": [{"name": "kodim01.png", "width": 768, "height": 512,
                   "layers": [{"layers": 1, "bytes": 6212, "bpp": 0.1264, "psnr": 22.1, "msssim": 0.79},
                              ...]}, ...]}
"""

import io
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image
from tqdm import tqdm

from pillow_neural.benchmark.codecs import nic_codec, weights_measured
from pillow_neural.benchmark.crops import encoder
from pillow_neural.benchmark.curves import METRICS
from pillow_neural.benchmark.metrics import ms_ssim, psnr
from pillow_neural.benchmark.report import markdown_table
from pillow_neural.benchmark.results import Environment, describe_environment
from pillow_neural.codecs import loading
from pillow_neural.codecs.contract import RATE_LEVELS
from pillow_neural.codecs.registry import codec_info
from pillow_neural.container import Chunk, read_index, write
from pillow_neural.devices import device
from pillow_neural.header import Header
from pillow_neural.layers import layer_sizes
from pillow_neural.modes import to_planes
from pillow_neural.pillow_plugin import NicImageFile


@dataclass(frozen=True)
class Prefix:
    """A file cut after its first layers: their number, bytes, bits per pixel, PSNR in dB, MS-SSIM."""

    layers: int
    bytes: int
    bpp: float
    psnr: float
    msssim: float


@dataclass(frozen=True)
class LayeredPicture:
    """All prefixes of one picture's file, the shortest first."""

    name: str
    width: int
    height: int
    layers: list[Prefix]


@dataclass(frozen=True)
class LayerResults:
    """What was measured; `quality` is None for the highest rate with all layers in all blocks."""

    codec: str
    quality: float | None
    environment: Environment
    pictures: list[LayeredPicture]

    def save(self, folder: Path) -> None:
        """Write layers.json and layers.md."""
        (folder / "layers.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        (folder / "layers.md").write_text(_report(self), encoding="utf-8")


def measure_layers(codec: str, paths: Sequence[Path], quality: float | None = None) -> LayerResults:
    """Save each picture as RGB once, and measure its file cut after each layer.

    Args:
        codec: name of a progressive codec.
        paths: pictures with sides of at least `metrics.MIN_SIDE`.
        quality: as in `Image.save`; None for the highest rate with the same number of iterations everywhere.

    Raises:
        ValueError: there is no such codec, it is not progressive, or there is no such quality.
        OSError: it has no weights, or a picture cannot be read.
    """
    if not codec_info(codec).progressive:
        raise ValueError(f"codec {codec} is not progressive: its files have no layers")
    ours = nic_codec(codec)
    encode = encoder(ours)
    environment = {**describe_environment(), **weights_measured(ours)}
    pictures = []
    for path in tqdm(paths, unit="picture"):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        data = _all_layers(image, codec) if quality is None else encode(image, quality)
        pictures.append(LayeredPicture(path.name, *image.size, list(_prefixes(image, data))))
    return LayerResults(codec, quality, environment, pictures)


def falls(picture: LayeredPicture) -> list[str]:
    """Say where PSNR or MS-SSIM of a picture fell from one layer to the next."""
    steps = pairwise(picture.layers)
    return [
        f"{picture.name}: {metric.name} fell from {old:.5g} to {new:.5g} with layer {after.layers}"
        for before, after in steps
        for metric in METRICS
        if (new := getattr(after, metric.field)) < (old := getattr(before, metric.field))
    ]


def _all_layers(image: Image.Image, name: str) -> bytes:
    """The file of the highest rate, with all layers in all blocks of the picture."""
    from pillow_neural.codecs.recurrent import RecurrentCodec

    entry = loading.weights_for_saving(name)
    codec = loading.load_codec(entry, device())
    if isinstance(codec, RecurrentCodec):
        codec = codec.with_rates(adaptive=False)
    (payload,) = codec.encode(to_planes(image, grey=False), [RATE_LEVELS])
    header = Header(image.width, image.height, "RGB", name, entry.id, payload.parameters)
    return write(header, [Chunk("DATA", section) for section in payload.sections])


def _prefixes(image: Image.Image, data: bytes) -> Iterator[Prefix]:
    original = np.asarray(image)
    for layers, size in enumerate(layer_sizes(read_index(io.BytesIO(data))), start=1):
        with Image.open(io.BytesIO(data[:size])) as cut:
            cast(NicImageFile, cut).layers = layers
            pixels = np.asarray(cut)
        bpp = 8 * size / (image.width * image.height)
        yield Prefix(layers, size, bpp, psnr(original, pixels), ms_ssim(original, pixels))


def _report(results: LayerResults) -> str:
    rate = (
        "the highest rate, all layers everywhere" if results.quality is None else f"quality {results.quality}"
    )
    header = ["layers", "pictures", "bytes", "bpp", "PSNR dB", "MS-SSIM"]
    most = max(len(picture.layers) for picture in results.pictures)
    fallen = [line for picture in results.pictures for line in falls(picture)]
    lines = [
        f"# Layers of {results.codec}",
        "",
        f"Means over {len(results.pictures)} pictures, saved once at {rate}, cut after each layer and opened",
        "again. Sizes are whole files. A picture with fewer layers counts with all of its own.",
        "",
        *markdown_table(
            header, [_mean_row(results.pictures, layers) for layers in range(1, most + 1)], texts=0
        ),
        "",
        *(
            [f"- {line}" for line in fallen]
            or ["No picture's PSNR or MS-SSIM fell from one layer to the next."]
        ),
        "",
        ", ".join(f"{key} {value}" for key, value in results.environment.items()),
    ]
    return "\n".join([*lines, ""])


def _mean_row(pictures: Sequence[LayeredPicture], layers: int) -> list[str]:
    prefixes = [picture.layers[min(layers, len(picture.layers)) - 1] for picture in pictures]
    having = sum(prefix.layers == layers for prefix in prefixes)
    means = {
        field: statistics.fmean(getattr(prefix, field) for prefix in prefixes)
        for field in ("bytes", "bpp", "psnr", "msssim")
    }
    return [
        str(layers),
        str(having),
        f"{means['bytes']:,.0f}",
        f"{means['bpp']:.4f}",
        f"{means['psnr']:.3f}",
        f"{means['msssim']:.4f}",
    ]
