"""Grafts: what a run leaves to reuse, as a folder that any machine can read."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from regraft.errors import GraftError, LedgerError
from regraft.hashing import digest_bytes
from regraft.ledger.adapters import adapter_files, adapter_state
from regraft.ledger.durability import complaint, sync_folder, write_file
from regraft.ledger.manifest import (
    ADAPTER,
    ADAPTER_CONFIG,
    CARD,
    DELTA,
    HEAD,
    MANIFEST,
    Manifest,
    checked_file,
    manifest_text,
    read_manifest,
)
from regraft.ledger.tensors import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

_PYTHON = "python:"


@dataclass(frozen=True, slots=True, eq=False)
class Graft:
    """What changed, and what is needed to predict with it.

    A LoRA folder of plain peft knows neither classes nor digest: it reads as a graft without head
    (`has_head`), whose kind, classes and digest are empty.

    Attributes:
        backbone: Reference of the backbone.
        backbone_digest: Digest of its tensors.
        kind: ``image``, ``text`` or ``array``.
        classes: Names in the order of the logits.
        preprocess: The backbone's preprocessing, plain.
        protocol: The resolved protocol.
        state: The tensors that a run left, by name.
        metrics: Metrics with intervals, by part.
        temperature: Logits are divided by it before they become probabilities.
        card: Evidence for people, Markdown.
    """

    backbone: str
    backbone_digest: str
    kind: str
    classes: tuple[str, ...]
    preprocess: Mapping[str, Any]
    protocol: Mapping[str, Any]
    state: Mapping[str, torch.Tensor]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    card: str = ""

    @property
    def has_head(self) -> bool:
        """Whether it can predict classes."""
        return bool(self.classes)


def write_graft(folder: Path, graft: Graft) -> Path:
    """Write a graft in place of the graft that the folder holds, whole or not at all.

    Returns:
        The folder.

    Raises:
        GraftError: The folder holds something else.
        LedgerError: The disk is full or the folder cannot be written.
    """
    contents = _contents(graft)
    scratch, before = (folder.with_name(f".{folder.name}.{part}") for part in ("part", "before"))
    try:
        _refuse_foreign(folder)
        for leftover in (scratch, before):  # of a process that was killed here
            shutil.rmtree(leftover, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            for name, data in contents.items():
                write_file(scratch / name, data)
            sync_folder(scratch)
            if folder.exists():
                folder.replace(before)
            scratch.replace(folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        raise LedgerError(f"the graft {complaint(error)}", where=str(folder)) from error
    return folder


def read_graft(folder: Path) -> Graft:
    """Read a graft, or a plain peft LoRA folder (without head, classes or digest).

    Raises:
        GraftError: It is missing, damaged, tampered with, or of a newer version.
    """
    if not (folder / MANIFEST).is_file():
        if (folder / ADAPTER_CONFIG).is_file():
            return _read_peft(folder)
        raise GraftError("there is no graft (graft.json) in it. Check the path.", where=str(folder))
    manifest = read_manifest(folder / MANIFEST)
    files = {name: checked_file(folder, name, one) for name, one in manifest.files.items()}
    return Graft(
        backbone=manifest.backbone,
        backbone_digest=manifest.backbone_digest,
        kind=manifest.kind,
        classes=manifest.classes,
        preprocess=manifest.preprocess,
        protocol=manifest.protocol,
        state=_state(files, folder),
        metrics=manifest.metrics,
        temperature=manifest.temperature,
        card=files.get(CARD, b"").decode("utf-8", errors="replace"),
    )


def check_trusted(graft: Graft, *, supplied_backbone: bool) -> None:
    """Refuse a graft whose backbone is Python code that the user did not name.

    Raises:
        GraftError: Its backbone begins with ``python:`` and none was supplied.
    """
    if graft.backbone.strip().lower().startswith(_PYTHON) and not supplied_backbone:
        raise GraftError(
            f"its backbone is Python code ({graft.backbone}), which is run only when you name it: "
            "give it with --backbone.",
            where="graft",
        )


def _contents(graft: Graft) -> dict[str, bytes]:
    """Return the files of a graft by name."""
    head = {n: t for n, t in graft.state.items() if n.startswith(("head.", "predictor."))}
    rest = {n: t for n, t in graft.state.items() if n not in head}
    contents = {HEAD: pack(head), CARD: graft.card.encode()}
    adapter = adapter_files(graft.protocol, rest, backbone=graft.backbone)
    if adapter is not None:
        contents |= adapter
    elif rest:
        contents[DELTA] = pack(rest)
    manifest = Manifest(
        backbone=graft.backbone,
        backbone_digest=graft.backbone_digest,
        kind=graft.kind,
        classes=graft.classes,
        preprocess=dict(graft.preprocess),
        protocol=dict(graft.protocol),
        metrics=dict(graft.metrics),
        temperature=graft.temperature,
        files={name: digest_bytes(data) for name, data in sorted(contents.items())},
    )
    return {**contents, MANIFEST: manifest_text(manifest).encode()}


def _refuse_foreign(folder: Path) -> None:
    """Refuse to replace what is not a graft."""
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not is_empty and not (folder / MANIFEST).is_file():
        raise GraftError(
            "it holds something that is not a graft, which is left as it is. Name a new folder.",
            where=str(folder),
        )


def _state(files: Mapping[str, bytes], folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for name in (HEAD, DELTA):
        if name not in files:
            continue
        try:
            state |= unpack(files[name])
        except (SafetensorError, ValueError) as error:
            raise GraftError(
                f"not a safetensors file ({error}). Get the graft again.", where=str(folder / name)
            ) from error
    if ADAPTER in files:
        state |= adapter_state(files, where=folder)[1]
    return state


def _read_peft(folder: Path) -> Graft:
    from regraft.config.protocol import ProtocolSpec, resolve_protocol

    if not (folder / ADAPTER).is_file():
        raise GraftError(
            f"it has {ADAPTER_CONFIG} but no {ADAPTER}. Save the adapter as safetensors; pickles "
            "are not read.",
            where=str(folder),
        )
    try:
        files = {name: (folder / name).read_bytes() for name in (ADAPTER, ADAPTER_CONFIG)}
    except OSError as error:
        raise GraftError(
            f"it cannot be read ({error.strerror}). Make it readable.", where=str(folder)
        ) from error
    module, state, config = adapter_state(files, where=folder)
    return Graft(
        backbone=str(config.get("base_model_name_or_path") or ""),
        backbone_digest="",
        kind="",
        classes=(),
        preprocess={},
        protocol=resolve_protocol(ProtocolSpec(name="peft", modules=[module])),
        state=state,
    )
