"""The behaviour that programs rely on in a Pillow format, as a table: ours, and the best peer's.

Every row runs, for us and for the peer; peers are compared in the release of Pillow that the table was
written with. Rows that make no sense for us say why.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import PIL
import pytest

from tests.conformance import content, errors, layers, objects, opening, sequences
from tests.conformance.kit import Kit

PILLOW = "13."


class Row(NamedTuple):
    """What is to be seen.

    Attributes:
        behaviour: for people.
        check: runs on any format and says what it saw.
        ours: what it says of .nic.
        peer: the format that does best of PNG, WEBP, AVIF and JPEG; "" where none is comparable.
        theirs: what it says of that format.
    """

    behaviour: str
    check: Callable[[Kit], str]
    ours: str
    peer: str
    theirs: str


def row(behaviour: str, check: Callable[[Kit], str], ours: str, peer: str = "", theirs: str = "") -> Row:
    return Row(behaviour, check, ours, peer, theirs or ours)


COLOURED = "LAB>RGB P>RGB PA>RGBA RGB>RGB RGBA>RGBA RGBa>RGBA RGBX>RGB YCbCr>RGB"
OUR_MODES = (
    "1>L CMYK>RGB F>!OSError HSV>RGB I>!OSError I;16>!OSError I;16B>!OSError I;16L>!OSError I;16N>!OSError "
    f"L>L LA>LA La>LA {COLOURED}"
)
AVIF_MODES = (
    f"1>L CMYK>RGB F>L HSV>RGB I>L I;16>L I;16B>L I;16L>L I;16N>L L>L LA>RGBA La>!ValueError {COLOURED}"
)

ROWS = [
    # Opening and identifying
    row(
        "format, MIME type, mode and size",
        opening.identity,
        "NIC image/x-nic RGB (40, 30)",
        "PNG",
        "PNG image/png RGB (40, 30)",
    ),
    row("opening decodes nothing", opening.laziness, "not decoded", "PNG"),
    row("accept() of own and of foreign bytes", opening.accept, "True, False", "PNG"),
    row(
        "foreign bytes given to the class; an empty file",
        opening.foreign_bytes,
        "class: SyntaxError, empty file: UnidentifiedImageError",
        "PNG",
    ),
    row("formats= in any case", opening.formats, "ok, ok, UnidentifiedImageError", "PNG"),
    row("str, bytes, Path, file, BytesIO, pipe, temporary file", opening.sources, "7 kinds", "PNG"),
    row("saving to a file object whose name is a Path", opening.target_named_by_a_path, "NIC", "PNG", "PNG"),
    row("filename attribute", opening.file_name, "kept", "PNG"),
    row("ImageFile.Parser in small blocks", opening.feeding_a_parser, "64: same, 1024: same", "PNG"),
    # File handles
    row("own file", opening.own_file, "after load: closed, after with: closed", "PNG"),
    row("own file of an animation", opening.own_file_of_an_animation, "closed, next frame: ok", "WEBP"),
    row("foreign file", opening.foreign_file, "open, opened again: ok", "PNG"),
    row("ResourceWarning on save and load", opening.resource_warnings, "none", "PNG"),
    row("load after close", opening.use_after_close, "ValueError, loaded before: ValueError", "PNG"),
    row("seek after close", opening.seek_after_close, "ValueError", "PNG"),
    row("saving over the open file", opening.saving_over_the_open_file, "same picture", "PNG"),
    row(
        "saving an animation over its open file",
        opening.saving_an_animation_over_the_open_file,
        "3 frames",
        "WEBP",
    ),
    row("pipe and standard output as targets", opening.targets, "same bytes", "PNG"),
    row("MAXBLOCK and SAFEBLOCK of any size", opening.block_sizes, "same bytes, kept", "WEBP"),
    # Errors
    row("truncated", errors.truncated, "open: ok, load: OSError, again: OSError", "PNG"),
    row(
        "truncated, LOAD_TRUNCATED_IMAGES",
        errors.truncated_but_tolerated,
        "load: ok, size: (40, 30)",
        "PNG",
    ),
    row(
        "truncated animation",
        errors.truncated_animation,
        "first frame: ok, last: OSError",
        "PNG",
        "first frame: ok, last: ok",
    ),
    row(
        "changed byte",
        errors.damaged,
        "verify: OSError, load: OSError",
        "PNG",
        "verify: SyntaxError, load: OSError",
    ),
    row("changed byte in the header", errors.damaged_header, "UnidentifiedImageError", "PNG"),
    row(
        "verify() of a sound file",
        errors.verified,
        "ok, load after it: ValueError",
        "WEBP",
        "ok, load after it: ok",
    ),
    row("bombs", errors.bombs, "DecompressionBombWarning, DecompressionBombError", "PNG"),
    row("mode that cannot be stored", errors.deep_pixels, "OSError", "PNG"),
    row("picture without pixels", errors.empty_picture, "ValueError", "PNG"),
    row("picture too wide for the format", errors.too_wide, "ValueError", "WEBP"),
    row(
        "quality",
        errors.wrong_quality,
        "bad: TypeError, 101: ValueError",
        "WEBP",
        "bad: ValueError, 101: ValueError",
    ),
    row("failed save, new path", errors.failed_save_to_a_new_path, "ValueError, no file", "PNG"),
    row(
        "failed save over a file: Image.save empties it before any plugin is asked",
        errors.failed_save_over_a_file,
        "ValueError, emptied",
        "PNG",
    ),
    row("failed save to an open file", errors.failed_save_to_an_open_file, "ValueError, kept", "JPEG"),
    # Modes
    row(
        "modes",
        content.modes,
        OUR_MODES,
        "AVIF",
        AVIF_MODES,
    ),
    row("alpha at default quality", content.alpha_at_default_quality, "exact", "PNG"),
    row("palette with a transparent colour", content.palette_with_transparency, "RGBA", "PNG", "P"),
    row("colours under transparent pixels", content.colours_under_transparent_pixels, "kept", "PNG"),
    row("picture given to save", content.source, "unchanged", "PNG"),
    row("keyword values given to save", content.keyword_values, "unchanged", "PNG"),
    # Metadata
    row("exif: Image.Exif, bytes with and without prefix", content.kinds_of_exif, "6 6 6", "PNG"),
    row("orientations", content.orientations, "1 2 3 4 5 6 7 8, not turned", "PNG"),
    row(
        "keywords exif, icc_profile, xmp",
        content.metadata_in_keywords,
        "exif icc_profile xmp",
        "WEBP",
    ),
    row(
        "metadata of the source, no keyword",
        content.metadata_of_the_source,
        "exif icc_profile xmp",
        "AVIF",
        "icc_profile",
    ),
    row("metadata overridden, and None", content.metadata_overridden, "b'other', None", "PNG"),
    row("xmp as str and bytes", content.xmp_kinds, "bytes, bytes", "WEBP"),
    row("no metadata", content.no_metadata, "none", "PNG"),
    row("unknown keyword", content.unknown_keyword, "ignored", "PNG"),
    # Sequences
    row(
        "n_frames, is_animated, tell of a still",
        sequences.still,
        "1 False 0, seek 0, 1, -1: ok EOFError EOFError",
        "WEBP",
    ),
    row("n_frames of an animation", sequences.number_of_frames, "3 frames, not decoded", "WEBP"),
    row(
        "append_images",
        sequences.kinds_of_append_images,
        "list 3, generator 3, animation 5",
        "AVIF",
    ),
    row("append_images without save_all", sequences.append_images_alone, "3 frames", "WEBP"),
    row(
        "durations and loop of another format's animation",
        sequences.frames_of_another_format,
        "10 20 30, loop 2",
        "PNG",
    ),
    row("frames of different sizes", sequences.different_sizes, "ValueError", "AVIF"),
    row("duration and timestamp", sequences.durations, "10@0 20@10 30@30", "WEBP"),
    row("one duration, and loop", sequences.one_duration_and_loop, "70 70 70, loop 2", "WEBP"),
    row("too few durations", sequences.too_few_durations, "ValueError", "WEBP", "IndexError"),
    row("seek in any order", sequences.order_of_seeks, "right frames", "WEBP"),
    row("seek beyond the end", sequences.beyond_the_end, "EOFError, EOFError, still at 1", "WEBP"),
    row("ImageSequence.Iterator", sequences.iteration, "3 frames", "WEBP"),
    row("save without save_all", sequences.plain_save_of_an_animation, "1 frame, the current", "WEBP"),
    row("save_all of one frame", sequences.save_all_of_one, "the bytes of a still", "WEBP"),
    row("current frames of what was saved", sequences.position_of_sources, "1 2", "WEBP"),
    row("frames of mixed modes", sequences.grey_and_alpha, "RGBA, alpha exact", "WEBP"),
    row("metadata of an animation", sequences.metadata, "b'profile' b'<x/>'", "WEBP"),
    # Layers
    row("layers at first", layers.at_first, "0", "JPEG2000"),
    row(
        "fewer layers (Pillow 13 heeds those of JPEG 2000 only together with reduce)",
        layers.different,
        "4 of 4, last is all: True",
        "JPEG2000",
        "1 of 4, last is all: True",
    ),
    row("more layers than there are", layers.too_many, "ValueError, still 0", "JPEG2000", "ok"),
    row(
        "cut within the last layer, LOAD_TRUNCATED_IMAGES",
        layers.cut_but_tolerated,
        "the layers before the cut",
        "JPEG2000",
        "one colour",
    ),
    # Objects
    row("pickle", objects.pickling, "equal, protocols 0 to 5", "PNG"),
    row(
        "format of copy(), convert(), copy.copy() and deepcopy()",
        objects.copies,
        "None None None NIC",
        "PNG",
        "None None None PNG",
    ),
    row("Jupyter display", objects.in_notebooks, "PNG", "PNG"),
    row("thumbnail", objects.thumbnail, "(20, 15)", "JPEG"),
    row(
        "draft",
        objects.draft,
        "('L', (0, 0, 20.0, 15.0)), then L (20, 15), loaded (20, 15)",
        "JPEG",
    ),
    row("draft after load", objects.draft_after_load, "None, (40, 30)", "JPEG"),
    row("eight threads, a file each", objects.threads_with_a_file_each, "equal", "PNG"),
    row("eight threads, one picture (AVIF ends the process)", objects.threads_with_one_picture, "equal"),
    row("memory", objects.memory_of_a_hundred_loads, "does not grow", "PNG"),
    row("register_nic_opener() beside the import", objects.registered_again, "nothing changes"),
    row(
        "list of formats, features.pilinfo()",
        objects.listed_by_pillow,
        "Extensions: .nic; Features: open, save, save_all",
        "WEBP",
        "Extensions: .webp; Features: open, save, save_all",
    ),
]

LOSSLESS = {
    "quality": "bad: ValueError, 101: ValueError",
    "colours under transparent pixels": "lost",
}
"""Where what is saved with lossless=True differs."""

NOT_APPLICABLE = {
    "optional backend missing: accept() returns text": "torch is no option; missing weights are an OSError",
    "bomb check on seek to a larger frame": "all frames have the size in the header, checked at opening",
    "dpi, comment": "no such fields: Exif and XMP hold both",
    "encoder returns None": "codecs return bytes or raise",
    "python -m PIL": "it imports no plugin but Pillow's own; features.pilinfo() lists us after the import",
}


@pytest.mark.usefixtures("fake_codec")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.behaviour)
def test_ours(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row.check(Kit("NIC", tmp_path, monkeypatch)) == row.ours


@pytest.mark.usefixtures("fake_codec")
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.check.__module__ != layers.__name__], ids=lambda row: row.behaviour
)
def test_ours_without_loss(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit("NIC", tmp_path, monkeypatch, {"lossless": True})
    assert row.check(kit) == LOSSLESS.get(row.behaviour, row.ours)


@pytest.mark.skipif(not PIL.__version__.startswith(PILLOW), reason=f"peers were compared in Pillow {PILLOW}")
@pytest.mark.parametrize("row", [row for row in ROWS if row.peer], ids=lambda row: row.behaviour)
def test_best_peer(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row.check(Kit(row.peer, tmp_path, monkeypatch)) == row.theirs


@pytest.mark.parametrize("behaviour", NOT_APPLICABLE)
def test_not_applicable(behaviour: str) -> None:
    pytest.skip(NOT_APPLICABLE[behaviour])
