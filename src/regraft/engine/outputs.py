"""Logits and pooled features of an adapted model over many items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.backbones.precision import autocast, with_weights
from regraft.features.passes import cached_batches, lowered
from regraft.seeds import numpy_generator

if TYPE_CHECKING:
    from regraft.engine.adapted import Adapted
    from regraft.engine.batches import Loader
    from regraft.engine.job import Job

_LOOK_ITEMS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What a model says of items: logits (n, C) and pooled features (n, width), float32.

    `depth` is the block whose kept input was read; 0: all was computed.
    """

    logits: np.ndarray[Any, Any]
    features: np.ndarray[Any, Any]
    depth: int


def outputs(
    job: Job, model: Adapted, loader: Loader, rows: np.ndarray[Any, Any], *, depth: int
) -> Outputs:
    """Return the outputs for `rows`, in evaluation mode.

    Batches are made of items of similar size and depend on the items and the backbone alone.
    """
    model.evaluate()
    lengths = job.data.prepared.lengths()[job.data.rows[rows]]
    is_computed = not depth or depth < model.backbone.n_blocks
    is_lowered = is_computed and _is_worth_lowering(job, len(rows))
    weights = lowered(model.backbone, job.device) if is_lowered else []
    logits = np.empty((len(rows), job.data.n_classes), np.float32)
    features = np.empty((len(rows), model.backbone.width), np.float32)
    with torch.no_grad():
        for chosen in cached_batches(model.backbone, np.arange(len(rows)), lengths, job.device):
            batch = loader.plain(rows[chosen], depth=depth)
            with autocast(job.precision, job.device), with_weights(weights):
                pooled = model.features(batch.inputs, batch.hidden, batch.depth)
                scores = model.head(pooled)
            logits[chosen] = scores.float().cpu().numpy()
            features[chosen] = pooled.float().cpu().numpy()
    return Outputs(logits, features, depth)


def _is_worth_lowering(job: Job, n: int) -> bool:
    return job.precision == "bf16" and n >= _LOOK_ITEMS


def looked_at(rows: np.ndarray[Any, Any], examples_seen: int) -> np.ndarray[Any, Any]:
    """Return as many of the validation rows as items were trained on, 256 at least.

    A look in passing then costs a fraction of the steps before it; all candidates of a study that
    have seen as much are looked at on the same rows.
    """
    n = min(len(rows), max(_LOOK_ITEMS, examples_seen))
    return rows[np.sort(numpy_generator(0, "look").permutation(len(rows))[:n])]
