"""What a codec is to the rest of the package.

    uint8 pictures [B, P, H, W] + rate levels --encode--> payloads --decode--> uint8 pictures [B, P, H, W]

P is 3, RGB, or 1, grey, where the codec knows grey (`CodecInfo.grey`).

A payload is a few parameter bytes, kept in the file's header (those of later frames in a chunk), and an
ordered list of sections, each kept as a chunk with a checksum of its own. The contract was checked on paper
against systems unlike the default:

- A recurrent codec that emits bit planes iteration by iteration (Toderici 2016, Johnston 2018): one section
  an iteration; the map of per-block iteration counts is section 0 and says which bits each later section
  holds; `decode` with the first n sections is the coarser picture (`CodecInfo.progressive`).
- An autoregressive context over symbols (Mentzer 2018, Li 2018): `decode` owns the loop between its integer
  network and the symbol decoder; the contract sees bytes in and pixels out.
- Vector quantisation (Agustsson 2017): symbols are codebook indices with the codebook's frequency table;
  the codebook is part of the weights.
- A pyramid of bit planes (Rippel & Bourdev 2017): sections are bit planes from the most significant down,
  each with all scales; dropping the last ones is again a coarser picture.

Tiles and regions: a codec that can decode a region takes the sections of the tiles that cover it; a tile is
a payload of its own, so both are lists of payloads, which `decode` already takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

RATE_LEVELS = 65_535
REDUCTIONS = (1, 2, 4, 8)
MAX_EFFORT = 9


@dataclass(frozen=True, slots=True)
class CodecInfo:
    """A codec's entry in the registry, readable without importing torch.

    Attributes:
        name: as in files and in `save(codec=...)`.
        module: where `load(file) -> Codec` is found; of the codec without weights, `encode` and `decode`.
        title: one line for people.
        paper: what it implements.
        progressive: whether a prefix of the sections, at least the first two, decodes to a coarser picture.
        importance_map: whether its codec offers `MapsImportance.importance_map`.
        grey: whether it takes grey pictures as one plane; else they come as three equal ones.
        tunes: metrics that there are weights for, its own first; empty where there is no choice.
    """

    name: str
    module: str
    title: str
    paper: str
    progressive: bool = False
    importance_map: bool = False
    grey: bool = False
    tunes: tuple[str, ...] = ()


class Payload(NamedTuple):
    """One picture's bitstreams: at most 255 parameter bytes, and the ordered sections."""

    parameters: bytes
    sections: tuple[bytes, ...]


class Codec(Protocol):
    """A codec with its weights on a device. Safe to use from several threads."""

    def level_of_quality(self, bits_per_pixel: float) -> int:
        """The rate level 0..65535 whose mean over photographs is nearest to this many bits per pixel."""

    def encode(self, pictures: Tensor, levels: Sequence[int], effort: int = 0) -> list[Payload]:
        """Encode a batch.

        Args:
            pictures: uint8 [B, 3, H, W] RGB or, if the codec knows grey, [B, 1, H, W]; any H and W from 1.
            levels: rate levels 0..65535, one a picture; size and quality rise with the level.
            effort: 0 to MAX_EFFORT, how long to search for an encoding that costs less. Nothing to a codec
                that has no search.
        """

    def decode(self, payloads: Sequence[Payload], width: int, height: int, reduction: int = 1) -> Tensor:
        """Decode a batch of pictures of one size: uint8 [B, P, height, width] on the CPU, P as encoded.

        Args:
            payloads: what `encode` gave, all of the same P.
            width, height: the size that was encoded.
            reduction: one of REDUCTIONS; above 1 the result is uint8 [B, P, ceil(height / reduction),
                ceil(width / reduction)], near the mean over reduction x reduction pixels each, and the codec
                leaves out what that does not need.

        Raises:
            OSError: a payload is not what this codec writes for this size.
        """


class MapsImportance(Protocol):
    """What a codec that spends its bits unevenly, by a map, offers beside `Codec`."""

    def importance_map(self, payload: Payload, width: int, height: int) -> Tensor:
        """Share of its bits that each block may have: float32 [rows, columns] in 0..1, on the CPU.

        A block is a square whose side is a power of two; there are ceil(height / side) rows and
        ceil(width / side) columns of them.

        Args:
            payload: what `encode` gave; of a progressive codec the first two sections are enough.
            width, height: the size that was encoded.

        Raises:
            OSError: the payload is not what this codec writes for this size.
        """


@runtime_checkable
class WeighsErrors(Protocol):
    """What a codec that can be compared with coding without a network offers beside `Codec`."""

    def error_weight(self, level: int) -> float:
        """Bits that one squared level of error, of 0..255, in one of R, G and B of one pixel is worth.

        The codec is made for the least bits + error_weight * sum of squared errors. A grey picture counts as
        RGB, an error in it three times.

        Args:
            level: rate level 0..65535.
        """
