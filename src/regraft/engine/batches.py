"""Batches of a fit: which items, in which order, from the inputs or from the stored prefix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.config.registry import kind_spec, load
from regraft.seeds import derive, numpy_generator

if TYPE_CHECKING:
    from regraft.engine.job import Job


_POOLED_BATCHES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs and labels of some items; `hidden` is what block `depth` receives, if it was kept."""

    inputs: dict[str, torch.Tensor]
    hidden: torch.Tensor | None
    depth: int
    labels: torch.Tensor  # (B,)


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


class Loader:
    """Makes batches of a job's items, from the prefix kept at a depth where there is one."""

    def __init__(self, job: Job) -> None:
        self._job = job
        augment = job.protocol["data"]["augment"]
        self._augments = augment["kind"] != "none" and job.data.kind == "image"
        self._augment_spec = kind_spec("augment", augment, where="data.augment")
        self._augment = load("augment", augment["kind"]).augment

    def lengths(self) -> np.ndarray[Any, Any] | None:
        """Return the length of each item of the run, shape (n,); None where all are alike."""
        lengths: np.ndarray[Any, Any] = self._job.data.prepared.lengths()[self._job.data.rows]
        return lengths if len(lengths) and lengths.min() < lengths.max() else None

    def kept_depth(self, lowest_open: int) -> int:
        """Return the depth from which training can read a kept prefix; 0 when there is none."""
        job = self._job
        frozen_below = 0 < lowest_open < job.backbone.n_blocks
        usable = (
            frozen_below
            and job.backbone.can_cut
            and job.protocol["backbone"] == "pretrained"
            and not self._augments
        )
        return lowest_open if usable and job.data.prefix(lowest_open) is not None else 0

    def training(
        self, rows: np.ndarray[Any, Any], *, depth: int, draw: tuple[str, int, int]
    ) -> Batch:
        """Return a training batch; `draw` (stage, epoch, batch) seeds its augmentation."""
        if not self._augments:
            return self.plain(rows, depth=depth)
        job = self._job
        prepared = job.data.prepared.gather(job.data.rows[rows])
        images = torch.from_numpy(np.stack(prepared))  # (B, C, H, W) uint8
        generator = torch.Generator().manual_seed(derive(job.seed, "augment", *draw))
        inputs = job.backbone.preprocess.normalise(
            self._augment(self._augment_spec, images, generator)
        )
        return self._batch(inputs, None, 0, rows)

    def plain(self, rows: np.ndarray[Any, Any], *, depth: int) -> Batch:
        """Return a batch without augmentation."""
        job = self._job
        inputs = job.backbone.preprocess.collate(job.data.prepared.gather(job.data.rows[rows]))
        store = job.data.prefix(depth) if depth else None
        if store is None:
            return self._batch(inputs, None, 0, rows)
        hidden = job.backbone.join_hidden(store.gather(job.data.rows[rows]))
        return self._batch(inputs, hidden, depth, rows)

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
