"""What a fit minimises: its loss at a batch, and the gradient of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np
import torch

from regraft.config.registry import kind_spec, load
from regraft.engine.batches import parts_of
from regraft.engine.compiling import compiled
from regraft.engine.device import training_pass
from regraft.errors import RegraftError
from regraft.objectives.supervised import cross_entropy

if TYPE_CHECKING:
    from regraft.engine.adapted import Adapted
    from regraft.engine.batches import Batch
    from regraft.engine.job import Job, Stage

_ONE_ITEM = "more than 1 value per channel"  # torch's batch normalisation, of one item


@final
class Objective:
    """The loss of a stage: cross-entropy with the protocol's weights and smoothing."""

    def __init__(self, job: Job, stage: Stage, model: Adapted) -> None:
        self._job = job
        self._smoothing = float(job.protocol["fit"]["label_smoothing"])
        self._weights = _loss_weights(job, stage)
        self._pass = compiled(model) if job.compiled else model.logits

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar, of logits (B, C) for labels (B,)."""
        return cross_entropy(
            logits, labels, class_weights=self._weights, label_smoothing=self._smoothing
        )

    def accumulate(self, batch: Batch, size: int) -> list[torch.Tensor]:
        """Add up the gradient of the mean loss over a batch, `size` items at a time.

        Returns:
            What each part adds to the loss.
        """
        losses = []
        weight_sum = self._weight_sum(batch.labels)
        for part in parts_of(batch, size):
            share = self._weight_sum(part.labels) / weight_sum
            loss = self.loss(self._logits(part), part.labels) * share
            loss.backward()
            losses.append(loss.detach())
        return losses

    def _logits(self, part: Batch) -> torch.Tensor:
        try:
            with training_pass(self._job.precision, self._job.device, part.inputs):
                logits = self._pass(part.inputs, part.hidden, part.depth)
        except ValueError as error:
            if _ONE_ITEM not in str(error):
                raise
            raise RegraftError(
                "batch normalisation cannot learn from a single item. Raise fit.batch_size, or "
                "give the run more memory.",
                where=f"a batch of {len(part.labels)}",
            ) from error
        return logits.float()

    def _weight_sum(self, labels: torch.Tensor) -> float:
        return float(len(labels)) if self._weights is None else float(self._weights[labels].sum())


def _loss_weights(job: Job, stage: Stage) -> torch.Tensor | None:
    """Return the loss weight of each class: the user's times the protocol's; None if all are 1."""
    rebalance = job.protocol["data"]["rebalance"]
    counts = np.bincount(job.data.labels[stage.train], minlength=job.data.n_classes)
    spec = kind_spec("rebalance", rebalance, where="data.rebalance")
    weights = load("rebalance", rebalance["kind"]).weights(spec, counts)
    if job.data.class_weights is not None:
        weights = weights * job.data.class_weights
    if np.all(weights == 1.0):
        return None
    return torch.as_tensor(weights, dtype=torch.float32, device=job.device)
