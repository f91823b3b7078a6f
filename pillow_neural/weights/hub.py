"""Weights files on the Hugging Face Hub: the Hub's cache on this machine, and downloads pinned to a commit.

Every function imports huggingface_hub itself, for nothing else in the package needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pillow_neural.weights.errors import WeightsUnavailableError, by_hand
from pillow_neural.weights.manifest import WeightsEntry

LIBRARY_NAME = "pillow-neural"


def library_version() -> str:
    """What huggingface_hub tells the Hub beside LIBRARY_NAME."""
    from importlib.metadata import version

    return version(LIBRARY_NAME)


def cached(entry: WeightsEntry) -> Path | None:
    """Where the Hub's cache holds the file, whatever its contents, or None; uses no network."""
    if entry.repository is None or entry.revision is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(entry.repository, entry.file, revision=entry.revision)
    return Path(path) if isinstance(path, str) else None


def download(entry: WeightsEntry, *, again: bool = False, patient: bool = False) -> Path:
    """Download the file into the Hub's cache unless it is there; of several processes one does.

    huggingface_hub tries for 23 seconds, for minutes where packets vanish, before it gives a connection up.
    That is right for someone who asked for a download, not for someone who opens a picture on a train:
    without `patient` one request, of ten seconds at most, tells whether the Hub answers at all. If it does,
    even if to say that it is busy, huggingface_hub's patience applies.

    Args:
        entry: which weights.
        again: replace what the cache holds.
        patient: keep trying to reach the Hub.

    Raises:
        WeightsUnavailableError: the entry is not published, or the download failed.
    """
    if entry.repository is None or entry.revision is None:
        cause = "they are not on this machine, and not published on the Hugging Face Hub yet"
        raise _unavailable(entry, cause, "Upgrade pillow-neural")
    from huggingface_hub import hf_hub_download

    try:
        if not patient:
            _reach(entry.repository, entry.file, entry.revision)
        path = hf_hub_download(
            entry.repository,
            entry.file,
            revision=entry.revision,
            library_name=LIBRARY_NAME,
            library_version=library_version(),
            force_download=again,
        )
    except Exception as error:  # OSError, ValueError, RuntimeError, and what httpx2 and hf_xet raise
        raise _failed(entry, error, again=again) from error
    return Path(path)


def _reach(repository: str, file: str, revision: str) -> None:
    """Ask once for the file's metadata; raise if no answer comes, and return whatever the answer."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    with suppress(HfHubHTTPError):  # hf_hub_download knows which answers are worth another try
        get_hf_file_metadata(
            hf_hub_url(repository, file, revision=revision),
            library_name=LIBRARY_NAME,
            library_version=library_version(),
        )


def _failed(entry: WeightsEntry, error: Exception, *, again: bool) -> WeightsUnavailableError:
    from huggingface_hub.errors import OfflineModeIsEnabled

    cause = _cause(entry, error)
    if again:
        cause = f"the copy in the Hub's cache is damaged, and {cause}"
    if any(isinstance(link, OfflineModeIsEnabled) for link in _chain(error)):
        return _unavailable(entry, cause, f"Unset HF_HUB_OFFLINE and run `nic weights fetch {entry.file}`")
    fetch = f"Run `nic weights fetch {entry.file}` when the Hub can be reached"
    return _unavailable(entry, cause, f"{fetch} (HF_HUB_OFFLINE=1 stops further attempts)")


def _unavailable(entry: WeightsEntry, cause: str, remedy: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(
        f"weights {entry.file} of codec {entry.codec} are not available: {cause}. "
        f"{remedy}, or {by_hand(entry.file)}."
    )


def _cause(entry: WeightsEntry, error: Exception) -> str:
    """Why a download failed; huggingface_hub often tells it in the error's cause alone."""
    from huggingface_hub import errors

    there = f"the Hub's repository {entry.repository}"
    for link in _chain(error):
        match link:
            case errors.LocalEntryNotFoundError():
                continue  # says no more than that something failed
            case errors.OfflineModeIsEnabled():
                return "HF_HUB_OFFLINE forbids to download them"
            case errors.GatedRepoError():
                return f"access to {there} is restricted; ask for it on its page and `hf auth login`"
            case errors.RepositoryNotFoundError():
                return f"{there} does not exist, or is private and `hf auth login` is needed"
            case errors.RevisionNotFoundError():
                return f"{there} has no commit {entry.revision}"
            case errors.EntryNotFoundError():
                return f"{there} has no such file in commit {entry.revision}"
            case errors.HfHubHTTPError() if link.response.status_code in (401, 403):
                return f"the Hub refused access (HTTP {link.response.status_code}); see `hf auth login`"
            case errors.HfHubHTTPError():
                return f"the Hub answered with HTTP status {link.response.status_code}"
    *_, root = _chain(error)
    text = str(root).strip().partition("\n")[0]
    return f"the download from the Hub failed ({type(root).__name__}: {text})"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
