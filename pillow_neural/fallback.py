"""What a single picture that looks like graphics is saved as where no codec was asked for.

    picture --+--network-------------------------> file --+
              +--lossless------------------------> file --+--> the one that costs least
              +--AVIF, no worse than the network-> file --+

Costs are bits, and errors as the network's training weighs them against bits. For a target size they are the
errors alone of files that fit it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from PIL import Image

from pillow_neural.codecs import avif, lossless
from pillow_neural.codecs.contract import RATE_LEVELS, Codec, WeighsErrors
from pillow_neural.coding import code_avif, code_lossless
from pillow_neural.frames import Source, file_of
from pillow_neural.graphics import looks_like_graphics
from pillow_neural.header import AVIF_CODEC, LOSSLESS_CODEC, NO_WEIGHTS, Header
from pillow_neural.rate_control import largest_within
from pillow_neural.settings import SaveOptions

DECIBELS = 0.25
"""About what AVIF's errors change by from one quality to the next."""


class Candidate(NamedTuple):
    """A file, and the sum of its squared errors; see `graphics.visible_squared_error`."""

    file: bytes
    squared_error: float


class Fallback:
    """The files without a network that a picture may become.

    Args:
        source: the picture.
        header: of the file, whatever its codec.
        options: to save it with.
        error_of: the sum of the squared errors that a file has of the picture.
    """

    def __init__(
        self, source: Source, header: Header, options: SaveOptions, error_of: Callable[[bytes], float]
    ) -> None:
        self._source = source
        self._header = header
        self._options = options
        self._error_of = error_of

    def lossless(self) -> bytes | None:
        """The lossless file, if the picture can be one."""
        if not lossless.can_encode(self._source.im):
            return None
        header = self._header._replace(codec=LOSSLESS_CODEC, weights=NO_WEIGHTS)
        return file_of(header, [code_lossless(self._source)], self._options)

    def cheapest(self, network: bytes, error_weight: float) -> bytes:
        """The cheapest of all files.

        Args:
            network: the file of the network.
            error_weight: see `WeighsErrors`.
        """
        exact = self.lossless()
        if exact is not None and len(exact) <= len(network):
            return exact
        first = self._candidate(network)
        other = self._no_worse_avif(first.squared_error, error_weight)
        candidates = [first, *([other] if other else []), *([Candidate(exact, 0)] if exact else [])]

        def cost(candidate: Candidate) -> float:
            return 8 * len(candidate.file) + error_weight * candidate.squared_error

        return min(candidates, key=cost).file

    def better_within(self, network: bytes, limit: int) -> bytes:
        """The file of the network, or an AVIF file of at most so many bytes with smaller errors."""
        if not avif.can_encode(self._source.im):
            return network
        encode = cache(self._avif)
        try:
            other = largest_within(lambda level: encode(100 * level // RATE_LEVELS), limit, RATE_LEVELS // 2)
        except ValueError:
            return network
        return min(network, other, key=self._error_of)

    def _no_worse_avif(self, most: float, error_weight: float) -> Candidate | None:
        """An AVIF file whose squared errors add up to this at most, if there is one.

        Its quality is what the error weight asks for, or as much more as it takes.
        """
        if not avif.can_encode(self._source.im):
            return None
        quality = avif.quality_for(error_weight)
        found = self._candidate(self._avif(quality))
        while found.squared_error > most and quality < avif.HIGHEST:
            excess = 10 * math.log10(found.squared_error / most) if most else math.inf
            quality = min(quality + math.ceil(min(excess / DECIBELS, avif.HIGHEST)), avif.HIGHEST)
            found = self._candidate(self._avif(quality))
        return found if found.squared_error <= most else None

    def _candidate(self, file: bytes) -> Candidate:
        return Candidate(file, self._error_of(file))

    def _avif(self, quality: int) -> bytes:
        header = self._header._replace(codec=AVIF_CODEC, weights=NO_WEIGHTS)
        return file_of(header, [code_avif(self._source, quality, self._options.effort)], self._options)


def is_wanted(im: Image.Image, codec: Codec, options: SaveOptions) -> bool:
    """Tell whether a single picture should be compared with what this codec makes of it."""
    return options.codec is None and isinstance(codec, WeighsErrors) and looks_like_graphics(im)
