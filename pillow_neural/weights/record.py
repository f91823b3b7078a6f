"""Writing facts into weights_manifest.toml: what was measured, and where an entry was published."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pillow_neural.weights.manifest import Curve, ManifestError, WeightsEntry, manifest, parse_manifest

Value = str | Sequence[float]

_TABLE = re.compile(r"^\[\[weights\]\][^\n]*\n", re.MULTILINE)


def record_curve(path: Path, file: str, curve: Curve) -> None:
    """Write a measured curve into the entry of this file name, rounded to what its measuring repeats.

    Raises:
        ManifestError: no such entry, or the curve breaks a rule of the manifest.
    """
    fields = {
        "kodak_bpp": [round(value, 4) for value in curve.bpp],
        "kodak_psnr": [round(value, 3) for value in curve.psnr],
        "kodak_ms_ssim": [round(value, 5) for value in curve.ms_ssim],
    }
    _record(path, file, fields)


def record_publication(path: Path, file: str, repository: str, revision: str) -> None:
    """Write into the entry of this file name where on the Hub it was published.

    Raises:
        ManifestError: no such entry, it was published already, or repository or revision is malformed.
    """
    for entry in parse_manifest(path.read_text(encoding="utf-8")):
        if entry.file == file:
            check_unpublished(entry)
    _record(path, file, {"repository": repository, "revision": revision})


def check_unpublished(entry: WeightsEntry) -> None:
    """Refuse an entry that files of users may depend on.

    Raises:
        ManifestError: the entry was published already.
    """
    if entry.revision is not None:
        raise ManifestError(f"{entry.file} was published already, in {entry.repository} at {entry.revision}")


def _record(path: Path, file: str, fields: Mapping[str, Value]) -> None:
    """Set keys of one entry; the rest of the text, comments too, stays as it is."""
    text = path.read_text(encoding="utf-8")
    starts = [match.end() for match in _TABLE.finditer(text)]
    names = [entry.file for entry in parse_manifest(text)]
    if file not in names:
        raise ManifestError(f"the manifest has no entry for {file}; it has {', '.join(names)}")
    start = starts[names.index(file)]
    following = _TABLE.search(text, start)
    end = following.start() if following else len(text)
    changed = text[:start] + _with_fields(text[start:end], fields) + text[end:]
    parse_manifest(changed)
    path.write_text(changed, encoding="utf-8")
    manifest.cache_clear()


def _with_fields(table: str, fields: Mapping[str, Value]) -> str:
    """A table's lines of `key = value` with some replaced, or added after the last of them."""
    lines = table.split("\n")
    for key, value in fields.items():
        line = f"{key} = {json.dumps(value)}"
        keys = [re.sub(r"\s*=.*|#.*", "", existing) for existing in lines]
        if key in keys:
            lines[keys.index(key)] = line
        else:
            last = max(number for number, name in enumerate(keys) if name)
            lines.insert(last + 1, line)
    return "\n".join(lines)
