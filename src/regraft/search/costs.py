"""What a run will cost, estimated from one measured forward pass."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.engine.device import autocast
from regraft.engine.run import predictor_kind
from regraft.search.arms import lowest_trained_depth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from regraft.backbones.backbone import Backbone
    from regraft.engine.job import Precision
    from regraft.features.store import ArrayStore

_SAMPLE_ITEMS = 16
_PASSES = 6
_SOLVE_SECONDS_PER_ITEM = 5e-4  # path of 20 strengths on a few hundred features
_WORTH_GAIN = 1.5
_WORTH_SECONDS = 5e-4
"""bf16 is taken where it is faster by this factor and an item's pass takes so long in fp32."""
_ALIKE = 0.995

HEAD_SHARE = 0.02
"""Time of the head alone, as a share of the backbone's pass."""

_BACKWARD = 2.0  # gradient in inputs and in weights, each about one forward pass


@dataclass(frozen=True, slots=True)
class CostModel:
    """Seconds of a run, from the seconds of one forward pass of one item.

    Attributes:
        forward_seconds: Seconds per item of a whole forward pass, batched.
        upper_seconds: Of the part of it that the arm trains.
        n_train: Items that train; n_validation: items evaluated after each epoch.
        n_blocks: Blocks of the backbone; can_cut: whether frozen prefixes are computed once.
    """

    forward_seconds: float
    upper_seconds: float
    n_train: int
    n_validation: int
    n_folds: int
    n_blocks: int
    can_cut: bool

    @property
    def feature_pass(self) -> float:
        """Seconds of the one pass that computes everybody's features."""
        return self.forward_seconds * (self.n_train + self.n_validation)

    def epoch(self, protocol: Mapping[str, Any]) -> float:
        """Seconds of one epoch, evaluation included."""
        lowest = lowest_trained_depth(protocol, self.n_blocks)
        kept = self.can_cut and lowest > 0 and protocol["data"]["augment"]["kind"] == "none"
        forward = self.upper_seconds if kept else self.forward_seconds
        train = self.n_train * (forward + _BACKWARD * self.upper_seconds)
        return train + self.n_validation * forward

    def run(self, protocol: Mapping[str, Any]) -> float:
        """Seconds of a whole run without the shared feature pass."""
        if predictor_kind(protocol) is not None:
            return 0.1 + _SOLVE_SECONDS_PER_ITEM * self.n_train
        fits = self.n_folds + 1 if self.n_folds > 1 else 1
        return fits * int(protocol["fit"]["epochs"]) * self.epoch(protocol)


def measure_precision(backbone: Backbone, prepared: ArrayStore) -> dict[str, Any]:
    """Return the precision in which runs on the CPU shall compute, and why, as a decision.

    bf16 where it makes a forward pass half as fast again and leaves the features what they are.
    """
    batch = backbone.preprocess.collate(prepared.gather(_sample(prepared)))
    seconds: dict[Precision, float] = {}
    features: dict[Precision, torch.Tensor] = {}
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        with torch.no_grad(), autocast(precision, "cpu"):
            seconds[precision] = _fastest(lambda: backbone.features(batch))
            features[precision] = backbone.features(batch).float()
    n = len(features["fp32"])
    gain = seconds["fp32"] / seconds["bf16"]
    alike = float(torch.cosine_similarity(features["fp32"], features["bf16"]).min())
    pays = seconds["fp32"] / n >= _WORTH_SECONDS and gain >= _WORTH_GAIN and alike >= _ALIKE
    return {
        "precision": "bf16" if pays else "fp32",
        "reason": f"a forward pass in bf16 is {gain:.1f} times as fast as in fp32, its features' "
        f"cosine at least {alike:.4f}",
    }


def measure_forward(backbone: Backbone, prepared: ArrayStore, *, depth: int) -> float:
    """Return the seconds per item of a forward pass from a depth on, batched.

    The fastest of several passes over a few items, as other work on the machine only slows them;
    0 is the whole pass, stem and collation included.
    """
    rows = _sample(prepared)
    with torch.no_grad():
        batch = backbone.preprocess.collate(prepared.gather(rows))
        hidden = backbone.hidden(batch, depth=depth) if depth else None
        if hidden is None:
            seconds = _fastest(
                lambda: backbone.features(backbone.preprocess.collate(prepared.gather(rows)))
            )
        else:
            seconds = _fastest(lambda: backbone.features_from(hidden, batch, depth=depth))
    return seconds / len(rows)


def _sample(prepared: ArrayStore) -> np.ndarray[Any, Any]:
    """Return a few rows from all over the data."""
    return np.linspace(0, len(prepared) - 1, min(_SAMPLE_ITEMS, len(prepared))).astype(int)


def _fastest(run: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of several passes; the first only warms up."""
    seconds = []
    for _ in range(_PASSES):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
