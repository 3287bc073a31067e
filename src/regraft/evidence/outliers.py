"""Answers to whether outliers are noticed: every score, on every kind of outlier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.arm import interval_json
from regraft.evidence.words import number
from regraft.measure.detection import auroc_interval, fpr_interval
from regraft.measure.out_of_distribution import (
    energy_scores,
    knn_scores,
    mahalanobis_scores,
    msp_scores,
    relative_mahalanobis_scores,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.gathered import HeldUp, Predicted
    from regraft.evidence.questions.asked import Answer

    Scores = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

_NEIGHBOURS = 10
_FLAT = 1e-4


def outlier_answers(held: HeldUp, arm: ArmEvidence, *, seed: int) -> list[Answer]:
    """Return AUROC and FPR at 95 % TPR of every score of an arm's first run, on every outlier set.

    Inside are the sealed items that were looked at, as they are.

    Args:
        held: The predictions.
        arm: Whose confidence is asked about.
        seed: Of the resampling.
    """
    scorers, missing = _scorers(held, arm)
    inside = held.clean[arm.key]
    found: list[Answer] = []
    for name, arms in held.outliers.items():
        outside = arms[arm.key]
        for score, scorer in scorers.items():
            usual, unusual = scorer(inside), scorer(outside)
            area, alarms = auroc_interval(usual, unusual), fpr_interval(usual, unusual, seed=seed)
            false = interval_json(alarms, seeds=1)
            found.append(
                {
                    "name": f"{name}: {score} of {arm.title}",
                    **interval_json(area, seeds=1),
                    "n_inside": len(usual),
                    "n_outside": len(unusual),
                    "fpr_at_95": false,
                    "text": f"FPR@95 {number(false['value'])} [{number(false['low'])}, "
                    f"{number(false['high'])}]; AUROC {number(area.value)}",
                }
            )
    for reason in missing if found else ():
        found.append(
            {
                "name": f"other scores of {arm.title}",
                "n": 0,
                "estimator": "not measured",
                "text": reason,
            }
        )
    return found


def _scorers(
    held: HeldUp, arm: ArmEvidence
) -> tuple[dict[str, Callable[[Predicted], np.ndarray[Any, Any]]], list[str]]:
    """Return the scores that an arm has, and why it has no others."""
    found: dict[str, Callable[[Predicted], np.ndarray[Any, Any]]] = {
        "softmax (MSP)": lambda one: msp_scores(one.logits[0])
    }
    missing = []
    if np.abs(energy_scores(held.clean[arm.key].logits[0])).max() > _FLAT:
        found["energy"] = lambda one: energy_scores(one.logits[0])
    else:
        missing.append(
            f"energy: the logits of {arm.title} are log-probabilities, whose energy is 0"
        )
    usual, labels = held.trained[arm.key].features, held.trained_labels
    if usual is None:
        missing.append(f"distances: {arm.title} reads no backbone, so that it has no features")
        return found, missing
    if np.ptp(usual) <= _FLAT or len(np.unique(labels)) == len(labels):
        missing.append("distances: the training features do not vary within classes")
        return found, missing
    k = min(_NEIGHBOURS, len(usual))
    found |= _by_distance(usual, labels, k)
    return found, missing


def _by_distance(
    usual: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], k: int
) -> Mapping[str, Callable[[Predicted], np.ndarray[Any, Any]]]:
    def of(one: Predicted) -> np.ndarray[Any, Any]:
        if one.features is None:
            raise AssertionError("an arm has features of all items or of none")
        return one.features

    return {
        "Mahalanobis distance": lambda one: mahalanobis_scores(usual, labels, of(one)),
        "relative Mahalanobis distance": lambda one: relative_mahalanobis_scores(
            usual, labels, of(one)
        ),
        f"distance to the {k}. neighbour": lambda one: knn_scores(usual, of(one), k=k),
    }
