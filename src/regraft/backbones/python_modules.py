"""Backbones that are any torch module, with weights beside it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from regraft.backbones.backbone import Backbone
from regraft.backbones.blocks import find_blocks
from regraft.backbones.preprocess import ArrayPreprocess, ImagePreprocess, Preprocess
from regraft.backbones.roles import find_roles
from regraft.backbones.weights import fit_weights, read_weights
from regraft.errors import BackboneError, ShapeError, did_you_mean
from regraft.hashing import digest_bytes

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
        raise BackboneError(f"unknown embedded backbone.{did_you_mean(name, known)}", where=reference)
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
    return _assemble(reference, factory, Path(weights).expanduser())


def _assemble(reference: str, factory: Callable[[], Any], weights: Path) -> Backbone:
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
    preprocess, notes = _preprocess(module)
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
    if unused:
        notes.append(f"{len(unused)} tensors of the weights file are not in the module: {unused[0]}, …")
    if not blocks:
        notes.append("no blocks found: it can only be trained whole; declare them in 'blocks'")
    elif not backbone.can_cut:
        notes.append("prefix and suffix did not equal the whole: it runs uncut")
    backbone.notes = tuple(notes)
    return backbone


def _preprocess(module: nn.Module) -> tuple[Preprocess, list[str]]:
    declared = vars(module).get("preprocess", vars(type(module)).get("preprocess"))
    if isinstance(declared, dict):
        if declared.get("kind", "image") == "array":
            return ArrayPreprocess(declared), []
        return ImagePreprocess(declared), []
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        return ArrayPreprocess(), ["no 'preprocess' declared and no convolution: takes arrays as they are"]
    channels = first.in_channels
    constants: dict[str, Any] = _IMAGENET if channels == 3 else {}
    spec = {"kind": "image", "size": 224, "channels": channels, **constants}
    note = "no 'preprocess' declared: 224 × 224"
    return ImagePreprocess(spec), [note + (", ImageNet normalisation" if channels == 3 else "")]


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
                "what it takes cannot be guessed. Declare preprocess = {'kind': 'array', 'shape': […]}.",
                where=backbone.reference,
            )
        sizes = shape if shape is not None else [first.in_features if first else 1]
        batch = {"values": torch.randn(2, *sizes, generator=generator)}
    try:
        backbone.set_probe(batch)
    except ShapeError as error:
        raise BackboneError(str(error), where=backbone.reference) from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise BackboneError(
            f"it does not take its own inputs ({str(error).splitlines()[0]}). Check 'preprocess'.",
            where=backbone.reference,
        ) from error


def _dotted(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackboneError(f"cannot be imported: {error}. {_HELP}", where=f"python:{name}") from error


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
