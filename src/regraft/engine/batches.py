"""Batches of a fit: which items, in which order, from the inputs or from the stored prefix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.config.registry import kind_spec, load
from regraft.errors import LedgerError
from regraft.features.views import View, ViewInputs
from regraft.seeds import derive, numpy_generator

if TYPE_CHECKING:
    from regraft.engine.job import Job
    from regraft.features.store import ItemArrays


_POOLED_BATCHES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs and labels of some items; `hidden` is what block `depth` receives, if it was kept.

    At depth n_blocks these are the pooled features, and there are no inputs: nothing reads them.
    """

    inputs: dict[str, torch.Tensor]
    hidden: torch.Tensor | None
    depth: int
    labels: torch.Tensor  # (B,)


@dataclass(frozen=True, slots=True)
class Source:
    """Where an epoch's batches come from.

    Attributes:
        depth: Block whose kept input they hold, n_blocks where they hold the pooled features; 0
            where the whole backbone computes.
        reason: Why nothing kept is read; empty where it is.
        failed: Whether what should have been kept could not be written.
    """

    depth: int
    reason: str = ""
    failed: bool = False


def epoch_batches(
    rows: np.ndarray[Any, Any],
    *,
    size: int,
    seed: int,
    draw: tuple[str, int],
    lengths: np.ndarray[Any, Any] | None = None,
) -> list[np.ndarray[Any, Any]]:
    """Return the rows of each batch of one epoch, shuffled by the seed and `draw` alone.

    With lengths, items of a similar length share a batch: each pool of 16 batches' items, drawn at
    random, is sorted, so that little is padded, and the batches are shuffled again. A last batch of
    a single item joins the one before: one item has no batch statistics.

    Args:
        rows: The training rows.
        size: Items of a batch.
        seed: The run's seed.
        draw: The stage's name and the epoch.
        lengths: Length of every item of the run, by row; None where all are alike.
    """
    generator = numpy_generator(seed, "order", *draw)
    order = generator.permutation(rows)
    if lengths is not None:
        pool = _POOLED_BATCHES * size
        pools = [order[i : i + pool] for i in range(0, len(order), pool)]
        order = np.concatenate([one[np.argsort(lengths[one], kind="stable")] for one in pools])
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = np.concatenate([batches[-1], last])
    if lengths is not None:
        batches = [batches[i] for i in generator.permutation(len(batches))]
    return batches


def parts_of(batch: Batch, size: int) -> list[Batch]:
    """Return the batch in parts of at most `size` items, as equal as can be."""
    n = len(batch.labels)
    if size >= n:
        return [batch]
    n_parts = math.ceil(n / size)
    ends = [n * i // n_parts for i in range(n_parts + 1)]
    return [
        Batch(
            {name: tensor[i:j] for name, tensor in batch.inputs.items()},
            None if batch.hidden is None else batch.hidden[i:j],
            batch.depth,
            batch.labels[i:j],
        )
        for i, j in pairwise(ends)
    ]


def n_views(job: Job) -> int:
    """Return how many augmented views of each item a run trains on; 0 where none are kept."""
    return int(job.protocol["data"].get("views", 0)) if job.data.kind == "image" else 0


class Loader:
    """Makes batches of a job's items, from the prefix kept at a depth where there is one."""

    def __init__(self, job: Job) -> None:
        self._job = job
        augment = job.protocol["data"]["augment"]
        self._augments = augment["kind"] != "none" and job.data.kind == "image"
        self._n_views = n_views(job)
        self._augment_spec = kind_spec("augment", augment, where="data.augment")
        self._augment = load("augment", augment["kind"]).augment

    def lengths(self) -> np.ndarray[Any, Any] | None:
        """Return the length of each item of the run, shape (n,); None where all are alike."""
        lengths: np.ndarray[Any, Any] = self._job.data.prepared.lengths()[self._job.data.rows]
        return lengths if len(lengths) and lengths.min() < lengths.max() else None

    def source(self, lowest_open: int, *, epoch: int | None) -> Source:
        """Return where batches come from while `lowest_open` is the lowest block that trains.

        What is kept is written here, if it was not before. Without an epoch nothing trains: the
        items are read as they are.
        """
        if reason := self.computes(lowest_open, epoch=epoch):
            return Source(0, reason)
        data = self._job.data
        try:
            is_kept = data.prefix(lowest_open) is not None
            if is_kept and self._n_views and epoch is not None:
                is_kept = data.view_prefix(lowest_open, self._view(epoch)) is not None
        except LedgerError as error:
            return Source(0, str(error), failed=True)
        return Source(lowest_open) if is_kept else Source(0, "what it would keep is too large")

    def computes(self, lowest_open: int, *, epoch: int | None) -> str:
        """Return why nothing kept can be read; empty where it can."""
        backbone = self._job.backbone
        if self._job.protocol["backbone"] != "pretrained":
            return "the backbone starts from random weights"
        if lowest_open <= 0:
            return "the lowest block trains" if backbone.n_blocks else "there are no blocks"
        if not backbone.can_cut and lowest_open < backbone.n_blocks:
            return "the backbone cannot be cut"
        if self._augments and not self._n_views and epoch is not None:
            return "augmented afresh each epoch"
        return ""

    def _view(self, epoch: int) -> View:
        """Return the view that an epoch trains on: each in its turn."""
        augment = self._job.protocol["data"]["augment"]
        return View(augment, epoch % self._n_views, self._n_views)

    def training(
        self, rows: np.ndarray[Any, Any], *, depth: int, draw: tuple[str, int, int]
    ) -> Batch:
        """Return a training batch; `draw` (stage, epoch, batch) seeds its augmentation."""
        if not self._augments:
            return self.plain(rows, depth=depth)
        if self._n_views:
            return self._viewed(rows, depth=depth, view=self._view(draw[1]))
        job = self._job
        prepared = job.data.prepared.gather(job.data.rows[rows])
        images = torch.from_numpy(np.stack(prepared))  # (B, C, H, W) uint8
        generator = torch.Generator().manual_seed(derive(job.seed, "augment", *draw))
        inputs = job.backbone.preprocess.normalise(
            self._augment(self._augment_spec, images, generator)
        )
        return self._batch(inputs, None, 0, rows)

    def _viewed(self, rows: np.ndarray[Any, Any], *, depth: int, view: View) -> Batch:
        """Return a batch as a view shows it."""
        data = self._job.data
        shown = ViewInputs(data.prepared, view, rows=data.rows)
        store = data.view_prefix(depth, view) if depth else None
        return self._read(shown, store, rows, depth=depth, rows=rows)

    def plain(self, rows: np.ndarray[Any, Any], *, depth: int) -> Batch:
        """Return a batch without augmentation."""
        data = self._job.data
        store = data.prefix(depth) if depth else None
        return self._read(data.prepared, store, data.rows[rows], depth=depth, rows=rows)

    def _read(
        self,
        prepared: ItemArrays,
        store: ItemArrays | None,
        places: np.ndarray[Any, Any],
        *,
        depth: int,
        rows: np.ndarray[Any, Any],
    ) -> Batch:
        """Return a batch of what is kept; inputs too, as a stem that runs may read them."""
        backbone = self._job.backbone
        hidden = None if store is None else backbone.join_hidden(store.gather(places))
        if hidden is not None and depth == backbone.n_blocks:
            return self._batch({}, hidden, depth, rows)
        inputs = backbone.preprocess.collate(prepared.gather(places))
        return self._batch(inputs, hidden, 0 if hidden is None else depth, rows)

    def _batch(
        self,
        inputs: dict[str, torch.Tensor],
        hidden: torch.Tensor | None,
        depth: int,
        rows: np.ndarray[Any, Any],
    ) -> Batch:
        device = self._job.device
        return Batch(
            {name: tensor.to(device) for name, tensor in inputs.items()},
            None if hidden is None else hidden.to(device),
            depth,
            torch.from_numpy(self._job.data.labels[rows]).to(device),
        )
