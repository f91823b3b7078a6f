"""Publishing a weights file on the Hugging Face Hub: the folder to upload, and the upload."""

from __future__ import annotations

import shutil
from pathlib import Path

from pillow_neural.weights.card import model_card
from pillow_neural.weights.hub import LIBRARY_NAME, library_version
from pillow_neural.weights.manifest import WeightsEntry
from pillow_neural.weights.store import locate

CARD = "README.md"


def write_folder(entry: WeightsEntry, folder: Path) -> None:
    """Write the folder to upload: the weights file, its contents checked, and the model card, README.md.

    Raises:
        ValueError: the manifest lacks what the card tells, or the folder holds other files.
        OSError: the weights are not available, or the folder can't be written.
    """
    card, weights = model_card(entry), locate(entry)
    folder.mkdir(parents=True, exist_ok=True)
    if others := {path.name for path in folder.iterdir()} - {entry.file, CARD}:
        raise ValueError(
            f"{folder} holds other files that would be uploaded too: {', '.join(sorted(others))}"
        )
    shutil.copyfile(weights, folder / entry.file)
    (folder / CARD).write_text(card, encoding="utf-8")


def push(entry: WeightsEntry, folder: Path, repository: str) -> str:
    """Upload what `write_folder` wrote, in one commit; the public repository is made if there is none.

    Returns:
        The 40 hex digits of the commit.

    Raises:
        OSError: the upload failed; the message says why.
    """
    from huggingface_hub import HfApi

    hub = HfApi(library_name=LIBRARY_NAME, library_version=library_version())
    try:
        hub.create_repo(repository, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=f"Weights {entry.file}",
        )
    except Exception as error:  # the HTTP client's errors are no OSErrors
        raise OSError(f"the upload to {repository} failed, nothing was recorded: {error}") from error
    return commit.oid
