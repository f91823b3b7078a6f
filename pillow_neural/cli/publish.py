"""`nic weights publish`: from an entry of the manifest to a repository of the Hugging Face Hub."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pillow_neural.benchmark.codecs import nic_codec
from pillow_neural.benchmark.results import load_results
from pillow_neural.cli.files import UsageError
from pillow_neural.codecs.registry import DEFAULT_CODEC
from pillow_neural.weights import WeightsEntry, manifest
from pillow_neural.weights.manifest import MANIFEST, Curve
from pillow_neural.weights.publish import push, write_folder
from pillow_neural.weights.record import check_unpublished, record_curve, record_publication

_KODAK = [f"kodim{number:02}.png" for number in range(1, 25)]

_NEXT_STEPS = """\
Next, either `nic weights publish {name} --push` does it all, or:
  hf auth login
  hf upload {repository} {folder} .        makes the repository if there is none
  nic weights publish {name} --revision COMMIT
where COMMIT is the 40 hex digits of the commit that the upload made."""


def publish(entry: WeightsEntry, options: argparse.Namespace) -> int:
    """Write the folder to upload, upload it if asked to, and record the commit; 0 or 1 for the exit code.

    Raises:
        UsageError: there is no repository to publish in, or no clone to record facts in.
    """
    repository = options.repository or entry.repository
    if repository is None:
        raise UsageError(f"the manifest names no repository for {entry.file}: name one with --repository")
    if (options.curve or options.push or options.revision) and not _in_clone():
        raise UsageError(f"{MANIFEST} is part of an installed package: facts are recorded in a clone only")
    try:
        _publish(entry, repository, options)
    except (OSError, ValueError) as error:
        print(f"nic: {error}", file=sys.stderr)
        return 1
    return 0


def measured_curve(path: Path, entry: WeightsEntry) -> Curve:
    """The Kodak curve of weights, from results.json of `python -m pillow_neural.benchmark run`.

    Qualities below or above what a codec can do give the same files, and one point.

    Raises:
        ValueError: the file is no such results, of other pictures, or without the codec with these weights.
    """
    results = load_results(path)
    if [picture.name for picture in results.pictures] != _KODAK:
        raise ValueError(f"{path} holds measurements of other pictures than {_KODAK[0]} to {_KODAK[-1]}")
    names = {f"nic:{entry.codec}"}
    if entry.codec == DEFAULT_CODEC:
        names.add(nic_codec(entry.tune).name)
    for measured in results.codecs:
        if measured.name in names and measured.environment.get("weights") == entry.id.hex():
            points = sorted({(s.bpp, s.psnr, s.msssim) for s in measured.settings})
            return Curve(*zip(*points, strict=True))
    raise ValueError(f"{path} has no measurements of codec {entry.codec} with weights {entry.id.hex()}")


def _publish(entry: WeightsEntry, repository: str, options: argparse.Namespace) -> None:
    if options.revision is not None:
        record_publication(MANIFEST, entry.file, repository, options.revision)
        print(f"{entry.file} is published in {repository} at {options.revision}: commit {MANIFEST.name}")
        return
    if options.push:
        check_unpublished(entry)
    if options.curve is not None:
        record_curve(MANIFEST, entry.file, measured_curve(options.curve, entry))
        entry = next(e for e in manifest() if e.file == entry.file)
    folder = options.output or Path("build") / Path(entry.file).stem
    write_folder(entry, folder)
    print(f"{folder} holds {entry.file} and its model card.")
    if not options.push:
        print(_NEXT_STEPS.format(name=entry.file, repository=repository, folder=folder))
        return
    revision = push(entry, folder, repository)
    record_publication(MANIFEST, entry.file, repository, revision)
    print(f"{entry.file} is published in {repository} at {revision}: commit {MANIFEST.name}")


def _in_clone() -> bool:
    return (MANIFEST.parent / "pyproject.toml").is_file()
