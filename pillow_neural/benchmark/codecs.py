"""The codecs that the benchmark can measure: ours, and what Pillow and its plugins can save."""

import importlib
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pillow_neural.codecs.loading import weights_for_saving
from pillow_neural.codecs.registry import DEFAULT_CODEC, codec_info, codecs
from pillow_neural.weights import default_entry

SaveArgs = dict[str, Any]

NIC_QUALITIES = (0.06, 0.1, 0.15, 0.25, 0.4, 0.6, 0.9, 1.3, 1.9)
_OURS = re.compile(r"nic(?::(?!effort)(?P<which>[^:]+))?(?::effort(?P<effort>[0-9]))?")
_PLUGIN_MODULES = ("pillow_heif.HeifImagePlugin", "pillow_jxl")


@dataclass(frozen=True)
class Codec:
    """One curve to measure: a Pillow format and the keyword arguments of Image.save for each setting."""

    name: str
    format: str
    settings: tuple[SaveArgs, ...]


def nic_codec(
    which: str | None = None, qualities: Sequence[float] | None = None, effort: int | None = None
) -> Codec:
    """Our format at these nominal bits per pixel; None for NIC_QUALITIES.

    Args:
        which: None for the default codec, a metric that it can be tuned for, or another codec's name.
        qualities: to save at.
        effort: to save with; None for the default.
    """
    name, more = "nic", SaveArgs()
    if which is not None:
        tunes = codec_info(DEFAULT_CODEC).tunes
        name, more = f"nic:{which}", {"tune" if which in tunes else "codec": which}
    if effort is not None:
        name, more = f"{name}:effort{effort}", {**more, "effort": effort}
    return Codec(name, "NIC", tuple({"quality": quality, **more} for quality in qualities or NIC_QUALITIES))


def _by_quality(name: str, pillow_format: str, qualities: tuple[int, ...], **more: object) -> Codec:
    return Codec(name, pillow_format, tuple({"quality": quality, **more} for quality in qualities))


def _jpeg2000() -> Codec:
    ratios = (240.0, 160.0, 120.0, 80.0, 60.0, 48.0, 40.0, 30.0, 24.0, 16.0)
    more = {"quality_mode": "rates", "irreversible": True}
    return Codec("jpeg2000", "JPEG2000", tuple({**more, "quality_layers": [ratio]} for ratio in ratios))


_JPEG_QUALITIES = (5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90)
_WEBP_QUALITIES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
_AVIF_QUALITIES = (10, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80)
_HEIF_QUALITIES = (5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 70)

PEERS = (
    _by_quality("jpeg", "JPEG", _JPEG_QUALITIES, optimize=True, progressive=True),
    _jpeg2000(),
    _by_quality("webp", "WEBP", _WEBP_QUALITIES, method=6),
    _by_quality("avif", "AVIF", _AVIF_QUALITIES, speed=4, subsampling="4:2:0"),
    _by_quality("avif-fast", "AVIF", _AVIF_QUALITIES, speed=6, subsampling="4:2:0"),
    _by_quality("heif", "HEIF", _HEIF_QUALITIES),
    _by_quality("jxl", "JXL", _WEBP_QUALITIES, effort=7),
)
"""What users of Pillow have today; avif-fast is AVIF at Pillow's default speed."""


def our_codecs() -> list[Codec]:
    """Those of ours that have weights: the default one, as "nic", what it is tuned for, the others."""
    tunes = (None, *codec_info(DEFAULT_CODEC).tunes)
    default = [nic_codec(tune) for tune in tunes if default_entry(DEFAULT_CODEC, tune)]
    others = [info.name for info in codecs() if info.name != DEFAULT_CODEC and default_entry(info.name)]
    return [*default, *map(nic_codec, others)]


def available_peers() -> list[Codec]:
    """Those of PEERS that Pillow, with the plugins installed, can save and open."""
    return [peer for peer in PEERS if _is_available(peer)]


def find_codec(name: str, qualities: Sequence[float] | None = None) -> Codec:
    """The codec of that name: nic, nic:TUNE, nic:CODEC, these with :effortN or at some qualities, or a peer.

    Raises ValueError when there is none, or when Pillow can't save and open its format here.
    """
    if match := _OURS.fullmatch(name):
        effort = match["effort"]
        codec = nic_codec(match["which"], qualities, None if effort is None else int(effort))
    else:
        peers = {peer.name: peer for peer in PEERS}
        if name not in peers:
            raise ValueError(
                f"unknown codec {name!r}; there are nic, nic:TUNE, nic:CODEC, these with :effortN after it, "
                f"{', '.join(peers)}"
            )
        codec = peers[name]
    if not _is_available(codec):
        raise ValueError(f"codec {name!r}: Pillow can't save and open {codec.format} here")
    return codec


def registered_name(args: SaveArgs) -> str:
    """The name in the registry of the codec of ours that Image.save uses with these arguments."""
    name: str = args.get("codec", DEFAULT_CODEC)
    return name


def weights_measured(codec: Codec) -> dict[str, str]:
    """For a codec of ours {"weights": id of those that it saves with, 16 hex digits}; else nothing."""
    if codec.format != "NIC":
        return {}
    args = codec.settings[0]
    return {"weights": weights_for_saving(registered_name(args), args.get("tune")).id.hex()}


def register_formats() -> None:
    """Make Pillow know all its own formats, and those of pillow_heif and pillow_jxl where installed."""
    for module in _PLUGIN_MODULES:
        with suppress(ImportError):
            importlib.import_module(module)
    Image.init()


def encode(image: Image.Image, pillow_format: str, args: SaveArgs) -> bytes:
    """The file that Image.save writes."""
    buffer = io.BytesIO()
    image.save(buffer, pillow_format, **args)
    return buffer.getvalue()


def decode(data: bytes) -> Image.Image:
    """The picture in a file, opened and loaded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _is_available(codec: Codec) -> bool:
    register_formats()
    return codec.format in Image.SAVE and codec.format in Image.OPEN
