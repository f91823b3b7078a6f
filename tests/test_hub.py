"""Weights from a Hugging Face Hub: downloads, what may go wrong with them, publishing."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.utils import _http

from pillow_neural.cli import main
from pillow_neural.weights import WeightsEntry, WeightsUnavailableError, locate, manifest, store
from tests.hub_server import PUSHED, REPOSITORY, REVISION, Hub, serve

BODY = np.random.default_rng(11).bytes(100_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
FILE = f"toy-{SHA256[:8]}.safetensors"
ENTRY = WeightsEntry("toy", FILE, len(BODY), SHA256, "MIT", repository=REPOSITORY, revision=REVISION)

MANIFEST = f"""\
[[weights]]
codec = "toy"
file = "{FILE}"
size = {len(BODY)}
sha256 = "{SHA256}"
licence = "MIT"
format_version = 1
training_minutes = 1.5
training_steps = 10
training_megapixels = 2
kodak_bpp = [0.25, 1.0]
kodak_psnr = [30.0, 35.0]
kodak_ms_ssim = [0.9, 0.95]
repository = "{REPOSITORY}"
revision = "{REVISION}"
"""

GATED = (403, "GatedRepo")
BUSY = (503, None)
FINE = (200, None)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub that holds the file."""
    with serve() as hub:
        hub.files[REPOSITORY, REVISION] = {FILE: BODY}
        yield hub


@pytest.fixture
def waits(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let huggingface_hub, in this process, ask that Hub and never wait; the seconds it would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("PILLOW_NEURAL_WEIGHTS", raising=False)
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=waited.append))
    monkeypatch.setattr(store, "_failures", {})
    return waited


@pytest.fixture
def environment(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """Environment of a process that uses that Hub and an empty cache."""
    return {
        **{
            name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PILLOW_NEURAL"))
        },
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def nic(*arguments: str) -> int:
    """`nic weights` with these arguments."""
    return main(["weights", *arguments])


LOCATE = f"from pillow_neural.weights import *\nprint(locate({ENTRY!r}), end='')"


@pytest.fixture
def manifest_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The manifest of a clone, with the entry alone."""
    path = tmp_path / "clone" / "weights_manifest.toml"
    path.parent.mkdir()
    path.write_text(MANIFEST)
    (path.parent / "pyproject.toml").touch()
    for module in ("weights.manifest", "cli.publish"):
        monkeypatch.setattr(importlib.import_module(f"pillow_neural.{module}"), "MANIFEST", path)
    manifest.cache_clear()
    yield path
    manifest.cache_clear()


def failure(entry: WeightsEntry = ENTRY, *, patient: bool = False) -> str:
    """What the error says; it must name the file and the ways out."""
    with pytest.raises(WeightsUnavailableError) as caught:
        locate(entry, patient=patient)
    message = str(caught.value)
    assert all(words in message for words in (entry.file, "nic weights fetch", "PILLOW_NEURAL_WEIGHTS"))
    return message


@pytest.mark.usefixtures("waits")
class TestDownload:
    def test_the_file_is_fetched_once_and_then_found_without_a_request(self, hub: Hub) -> None:
        path = locate(ENTRY)
        assert path.read_bytes() == BODY
        asked = len(hub.requests)
        assert locate(ENTRY) == path
        assert len(hub.downloads) == 1
        assert len(hub.requests) == asked

    def test_the_commit_of_the_manifest_is_asked_for(self, hub: Hub) -> None:
        locate(ENTRY)
        assert {request.path for request in hub.requests} == {f"/{REPOSITORY}/resolve/{REVISION}/{FILE}"}

    def test_every_request_names_the_library_and_its_version(self, hub: Hub) -> None:
        locate(ENTRY)
        assert all(
            f"pillow-neural/{version('pillow-neural')}" in request.headers["user-agent"]
            for request in hub.requests
        )

    def test_large_files_are_followed_to_their_storage_without_the_token(self, hub: Hub) -> None:
        hub.lfs = True
        assert locate(ENTRY).read_bytes() == BODY
        assert hub.requests[0].headers["authorization"] == "Bearer hf_secret"
        assert ["authorization" in request.headers for request in hub.downloads] == [False]

    def test_a_connection_that_breaks_off_is_taken_up_again(self, hub: Hub) -> None:
        hub.drops = 2
        assert locate(ENTRY).read_bytes() == BODY

    def test_wrong_contents_are_downloaded_once_more(self, hub: Hub) -> None:
        hub.wrong_bodies = 1
        assert locate(ENTRY).read_bytes() == BODY
        assert len(hub.downloads) == 2

    def test_a_damaged_file_in_the_cache_is_replaced(self, hub: Hub) -> None:
        path = locate(ENTRY)
        path.write_bytes(bytes(len(BODY)))
        assert locate(ENTRY) == path
        assert path.read_bytes() == BODY
        assert len(hub.downloads) == 2

    def test_a_busy_hub_is_asked_again(self, hub: Hub, waits: list[float]) -> None:
        hub.statuses = [BUSY, BUSY, BUSY, FINE]
        assert locate(ENTRY).read_bytes() == BODY
        assert waits

    def test_eight_processes_fetch_the_file_once(self, hub: Hub, environment: dict[str, str]) -> None:
        hub.delay = 0.5
        command = [sys.executable, "-c", LOCATE]
        processes = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(8)
        ]
        paths = {process.communicate()[0] for process in processes}
        assert [process.returncode for process in processes] == [0] * 8
        assert [Path(path).read_bytes() for path in paths] == [BODY]
        assert len(hub.downloads) == 1


@pytest.mark.usefixtures("waits")
class TestFailure:
    @pytest.mark.parametrize(
        ("change", "cause"),
        [
            ({"revision": "f" * 40}, f"has no commit {'f' * 40}"),
            ({"file": "toy-00000000.safetensors"}, f"has no such file in commit {REVISION}"),
            ({"repository": "someone/else"}, "someone/else does not exist, or is private"),
        ],
    )
    def test_what_the_hub_does_not_have(self, change: dict[str, str], cause: str) -> None:
        assert cause in failure(dataclasses.replace(ENTRY, **change))

    @pytest.mark.parametrize(
        ("status", "cause"),
        [
            (GATED, "access to the Hub's repository someone/toy is restricted"),
            ((401, "RepoNotFound"), "is private and `hf auth login` is needed"),
            ((401, None), "refused access (HTTP 401); see `hf auth login`"),
            ((403, None), "refused access (HTTP 403); see `hf auth login`"),
            ((404, None), "HTTP status 404"),
            ((429, None), "HTTP status 429"),
            ((500, None), "HTTP status 500"),
            (BUSY, "HTTP status 503"),
        ],
    )
    @pytest.mark.parametrize("patient", [False, True])
    def test_what_the_hub_refuses(
        self, hub: Hub, status: tuple[int, str | None], cause: str, patient: bool
    ) -> None:
        hub.statuses = [status]
        assert cause in failure(patient=patient)
        assert not hub.downloads

    def test_a_web_page_instead_of_the_hub(self, hub: Hub) -> None:
        hub.is_hub = False
        assert "does not seem to be served by a Hugging Face Hub" in failure()

    def test_a_connection_that_always_breaks_off(self, hub: Hub) -> None:
        hub.drops = 1000
        assert "RemoteProtocolError" in failure()

    def test_contents_that_stay_wrong(self, hub: Hub) -> None:
        hub.wrong_bodies = 1000
        message = failure()
        assert SHA256 in message
        assert "downloaded twice" in message
        assert len(hub.downloads) == 2

    def test_a_damaged_file_in_the_cache_that_cannot_be_replaced(self, hub: Hub) -> None:
        locate(ENTRY).write_bytes(bytes(len(BODY)))
        hub.statuses = [BUSY]
        message = failure()
        assert "the copy in the Hub's cache is damaged" in message
        assert "HTTP status 503" in message

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("a file")
        assert "the download from the Hub failed (" in failure()

    def test_without_a_connection_one_attempt_is_enough(
        self, waits: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._cut(monkeypatch)
        message = failure()
        assert "Connection refused" in message
        assert "HF_HUB_OFFLINE=1" in message
        assert waits == []

    def test_without_a_connection_the_patient_go_on_trying(
        self, waits: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._cut(monkeypatch)
        assert "Connection refused" in failure(patient=True)
        assert len(waits) > 1

    @staticmethod
    def _cut(monkeypatch: pytest.MonkeyPatch) -> None:
        with serve() as closed:
            template = f"{closed.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.mark.usefixtures("waits", "manifest_file")
class TestCommands:
    def test_fetch_downloads_what_is_missing(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        assert nic("fetch") == 0
        assert len(hub.downloads) == 1
        path = capsys.readouterr().out.split()[1]
        assert Path(path).read_bytes() == BODY

    def test_fetch_copies_into_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert nic("fetch", "toy", "-o", str(tmp_path / "usb")) == 0
        monkeypatch.setenv("PILLOW_NEURAL_WEIGHTS", str(tmp_path / "usb"))
        assert locate(ENTRY) == tmp_path / "usb" / FILE

    def test_fetch_says_what_failed(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        hub.statuses = [GATED]
        assert nic("fetch", SHA256[:8]) == 1
        assert "access to the Hub's repository someone/toy is restricted" in capsys.readouterr().err

    def test_list_and_verify_ask_the_hub_nothing(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        assert nic("list") == 0
        assert "on the Hub" in capsys.readouterr().out
        assert nic("verify", "toy") == 1
        assert "missing" in capsys.readouterr().out
        assert hub.requests == []

    def test_verify_finds_damage_in_the_cache(self, capsys: pytest.CaptureFixture[str]) -> None:
        path = locate(ENTRY)
        assert nic("verify") == 0
        path.write_bytes(bytes(len(BODY)))
        assert nic("verify") == 1
        assert f"DAMAGED  {FILE}  Hub cache  {path}" in capsys.readouterr().out

    def test_a_name_that_no_weights_have_is_wrong_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="2"):
            nic("list", "nonesuch")
        assert f"no weights 'nonesuch'; there are {FILE}" in capsys.readouterr().err

    def test_the_list_as_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert nic("list", "--json") == 0
        (listed,) = json.loads(capsys.readouterr().out)
        assert (listed["id"], listed["revision"], listed["default"]) == (SHA256[:16], REVISION, True)
        assert listed["curve"]["psnr"] == [30.0, 35.0]
        assert (listed["found"], listed["path"]) == ("on the Hub", None)


class TestPublish:
    @pytest.fixture(autouse=True)
    def _unpublished(
        self,
        hub: Hub,
        waits: list[float],
        tmp_path: Path,
        manifest_file: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The file is in the user's folder, and nowhere on the Hub."""
        hub.files.clear()
        manifest_file.write_text(manifest_file.read_text().replace(f'revision = "{REVISION}"\n', ""))
        manifest.cache_clear()
        (tmp_path / FILE).write_bytes(BODY)
        monkeypatch.setenv("PILLOW_NEURAL_WEIGHTS", str(tmp_path))

    def test_the_folder_and_the_next_steps(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = tmp_path / "upload"
        assert nic("publish", "toy", "-o", str(folder)) == 0
        assert {path.name for path in folder.iterdir()} == {FILE, "README.md"}
        assert (folder / FILE).read_bytes() == BODY
        assert f"hf upload {REPOSITORY} {folder} ." in capsys.readouterr().out

    def test_a_folder_with_other_files_is_not_used(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "diary.txt").touch()
        assert nic("publish", "toy", "-o", str(tmp_path)) == 1
        assert "diary.txt" in capsys.readouterr().err

    def test_what_is_pushed_is_found_in_its_commit(
        self, hub: Hub, tmp_path: Path, manifest_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = manifest_file.read_text()
        assert nic("publish", "toy", "--push", "-o", str(tmp_path / "upload")) == 0
        assert set(hub.files[REPOSITORY, PUSHED]) == {FILE, "README.md"}
        assert manifest_file.read_text() == text + f'revision = "{PUSHED}"\n'
        monkeypatch.delenv("PILLOW_NEURAL_WEIGHTS")
        assert locate(manifest()[0]).read_bytes() == BODY

    def test_a_push_that_fails_records_nothing(
        self, hub: Hub, tmp_path: Path, manifest_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = manifest_file.read_text()
        hub.statuses = [(403, None)]
        assert nic("publish", "toy", "--push", "-o", str(tmp_path / "upload")) == 1
        assert f"the upload to {REPOSITORY} failed" in capsys.readouterr().err
        assert manifest_file.read_text() == text

    def test_what_was_published_is_not_pushed_again(
        self, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert nic("publish", "toy", "--revision", REVISION) == 0
        assert nic("publish", "toy", "--push", "-o", str(tmp_path / "upload")) == 1
        assert "was published already" in capsys.readouterr().err
        assert not hub.files


@pytest.mark.usefixtures("waits")
class TestRemembered:
    def test_a_failure_is_not_tried_again_at_once(self, hub: Hub) -> None:
        hub.statuses = [GATED]
        message = failure()
        asked = len(hub.requests)
        hub.statuses = []
        assert failure() == message
        assert len(hub.requests) == asked

    def test_a_failure_is_tried_again_later(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        hub.statuses = [GATED]
        failure()
        hub.statuses = []
        monkeypatch.setattr(store, "FAILURE_KEPT", 0.0)
        assert locate(ENTRY).read_bytes() == BODY

    def test_the_patient_try_again_at_once(self, hub: Hub) -> None:
        hub.statuses = [GATED]
        failure()
        hub.statuses = []
        assert locate(ENTRY, patient=True).read_bytes() == BODY

    def test_a_file_that_arrived_otherwise_is_found_at_once(
        self, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.statuses = [GATED]
        failure()
        (tmp_path / FILE).write_bytes(BODY)
        monkeypatch.setenv("PILLOW_NEURAL_WEIGHTS", str(tmp_path))
        assert locate(ENTRY) == tmp_path / FILE


class TestOffline:
    def test_nothing_is_asked_and_the_error_says_why(self, hub: Hub, environment: dict[str, str]) -> None:
        run = self._run(environment, HF_HUB_OFFLINE="1")
        assert run.returncode == 1
        assert "WeightsUnavailableError: weights toy-" in run.stderr
        assert "Unset HF_HUB_OFFLINE and run `nic weights fetch" in run.stderr
        assert hub.requests == []

    def test_what_is_in_the_cache_is_found(self, hub: Hub, environment: dict[str, str]) -> None:
        path = self._run(environment).stdout
        asked = len(hub.requests)
        assert self._run(environment, HF_HUB_OFFLINE="1").stdout == path
        assert Path(path).read_bytes() == BODY
        assert len(hub.requests) == asked

    def test_what_is_damaged_in_the_cache_is_refused(self, environment: dict[str, str]) -> None:
        Path(self._run(environment).stdout).write_bytes(bytes(len(BODY)))
        run = self._run(environment, HF_HUB_OFFLINE="1")
        assert run.returncode == 1
        assert "the copy in the Hub's cache is damaged, and HF_HUB_OFFLINE forbids" in run.stderr

    @staticmethod
    def _run(environment: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", LOCATE]
        return subprocess.run(
            command, env={**environment, **more}, capture_output=True, text=True, check=False
        )
