"""The boundary to `huggingface_hub`: a preset in, its checkpoint's path or one sentence out.

The client keeps the files (`HF_HOME`), chooses the server (`HF_ENDPOINT`), obeys `HF_HUB_OFFLINE`,
resumes what broke off and moves a file into place only when it is whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)

from endodav.errors import WeightsError
from endodav.models.presets import ModelPreset

REASONS: tuple[tuple[type[Exception], str], ...] = (  # the first class that fits says why
    (GatedRepoError, "its owner asks you to accept terms on that page and to run `hf auth login`"),
    (RepositoryNotFoundError, "the hub knows no such public repository"),
    (RemoteEntryNotFoundError, "the repository has no such file"),
    (LocalEntryNotFoundError, "the hub cannot be reached, or HF_HUB_OFFLINE is set"),
)


def fetch(preset: ModelPreset) -> Path:
    """The preset's checkpoint: bundled, or in the client's cache, downloaded at the first use.

    What is in the cache is used without asking the hub, so that a run needs no network and does not
    change when the hub does.

    Raises:
        WeightsError: nothing is published, or the download fails; says why and what to do.
    """
    found = bundled(preset) or cached(preset)
    if found is not None:
        return found
    if preset.repo_id is None or preset.filename is None:
        raise WeightsError(
            f"{preset.name} has no published checkpoint; give one of your own with --weights FILE."
        )
    try:
        with _quiet_client():
            return Path(hf_hub_download(preset.repo_id, preset.filename))
    except Exception as error:  # the client's transports raise classes of their own
        page = f"{constants.ENDPOINT}/{preset.repo_id}"
        raise WeightsError(
            f"{preset.filename} of {page} cannot be downloaded because {_reason(error)}; "
            "try again, or get the file by another way and give it with --weights FILE."
        ) from error


def bundled(preset: ModelPreset) -> Path | None:
    """The preset's checkpoint inside this package, if it comes with it."""
    if preset.repo_id is not None or preset.filename is None:
        return None
    return Path(str(files("endodav.weights") / "bundled" / preset.filename))


def cached(preset: ModelPreset) -> Path | None:
    """Where the client keeps the preset's checkpoint, if it does; asks no server."""
    if preset.repo_id is None or preset.filename is None:
        return None
    found = try_to_load_from_cache(preset.repo_id, preset.filename)
    return Path(found) if isinstance(found, str) else None


def _reason(error: Exception) -> str:
    refusal = error.__cause__
    if isinstance(error, LocalEntryNotFoundError) and isinstance(refusal, HfHubHTTPError):
        return f"the hub answered with HTTP status {refusal.response.status_code}"
    for kind, reason in REASONS:
        if isinstance(error, kind):
            return reason
    detail = str(error).strip().partition("\n")[0].rstrip(".")
    return f"the transfer broke off ({detail or type(error).__name__})"


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Hold back the client's warnings about each retry: the outcome is said once, by us."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
