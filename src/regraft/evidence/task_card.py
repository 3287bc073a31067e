"""The task card: what the data is like, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.arm import interval_json
from regraft.evidence.warnings import feature_warnings, label_warnings, metric_warnings
from regraft.features.logistic import logistic_path
from regraft.measure.calibration import fit_temperature
from regraft.measure.confident_learning import label_errors
from regraft.measure.intervals import wilson
from regraft.measure.metrics import softmax
from regraft.measure.power import minimum_detectable_difference
from regraft.seeds import numpy_generator

if TYPE_CHECKING:
    from regraft.features.rows import Features
    from regraft.tasks.task import Task

_FOLDS = 5
_STRENGTH = 1e-2
_LISTED = 10
_MOST_ROWS = 5000
_BASE_RATES = (0.6, 0.75, 0.9)

_Probed = tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]


def task_card(task: Task, *, features: Features | None = None, n_seeds: int = 3) -> dict[str, Any]:
    """Return the plain card of a task.

    Args:
        task: The task.
        features: Pooled features of its development items, shape (n, width); with them the card
            also estimates label noise and diversity, and warns of what they say of each other.
        n_seeds: Repetitions that what ties with the best will have.
    """
    labels = task.development.labels
    validation = np.zeros(len(labels), bool)
    if len(task.folds) == 1:
        validation[task.folds[0].validation] = True
    counts = np.bincount(labels, minlength=len(task.classes))
    in_validation = np.bincount(labels[validation], minlength=len(task.classes))
    intake = task.intake
    probed = None if features is None else _probed(task, features)
    return {
        "kind": task.kind,
        "source": intake.source,
        "n_train": int((~validation).sum()),
        "n_validation": int(validation.sum()) if len(task.folds) == 1 else len(labels),
        "n_test": len(task.sealed),
        "detectable": detectable(len(task.sealed), n_seeds=n_seeds),
        "classes": [
            {"label": name, "train": int(counts[i] - in_validation[i]), "validation": int(v)}
            for i, (name, v) in enumerate(zip(task.classes, in_validation, strict=True))
        ],
        "imbalance": float(counts.max() / max(counts.min(), 1)),
        "split": intake.split,
        "folds": max(1, len(task.folds)),
        "duplicates": {
            "within": intake.duplicates_within,
            "across": intake.duplicates_across,
            "removed": intake.duplicates_removed,
        },
        "leakage": list(intake.leakage),
        "skipped": intake.n_skipped,
        "skipped_items": list(intake.skipped),
        "converted": dict(intake.converted),
        "sizes": None
        if intake.width is None or intake.height is None
        else {"width": list(intake.width), "height": list(intake.height)},
        "lengths": None if intake.words is None else {"words": list(intake.words)},
        "label_noise": None if probed is None else _noise(task, *probed),
        "diversity": None if features is None else _diversity(features),
        "notes": list(intake.notes),
        "warnings": metric_warnings(task) + _doubts(task, features, probed),
    }


def detectable(n_test: int, *, n_seeds: int) -> dict[str, Any] | None:
    """Return the least gains in accuracy that the test part can show, by what is reached before.

    Args:
        n_test: Items of the sealed part; None is returned where there is none.
        n_seeds: Repetitions of each protocol.
    """
    if n_test < 1:
        return None
    return {
        "n_test": n_test,
        "n_seeds": n_seeds,
        "level": 0.95,
        "power": 0.8,
        "differences": [
            {
                "accuracy": rate,
                "difference": minimum_detectable_difference(n_test, rate, n_seeds),
                "n": n_test,
                "seeds": n_seeds,
                "estimator": "least gain that a paired test finds",
                "no_interval": "computed, not measured",
            }
            for rate in _BASE_RATES
        ],
        "estimator": "gain in accuracy that a paired test at 0.05 finds 4 times in 5; answers of "
        "two systems correlate by 0.5, of two seeds by 0.7",
    }


def label_noise(task: Task, features: Features) -> dict[str, Any] | None:
    """Estimate the share of wrong labels by confident learning on out-of-fold probabilities.

    A probe's errors count with the labels': of clean labels it flags about as many as the probe
    errs on firmly, so that the share is an upper estimate. A rule that asks for a contradiction
    with probability 0.8 flags less of these, but no more where a fifth of the labels is wrong, as
    noise makes probes timid (``benchmarks/label_noise.py``). At most 5,000 items are looked at.
    None where a class has fewer than two items.
    """
    probed = _probed(task, features)
    return None if probed is None else _noise(task, *probed)


def _doubts(task: Task, features: Features | None, probed: _Probed | None) -> list[str]:
    """Return what features and labels say against each other."""
    found = [] if features is None else feature_warnings(features)
    if found or probed is None:
        return found
    order, probabilities = probed
    labels = task.development.labels[order]
    return label_warnings(probabilities.argmax(axis=1), labels, len(task.classes))


def _probed(task: Task, features: Features) -> _Probed | None:
    """Return which items were looked at, and their out-of-fold probabilities (n, C)."""
    labels = task.development.labels
    if np.bincount(labels, minlength=len(task.classes)).min() < 2:
        return None
    order = numpy_generator(0, "label-noise").permutation(len(labels))[:_MOST_ROWS]
    return order, out_of_fold(features[order], labels[order], len(task.classes))


def _noise(
    task: Task, order: np.ndarray[Any, Any], probabilities: np.ndarray[Any, Any]
) -> dict[str, Any]:
    labels = task.development.labels
    found = label_errors(probabilities, labels[order])
    share = interval_json(wilson(len(found.rows), len(order)), seeds=1)
    why = "few labels are suspect, or few are not: the interval is rough"
    return {
        **share,
        "warning": share["warning"] and why,
        "estimator": f"confident learning on a {_FOLDS}-fold linear probe; an upper estimate: "
        "where the probe errs firmly, right labels count as wrong",
        "items": [
            {
                "item": task.development.ids[order[i]],
                "label": task.classes[labels[order[i]]],
                "suggested": task.classes[better],
                "confidence": float(probabilities[i, better]),
            }
            for i, better in zip(found.rows[:_LISTED], found.suggested[:_LISTED], strict=True)
        ],
    }


def _diversity(features: Features) -> dict[str, Any]:
    return {
        "value": effective_rank(features),
        "low": None,
        "high": None,
        "n": min(len(features), _MOST_ROWS),
        "seeds": 0,
        "estimator": "effective rank of the pooled features (exponential of the entropy of the "
        "eigenvalues)",
        "no_interval": "it describes these items and estimates nothing beyond them",
    }


def effective_rank(features: Features) -> float:
    """Return exp(entropy) of the normalised eigenvalues of the covariance, between 1 and the width.

    Reference:
        Roy & Vetterli, The Effective Rank, EUSIPCO 2007.
    """
    # Items often come class by class: rows are taken evenly, not from the front.
    rows = np.linspace(0, len(features) - 1, min(_MOST_ROWS, len(features))).astype(np.int64)
    some = features[rows].astype(np.float64)
    some -= some.mean(axis=0)
    smaller = some.T @ some if some.shape[1] <= len(some) else some @ some.T
    values = np.linalg.eigvalsh(smaller)
    values = np.where(values > 1e-12 * max(float(values.max()), 0.0), values, 0.0)
    total = values.sum()
    if total <= 0:
        return 1.0
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def out_of_fold(
    features: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], n_classes: int
) -> np.ndarray[Any, Any]:
    """Return calibrated class probabilities (n, C) of probes that did not see the item."""
    fold = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        fold[rows] = np.arange(len(rows)) % _FOLDS
    logits = np.zeros((len(labels), n_classes))
    for held in np.unique(fold):
        inside, outside = fold != held, fold == held
        probe = logistic_path(
            features[inside], labels[inside], n_classes, strengths=np.array([_STRENGTH])
        )[0]
        logits[outside] = probe.logits(features[outside])
    return softmax(logits / fit_temperature(logits, labels))
