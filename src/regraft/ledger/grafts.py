"""Grafts: what a run leaves to reuse, as a folder that any machine can read."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from regraft.errors import GraftError, LedgerError
from regraft.hashing import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = 1
MANIFEST = "graft.json"
_HEAD, _DELTA, _CARD = "head.safetensors", "delta.safetensors", "card.md"
_ADAPTER, _ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True, slots=True, eq=False)
class Graft:
    """What changed, and what is needed to predict with it.

    Attributes:
        backbone: Reference of the backbone; backbone_digest: digest of its tensors.
        kind: ``image``, ``text`` or ``array``; classes: names in the order of the logits.
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


def write_graft(folder: Path, graft: Graft) -> Path:
    """Write a graft in place of what the folder holds, whole or not at all; return the folder.

    Raises:
        LedgerError: The disk is full or the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".graft-"))
        try:
            _write_files(scratch, graft)
            if folder.exists():
                shutil.rmtree(folder)
            scratch.replace(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise LedgerError(
            f"the graft cannot be written: {error.strerror or error}. Free space there.",
            where=str(folder),
        ) from error
    return folder


def read_graft(folder: Path) -> Graft:
    """Read a graft, or a plain peft LoRA folder (without head, classes or digest).

    Raises:
        GraftError: It is missing, damaged, tampered with, or of a newer version.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        if (folder / _ADAPTER_CONFIG).is_file():
            return _read_peft(folder)
        raise GraftError("there is no graft (graft.json) in it. Check the path.", where=str(folder))
    try:
        plain = json.loads(manifest.read_text(encoding="utf-8"))
        version = plain["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GraftError("not a graft's manifest. Get the graft again.", where=str(manifest)) from error
    if version != SCHEMA_VERSION:
        raise GraftError(
            f"it has version {version!r}, this regraft knows {SCHEMA_VERSION}. Update regraft.",
            where=str(manifest),
        )
    if plain.get("digest") != _manifest_digest(plain):
        raise GraftError("it was changed after it was written. Get the graft again.", where=str(manifest))
    files = {name: _checked(folder, name, digest) for name, digest in plain["files"].items()}
    state: dict[str, torch.Tensor] = {}
    for name in (_HEAD, _DELTA):
        if name in files:
            state |= _tensors(files[name], folder / name)
    if _ADAPTER in files:
        state |= _adapter_state(files)
    return Graft(
        backbone=plain["backbone"],
        backbone_digest=plain["backbone_digest"],
        kind=plain["kind"],
        classes=tuple(plain["classes"]),
        preprocess=plain["preprocess"],
        protocol=plain["protocol"],
        state=state,
        metrics=plain["metrics"],
        temperature=float(plain["temperature"]),
        card=files[_CARD].decode(),
    )


def check_trusted(graft: Graft, *, supplied_backbone: bool) -> None:
    """Refuse a graft whose backbone is Python code that the user did not name.

    Raises:
        GraftError: Its backbone begins with ``python:`` and none was supplied.
    """
    if graft.backbone.startswith("python:") and not supplied_backbone:
        raise GraftError(
            f"its backbone is Python code ({graft.backbone}), which is run only when you name it: "
            "give it with --backbone.",
            where="graft",
        )


def _write_files(folder: Path, graft: Graft) -> None:
    head = {n: t for n, t in graft.state.items() if n.startswith(("head.", "predictor."))}
    rest = {n: t for n, t in graft.state.items() if n not in head}
    contents = {_HEAD: safetensors.torch.save(_contiguous(head)), _CARD: graft.card.encode()}
    adapter = _adapter_files(graft, rest)
    if adapter is not None:
        contents |= adapter
    elif rest:
        contents[_DELTA] = safetensors.torch.save(_contiguous(rest))
    plain = {
        "schema": SCHEMA_VERSION,
        "backbone": graft.backbone,
        "backbone_digest": graft.backbone_digest,
        "kind": graft.kind,
        "classes": list(graft.classes),
        "preprocess": dict(graft.preprocess),
        "protocol": dict(graft.protocol),
        "metrics": dict(graft.metrics),
        "temperature": graft.temperature,
        "files": {name: digest_bytes(data) for name, data in sorted(contents.items())},
    }
    plain["digest"] = _manifest_digest(plain)
    contents[MANIFEST] = json.dumps(plain, indent=1, ensure_ascii=False).encode()
    for name, data in contents.items():
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _manifest_digest(plain: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in plain.items() if key != "digest"}
    return digest_bytes(json.dumps(rest, sort_keys=True, ensure_ascii=False).encode())


def _checked(folder: Path, name: str, digest: str) -> bytes:
    if Path(name).name != name or name.startswith("."):
        raise GraftError(
            f"its manifest names {name!r}, which is not a plain file name. Do not use this graft.",
            where=str(folder),
        )
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise GraftError(f"{name} is missing. Get the graft again.", where=str(folder)) from error
    if digest_bytes(data) != digest:
        raise GraftError(
            f"{name} was changed or damaged after it was written. Get the graft again.",
            where=str(folder),
        )
    return data


def _tensors(data: bytes, where: Path) -> dict[str, torch.Tensor]:
    try:
        tensors: dict[str, torch.Tensor] = safetensors.torch.load(data)
    except (SafetensorError, ValueError) as error:
        raise GraftError(f"not a safetensors file ({error}).", where=str(where)) from error
    return tensors


def _adapter_files(graft: Graft, rest: Mapping[str, torch.Tensor]) -> dict[str, bytes] | None:
    """Return the files that plain peft reads, where the graft is LoRA alone."""
    modules = graft.protocol.get("modules") or []
    is_lora = [m["kind"] for m in modules] == ["lora"]
    if not is_lora or not rest or not all(n.startswith("module.") for n in rest):
        return None
    from regraft.protocols.modules.lora import Spec, peft_files

    parameters = {n.removeprefix("module."): t for n, t in rest.items()}
    targets = sorted({n.partition(".lora_")[0] for n in parameters})
    config, tensors = peft_files(Spec(**modules[0]), targets, parameters, graft.backbone)
    return {
        _ADAPTER: safetensors.torch.save(_contiguous(tensors)),
        _ADAPTER_CONFIG: json.dumps(config, indent=1).encode(),
    }


def _adapter_state(files: Mapping[str, bytes]) -> dict[str, torch.Tensor]:
    from regraft.protocols.modules.lora import read_peft_files

    config = json.loads(files[_ADAPTER_CONFIG])
    _, _, tensors = read_peft_files(config, safetensors.torch.load(files[_ADAPTER]))
    return {f"module.{name}": tensor for name, tensor in tensors.items()}


def _read_peft(folder: Path) -> Graft:
    from regraft.config.protocol import ProtocolSpec, resolve_protocol
    from regraft.protocols.modules.lora import read_peft_files

    try:
        config = json.loads((folder / _ADAPTER_CONFIG).read_text(encoding="utf-8"))
        tensors = safetensors.torch.load((folder / _ADAPTER).read_bytes())
        spec, targets, ours = read_peft_files(config, tensors)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise GraftError(f"not a LoRA folder of peft ({error}).", where=str(folder)) from error
    del targets
    protocol = resolve_protocol(ProtocolSpec(name="peft", modules=[spec]))
    return Graft(
        backbone=str(config.get("base_model_name_or_path") or ""),
        backbone_digest="",
        kind="",
        classes=(),
        preprocess={},
        protocol=protocol,
        state={f"module.{name}": tensor for name, tensor in ours.items()},
    )


def _contiguous(tensors: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {n: torch.as_tensor(t).detach().cpu().contiguous().clone() for n, t in tensors.items()}
