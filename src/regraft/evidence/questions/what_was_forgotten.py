"""What was forgotten? How well items of the source domain are told apart before and after."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.arm import comparison_json, interval_json
from regraft.evidence.questions.asked import Answered, point
from regraft.evidence.words import number
from regraft.measure.comparison import holm, paired_bootstrap
from regraft.measure.continual import upstream_retention
from regraft.measure.intervals import wilson
from regraft.measure.transferability.neighbours import knn_rights, probe_rights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.gathered import SourceFeatures
    from regraft.evidence.questions.asked import Answer, Asked


KEY, QUESTION = "forgotten", "What was forgotten?"

_BY = "leave-one-out accuracy on source items"
_JUDGES = (("5 nearest neighbours", knn_rights), ("a ridge probe", probe_rights))


def answered(asked: Asked) -> Answered:
    """Answer for every arm of the final evaluation that adapted a backbone."""
    source = asked.evidence.source
    if source is None:
        return Answered([])
    return Answered(what_was_forgotten(source, asked.evidence.arms, seed=asked.test.seed))


def what_was_forgotten(
    source: SourceFeatures, arms: Sequence[ArmEvidence], *, seed: int
) -> list[Answer]:
    """Return the leave-one-out accuracy on source items that adaptation took, by arm and judge.

    Each item is predicted from all others, before and after by the same judge; the differences are
    paired by item and Holm-corrected over all rows.

    Args:
        source: The features.
        arms: All arms; those without features are left out.
        seed: Of the resampling.
    """
    if not source.after:
        why = "no arm of the final evaluation adapted a pretrained backbone"
        n = len(source.labels)
        return [{"name": "source items", "n": n, "estimator": "not measured", "text": why}]
    ones = np.ones(len(source.labels), np.int64)
    rows: list[tuple[Answer, Any]] = []
    for arm in arms:
        if arm.key not in source.after:
            continue
        for judge, rights in _JUDGES:
            features = source.after[arm.key], source.before[arm.backbone or 0]
            after, before = (rights(one, source.labels) for one in features)
            compared = paired_bootstrap(
                "accuracy", _as_answers(after), _as_answers(before), ones, seed=seed
            )
            row = {
                "name": f"{judge} on features of {arm.title}",
                "before": float(before.mean()),
                "after": float(after.mean()),
                "retention": _retention(float(before.mean()), float(after.mean())),
                "behind": {"before": _share(before, seeds=0), "after": _share(after, seeds=1)},
            }
            rows.append((row, compared))
    corrected = holm([compared.p for _, compared in rows])
    return [
        _answer(row, replace(compared, p_adjusted=p))
        for (row, compared), p in zip(rows, corrected, strict=True)
    ]


def _share(rights: np.ndarray[Any, Any], *, seeds: int) -> Answer:
    found = interval_json(wilson(float(rights.sum()), len(rights)), seeds=seeds)
    return {**found, "estimator": f"{_BY}; {found['estimator']}"}


def _answer(row: Answer, compared: Any) -> Answer:
    said = "gained" if compared.difference > 0 else "forgotten"
    kept, behind = "", row["behind"]
    if row["retention"] is not None:
        kept = f", {100 * row['retention']:.0f} % kept"
        ratio, why = "accuracy after over accuracy before", "a ratio; the difference has one"
        told = point(row["retention"], n=compared.n, seeds=[1, 0], estimator=ratio, why=why)
        behind = {**behind, "retention": told}
    return {
        **row,
        **comparison_json(compared, tie=compared.tie, seeds=(1, 0)),
        "behind": behind,
        "estimator": f"{_BY}; {compared.estimator}",
        "text": f"from {number(row['before'])} to {number(row['after'])}{kept}, "
        + ("undecided" if compared.tie else said),
    }


def _as_answers(rights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return certain answers to "is it right", shape (1, n, 2), to be scored by accuracy."""
    answers: np.ndarray[Any, Any] = np.eye(2)[rights.astype(np.int64)][None]
    return answers


def _retention(before: float, after: float) -> float | None:
    return upstream_retention(before, after) if before > 0 else None
