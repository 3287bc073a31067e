"""Backbones of transformers: folders saved by it, and hub ids."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from regraft.backbones.backbone import Backbone, Pooling
from regraft.backbones.blocks import find_blocks
from regraft.backbones.preprocess import Preprocess, ProcessorPreprocess, TextPreprocess
from regraft.backbones.roles import find_roles
from regraft.errors import BackboneError, ShapeError
from regraft.hashing import digest_bytes

if TYPE_CHECKING:
    from torch import nn

_LONGEST_TEXT = 512
_ALLOWED_NEW = ("pooler.", "classifier.", "lm_head.", "cls.", "head.")
_PROBE_TEXTS = (
    "a short one",
    "another text, a little longer than the first, so that padding is needed",
)


def load_transformers(reference: str, *, trust_remote_code: bool) -> Backbone:
    """Load a folder or hub id with its tokenizer or image processor.

    Raises:
        BackboneError: It cannot be found, read or used.
    """
    place, revision = _place(reference)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if revision:
        options["revision"] = revision
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(place, **options)
        if Path(place).is_dir():
            _refuse_folder_without_weights(Path(place))
        module, report = AutoModel.from_pretrained(
            place, dtype=torch.float32, output_loading_info=True, **options
        )
        _refuse_misfits(reference, report)
        preprocess, notes = _preprocess(place, config, options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BackboneError(_reason(error), where=reference) from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError) as error:
        raise BackboneError(
            f"its weights cannot be read or do not fit ({_first_line(error)}). Download them again, "
            "or save them as safetensors.",
            where=reference,
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)

    def fresh() -> nn.Module:
        made: nn.Module = AutoModel.from_config(config, dtype=torch.float32)
        return made

    blocks = find_blocks(module)
    backbone = Backbone(
        reference=reference,
        module=module,
        preprocess=preprocess,
        blocks=blocks,
        roles=find_roles(module),
        pooling=_pooling(Path(place), preprocess, config),
        by_keyword=True,
        fresh=fresh,
    )
    _probe(backbone, config)
    if not backbone.can_cut:
        notes.append("prefix and suffix did not equal the whole: it runs uncut")
    backbone.notes = tuple(notes)
    return backbone


def _place(reference: str) -> tuple[str, str]:
    if Path(reference).expanduser().is_dir():
        return str(Path(reference).expanduser()), ""
    if reference.startswith((".", "/", "~")):
        raise BackboneError("there is no such folder. Check the path.", where=reference)
    name, _, revision = reference.partition("@")
    return name, revision


def _refuse_folder_without_weights(folder: Path) -> None:
    kinds = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model*.json")
    if not any(any(folder.glob(kind)) for kind in kinds):
        raise BackboneError(
            "the folder has a configuration but no weights (model.safetensors). Save the model there.",
            where=str(folder),
        )


def _refuse_misfits(reference: str, report: dict[str, Any]) -> None:
    missing = sorted(n for n in report.get("missing_keys", ()) if not n.startswith(_ALLOWED_NEW))
    if missing:
        raise BackboneError(
            f"{len(missing)} tensors are missing from its weights ({missing[0]}, …), so it would "
            "partly be random. These are the weights of another model.",
            where=reference,
        )
    misfits = list(report.get("mismatched_keys", ()))
    if misfits:
        raise BackboneError(
            f"{misfits[0][0]} has another shape than its configuration says. These are the weights "
            "of another model.",
            where=reference,
        )


def _preprocess(
    place: str, config: Any, options: dict[str, Any]
) -> tuple[Preprocess, list[str]]:
    channels = int(config.to_dict().get("num_channels", 0))
    if channels:
        processor = AutoImageProcessor.from_pretrained(place, backend="pil", **options)
        notes = []
        if channels == 1:
            notes.append("takes one channel: images are turned grey")
        if channels not in (1, 3):
            raise BackboneError(
                f"it takes {channels} channels; images have 1 or 3. Choose another backbone.",
                where=place,
            )
        size = config.to_dict().get("image_size")
        if size:
            notes.append(f"images are resized to {size} × {size}" if isinstance(size, int) else "")
        return ProcessorPreprocess(processor, channels=channels), [n for n in notes if n]
    tokenizer = AutoTokenizer.from_pretrained(place, **options)
    longest = _longest(Path(place), tokenizer, config)
    digest = digest_bytes(
        json.dumps(
            [type(tokenizer).__name__, sorted(tokenizer.get_vocab().items()), tokenizer.padding_side]
        ).encode()
    )
    return TextPreprocess(tokenizer, max_length=longest, digest=digest), [
        f"texts are cut at {longest} tokens"
    ]


def _longest(folder: Path, tokenizer: Any, config: Any) -> int:
    """Return the most tokens: sentence-transformers' own limit, else the tokenizer's and the model's."""
    limits = [_LONGEST_TEXT, int(tokenizer.model_max_length)]
    own = folder / "sentence_bert_config.json"
    if own.is_file():
        limits.append(int(json.loads(own.read_text(encoding="utf-8")).get("max_seq_length") or 512))
    positions = config.to_dict().get("max_position_embeddings")
    if positions:
        limits.append(int(positions))
    return min(limits)


def _pooling(folder: Path, preprocess: Preprocess, config: Any) -> Pooling:
    if preprocess.kind == "image":
        is_grid = "patch_size" not in config.to_dict() or config.model_type.startswith("convnext")
        return "pooler" if is_grid else "first_token"
    own = folder / "1_Pooling" / "config.json"
    if own.is_file() and json.loads(own.read_text(encoding="utf-8")).get("pooling_mode_cls_token"):
        return "first_token"
    return "masked_mean"


def _probe(backbone: Backbone, config: Any) -> None:
    preprocess = backbone.preprocess
    if preprocess.kind == "text":
        batch = preprocess.collate(preprocess.prepare(list(_PROBE_TEXTS)))
    else:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=generator)
        batch = preprocess.collate(preprocess.prepare(list(pixels.numpy())))
    try:
        backbone.set_probe(batch)
    except (ShapeError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise BackboneError(
            f"models of type {config.model_type!r} cannot be used as encoders here "
            f"({_first_line(error)}).",
            where=backbone.reference,
        ) from error


def _reason(error: Exception) -> str:
    text = _first_line(error)
    if "trust_remote_code" in str(error):
        return "it needs code that comes with it, which is not run. Choose a model that does not."
    offline = any(word in str(error).lower() for word in ("connect", "offline", "resolve", "reach"))
    if offline:
        return (
            "it is not in the local cache and the hub cannot be reached. Give a local folder, or go "
            "online once."
        )
    return f"cannot be loaded: {text}."


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".")[:300] if lines else type(error).__name__
