"""A backbone with a task's items: what is computed once and read by every run."""

from __future__ import annotations

import logging
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from regraft.backbones.placing import placed
from regraft.engine.job import RunData
from regraft.errors import LedgerError
from regraft.features.store import ArrayStore
from regraft.features.table import (
    features_and_prefixes,
    has_features,
    prefix_activations,
    prepare_inputs,
    source_probabilities,
)
from regraft.features.views import View, ViewInputs
from regraft.tasks.items import Decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.backbones.precision import Precision
    from regraft.features.store import Cache
    from regraft.ledger.ledger import Ledger
    from regraft.tasks.items import Items
    from regraft.tasks.task import Task

logger = logging.getLogger(__name__)

_SHARE_OF_CACHE = 0.25
"""Largest part of the cache's budget that the prefix of one depth may take, or the prefixes of all
views of a protocol; above it a run computes its prefix at each step.

What is kept of the pass for the features is no more than this for all depths together. A quarter
leaves room for inputs, features and other depths: a prefix that drives these out costs their pass.
"""

_LIMIT = "prefix_bytes"

_Found = ArrayStore | str | None
"""A prefix that is open, why it cannot be written, or None where it is too large."""


@final
class Bench:
    """The stores of one (items, backbone): prepared inputs, pooled features, prefixes by depth.

    Features and prefixes are computed in the precision given, on the device given.
    """

    def __init__(
        self,
        items: Items,
        backbone: Backbone,
        cache: Cache,
        *,
        precision: Precision = "fp32",
        device: str = "cpu",
        most_bytes: float | None = None,
    ) -> None:
        """Take items and a backbone.

        Args:
            items: The items.
            backbone: The pretrained backbone.
            cache: Keeps what is computed.
            precision: Of features and prefixes.
            device: Where they are computed, as torch names it.
            most_bytes: Of the prefixes that are kept together; None is a quarter of the cache.
        """
        self.items = items
        self.backbone = backbone
        self._cache = cache
        self.precision: Precision = precision
        self.device = device
        self._given = most_bytes
        self._prefixes: dict[int, _Found] = {}
        self._view_prefixes: dict[tuple[int, View, bytes], _Found] = {}
        self._expected: list[int] = []

    def at(self, precision: Precision) -> Bench:
        """Return the same bench in a precision."""
        return Bench(
            self.items,
            self.backbone,
            self._cache,
            precision=precision,
            device=self.device,
            most_bytes=self._given,
        )

    @cached_property
    def prepared(self) -> ArrayStore:
        """The inputs after the backbone's own preprocessing."""
        return prepare_inputs(self._cache, self.backbone.preprocess, self.items)

    @cached_property
    def features(self) -> np.ndarray[Any, Any]:
        """The pooled features of the pretrained backbone, shape (n, width).

        Where a pass is needed for them, it keeps the prefixes that are expected to be asked for.
        """
        has = has_features(
            self._cache,
            self.backbone,
            items=self.items,
            precision=self.precision,
            device=self.device,
        )
        depths = [] if has else self._affordable()
        try:
            return self._pass(depths)
        except LedgerError as error:
            if not depths:
                raise
            # Features are small: they may fit where the prefixes do not.
            logger.warning("prefixes are computed at each step: %s", error)
            self._prefixes |= dict.fromkeys(depths, str(error))
            return self._pass([])

    @cached_property
    def source(self) -> np.ndarray[Any, Any] | None:
        """What the source's classifier says of the items, (n, Z); None where it brings none."""
        return source_probabilities(self._cache, self.backbone, self.prepared, items=self.items)

    def expect(self, depths: Iterable[int]) -> None:
        """Note depths whose prefixes will be asked for, beside those noted before."""
        self._expected += [depth for depth in depths if depth not in self._expected]

    def prefix(self, depth: int) -> ArrayStore | None:
        """Return the hidden states that block `depth` receives, or None if they are too large.

        At depth n_blocks these are the pooled features, which are kept however large they are.

        Raises:
            LedgerError: They cannot be written; it is not tried again.
        """
        if depth not in self._prefixes:
            self._prefixes[depth] = _tried(lambda: self._keep_prefix(depth), depth)
        return _opened(self._prefixes[depth])

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
            view_prefix=partial(self._view_prefix, rows),
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

    def _view_prefix(self, rows: np.ndarray[Any, Any], depth: int, view: View) -> ArrayStore | None:
        """Return the prefix of some items as a view shows them, in the order of `rows`.

        None where those of all views are too large together.

        Raises:
            LedgerError: They cannot be written; it is not tried again.
        """
        key = (depth, view, rows.tobytes())
        if key not in self._view_prefixes:
            self._view_prefixes[key] = _tried(lambda: self._keep_view(rows, depth, view), depth)
        return _opened(self._view_prefixes[key])

    @property
    def _most_bytes(self) -> float:
        """Bytes of what is kept together."""
        return _SHARE_OF_CACHE * self._cache.most_bytes if self._given is None else self._given

    def _keep_prefix(self, depth: int) -> ArrayStore | None:
        if depth == self.backbone.n_blocks:
            _ = self.features  # the pass for them keeps what else is expected
            return _opened(self._prefixes[depth])
        if self._prefix_bytes([depth])[0] > self._most_bytes:
            return None
        with placed(self.backbone, self.device):
            return prefix_activations(
                self._cache,
                self.backbone,
                self.prepared,
                items=self.items,
                depth=depth,
                precision=self.precision,
            )

    def _keep_view(self, rows: np.ndarray[Any, Any], depth: int, view: View) -> ArrayStore | None:
        share = len(rows) / len(self.items)
        if self._prefix_bytes([depth])[0] * share * view.of > self._most_bytes:
            return None
        with placed(self.backbone, self.device):
            return prefix_activations(
                self._cache,
                self.backbone,
                ViewInputs(self.prepared, view, rows=rows),
                items=self.items.subset(rows),
                depth=depth,
                precision=self.precision,
                view=view,
            )

    def _pass(self, depths: Sequence[int]) -> np.ndarray[Any, Any]:
        """Return the features; keep the prefixes at some depths on the way."""
        with placed(self.backbone, self.device):
            features, prefixes = features_and_prefixes(
                self._cache,
                self.backbone,
                self.prepared,
                items=self.items,
                depths=depths,
                precision=self.precision,
            )
        self._prefixes |= prefixes
        return features

    def _affordable(self) -> list[int]:
        """Return the expected depths, as many as may be kept together and are not kept yet."""
        depths = [depth for depth in self._expected if depth not in self._prefixes]
        if not depths or not len(self.items):
            return []
        total = np.cumsum(self._prefix_bytes(depths))
        return depths[: int((total <= self._most_bytes).sum())]

    def _prefix_bytes(self, depths: Sequence[int]) -> list[int]:
        """Return the size of each whole prefix, judged by the longest item."""
        longest = int(np.argmax(self.prepared.lengths()))
        batch = self.backbone.preprocess.collate(self.prepared.gather(np.array([longest])))
        with torch.no_grad():
            if list(depths) == [self.backbone.n_blocks]:
                hidden = [self.backbone.features(batch)]
            else:
                hidden, _ = self.backbone.seen(batch, depths=depths, pooled=False)
        return [one.numel() * one.element_size() * len(self.items) for one in hidden]


def prefix_limit(ledger: Ledger, study: str, cache: Cache) -> float:
    """Return the bytes of prefixes that a study keeps together, as its first sitting decided.

    Kept or computed, the last bits may differ, and another sitting may give the cache another
    budget or find less room on the disk.
    """

    def decide() -> dict[str, Any]:
        reason = f"a quarter of what the cache may take, {cache.most_bytes / 1e9:.3g} GB"
        return {"most_bytes": _SHARE_OF_CACHE * cache.most_bytes, "reason": reason}

    return float(ledger.decisions.decide(study, _LIMIT, decide)["most_bytes"])


def recorded_prefix_limit(ledger: Ledger, study: str) -> float | None:
    """Return what a study decided on, if it did."""
    decided = (one.value for one in ledger.decisions.all(study) if one.key == _LIMIT)
    return next((float(value["most_bytes"]) for value in decided), None)


def _tried(keep: Callable[[], ArrayStore | None], depth: int) -> _Found:
    """Keep a prefix, or say once why it cannot be: a full disk is not filled again every epoch."""
    try:
        return keep()
    except LedgerError as error:
        logger.warning("the prefix at depth %d is computed at each step: %s", depth, error)
        return str(error)


def _opened(found: _Found) -> ArrayStore | None:
    if isinstance(found, str):
        raise LedgerError(found)
    return found
