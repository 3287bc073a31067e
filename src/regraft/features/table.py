"""One pass per (items, backbone): prepared inputs, pooled features, prefixes by depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.backbones.precision import autocast
from regraft.errors import BackboneError
from regraft.hashing import digest_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.backbones.precision import Precision
    from regraft.backbones.preprocess import Preprocess
    from regraft.features.store import ArrayStore, Cache, ItemArrays
    from regraft.features.views import View
    from regraft.tasks.items import Items

_PREPARE_BATCH = 64
_FORWARD_BATCH = 32
_WINDOW = 16 * _FORWARD_BATCH
"""Items sorted by length among themselves; their results are the most that memory holds at once."""

Pooled = np.ndarray[Any, Any]


def prepare_inputs(cache: Cache, preprocess: Preprocess, items: Items) -> ArrayStore:
    """Return each item after the backbone's own preprocessing, before normalisation.

    Images are uint8 (C, H, W), texts int32 token ids (T,), arrays float32.

    Raises:
        BackboneError: The items are of another kind than the backbone takes.
    """
    if items.kind != preprocess.kind:
        raise BackboneError(
            f"it takes inputs of kind {preprocess.kind!r}, the data are of kind {items.kind!r}. "
            "Choose a backbone for these data.",
            where="backbone",
        )
    key = {"what": "prepared", "preprocess": preprocess.spec, "items": _items_digest(items)}

    def produce() -> Iterator[list[np.ndarray[Any, Any]]]:
        for start in range(0, len(items), _PREPARE_BATCH):
            stop = min(start + _PREPARE_BATCH, len(items))
            yield preprocess.prepare([items.read(row) for row in range(start, stop)])

    return cache.array_store(key, len(items), produce)


def pooled_features(
    cache: Cache,
    backbone: Backbone,
    prepared: ArrayStore,
    *,
    items: Items,
    precision: Precision = "fp32",
) -> Pooled:
    """Return the pooled features of the pretrained backbone, shape (n, width), float32.

    Batches are made of items of similar length, in an order that depends on the items alone.
    `precision` is that of the pass; what comes out of it is pooled and kept in float32.
    """

    def rows_of(batch: Mapping[str, torch.Tensor]) -> list[np.ndarray[Any, Any]]:
        return list(backbone.features(batch).float().cpu().numpy())

    key = _key(backbone, items, "pooled", precision)
    store = cache.array_store(
        key, len(items), lambda: _pass(backbone, prepared, rows_of, precision)
    )
    return np.array(store.matrix(), np.float32).reshape(len(items), backbone.width)


def prefix_activations(
    cache: Cache,
    backbone: Backbone,
    prepared: ItemArrays,
    *,
    items: Items,
    depth: int,
    precision: Precision = "fp32",
    view: View | None = None,
) -> ArrayStore:
    """Return the hidden state that block `depth` receives, by item, texts without their padding.

    With a view, what is prepared are the images as it shows them.
    """

    def rows_of(batch: Mapping[str, torch.Tensor]) -> list[np.ndarray[Any, Any]]:
        return backbone.split_hidden(backbone.hidden(batch, depth=depth), batch)

    key = _key(backbone, items, f"prefix-{depth}", precision)
    if view is not None:
        key |= view.key
    return cache.array_store(key, len(items), lambda: _pass(backbone, prepared, rows_of, precision))


def _key(backbone: Backbone, items: Items, what: str, precision: Precision) -> dict[str, Any]:
    return {
        "what": what,
        "items": _items_digest(items),
        "preprocess": backbone.preprocess.spec,
        "backbone": backbone.identity,
        "pooling": backbone.pooling,
        "blocks": list(backbone.blocks),
        "precision": precision,
        "device": _device(backbone).type,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


def _items_digest(items: Items) -> str:
    return digest_json(list(items.digests))


def _pass(
    backbone: Backbone,
    prepared: ItemArrays,
    rows_of: Callable[[Mapping[str, torch.Tensor]], Sequence[np.ndarray[Any, Any]]],
    precision: Precision,
) -> Iterator[list[np.ndarray[Any, Any]]]:
    """Run all items through the backbone and yield the results in item order, window by window."""
    lengths = prepared.lengths()
    device = _device(backbone)
    backbone.module.eval()
    for start in range(0, len(lengths), _WINDOW):
        window = np.arange(start, min(start + _WINDOW, len(lengths)))
        window = window[np.argsort(-lengths[window], kind="stable")]
        found: dict[int, np.ndarray[Any, Any]] = {}
        for first in range(0, len(window), _FORWARD_BATCH):
            rows = window[first : first + _FORWARD_BATCH]
            batch = backbone.preprocess.collate(prepared.gather(rows))
            with torch.inference_mode(), autocast(precision, device.type):
                results = rows_of({name: tensor.to(device) for name, tensor in batch.items()})
            found |= {int(row): value for row, value in zip(rows, results, strict=True)}
        yield [found[row] for row in sorted(found)]


def _device(backbone: Backbone) -> torch.device:
    return next(backbone.module.parameters()).device
