"""A backbone with a task's items: what is computed once and read by every run."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from regraft.engine.job import RunData
from regraft.features.table import (
    features_and_prefixes,
    has_features,
    prefix_activations,
    prepare_inputs,
)
from regraft.tasks.items import Decoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.backbones.precision import Precision
    from regraft.features.store import ArrayStore, Cache
    from regraft.tasks.items import Items
    from regraft.tasks.task import Task

PREFIX_BYTES = 2 << 30
"""Largest prefix kept on disk for one depth; above it a run computes its prefix at each step.

What is kept of the pass for the features is no more than this for all depths together.
"""


@final
class Bench:
    """The stores of one (items, backbone): prepared inputs, pooled features, prefixes by depth.

    Features and prefixes are computed in the precision given.
    """

    def __init__(
        self, items: Items, backbone: Backbone, cache: Cache, *, precision: Precision = "fp32"
    ) -> None:
        self.items = items
        self.backbone = backbone
        self._cache = cache
        self._precision: Precision = precision
        self._prefixes: dict[int, ArrayStore | None] = {}
        self._expected: list[int] = []

    def at(self, precision: Precision) -> Bench:
        """Return the same bench in a precision."""
        return Bench(self.items, self.backbone, self._cache, precision=precision)

    @cached_property
    def prepared(self) -> ArrayStore:
        """The inputs after the backbone's own preprocessing."""
        return prepare_inputs(self._cache, self.backbone.preprocess, self.items)

    @cached_property
    def features(self) -> np.ndarray[Any, Any]:
        """The pooled features of the pretrained backbone, shape (n, width).

        Where a pass is needed for them, it keeps the prefixes that are expected to be asked for.
        """
        has = has_features(self._cache, self.backbone, items=self.items, precision=self._precision)
        features, prefixes = features_and_prefixes(
            self._cache,
            self.backbone,
            self.prepared,
            items=self.items,
            depths=() if has else self._affordable(),
            precision=self._precision,
        )
        self._prefixes |= prefixes
        return features

    def expect(self, depths: Iterable[int]) -> None:
        """Note depths whose prefixes will be asked for, beside those noted before."""
        self._expected += [depth for depth in depths if depth not in self._expected]

    def prefix(self, depth: int) -> ArrayStore | None:
        """Return the hidden states that block `depth` receives, or None if they are too large."""
        if depth not in self._prefixes:
            self._prefixes[depth] = self._keep_prefix(depth)
        return self._prefixes[depth]

    def run_data(self, task: Task) -> RunData:
        """Return the data of a run on the items of `task`, a subset of this bench's items."""
        place = {item: row for row, item in enumerate(self.items.ids)}
        rows = np.array([place[item] for item in task.development.ids], np.int64)
        weights = task.class_weights
        return RunData(
            kind=task.kind,
            labels=task.development.labels,
            n_classes=len(task.classes),
            folds=task.folds,
            rows=rows,
            prepared=self.prepared,
            raw=lambda chosen: Decoded(task.development, chosen),
            features=lambda: self.features,
            prefix=self.prefix,
            metric=task.metric,
            class_weights=weights,
            costs=task.costs,
        )

    def plain_data(self, n_classes: int, metric: str) -> RunData:
        """Return all items without labels or folds, for prediction."""
        n = len(self.items)
        return RunData(
            kind=self.items.kind,
            labels=np.zeros(n, np.int64),
            n_classes=n_classes,
            folds=(),
            rows=np.arange(n),
            prepared=self.prepared,
            raw=lambda chosen: Decoded(self.items, chosen),
            features=lambda: self.features,
            prefix=lambda _: None,
            metric=metric,
        )

    def _keep_prefix(self, depth: int) -> ArrayStore | None:
        if self._prefix_bytes([depth])[0] > PREFIX_BYTES:
            return None
        return prefix_activations(
            self._cache,
            self.backbone,
            self.prepared,
            items=self.items,
            depth=depth,
            precision=self._precision,
        )

    def _affordable(self) -> list[int]:
        """Return the expected depths, as many as may be kept together and are not kept yet."""
        depths = [depth for depth in self._expected if depth not in self._prefixes]
        if not depths or not len(self.items):
            return []
        total = np.cumsum(self._prefix_bytes(depths))
        return depths[: int((total <= PREFIX_BYTES).sum())]

    def _prefix_bytes(self, depths: Sequence[int]) -> list[int]:
        """Return the size of each whole prefix, judged by the longest item."""
        longest = int(np.argmax(self.prepared.lengths()))
        batch = self.backbone.preprocess.collate(self.prepared.gather(np.array([longest])))
        with torch.no_grad():
            hidden, _ = self.backbone.seen(batch, depths=depths, pooled=False)
        return [one.numel() * one.element_size() * len(self.items) for one in hidden]
