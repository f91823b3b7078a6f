"""The manifest of weights files, finding and checking files on this machine, and what is published."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id
from packaging.licenses import canonicalize_license_expression

from pillow_neural.benchmark.results import CodecResult, Environment, PictureInfo, Results, Setting
from pillow_neural.cli.publish import measured_curve
from pillow_neural.codecs.registry import codec_info, codecs
from pillow_neural.training import export
from pillow_neural.weights import (
    WeightsEntry,
    WeightsUnavailableError,
    default_entry,
    entry_of_id,
    locate,
    manifest,
    store,
)
from pillow_neural.weights.card import model_card
from pillow_neural.weights.manifest import MANIFEST, Curve, ManifestError, parse_manifest
from pillow_neural.weights.record import record_curve, record_publication

BODY = b"weights" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
FILE = f"toy-{SHA256[:8]}.safetensors"
ENTRY = WeightsEntry("toy", FILE, len(BODY), SHA256, "MIT")
TEXT = f"""\
# Trained on Sunday.
[[weights]]
codec = "toy"
file = "{FILE}"
size = {len(BODY)}
sha256 = "{SHA256}"
licence = "MIT"
format_version = 1
training_minutes = 1.5
training_steps = 10
training_megapixels = 2  # or three
kodak_bpp = [0.25, 1.0]
kodak_psnr = [30.0, 35.0]
kodak_ms_ssim = [0.9, 0.95]
repository = "someone/toy"
"""
OTHER = TEXT.replace(SHA256, "0" * 64).replace(SHA256[:8], "0" * 8).replace("toy", "other")


class TestManifestOfThePackage:
    def test_licences_are_spdx_identifiers(self) -> None:
        for entry in manifest():
            assert canonicalize_license_expression(entry.licence) == entry.licence

    def test_codecs_are_registered(self) -> None:
        for entry in manifest():
            assert codec_info(entry.codec).name == entry.codec

    def test_what_weights_are_tuned_for_is_what_their_codec_offers_beside_its_own(self) -> None:
        for entry in manifest():
            assert entry.tune is None or entry.tune in codec_info(entry.codec).tunes[1:]

    def test_repositories_have_names_that_the_hub_accepts(self) -> None:
        for entry in manifest():
            if entry.repository is not None:
                validate_repo_id(entry.repository)

    def test_every_file_is_bundled_and_intact_or_published(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PILLOW_NEURAL_WEIGHTS", raising=False)
        for entry in manifest():
            assert entry.revision is not None or locate(entry).name == entry.file

    def test_the_default_codec_has_weights_and_files_name_them(self) -> None:
        entry = default_entry(codecs()[0].name)
        assert entry is not None
        assert entry_of_id(entry.codec, bytes.fromhex(entry.sha256[:16])) == entry

    def test_what_an_export_appends_is_valid(self) -> None:
        facts = {"training_minutes": "1.5", "training_steps": "7", "training_megapixels": "3"}
        name = f"other-{hashlib.sha256(b'abc').hexdigest()[:8]}.safetensors"
        text = MANIFEST.read_text(encoding="utf-8")
        *before, added = parse_manifest(f"{text}\n{export.manifest_entry('other', name, b'abc', facts)}")
        assert tuple(before) == manifest()
        assert (added.file, added.size) == (name, 3)
        assert (added.repository, added.revision) == ("pillow-neural/other", None)


class TestBrokenManifest:
    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            ("[[weights]]", "[[weights]", "not TOML"),
            ("[[weights]]", "[weights]", r"must consist of \[\[weights\]\] tables"),
            ("[[weights]]", "version = 2\n[[weights]]", r"must consist of \[\[weights\]\] tables"),
            ('licence = "MIT"', "", "entry 1 .*toy-.*: it lacks licence"),
            ('licence = "MIT"', 'licence = "MIT"\nauthor = "me"', "it has unknown keys: author"),
            ('licence = "MIT"', 'licence = "my own"', "licence is 'my own', not an SPDX identifier"),
            ('codec = "toy"', 'codec = "Toy"', "codec is 'Toy', not 1 to 32 characters"),
            (f'file = "{FILE}"', f'file = "../{FILE}"', "file is '../.*, not the name of a .safetensors"),
            (f'file = "{FILE}"', 'file = "toy-12345678.safetensors"', f"file does not end in -{SHA256[:8]}"),
            (f"size = {len(BODY)}", "size = 7.5", "size is 7.5, not a whole number"),
            (f"size = {len(BODY)}", "size = true", "size is True, not a whole number"),
            (f"size = {len(BODY)}", "size = 0", "size is 0, not a whole number above 0"),
            (SHA256, SHA256[:63], "sha256 is .*, not 64 hex digits"),
            (SHA256, SHA256.upper(), "sha256 is .*, not 64 hex digits in lower case"),
            ("format_version = 1", 'format_version = "1"', "format_version is '1', not a whole number"),
            ("training_minutes = 1.5", "training_minutes = nan", "training_minutes is nan, not a number"),
            ("training_steps = 10", "training_steps = -1", "training_steps is -1, not a whole number"),
            ("[0.25, 1.0]", "[1.0, 0.25]", "kodak_bpp is .*, each above the one before"),
            ("[0.25, 1.0]", "[0.25]", "kodak_bpp is .*, not a list of two or more"),
            ("[30.0, 35.0]", '[30.0, "35"]', "kodak_psnr is .*, not a list of two or more numbers"),
            ("[30.0, 35.0]", "[30.0, 35.0, 40.0]", "are not three lists of one length"),
            ("kodak_psnr = [30.0, 35.0]", "", "are not three lists of one length"),
            ("[0.9, 0.95]", "[0.9, 1.95]", "kodak_ms_ssim is .*, 1 at most"),
            ('"someone/toy"', '"toy"', "repository is 'toy', not owner/name"),
            (
                '"someone/toy"',
                '"someone/toy"\nrevision = "main"',
                "revision is 'main', not the 40 hex digits",
            ),
            ('licence = "MIT"', 'licence = "MIT"\ntune = "S S"', "tune is 'S S', not 1 to 32 characters"),
            ('repository = "someone/toy"', f'revision = "{"0" * 40}"', "a revision but no repository"),
        ],
    )
    def test_the_error_names_entry_key_and_rule(self, old: str, new: str, problem: str) -> None:
        assert old in TEXT
        with pytest.raises(ManifestError, match=problem):
            parse_manifest(TEXT.replace(old, new))

    def test_two_entries_with_one_file(self) -> None:
        with pytest.raises(ManifestError, match=f"two entries of the manifest have the file of {FILE}"):
            parse_manifest(TEXT + TEXT)

    def test_two_entries_with_one_id(self) -> None:
        with pytest.raises(ManifestError, match="two entries of the manifest have the id of"):
            parse_manifest(TEXT + TEXT.replace("toy", "other"))


class TestStore:
    @pytest.fixture(autouse=True)
    def _places(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Empty folders for bundled files and for the user's."""
        for name in ("bundled", "folder"):
            (tmp_path / name).mkdir()
        monkeypatch.setattr(store, "_BUNDLED", tmp_path / "bundled")
        monkeypatch.setenv("PILLOW_NEURAL_WEIGHTS", str(tmp_path / "folder"))

    def test_the_users_folder_comes_before_the_bundled_files(self, tmp_path: Path) -> None:
        (tmp_path / "bundled" / FILE).write_bytes(BODY)
        assert locate(ENTRY) == tmp_path / "bundled" / FILE
        (tmp_path / "folder" / FILE).write_bytes(BODY)
        assert locate(ENTRY) == tmp_path / "folder" / FILE

    def test_the_users_folder_may_be_below_home(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("PILLOW_NEURAL_WEIGHTS", "~/folder")
        (tmp_path / "folder" / FILE).write_bytes(BODY)
        assert locate(ENTRY) == tmp_path / "folder" / FILE

    @pytest.mark.parametrize("contents", [BODY[:-1], BODY + b"s", b"W" + BODY[1:]])
    @pytest.mark.parametrize(
        ("place", "remedy"), [("folder", "unset PILLOW_NEURAL_WEIGHTS"), ("bundled", "Reinstall")]
    )
    def test_damaged_files_are_refused(
        self, tmp_path: Path, place: str, remedy: str, contents: bytes
    ) -> None:
        (tmp_path / place / FILE).write_bytes(contents)
        with pytest.raises(WeightsUnavailableError, match=f"{FILE} of codec toy are damaged.*{remedy}"):
            locate(ENTRY)

    def test_a_file_is_read_once_for_its_hash_until_it_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, read = tmp_path / "folder" / FILE, []
        digest = hashlib.file_digest
        monkeypatch.setattr(hashlib, "file_digest", lambda *a: read.append(a) or digest(*a))
        path.write_bytes(BODY)
        locate(ENTRY)
        locate(ENTRY)
        assert len(read) == 1
        path.write_bytes(b"W" + BODY[1:])
        with pytest.raises(WeightsUnavailableError):
            locate(ENTRY)

    def test_an_unpublished_file_that_is_nowhere(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsUnavailableError, match=f"not published .* put {FILE} into {tmp_path}"):
            locate(ENTRY)

    def test_huggingface_hub_is_not_imported_for_what_is_bundled(self) -> None:
        script = (
            "import sys; from pillow_neural.weights import *\n"
            "locate(default_entry('nic2026')); sys.exit('huggingface_hub' in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", script], check=True)


class TestRecord:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Iterator[Path]:
        path = tmp_path / "weights_manifest.toml"
        path.write_text(f"{TEXT}\n{OTHER}")
        yield path
        manifest.cache_clear()

    def test_a_curve_is_replaced_and_the_rest_stays(self, path: Path) -> None:
        before = path.read_text()
        record_curve(path, FILE, Curve((0.12346, 0.5, 2), (31.00009, 33, 36), (0.912346, 0.95, 0.99)))
        assert path.read_text() == (
            before.replace("[0.25, 1.0]", "[0.1235, 0.5, 2]", 1)
            .replace("[30.0, 35.0]", "[31.0, 33, 36]", 1)
            .replace("[0.9, 0.95]", "[0.91235, 0.95, 0.99]", 1)
        )

    def test_a_revision_is_added_to_its_entry(self, path: Path) -> None:
        before = parse_manifest(path.read_text())
        record_publication(path, FILE, "else/where", "a" * 40)
        published = dataclasses.replace(before[0], repository="else/where", revision="a" * 40)
        assert parse_manifest(path.read_text()) == (published, before[1])

    def test_a_published_entry_stays_as_it_is(self, path: Path) -> None:
        record_publication(path, FILE, "someone/toy", "a" * 40)
        with pytest.raises(ManifestError, match="was published already, in someone/toy at aaaa"):
            record_publication(path, FILE, "someone/toy", "b" * 40)

    @pytest.mark.parametrize(
        ("file", "revision", "problem"),
        [
            (FILE, "main", "revision is 'main'"),
            ("nonesuch.safetensors", "a" * 40, f"no entry for nonesuch.safetensors; it has {FILE}"),
        ],
    )
    def test_what_is_wrong_is_not_written(self, path: Path, file: str, revision: str, problem: str) -> None:
        before = path.read_text()
        with pytest.raises(ManifestError, match=problem):
            record_publication(path, file, "someone/toy", revision)
        assert path.read_text() == before


class TestModelCard:
    def test_the_metadata_has_licence_library_and_curve(self) -> None:
        data = ModelCard(model_card(parse_manifest(TEXT)[0])).data
        assert (data.license, data.library_name) == ("mit", "pillow-neural")
        measured = {(r.metric_type, r.metric_name): r.metric_value for r in data.eval_results}
        assert measured["psnr", "PSNR at 0.250 bits per pixel"] == 30.0
        assert measured["ms-ssim", "MS-SSIM at 1.000 bits per pixel"] == 0.95
        assert len(measured) == 4

    def test_the_text_has_training_facts_hash_and_curve(self) -> None:
        text = model_card(parse_manifest(TEXT.replace("training_steps = 10", "training_steps = 1000"))[0])
        assert "2 minutes, 1,000 steps, 2 megapixels" in text
        assert SHA256 in text
        assert "| 0.250 | 30.00 dB | 0.9000 |" in text

    def test_an_entry_that_was_not_measured_is_refused(self) -> None:
        with pytest.raises(ValueError, match=f"no measured curve of {FILE}; measure it with"):
            model_card(dataclasses.replace(parse_manifest(TEXT)[0], curve=None))


class TestMeasuredCurve:
    KODAK = tuple(f"kodim{number:02}.png" for number in range(1, 25))

    @staticmethod
    def _results(path: Path, pictures: tuple[str, ...]) -> Path:
        """Three settings of two codecs, the higher rate first, the lower one twice."""
        settings = [Setting({}, rate, 40 * rate, rate, 1.0, 1.0, []) for rate in (0.9, 0.5, 0.5)]
        weights: Environment = {"weights": ENTRY.id.hex()}
        measured = [CodecResult(name, "NIC", False, weights, settings) for name in ("webp", "nic:toy")]
        Results([PictureInfo(name, 768, 512) for name in pictures], measured).save(path / "results.json")
        return path / "results.json"

    def test_it_comes_from_the_results_of_the_benchmark(self, tmp_path: Path) -> None:
        curve = measured_curve(self._results(tmp_path, self.KODAK), ENTRY)
        assert curve == Curve((0.5, 0.9), (20.0, 36.0), (0.5, 0.9))

    def test_it_is_of_the_kodak_pictures(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"other pictures than kodim01.png to kodim24.png"):
            measured_curve(self._results(tmp_path, self.KODAK[:2]), ENTRY)

    @pytest.mark.parametrize("other", [{"codec": "nic2026"}, {"sha256": "0" * 64}])
    def test_it_is_of_the_codec_with_these_weights(self, tmp_path: Path, other: dict[str, str]) -> None:
        entry = dataclasses.replace(ENTRY, **other)
        with pytest.raises(ValueError, match=f"no measurements of codec {entry.codec} with weights"):
            measured_curve(self._results(tmp_path, self.KODAK), entry)
