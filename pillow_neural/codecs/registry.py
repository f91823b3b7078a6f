"""The registry of codecs: name -> CodecInfo. Imports no codec."""

from __future__ import annotations

from pillow_neural.codecs.contract import CodecInfo
from pillow_neural.header import LOSSLESS_CODEC

DEFAULT_CODEC = "nic2026"

_CODECS = (
    CodecInfo(
        name="nic2026",
        module="pillow_neural.codecs.nic2026",
        title="the default codec: all rates in one model, integer scales, phased means",
        paper="this project",
        grey=True,
        tunes=("psnr", "ssim"),
    ),
    CodecInfo(
        name="toderici2016",
        module="pillow_neural.codecs.toderici2016",
        title="recurrent: the residual coded again and again, one section an iteration",
        paper="Toderici et al. 2016, arXiv 1608.05148",
        progressive=True,
    ),
    CodecInfo(
        name="johnston2018",
        module="pillow_neural.codecs.johnston2018",
        title="recurrent, with priming, an SSIM-weighted loss and spatially adaptive bit rates",
        paper="Johnston et al. 2018, arXiv 1703.10114",
        progressive=True,
        importance_map=True,
    ),
    CodecInfo(
        name="li2018",
        module="pillow_neural.codecs.li2018",
        title="binary codes whose length an importance map decides, trimmed contexts",
        paper="Li et al. 2018, arXiv 1703.10553",
        importance_map=True,
    ),
    CodecInfo(
        name="mentzer2018",
        module="pillow_neural.codecs.mentzer2018",
        title="few symbols in many channels, a context model over all of them, tuned for MS-SSIM",
        paper="Mentzer et al. 2018, arXiv 1801.04260",
        importance_map=True,
    ),
    CodecInfo(
        name=LOSSLESS_CODEC,
        module="pillow_neural.codecs.lossless",
        title="no network: the lossless bitstream of WebP, for graphics",
        paper="RFC 9649",
    ),
)


def codecs() -> tuple[CodecInfo, ...]:
    """All registered codecs, the default one first."""
    return _CODECS


def codecs_with_maps() -> list[str]:
    """Names of the codecs that offer importance maps."""
    return [info.name for info in _CODECS if info.importance_map]


def codec_info(name: str) -> CodecInfo:
    """The codec of this name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    for info in _CODECS:
        if info.name == name:
            return info
    known = ", ".join(info.name for info in _CODECS)
    raise ValueError(f"unknown codec {name!r}; registered codecs: {known}")
