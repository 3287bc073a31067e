"""In which precision a study computes: bf16 where it pays and keeps the validation metric."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.backbones.placing import placed
from regraft.backbones.precision import autocast
from regraft.engine.device import choose_precision
from regraft.evidence.words import number
from regraft.features.held import HeldArrays
from regraft.features.logistic import fit_probe
from regraft.features.passes import Wanted, passed
from regraft.measure.intervals import interval
from regraft.measure.metrics import METRICS, all_scores, softmax
from regraft.seeds import numpy_generator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.backbones.precision import Precision
    from regraft.engine.job import RunData
    from regraft.features.store import ItemArrays
    from regraft.ledger.ledger import Ledger
    from regraft.search.bench import Bench
    from regraft.tasks.task import Task

_BOTH: tuple[Precision, ...] = ("fp32", "bf16")
_SAMPLE_ITEMS = 16
_PASSES = 6
_WORTH_GAIN = 1.3
_WORTH_SECONDS = 5e-4
"""bf16 is taken where it is faster by this factor and an item's pass takes so long in fp32."""
_ALIKE = 0.995
_HOPELESS = 2.0

_CHECK_SECONDS = 4.0
_FEWEST_CHECKED, _MOST_CHECKED = 64, 1024
"""Items on which the metric is compared: as many as pass in both precisions in these seconds."""

_NORMAL_95 = 1.96

Features = np.ndarray[Any, Any]


def study_precision(
    ledger: Ledger, study: str, benches: Sequence[Bench], task: Task, *, asked: str, device: str
) -> Precision:
    """Return the precision of a study's runs; ``auto`` measures whether bf16 pays.

    What was measured is written down, so that a resumed study goes on in the same precision.
    """
    chosen = choose_precision(asked, device)
    if asked != "auto" or (device != "cpu" and chosen == "fp32"):
        return chosen
    precisions: set[str] = set()
    for place, bench in enumerate(benches):
        measure = partial(_measured, bench, task, device)
        decided = ledger.decisions.decide(study, f"precision/{place}", measure)
        precisions.add(decided["precision"])
    return "bf16" if precisions == {"bf16"} else "fp32"


def measure_precision(backbone: Backbone, data: RunData, *, device: str = "cpu") -> dict[str, Any]:
    """Return the precision in which runs shall compute, and why, as a decision.

    bf16 where it keeps the validation metric within its noise (`compare_metric`), and on a CPU only
    where it makes a forward pass 1.3 times as fast and leaves the features what they are
    (`compare_passes`).

    Args:
        backbone: The pretrained backbone.
        data: The study's labelled items; of several folds the first is looked at.
        device: Where runs compute; a GPU that computes bf16 natively.
    """
    n, reason = _MOST_CHECKED, "the GPU computes bf16 natively"
    if device == "cpu":
        passes = compare_passes(backbone, data.prepared)
        if not passes.pays:
            return {"precision": "fp32", "reason": passes.reason}
        fit = _CHECK_SECONDS / passes.seconds_of_both
        n, reason = int(np.clip(fit, _FEWEST_CHECKED, _MOST_CHECKED)), passes.reason
    train, validation = _some_rows(data, n)
    rows = data.rows[np.concatenate([train, validation])]
    with placed(backbone, device):
        found = {one: _features(backbone, data.prepared, rows, one) for one in _BOTH}
    holds, why = compare_metric(found, data, train, validation)
    return {"precision": "bf16" if holds else "fp32", "reason": f"{reason}; {why}"}


@dataclass(frozen=True, slots=True)
class Passes:
    """How passes in bf16 compare with passes in fp32 on the CPU.

    Attributes:
        pays: Whether bf16 is faster by enough, and leaves the features what they are.
        reason: By how much.
        seconds_of_both: Of an item in either precision, added up.
    """

    pays: bool
    reason: str
    seconds_of_both: float


def compare_passes(backbone: Backbone, prepared: ItemArrays) -> Passes:
    """Time passes of a few items in either precision, in turn: what else runs slows both."""
    sample = np.linspace(0, len(prepared) - 1, min(_SAMPLE_ITEMS, len(prepared))).astype(int)
    batch = backbone.preprocess.collate(prepared.gather(sample))
    features: dict[Precision, torch.Tensor] = {}
    seconds: dict[Precision, float] = dict.fromkeys(_BOTH, math.inf)
    for turn in range(_PASSES):
        for precision in _BOTH:
            started = time.perf_counter()
            with torch.no_grad(), autocast(precision, "cpu"):
                features[precision] = backbone.features(batch).float()
            if turn:  # the first only warms up
                took = time.perf_counter() - started
                seconds[precision] = min(seconds[precision], took / len(sample))
        if turn and seconds["bf16"] > _HOPELESS * seconds["fp32"]:
            break  # a processor without bf16 emulates it, many times slower
    alike = float(torch.cosine_similarity(features["fp32"], features["bf16"]).min())
    gain = seconds["fp32"] / seconds["bf16"]
    return Passes(
        pays=seconds["fp32"] >= _WORTH_SECONDS and gain >= _WORTH_GAIN and alike >= _ALIKE,
        reason=f"a forward pass in bf16 is {gain:.1f} times as fast as in fp32, its features' "
        f"cosine at least {alike:.4f}",
        seconds_of_both=sum(seconds.values()),
    )


def fast_precision(backbone: Backbone, prepared: ItemArrays) -> Precision:
    """Return the precision that pays on the CPU where no metric is at stake."""
    return "bf16" if compare_passes(backbone, prepared).pays else "fp32"


def compare_metric(
    features: Mapping[Precision, Features],
    data: RunData,
    train: np.ndarray[Any, Any],
    validation: np.ndarray[Any, Any],
) -> tuple[bool, str]:
    """Say whether a linear probe has the same validation metric in bf16 as in fp32, within noise.

    The noise is one standard error of the metric in fp32 on all validation items of the fold, also
    where some are looked at: what other items would change.

    Args:
        features: In each precision, those of the training items and then of the validation items,
            shape (n + m, width).
        data: The study's labelled items.
        train: The n training items.
        validation: The m validation items.
    """
    n, labels, costs = len(train), data.labels[validation], data.costs
    probabilities = {}
    for precision, both in features.items():
        probe = fit_probe(both[:n], data.labels[train], data.n_classes, both[n:], labels)
        probabilities[precision] = softmax(probe.logits(both[n:]))
    scores = {one: all_scores(said, labels, costs) for one, said in probabilities.items()}
    defined = all(data.metric in one for one in scores.values())
    name = data.metric if defined else "log_loss"
    of = interval(name, probabilities["fp32"], labels, costs=costs)
    whole = len(data.folds[0].validation)
    noise = (of.high - of.low) / 2 / _NORMAL_95 * math.sqrt(len(labels) / whole)
    values = {one: score[name] for one, score in scores.items()}
    lost = METRICS[name].sign * (values["fp32"] - values["bf16"])
    why = (
        f"{METRICS[name].title} of a linear probe on {len(labels)} validation items "
        f"{number(values['bf16'])} in bf16, {number(values['fp32'])} in fp32, its standard error "
        f"on all {number(noise)}"
    )
    return bool(lost <= noise), why


def _measured(bench: Bench, task: Task, device: str) -> dict[str, Any]:
    return measure_precision(bench.backbone, bench.run_data(task), device=device)


def _some_rows(data: RunData, n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return up to n items, half of them training items, of the first fold."""
    fold = data.folds[0]
    validation = _drawn(fold.validation, n // 2)
    return _drawn(fold.train, n - len(validation)), validation


def _drawn(rows: np.ndarray[Any, Any], n: int) -> np.ndarray[Any, Any]:
    return numpy_generator(0, "precision").permutation(rows)[:n]


def _features(
    backbone: Backbone, prepared: ItemArrays, rows: np.ndarray[Any, Any], precision: Precision
) -> Features:
    """Return the pooled features of some items, (rows, width)."""
    held = HeldArrays(prepared.gather(rows))
    found = passed(backbone, held, Wanted(pooled=True), precision)
    return np.array([one for (arrays,) in found for one in arrays], np.float32)
