"""What a run will cost, from measured passes and steps."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.backbones.placing import placed
from regraft.backbones.precision import autocast
from regraft.engine.run import predictor_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from regraft.search.bench import Bench

_SAMPLE_ITEMS = 16
_PASSES = 6
_SOLVE_SECONDS_PER_ITEM = 5e-4  # path of 20 strengths on a few hundred features

_LEAST_TRAINED = 2.0
"""Training is never said to be cheaper than so many solved heads: what is measured of so little is
chance, and must not choose between a control that is solved and one that trains."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """What an arm's runs cost, from a few measured steps.

    Attributes:
        feature_pass: Seconds of the one pass that computes everybody's features.
        start_seconds: Of a run before its first step.
        epoch_seconds: Of one pass over the training items and the evaluation after it.
        peak_memory_bytes: Most memory of a run that has the process for itself.
        n_train: Items that train.
        n_folds: Folds of cross-validation, 1 for a hold-out, 0 without validation.
        n_blocks: Blocks of the backbone.
        preflight_seconds: Of the pre-flight that the first of the arm's runs makes.
        waiting_bytes: What a run holds while others are on.
        checkpoint_bytes: What a checkpoint holds.
    """

    feature_pass: float
    start_seconds: float
    epoch_seconds: float
    peak_memory_bytes: int
    n_train: int
    n_folds: int
    n_blocks: int
    preflight_seconds: float = 0.0
    waiting_bytes: int = 0
    checkpoint_bytes: int = 0

    @property
    def fits(self) -> int:
        """How many fits a run has: one per fold and one on all rows."""
        return self.n_folds + 1 if self.n_folds > 1 else 1

    def step(self, protocol: Mapping[str, Any]) -> float:
        """Seconds of a training step, its part of the evaluations included."""
        steps = math.ceil(self.n_train / int(protocol["fit"]["batch_size"]))
        return self.epoch_seconds / max(steps, 1)

    def run(self, protocol: Mapping[str, Any]) -> float:
        """Seconds of a whole run without the shared feature pass."""
        solved = 0.1 + _SOLVE_SECONDS_PER_ITEM * self.n_train
        if predictor_kind(protocol) is not None:
            return solved
        epochs = self.fits * int(protocol["fit"]["epochs"])
        return max(self.start_seconds + epochs * self.epoch_seconds, _LEAST_TRAINED * solved)


def measure_forward(bench: Bench) -> float:
    """Return the seconds per item of a forward pass over items of a middling length, batched.

    The fastest of several passes, as other work on the machine only slows them.
    """
    backbone, prepared, device = bench.backbone, bench.prepared, bench.device
    order = np.argsort(prepared.lengths(), kind="stable")
    first = max(0, (len(order) - _SAMPLE_ITEMS) // 2)
    rows = order[first : first + _SAMPLE_ITEMS]

    def run() -> None:
        batch = backbone.preprocess.collate(prepared.gather(rows))
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        backbone.features(batch).float().cpu()

    with placed(backbone, device), torch.no_grad(), autocast(bench.precision, device):
        return _fastest(run) / len(rows)


def _fastest(run: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of several passes; the first only warms up."""
    seconds = []
    for _ in range(_PASSES):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
