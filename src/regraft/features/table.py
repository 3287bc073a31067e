"""One pass per (items, backbone): prepared inputs, pooled features, prefixes by depth."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.errors import BackboneError
from regraft.features.ahead import ahead
from regraft.features.passes import Wanted, passed
from regraft.hashing import digest_json
from regraft.tasks.images import quiet_pillow

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.backbones.precision import Precision
    from regraft.backbones.preprocess import Preprocess
    from regraft.features.passes import Arrays
    from regraft.features.store import ArrayStore, Cache, ItemArrays
    from regraft.features.views import View
    from regraft.tasks.items import Items

_PREPARED_AT_ONCE = 64
_DECODED_AT_ONCE = 16  # photos are large, and four such batches are in memory

Pooled = np.ndarray[Any, Any]
"""Features (n, width), a read-only view of a mapped file; `regraft.features.rows` reads them."""


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

    def decoded() -> Iterator[list[Any]]:
        size = _DECODED_AT_ONCE if items.kind == "image" else _PREPARED_AT_ONCE
        for start in range(0, len(items), size):
            stop = min(start + size, len(items))
            yield [items.read(row) for row in range(start, stop)]

    def produce() -> Iterator[list[np.ndarray[Any, Any]]]:
        if items.kind != "image":
            yield from map(preprocess.prepare, decoded())
            return
        with quiet_pillow(), closing(ahead(decoded())) as batches:  # the thread's filters lie in it
            yield from map(preprocess.prepare, batches)

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

    They are a read-only view of the file that keeps them.

    Batches are made of items of similar length, in an order that depends on the items alone.
    `precision` is that of the pass; what comes out of it is pooled and kept in float32.
    """
    (store,) = _stores(cache, backbone, prepared, Wanted(pooled=True), items, precision)
    return _matrix(store, backbone)


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

    At depth n_blocks these are the pooled features. With a view, what is prepared are the images as
    it shows them.
    """
    wanted = Wanted((depth,)) if depth < backbone.n_blocks else Wanted(pooled=True)
    (store,) = _stores(cache, backbone, prepared, wanted, items, precision, view=view)
    return store


def features_and_prefixes(
    cache: Cache,
    backbone: Backbone,
    prepared: ArrayStore,
    *,
    items: Items,
    depths: Sequence[int],
    precision: Precision = "fp32",
) -> tuple[Pooled, dict[int, ArrayStore]]:
    """Return pooled features and the prefixes at some depths; one pass makes what is missing.

    They equal what `pooled_features` and `prefix_activations` return, to the last bit. Among the
    prefixes are the features, at depth n_blocks.
    """
    wanted = Wanted(tuple(sorted(set(depths))), pooled=True)
    stores = _stores(cache, backbone, prepared, wanted, items, precision)
    prefixes = dict(zip((*wanted.depths, backbone.n_blocks), stores, strict=True))
    return _matrix(stores[-1], backbone), prefixes


def source_probabilities(
    cache: Cache, backbone: Backbone, prepared: ArrayStore, *, items: Items
) -> Pooled | None:
    """Return what the source's classifier says of the items, shape (n, Z), fp32; None without one.

    A pass of its own, kept like the features: few backbones bring a head, and `rank` alone asks.

    Raises:
        BackboneError: What the head gives are no logits by item.
    """
    head = backbone.source_head
    if head is None:
        return None

    def produce() -> Iterator[list[np.ndarray[Any, Any]]]:
        device = _device(backbone)
        for start in range(0, len(items), _DECODED_AT_ONCE):
            rows = np.arange(start, min(start + _DECODED_AT_ONCE, len(items)))
            batch = backbone.preprocess.collate(prepared.gather(rows))
            with torch.inference_mode():
                batch = {name: tensor.to(device) for name, tensor in batch.items()}
                yield list(head.probabilities(batch).cpu().numpy())

    key = _key(backbone, items, "source", "fp32") | {"head": head.digest()}
    store = cache.array_store(key, len(items), produce)
    return np.array(store.matrix(), np.float32)


def has_features(
    cache: Cache,
    backbone: Backbone,
    *,
    items: Items,
    precision: Precision = "fp32",
    device: str = "cpu",
) -> bool:
    """Whether the pooled features of a device are there, so that no pass is needed for them."""
    key = _key(backbone, items, "pooled", precision) | {"device": torch.device(device).type}
    return cache.holds(key, len(items))


def _stores(
    cache: Cache,
    backbone: Backbone,
    prepared: ItemArrays,
    wanted: Wanted,
    items: Items,
    precision: Precision,
    *,
    view: View | None = None,
) -> list[ArrayStore]:
    """Open what is wanted: the prefixes, then the features."""
    names = [f"prefix-{depth}" for depth in wanted.depths] + ["pooled"] * wanted.pooled
    n_depths = len(wanted.depths)

    def produce(missing: Sequence[int]) -> Generator[list[Arrays]]:
        depths = tuple(wanted.depths[place] for place in missing if place < n_depths)
        lacking = Wanted(depths, pooled=n_depths in missing)
        return passed(backbone, prepared, lacking, precision)

    seen_as = {} if view is None else view.key
    keys = [_key(backbone, items, name, precision) | seen_as for name in names]
    return cache.array_stores(keys, len(items), produce)


def _matrix(store: ArrayStore, backbone: Backbone) -> Pooled:
    matrix = store.matrix().reshape(len(store), backbone.width)
    return matrix.view(np.ndarray).astype(np.float32, copy=False)


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


def _device(backbone: Backbone) -> torch.device:
    return next(backbone.module.parameters()).device
