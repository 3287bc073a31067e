"""What in the data, the features or a finished study is hardly meant, and what to do about it.

A warning is a sentence; it decides nothing. Each follows from a bound that a sound study keeps, not
from a habit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import fisher_exact

from regraft.evidence.words import number, percent
from regraft.features.standard import blocks
from regraft.measure.metrics import METRICS, decide, softmax
from regraft.measure.significance import mcnemar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from regraft.evidence.arm import ArmEvidence, Part
    from regraft.features.rows import Features
    from regraft.tasks.task import Task

_MOST_SHARE = 0.8
_LEAST_ITEMS = 50
_ONE_SIDED = 1.645  # standard deviations, of a one-sided test at 0.05
_WORSE_LOSS = 1.05
_UNLIKE = 0.001
_CONSTANT = 1e-6
_SUMS_TO_ONE = 1e-4
_PROBE = "linear-probe"
_BY_MAJORITY = ("accuracy", "weighted_f1")


def metric_warnings(task: Task) -> list[str]:
    """Warn of a metric that always naming one class nearly maximises."""
    labels = task.development.labels
    counts = np.bincount(labels, minlength=len(task.classes))
    share = float(counts.max() / len(labels))
    if task.metric not in _BY_MAJORITY or share < _MOST_SHARE:
        return []
    reached = 2 * share**2 / (1 + share) if task.metric == "weighted_f1" else share
    most = task.classes[int(counts.argmax())]
    return [
        f"{percent(share)} of the items are {most!r}, so {METRICS[task.metric].title} is "
        f"{number(reached)} for a model that always says so. Judge by --metric balanced_accuracy "
        "or macro_f1"
    ]


def feature_warnings(features: Features) -> list[str]:
    """Warn of features, shape (n, width), that say nothing, or that are probabilities already."""
    n, width = features.shape
    low, high, beside_one = np.full(width, np.inf), np.full(width, -np.inf), 0.0
    for rows in blocks(n, width):
        block = features[rows]
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        if not np.isfinite([low, high]).all():
            return []
        sums = block.sum(axis=1, dtype=np.float64)
        beside_one = max(beside_one, float(np.abs(sums - 1).max()))
    if n < 2:
        return []
    largest = float(np.maximum(np.abs(low), np.abs(high)).max())
    if float((high - low).max()) <= _CONSTANT * max(largest, _CONSTANT):
        return [
            "every item has the same features: the backbone is dead for these inputs. Check its "
            "weights, its preprocessing and the range of the inputs"
        ]
    if width > 1 and low.min() >= 0 and beside_one <= _SUMS_TO_ONE:
        return [
            f"the {width} features of every item sum to 1: they are probabilities, so "
            "the backbone ends in a softmax. Give it without its classifier"
        ]
    return []


def label_warnings(
    predicted: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], n_classes: int
) -> list[str]:
    """Warn where out-of-fold predictions of a probe agree with the labels no more than by chance.

    Where labels are permuted, the agreements have the mean Σ_c n_c m_c / n, with n_c labels and m_c
    predictions of class c, and a variance that is known too (Cohen's kappa without a link). No
    warning is given below 50 items, or where one class is predicted throughout.

    Args:
        predicted: Class indices, shape (n,).
        labels: Class indices, shape (n,).
        n_classes: C.
    """
    n = len(labels)
    mean, deviation = _agreements_by_chance(predicted, labels, n_classes)
    agreements = int((predicted == labels).sum())
    if n < _LEAST_ITEMS or not deviation or agreements > mean + _ONE_SIDED * deviation:
        return []
    return [
        f"a linear probe on the features finds the labels no better than by chance ({agreements} "
        f"of {n} items, {mean:.0f} expected). Check that each label belongs to its item (a column "
        "shifted by a row, a file sorted apart), or take another backbone"
    ]


def training_warnings(arms: Sequence[ArmEvidence], n_classes: int) -> list[str]:
    """Warn of runs that end with a training loss above ln C, that of knowing nothing.

    Equal probabilities have the loss ln C under any class weights and label smoothing. A first
    epoch may be above it, where a random head is large; the last of several may not.
    """
    nothing = math.log(n_classes)
    found = []
    for arm in arms:
        loss = _last_loss(arm)
        if loss is not None and loss > _WORSE_LOSS * nothing:
            found.append(
                f"{arm.title} ends with a training loss of {number(loss)}, above {number(nothing)} "
                f"of equal probabilities: it did not learn. Lower its learning rate"
            )
    return found


def undone_warnings(arms: Sequence[ArmEvidence], validation: Part) -> list[str]:
    """Warn of runs that started from the linear probe and end right on fewer items.

    McNemar's mid-p test at 0.001, of the first repetitions, on the same validation items.
    """
    found = []
    probes = {_place(arm): arm for arm in arms if arm.protocol == _PROBE and arm.logits is not None}
    for arm in arms:
        probe = probes.get(_place(arm))
        if probe is None or probe.logits is None or arm.logits is None:
            continue
        if arm.settings.get("head_start") != "probe" or arm.protocol == _PROBE:
            continue
        before, after = _right(probe.logits, validation), _right(arm.logits, validation)
        if after.sum() < before.sum() and mcnemar(before, after).p < _UNLIKE:
            found.append(
                f"{arm.title} starts from the linear probe, right on {percent(before.mean())} of "
                f"{len(before)} validation items, and ends right on {percent(after.mean())}: "
                "training undid it. Lower its learning rate"
            )
    return found


def sealed_warnings(winner: ArmEvidence, *, validation: Part, test: Part | None) -> list[str]:
    """Warn where the winner is right far less often on the sealed part than on validation.

    Fisher's exact test, one-sided at 0.001, of the first repetition: less than choosing the best of
    a ladder on validation can feign.
    """
    if test is None or winner.logits is None or winner.test_logits is None:
        return []
    here, there = _right(winner.logits, validation), _right(winner.test_logits, test)
    table = np.array([[one.sum(), (~one).sum()] for one in (here, there)])
    p = float(fisher_exact(table, alternative="greater").pvalue)
    if p >= _UNLIKE:
        return []
    return [
        f"{winner.title} is right on {percent(here.mean())} of {len(here)} validation items, but "
        f"on {percent(there.mean())} of {len(there)} sealed ones (p = {p:.1g}): the parts are not "
        "alike. Check how the sealed part was taken and labelled (class names, order of labels), "
        "and whether validation items repeat training ones"
    ]


def preflight_warnings(arms: Sequence[ArmEvidence]) -> list[str]:
    """Repeat what pre-flight warned of, once, under the names of the arms that it concerns."""
    found: dict[str, list[str]] = {}
    for arm in arms:
        for one in arm.preflight_warnings:
            found.setdefault(one, []).append(arm.title)
    return [f"{', '.join(titles)}: {one}" for one, titles in found.items()]


def _place(arm: ArmEvidence) -> str:
    """Return the backbone that an arm's key names, or nothing where there is one backbone."""
    return arm.key.partition("@")[2]


def _right(logits: NDArray[np.floating[Any]], part: Part) -> NDArray[np.bool_]:
    return np.asarray(decide(softmax(logits[0]), part.costs) == part.labels)


def _last_loss(arm: ArmEvidence) -> float | None:
    """Return the last training loss of the first repetition, None without several epochs."""
    stages = arm.summaries[0].get("stages") if arm.summaries else None
    history = stages[0]["history"] if stages else ()
    losses = [one["train_loss"] for one in history if one["train_loss"] is not None]
    return losses[-1] if len(losses) > 1 else None


def _agreements_by_chance(
    predicted: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], n_classes: int
) -> tuple[float, float]:
    """Return mean and standard deviation of the agreements over all orders of the labels.

    With a_i the share of item i's prediction among the labels, the sum over a random permutation
    has the variance of Hoeffding (1951) for d(i, j) = 1 where prediction i equals label j.
    """
    n = len(labels)
    ours = np.bincount(predicted, minlength=n_classes).astype(np.float64)
    theirs = np.bincount(labels, minlength=n_classes).astype(np.float64)
    both = ours * theirs
    mean = both.sum() / n
    if n < 2:
        return float(mean), 0.0
    # Σ (d_ij − row mean − column mean + mean)² / (n − 1), row means theirs[c]/n, column ours[c]/n
    squares = both.sum() - (ours * theirs**2).sum() / n - (theirs * ours**2).sum() / n + mean**2
    return float(mean), float(np.sqrt(max(squares, 0.0) / (n - 1)))
