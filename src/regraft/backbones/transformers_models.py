"""Backbones of transformers: folders saved by it, and hub ids."""

from __future__ import annotations

import inspect
import pickle
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitImageProcessorPil,
)
from transformers.utils import logging as transformers_logging

from regraft.backbones.backbone import Backbone, Pooling
from regraft.backbones.blocks import find_blocks
from regraft.backbones.hub import backbone_folder, read_json
from regraft.backbones.images import ProcessorPreprocess
from regraft.backbones.preprocess import Preprocess, TextPreprocess
from regraft.backbones.roles import find_roles
from regraft.backbones.source_heads import saved_head
from regraft.errors import BackboneError, ShapeError
from regraft.hashing import digest_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn

_LONGEST_TEXT = 512
_ALLOWED_NEW = ("pooler.", "classifier.", "lm_head.", "cls.", "head.")
_PROBE_TEXTS = (
    "a short one",
    "another text, a little longer than the first, so that padding is needed",
)
_PROBE_SIZES = ((64, 64), (60, 90))
_IMAGENET_MEAN, _IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_CLASSIFIERS: dict[str, tuple[str, Any]] = {
    "text": ("ForSequenceClassification", AutoModelForSequenceClassification),
    "image": ("ForImageClassification", AutoModelForImageClassification),
}
_UNFIT = (ShapeError, RuntimeError, TypeError, ValueError, AttributeError, LookupError)


def load_transformers(reference: str, *, trust_remote_code: bool) -> Backbone:
    """Load a folder or hub id with its tokenizer or image processor.

    Raises:
        BackboneError: It cannot be found, read or used.
    """
    folder, notes = backbone_folder(reference)
    with _quiet():
        config, module, unused = _model(folder, reference, trust_remote_code=trust_remote_code)
        kind = _kind(module, reference)
        if kind == "text":
            preprocess, found = _text(folder, config, module, reference)
        else:
            preprocess, found = _image(folder, config, reference)
        backbone = Backbone(
            reference=reference,
            module=module,
            preprocess=preprocess,
            blocks=find_blocks(module),
            roles=find_roles(module),
            pooling=_pooling(folder, module, kind),
            by_keyword=True,
            fresh=lambda: _made(config, module),
        )
        found += _probe(backbone, config)
        if kind == "text":
            backbone.token_table = _token_table(module)
        if _is_classifier(config, kind):
            if any(not name.startswith("pooler.") for name in unused):
                read = partial(_classifier, folder, config, kind, trust_remote_code)
                backbone.source_head = saved_head(read, reference)
            else:
                found.append("it was saved as a classifier, without the classifier's weights")
    if not backbone.can_cut:
        found.append("prefix and suffix did not equal the whole: it runs uncut")
    backbone.notes = tuple(notes + found)
    return backbone


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from writing to the terminal; what matters is said in errors and notes."""
    verbosity = transformers_logging.get_verbosity()
    shows_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shows_bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _model(
    folder: Path, reference: str, *, trust_remote_code: bool
) -> tuple[Any, nn.Module, list[str]]:
    """Return configuration, encoder, and the names of the weights that it does not use."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(0)  # what a checkpoint lacks and nothing reads is random
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        module, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported as an error of ours, with names and shapes
            trust_remote_code=trust_remote_code,
            **_without_pooler(config),
        )
    except (OSError, ValueError, LookupError, ImportError, TypeError) as error:
        raise BackboneError(_reason(error), where=reference) from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError) as error:
        raise BackboneError(
            f"its weights cannot be read ({_first_line(error)}), or hold more than plain tensors. "
            "Download them again, or save them as safetensors.",
            where=reference,
        ) from error
    finally:
        torch.set_rng_state(state)
    _refuse_misfits(reference, report)
    return config, module, [name.removeprefix("model.") for name in report["unexpected_keys"]]


def _is_classifier(config: Any, kind: str) -> bool:
    """Whether a whole classifier of one label an item was saved, says the configuration."""
    ending, _ = _CLASSIFIERS[kind]
    named = [str(one) for one in config.architectures or ()]
    is_plain = getattr(config, "problem_type", None) in (None, "single_label_classification")
    return any(one.endswith(ending) for one in named) and is_plain and config.num_labels > 1


def _classifier(
    folder: Path, config: Any, kind: str, trust_remote_code: bool, /
) -> tuple[Any, dict[str, Any]]:
    """Return the whole classifier that was saved, and the report of its loading."""
    with _quiet():
        model, report = _CLASSIFIERS[kind][1].from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=trust_remote_code,
        )
    return model, report


def _without_pooler(config: Any) -> dict[str, bool]:
    """Return the keyword that leaves out a learnt pooler, whose output is not the features here."""
    model = MODEL_MAPPING.get(type(config), None)
    if not isinstance(model, type):
        return {}
    takes = inspect.signature(model.__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in takes else {}


def _made(config: Any, like: nn.Module) -> nn.Module:
    """Return a module of the same class with its own random initialisation."""
    made: nn.Module = type(like)(config, **_without_pooler(config))
    return made.float()


def _refuse_misfits(reference: str, report: dict[str, Any]) -> None:
    missing = sorted(n for n in report.get("missing_keys", ()) if not n.startswith(_ALLOWED_NEW))
    misfits = sorted(report.get("mismatched_keys", ()))
    if misfits:
        name, stored, wanted = misfits[0]
        raise BackboneError(
            f"{name} has shape {tuple(stored)}, its configuration needs {tuple(wanted)}. These are "
            "the weights of another model.",
            where=reference,
        )
    if missing:
        raise BackboneError(
            f"{len(missing)} tensors are missing from its weights ({missing[0]}, …), so it would "
            "partly be random. These are the weights of another model.",
            where=reference,
        )


def _kind(module: Any, reference: str) -> str:
    kinds = {"input_ids": "text", "pixel_values": "image"}
    if module.main_input_name not in kinds:
        raise BackboneError(
            f"it takes {module.main_input_name!r}; texts and images can be used here. Choose "
            "another backbone.",
            where=reference,
        )
    return kinds[module.main_input_name]


def _image(folder: Path, config: Any, reference: str) -> tuple[Preprocess, list[str]]:
    settings = config.to_dict()
    notes = []
    if (folder / "preprocessor_config.json").is_file() or (
        folder / "processor_config.json"
    ).is_file():
        try:
            processor = AutoImageProcessor.from_pretrained(folder, backend="pil")  # type: ignore[no-untyped-call]
        except (OSError, ValueError, LookupError, ImportError, TypeError) as error:
            raise BackboneError(
                f"its image processor cannot be loaded ({_first_line(error)}).", where=reference
            ) from error
    else:
        size = _height_width(settings.get("image_size") or 224)
        processor = _processor(size, mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
        notes.append(f"no preprocessor_config.json: {size[0]} × {size[1]}, ImageNet normalisation")
    channels = int(settings.get("num_channels") or 3)
    if channels == 1:
        notes.append("takes one channel: images are turned grey")
    elif channels != 3:
        notes.append(f"takes {channels} channels: red, green, blue repeat")
    preprocess = ProcessorPreprocess(processor, channels=channels)
    shapes = {one.shape for one in preprocess.prepare(_probe_images())}
    if len(shapes) > 1:  # the processor keeps the aspect, so images would not stack
        side = min(min(shape[1:]) for shape in shapes)
        preprocess = _resized(processor, (side, side), channels)
        notes.append(f"its processor keeps the aspect: images are resized to {side} × {side}")
    return preprocess, notes


def _processor(
    size: tuple[int, int], *, mean: Any, std: Any, scale: float = 1 / 255, resample: Any = None
) -> Any:
    return BitImageProcessorPil(
        size={"height": size[0], "width": size[1]},
        do_center_crop=False,
        image_mean=mean,
        image_std=std,
        rescale_factor=scale,
        resample=resample if resample is not None else 2,  # bilinear
    )


def _resized(processor: Any, size: tuple[int, int], channels: int) -> ProcessorPreprocess:
    """Return the preprocessing of a processor with its geometry replaced by a plain resize."""
    had = processor.to_dict()
    shifts = had.get("do_normalize", True)
    same = _processor(
        size,
        mean=had["image_mean"] if shifts else [0.0],
        std=had["image_std"] if shifts else [1.0],
        scale=had["rescale_factor"] if had.get("do_rescale", True) else 1.0,
        resample=had.get("resample"),
    )
    return ProcessorPreprocess(same, channels=channels)


def _text(
    folder: Path, config: Any, module: nn.Module, reference: str
) -> tuple[Preprocess, list[str]]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, LookupError, ImportError, TypeError) as error:
        raise BackboneError(
            f"its tokenizer cannot be loaded ({_first_line(error)}). Save it beside the model.",
            where=reference,
        ) from error
    _refuse_foreign_tokenizer(tokenizer, module, reference)
    own = read_json(folder / "sentence_bert_config.json")
    longest = _longest(own, tokenizer, config, module)
    probe = tokenizer(list(_PROBE_TEXTS))["input_ids"]
    digest = digest_json([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items()), probe])
    preprocess = TextPreprocess(
        tokenizer,
        max_length=longest,
        digest=digest,
        lower_case=bool(own.get("do_lower_case", False)),
    )
    return preprocess, [f"texts are cut at {longest} tokens"]


def _refuse_foreign_tokenizer(tokenizer: Any, module: Any, reference: str) -> None:
    if len(tokenizer.get_vocab()) <= len(tokenizer.all_special_tokens):
        # transformers 5 makes an empty tokenizer where a folder has none, and reads all as unknown
        raise BackboneError(
            "its tokenizer cannot be loaded: it has no words. Save the tokenizer beside the model.",
            where=reference,
        )
    known = module.get_input_embeddings().num_embeddings
    if tokenizer.vocab_size > known:
        raise BackboneError(
            f"its tokenizer has {tokenizer.vocab_size} tokens, the model {known}. The tokenizer is "
            "of another model.",
            where=reference,
        )


def _token_table(module: Any) -> str | None:
    table = module.get_input_embeddings()
    if type(table) is not torch.nn.Embedding:
        return None  # one that scales or offsets is left to train as a whole
    return next((name for name, one in module.named_modules() if one is table), None)


def _longest(own: dict[str, Any], tokenizer: Any, config: Any, module: nn.Module) -> int:
    """Return the most tokens: sentence-transformers' limit, the tokenizer's and the model's."""
    limits = [_LONGEST_TEXT, int(tokenizer.model_max_length)]
    if own.get("max_seq_length"):
        limits.append(int(own["max_seq_length"]))
    positions = config.to_dict().get("max_position_embeddings")
    if positions:
        # RoBERTa's kind counts positions from the padding id on: two of its 514 are never used
        padding = [
            part.padding_idx
            for name, part in module.named_modules()
            if name.endswith("position_embeddings") and isinstance(part, torch.nn.Embedding)
        ]
        offset = next((one + 1 for one in padding if one is not None), 0)
        limits.append(int(positions) - offset)
    return min(limits)


def _pooling(folder: Path, module: nn.Module, kind: str) -> Pooling:
    if kind == "text":
        pools = read_json(folder / "1_Pooling" / "config.json")
        is_first = pools.get("pooling_mode_cls_token") or pools.get("pooling_mode") == "cls"
        return "first_token" if is_first else "masked_mean"
    if any(name.endswith("cls_token") for name, _ in module.named_parameters()):
        return "first_token"
    return "pooler"


def _probe_images() -> list[np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in _PROBE_SIZES]


def _probe(backbone: Backbone, config: Any) -> list[str]:
    """Run a small batch through; adapt the size of images where the model insists on its own."""
    size = config.to_dict().get("image_size")
    try:
        backbone.set_probe(_probe_batch(backbone.preprocess))
    except _UNFIT as error:
        if not (size and isinstance(backbone.preprocess, ProcessorPreprocess)):
            raise _unusable(backbone, config, error) from error
    else:
        return []
    height, width = _height_width(size)
    old = backbone.preprocess
    backbone.preprocess = _resized(old.processor, (height, width), old.spec["channels"])
    try:
        backbone.set_probe(_probe_batch(backbone.preprocess))
    except _UNFIT as error:
        raise _unusable(backbone, config, error) from error
    return [f"its processor's size does not fit it: images are resized to {height} × {width}"]


def _probe_batch(preprocess: Preprocess) -> dict[str, torch.Tensor]:
    raw = list(_PROBE_TEXTS) if preprocess.kind == "text" else _probe_images()
    return preprocess.collate(preprocess.prepare(raw))


def _height_width(size: Any) -> tuple[int, int]:
    return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _unusable(backbone: Backbone, config: Any, error: Exception) -> BackboneError:
    return BackboneError(
        f"models of type {config.model_type!r} cannot be used as encoders here "
        f"({_first_line(error)}). Choose another backbone.",
        where=backbone.reference,
    )


def _reason(error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return (
            "it needs code that comes with it, which is not run unless you trust it "
            "(trust_remote_code). Choose a model that does not."
        )
    return f"cannot be loaded: {_first_line(error)}. Check its files, or save it again."


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".")[:300] if lines else type(error).__name__
