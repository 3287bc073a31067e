"""``graft.json``: what a graft says of itself, and the digests of its files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from regraft.config.spec import Spec
from regraft.errors import GraftError
from regraft.hashing import digest_bytes, digest_json

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
MANIFEST = "graft.json"
HEAD, DELTA, CARD = "head.safetensors", "delta.safetensors", "card.md"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
FILES = frozenset({HEAD, DELTA, CARD, ADAPTER, ADAPTER_CONFIG})
"""The only files that a manifest may name: a path, or a file of another folder, is none of them."""


class Manifest(Spec):
    """The content of ``graft.json``, its own digest apart."""

    version: int = Field(SCHEMA_VERSION, alias="schema")
    backbone: str
    backbone_digest: str
    kind: str
    classes: tuple[str, ...]
    preprocess: dict[str, Any]
    protocol: dict[str, Any]
    metrics: dict[str, Any]
    temperature: float = Field(gt=0)
    files: dict[str, str]


def manifest_text(manifest: Manifest) -> str:
    """Return the text of ``graft.json``, the digest of all the rest in it."""
    plain = json.loads(manifest.model_dump_json(by_alias=True))
    return json.dumps({**plain, "digest": digest_json(plain)}, indent=1, ensure_ascii=False) + "\n"


def read_manifest(path: Path) -> Manifest:
    """Read ``graft.json``.

    Raises:
        GraftError: It is no manifest, of another version, changed, or names files that it must not.
    """
    try:
        plain = json.loads(path.read_bytes())
        version, digest = plain["schema"], plain.pop("digest", None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise GraftError("not a graft's manifest. Get the graft again.", where=str(path)) from error
    if version != SCHEMA_VERSION:
        raise GraftError(
            f"it has schema version {version!r}, this regraft knows {SCHEMA_VERSION}. Update "
            "regraft, or get a graft that it can read.",
            where=str(path),
        )
    try:
        changed = digest_json(plain) != digest
        manifest = Manifest.model_validate(plain)
    except (ValidationError, ValueError) as error:
        raise GraftError(
            "it does not hold what a graft's manifest holds. Get the graft again.", where=str(path)
        ) from error
    if changed:
        raise GraftError(
            "it was changed after it was written. Get the graft again.", where=str(path)
        )
    if strange := sorted(set(manifest.files) - FILES):
        raise GraftError(
            f"it names {strange[0]!r}, which is no file of a graft. Do not use this graft.",
            where=str(path),
        )
    return manifest


def checked_file(folder: Path, name: str, digest: str) -> bytes:
    """Return the bytes of a graft's file.

    Raises:
        GraftError: It is missing, or not what was written.
    """
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise GraftError(
            f"it is missing ({error.strerror}). Get the graft again.", where=str(folder / name)
        ) from error
    if digest_bytes(data) != digest:
        raise GraftError(
            "it was changed or damaged after it was written. Get the graft again.",
            where=str(folder / name),
        )
    return data
