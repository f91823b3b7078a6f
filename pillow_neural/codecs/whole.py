"""What the codecs without a network share: a picture is one section, which an image library made."""

from __future__ import annotations

from pillow_neural.codecs.contract import Payload
from pillow_neural.container import DamagedFileError

MAX_SIDE = 16_383
"""The longest side that is written and read, in pixels: that of a VP8L bitstream."""


def only_section(payload: Payload, width: int, height: int, kind: str) -> bytes:
    """Return the one section of a payload.

    Args:
        payload: of a picture.
        width, height: its size.
        kind: what the picture is called in messages, with its article.

    Raises:
        DamagedFileError: there are parameters, not exactly one section, or a side longer than `MAX_SIDE`.
    """
    if payload.parameters or len(payload.sections) != 1:
        raise DamagedFileError(f"{kind} picture has exactly one DATA section, and no parameters")
    if max(width, height) > MAX_SIDE:
        raise DamagedFileError(f"{kind} picture has at most {MAX_SIDE} pixels a side")
    return payload.sections[0]
