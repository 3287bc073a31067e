"""One pass of a backbone over all items: batches of a like length that stay in the caches."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from regraft.backbones.precision import autocast, lowered_weights, with_weights
from regraft.features.ahead import ahead

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.backbones.precision import Precision, Weights
    from regraft.features.store import ItemArrays

Arrays = list[np.ndarray[Any, Any]]

_ACTIVATION_BYTES = {"cpu": 4 << 20}
_ACCELERATOR_BYTES = 512 << 20
"""Bytes of the widest activations of a batch.

A core's own cache holds 1 or 2 MiB and the cores share some 32 MiB: what one layer writes is there
when the next one reads it only if both layers' activations fit, with room for weights and other
processes. Texts of MiniLM are computed equally fast by 256 to 2,048 tokens (1.5 to 12 MiB) and
slower below, where matrix products get too thin, but the larger a batch, the more of it is padding.
Images of 227 × 227 pixels took 1.6 times as long in batches of 32 as in batches of up to 4. An
accelerator has no such cache; it wants batches that fill it.
"""
_FEED_FORWARD, _EARLY_MAPS = 4, 8
"""Values of the widest activations: of a token, by the width; of an image, by its own values."""

_WINDOW_TOKENS = 1 << 15
"""Texts of so many tokens are sorted among themselves; memory holds the results of no more."""


@final
@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pass shall leave, by item: what the blocks at `depths` receive; the pooled features.

    A pass yields them in this order, the features last.
    """

    depths: tuple[int, ...] = ()
    pooled: bool = False


def passed(
    backbone: Backbone, prepared: ItemArrays, wanted: Wanted, precision: Precision
) -> Generator[list[Arrays]]:
    """Run all items through the backbone once and yield what is wanted of them, in item order.

    The batches depend on the items and the backbone alone, never on what is wanted: what is kept of
    one pass equals what two passes would keep.

    Yields:
        For some next items, one list per wanted thing, each with a float32 array per item.
    """
    device = next(backbone.module.parameters()).device
    backbone.module.eval()
    is_text = backbone.preprocess.kind == "text"
    lengths = prepared.lengths()
    weights = lowered(backbone, device.type) if precision == "bf16" and len(lengths) else []
    for window in _windows(lengths) if is_text else [np.arange(len(lengths))]:
        batches = cached_batches(backbone, window, lengths, device.type)
        read = ((rows, prepared.gather(rows)) for rows in batches)
        found: dict[int, Sequence[np.ndarray[Any, Any]]] = {}
        first = int(window.min()) if len(window) else 0
        with closing(read if is_text else ahead(read)) as loaded:  # token ids are small
            for rows, arrays in loaded:
                batch = backbone.preprocess.collate(arrays)
                batch = {name: tensor.to(device) for name, tensor in batch.items()}
                with (
                    torch.inference_mode(),
                    autocast(precision, device.type),
                    with_weights(weights),
                ):
                    results = _results(backbone, batch, wanted)
                found |= zip(rows.tolist(), zip(*results, strict=True), strict=True)
                ready = []
                while first in found:
                    ready.append(found.pop(first))
                    first += 1
                if ready:
                    yield [list(one) for one in zip(*ready, strict=True)]


def _results(backbone: Backbone, batch: dict[str, torch.Tensor], wanted: Wanted) -> list[Arrays]:
    hidden, features = backbone.seen(batch, depths=wanted.depths, pooled=wanted.pooled)
    results = [backbone.split_hidden(one, batch) for one in hidden]
    if features is not None:
        results.append(list(features.float().cpu().numpy()))
    return results


def lowered(backbone: Backbone, device: str) -> Weights:
    """Return the weights in bf16, or none where these are seen to change a number.

    A module may look at the type of its weights and then compute in it what autocast would not.
    """
    weights, batch = lowered_weights(backbone.module), backbone.probe_batch()
    with torch.inference_mode(), autocast("bf16", device):
        plain = backbone.features(batch)
        with with_weights(weights):
            return weights if torch.equal(backbone.features(batch), plain) else []


def _windows(lengths: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Return rows that follow each other, a window's tokens at a time."""
    number = (np.cumsum(lengths) - lengths) // _WINDOW_TOKENS
    yield from np.split(np.arange(len(lengths)), np.flatnonzero(np.diff(number)) + 1)


def cached_batches(
    backbone: Backbone, rows: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any], device: str
) -> Iterator[np.ndarray[Any, Any]]:
    """Cut rows into batches of a like length whose activations stay in the caches, longest first.

    Args:
        backbone: What they go through.
        rows: Rows of `lengths`, in any order.
        lengths: How long each item is, as its prepared inputs say.
        device: As torch names it.
    """
    if backbone.preprocess.kind == "text":
        rows = rows[np.argsort(-lengths[rows], kind="stable")]
    most = _ACTIVATION_BYTES.get(device.partition(":")[0], _ACCELERATOR_BYTES) // 4
    return _batches(rows, _activations(backbone, lengths), most)


def _activations(backbone: Backbone, lengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return about how many values the widest activations of each item hold."""
    of_width = _FEED_FORWARD * backbone.width
    if backbone.preprocess.kind == "text":
        return np.asarray(lengths * of_width)
    return np.asarray(np.maximum(lengths * _EARLY_MAPS, of_width))


def _batches(
    rows: np.ndarray[Any, Any], sizes: np.ndarray[Any, Any], most: int
) -> Iterator[np.ndarray[Any, Any]]:
    """Cut rows, largest first, into batches that hold at most so much, padding included.

    A batch that is half full ends where the items get smaller: without padding there is no mask to
    be made or added, and each item is computed as if it were alone.
    """
    start = 0
    while start < len(rows):
        largest = max(1, int(sizes[rows[start]]))
        stop = min(start + max(1, most // largest), len(rows))
        half = start + max(1, most // (2 * largest))
        if half < stop:
            smaller = np.flatnonzero(np.diff(sizes[rows[half - 1 : stop]]))
            stop = half + int(smaller[0]) if len(smaller) else stop
        yield rows[start:stop]
        start = stop
