"""Where the files of a transformers backbone lie: a local folder, or the hub's cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from regraft.errors import BackboneError

_SETTINGS = ["*.json", "*.txt", "*.model", "1_Pooling/*.json", "*.py"]
_SAFE = ["model*.safetensors"]
_PICKLED = ["pytorch_model*.bin"]


def backbone_folder(reference: str) -> tuple[Path, list[str]]:
    """Return the folder of a reference, fetched from the hub where it is not local, and notes.

    Raises:
        BackboneError: It does not exist, cannot be reached, or holds no model or no weights.
    """
    folder = Path(reference).expanduser()
    notes: list[str] = []
    if not folder.is_dir():
        if reference.startswith((".", "/", "~")) or reference.count("/") > 1 or folder.exists():
            raise BackboneError(
                "there is no such folder. Give a folder saved by transformers, a hub id, or "
                "python:…, zoo:….",
                where=reference,
            )
        folder = _fetched(reference)
        notes.append(f"revision {folder.name[:12]}")
    if not (folder / "config.json").is_file():
        raise BackboneError(
            "the folder has no config.json. Save the model there with save_pretrained.",
            where=reference,
        )
    if not _has_weights(folder):
        raise BackboneError(
            "the folder has a configuration but no weights (model.safetensors). Save the model "
            "there with save_pretrained.",
            where=reference,
        )
    return folder, notes


def read_json(path: Path) -> dict[str, Any]:
    """Return a settings file beside a model; empty where there is none.

    Raises:
        BackboneError: It is not JSON, or not an object.
    """
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BackboneError(f"not readable as JSON ({error}).", where=str(path)) from error
    if not isinstance(value, dict):
        raise BackboneError("not a JSON object. Download the model again.", where=str(path))
    return value


def _has_weights(folder: Path) -> bool:
    return any(any(folder.glob(kind)) for kind in [*_SAFE, *_PICKLED])


def _fetched(reference: str) -> Path:
    name, _, revision = reference.partition("@")
    try:
        folder = _snapshot(name, revision, _SETTINGS + _SAFE)
        return folder if _has_weights(folder) else _snapshot(name, revision, _SETTINGS + _PICKLED)
    except HFValidationError as error:
        raise BackboneError(
            "neither a folder nor a hub id. Give a folder saved by transformers, a hub id such as "
            "facebook/dinov2-small, or python:…, zoo:….",
            where=reference,
        ) from error
    except GatedRepoError as error:
        raise BackboneError(
            "the hub gives it only to those who accepted its terms. Accept them there and log in, "
            "or give a local folder.",
            where=reference,
        ) from error
    except RevisionNotFoundError as error:
        raise BackboneError(
            f"the hub has no revision {revision!r} of it.", where=reference
        ) from error
    except RepositoryNotFoundError as error:
        raise BackboneError(
            "there is no such folder, and the hub has no such model. Check the name.",
            where=reference,
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise BackboneError(
            "not a folder, not in the local cache, and the hub cannot be reached. Give a local "
            "folder, or go online once.",
            where=reference,
        ) from error


def _snapshot(name: str, revision: str, patterns: list[str]) -> Path:
    return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
