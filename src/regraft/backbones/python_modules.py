"""Backbones that are any torch module, with weights beside it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.resources import as_file, files
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from regraft.backbones.backbone import Backbone
from regraft.backbones.blocks import find_blocks
from regraft.backbones.images import ImagePreprocess, image_spec
from regraft.backbones.preprocess import ArrayPreprocess, Preprocess
from regraft.backbones.roles import find_roles
from regraft.backbones.source_heads import declared_head
from regraft.backbones.weights import fit_weights, read_weights
from regraft.errors import BackboneError, ShapeError, did_you_mean
from regraft.hashing import digest_bytes, digest_file, digest_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_HELP = "Write python:package.module:factory@weights.safetensors or python:path/file.py:factory@…"


def load_zoo(reference: str) -> Backbone:
    """Load an embedded backbone, ``zoo:NAME``.

    Raises:
        BackboneError: There is no such backbone.
    """
    name = reference.removeprefix("zoo:")
    zoo = files("regraft") / "backbones" / "zoo"
    known = [p.name[:-12] for p in zoo.iterdir() if p.name.endswith(".safetensors")]
    if name not in known:
        raise BackboneError(
            f"unknown embedded backbone.{did_you_mean(name, known)}", where=reference
        )
    module = importlib.import_module(f"regraft.backbones.zoo.{name}")
    with as_file(zoo / f"{name}.safetensors") as weights:
        return _assemble(reference, module.build, weights)


def load_python(reference: str) -> Backbone:
    """Load ``python:MODULE:FACTORY@WEIGHTS``; MODULE is dotted, or the path of a file.

    Raises:
        BackboneError: Module, factory or weights cannot be found or do not fit.
    """
    code, at, weights = reference.removeprefix("python:").partition("@")
    module_name, colon, factory_name = code.rpartition(":")
    if not (at and colon and module_name and factory_name and weights):
        raise BackboneError(f"incomplete. {_HELP}", where=reference)
    module = _file_module(module_name) if module_name.endswith(".py") else _dotted(module_name)
    factory = vars(module).get(factory_name)
    if not callable(factory):
        names = [n for n, value in vars(module).items() if callable(value) and n[0] != "_"]
        raise BackboneError(
            f"{module_name} has no function {factory_name!r}.{did_you_mean(factory_name, names)}",
            where=reference,
        )
    backbone = _assemble(reference, factory, Path(weights).expanduser())
    if module.__file__:  # of what it imports nothing is known
        # Two factories of one file may share their weights, and compute something else of them.
        backbone.code = digest_json([digest_file(Path(module.__file__)), factory_name])
    return backbone


def _assemble(reference: str, factory: Callable[[], Any], weights: Path) -> Backbone:
    if any(
        one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        for one in signature(factory).parameters.values()
    ):
        raise BackboneError("the factory must take no arguments.", where=reference)

    def fresh() -> nn.Module:
        made = factory()
        if not isinstance(made, nn.Module):
            raise BackboneError(
                f"the factory returned {type(made).__name__}, not a torch module.", where=reference
            )
        return made.float()

    module = fresh()
    unused = fit_weights(module, read_weights(weights), where=str(weights))
    blocks = find_blocks(module)
    if not blocks:
        raise BackboneError(
            f"{type(module).__name__} has no submodules, so there is nothing to order by depth. "
            "Put its layers into submodules.",
            where=reference,
        )
    preprocess, notes = _preprocess(module, reference)
    backbone = Backbone(
        reference=reference,
        module=module,
        preprocess=preprocess,
        blocks=blocks,
        roles=find_roles(module),
        pooling="output",
        by_keyword=False,
        fresh=fresh,
    )
    _probe(backbone)
    backbone.source_head = declared_head(module, reference)
    if unused:
        notes.append(
            f"{len(unused)} tensors of the weights file are not in the module: {unused[0]}, …"
        )
    if not isinstance(_declared(module, "blocks"), list | tuple):
        notes.append(f"no 'blocks' declared: found {blocks[0]} … {blocks[-1]} ({len(blocks)})")
    if not backbone.can_cut:
        notes.append("prefix and suffix did not equal the whole: it runs uncut")
    backbone.notes = tuple(notes)
    return backbone


def _declared(module: nn.Module, name: str) -> Any:
    """Return an attribute that the module or its class declares, submodules left out; or None."""
    return vars(module).get(name, getattr(type(module), name, None))


def _preprocess(module: nn.Module, reference: str) -> tuple[Preprocess, list[str]]:
    declared = _declared(module, "preprocess")
    if isinstance(declared, dict):
        kind = declared.get("kind", "image")
        if kind == "array":
            return ArrayPreprocess(declared, where=reference), []
        if kind != "image":
            raise BackboneError(
                f"'preprocess' has kind {kind!r}. Known: image, array.", where=reference
            )
        spec = image_spec(declared, where=reference)
        return ImagePreprocess(spec), _channel_notes(spec.channels)
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        return ArrayPreprocess({}, where=reference), [
            "no 'preprocess' declared and no convolution: takes arrays as they are"
        ]
    channels = first.in_channels
    constants: dict[str, Any] = _IMAGENET if channels == 3 else {}
    spec = image_spec({"size": 224, "channels": channels, **constants}, where=reference)
    note = "no 'preprocess' declared: 224 × 224"
    notes = [note + (", ImageNet normalisation" if channels == 3 else "")]
    return ImagePreprocess(spec), notes + _channel_notes(channels)


def _channel_notes(channels: int) -> list[str]:
    if channels == 1:
        return ["takes one channel: images are turned grey"]
    return [f"takes {channels} channels: red, green, blue repeat"] if channels > 3 else []


def _probe(backbone: Backbone) -> None:
    """Run a small batch through, to find the width and prove the cut."""
    preprocess = backbone.preprocess
    generator = torch.Generator().manual_seed(0)
    if preprocess.kind == "image":
        pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=generator)
        batch = preprocess.collate(preprocess.prepare(list(pixels.numpy())))
    else:
        shape = preprocess.spec.get("shape")
        first = next((m for m in backbone.module.modules() if isinstance(m, nn.Linear)), None)
        if shape is None and first is None:
            raise BackboneError(
                "what it takes cannot be guessed. Declare preprocess = "
                "{'kind': 'array', 'shape': […]}.",
                where=backbone.reference,
            )
        sizes = shape if shape is not None else [first.in_features if first else 1]
        batch = {"values": torch.randn(2, *sizes, generator=generator)}
    try:
        backbone.set_probe(batch)
    except ShapeError as error:
        raise BackboneError(str(error), where=backbone.reference) from error
    except (RuntimeError, TypeError, ValueError, LookupError) as error:
        shape = tuple(next(iter(batch.values())).shape)
        raise BackboneError(
            f"it does not take inputs of shape {shape} ({str(error).partition(chr(10))[0]}). "
            "Check 'preprocess'.",
            where=backbone.reference,
        ) from error


def _dotted(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, SyntaxError) as error:
        raise BackboneError(
            f"cannot be imported: {error}. {_HELP}", where=f"python:{name}"
        ) from error


def _file_module(path: str) -> ModuleType:
    file = Path(path).expanduser()
    if not file.is_file():
        raise BackboneError("there is no such file. Check the path.", where=path)
    name = f"regraft_backbone_{digest_bytes(str(file.resolve()).encode())[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise BackboneError("not a Python file.", where=path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError) as error:
        raise BackboneError(f"cannot be imported: {error}.", where=path) from error
    return module
