"""lossless: VP8L, the lossless bitstream of WebP (RFC 9649), made and read by Pillow. No weights, no torch.

    picture --RGB or RGBA--> Pillow's WebP file --25 bytes off--> rest of a VP8L bitstream, one section
    picture <-mode of file-- Pillow's WebP file <--25 bytes on--- section

The 25 bytes are RIFF and the bitstream's own header, which say nothing that the file's header does not. Alpha
travels inside the bitstream. It is exact like the colours, but those of fully transparent pixels become what
compresses best, as in Pillow's WebP.
"""

from __future__ import annotations

import io

from PIL import Image, features
from PIL.WebPImagePlugin import WebPImageFile

from pillow_neural.codecs.contract import Payload
from pillow_neural.codecs.whole import MAX_SIDE, only_section
from pillow_neural.container import DamagedFileError
from pillow_neural.modes import has_alpha

_RIFF, _CHUNK = b"RIFF", b"WEBPVP8L"
_WRAPPING = 20
_SIGNATURE = b"\x2f"
_STREAM_HEADER = 5

_USUAL = {"method": 4, "quality": 80}
"""Pillow's defaults, so that no stream is longer than that of a WebP file saved with them."""

_STRONG = {"method": 4, "quality": 100}
_THOROUGH = {"method": 6, "quality": 100}
_THOROUGH_PIXELS = 2**16
"""Up to so many pixels all of libwebp's ways are tried; 0 to 4 % fewer bytes for ten times the work."""


def can_encode(im: Image.Image) -> bool:
    """Tell whether a picture is small enough, and Pillow was built with WebP."""
    return max(im.size) <= MAX_SIDE and _has_webp()


def encode(im: Image.Image) -> Payload:
    """Return the payload of a picture of mode L, LA, RGB or RGBA, the smallest of two settings of libwebp.

    Raises:
        ValueError: a side is longer than `MAX_SIDE`.
        OSError: Pillow was built without WebP.
    """
    _check_available()
    if max(im.size) > MAX_SIDE:
        raise ValueError(
            f"a lossless picture has at most {MAX_SIDE} pixels a side, not {im.width}x{im.height}: save it "
            "with quality or target_size instead"
        )
    bare = im.convert("RGBA" if has_alpha(im.mode) else "RGB")  # a copy: the caller's may be being saved
    bare.info = {}
    strongest = _THOROUGH if im.width * im.height <= _THOROUGH_PIXELS else _STRONG
    return Payload(b"", (min((_stream(bare, settings) for settings in (_USUAL, strongest)), key=len),))


def decode(payload: Payload, width: int, height: int, mode: str) -> Image.Image:
    """Return the picture of a payload, of one of the modes L, LA, RGB and RGBA.

    Args:
        payload: what `encode` gave for a picture of this mode, or of one that has less than it.
        width, height: the size that was encoded.
        mode: that of the file.

    Raises:
        DamagedFileError: the payload is not one of this size.
        OSError: Pillow was built without WebP.
    """
    _check_available()
    section = only_section(payload, width, height, "a lossless")
    stream = _stream_header(width, height, has_alpha(mode)) + section
    try:
        with WebPImageFile(io.BytesIO(_wrapped(stream))) as opened:
            opened.load()
            return _in_mode(opened, mode)
    except (EOFError, OSError, SyntaxError, ValueError) as error:
        raise DamagedFileError(f"the lossless picture cannot be decoded: {error}") from error


def _in_mode(opened: Image.Image, mode: str) -> Image.Image:
    """A copy in the mode of the file; the three colours of a grey picture are equal, and green is read."""
    if mode in ("L", "LA"):
        picture = opened.getchannel("G")
        if mode == "LA":
            picture.putalpha(opened.convert("RGBA").getchannel("A"))
    else:
        picture = opened.convert(mode)
    picture.info = {}
    return picture


def _stream_header(width: int, height: int, alpha: bool) -> bytes:
    """The beginning of a VP8L bitstream of version 0; alpha: whether pixels may be transparent."""
    fields = width - 1 | (height - 1) << 14 | alpha << 28
    return _SIGNATURE + fields.to_bytes(4, "little")


def _wrapped(stream: bytes) -> bytes:
    """A WebP file of this one bitstream and nothing else."""
    padded = stream + bytes(len(stream) % 2)
    size = len(_CHUNK) + 4 + len(padded)
    return b"".join([_RIFF, size.to_bytes(4, "little"), _CHUNK, len(stream).to_bytes(4, "little"), padded])


def _stream(im: Image.Image, settings: dict[str, int]) -> bytes:
    """The bitstream that Pillow makes of a picture, without its header."""
    out = io.BytesIO()
    im.save(out, "WEBP", lossless=True, **settings)
    file = out.getvalue()
    stream = file[_WRAPPING : _WRAPPING + int.from_bytes(file[16:_WRAPPING], "little")]
    headers = [_stream_header(*im.size, alpha) for alpha in (False, True)]
    if file[8:16] != _CHUNK or stream[:_STREAM_HEADER] not in headers:
        raise OSError("Pillow's WebP plugin wrote no plain lossless picture")
    return stream[_STREAM_HEADER:]


def _check_available() -> None:
    if not _has_webp():
        raise OSError("lossless .nic pictures need a Pillow that was built with WebP, and this one was not")


def _has_webp() -> bool:
    return bool(features.check("webp"))
