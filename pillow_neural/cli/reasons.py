"""What to tell the user when a file fails."""

from __future__ import annotations

from pathlib import Path

from PIL import UnidentifiedImageError

from pillow_neural.container import DamagedFileError, HeaderError


def verdict(error: Exception, path: Path | None) -> dict[str, str]:
    """`status` of a .nic file that gave this error, damaged or failed, and `error`, which says why."""
    damaged = isinstance(error, (HeaderError, DamagedFileError))
    return {"status": "damaged" if damaged else "failed", "error": reason(error, path)}


def reason(error: Exception, path: Path | None = None) -> str:
    """One line, or a few, that say why something failed; another file than `path` is named."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture that Pillow can open"
    if isinstance(error, OSError) and error.strerror:
        elsewhere = error.filename is not None and str(error.filename) != str(path)
        return f"{error.strerror}: {error.filename}" if elsewhere else error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory; fewer --jobs need less"
    return str(error) or type(error).__name__
