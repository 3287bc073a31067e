"""Label-efficiency curves as they stand in the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.evidence.arm import interval_json
from regraft.evidence.label_spread import drawn_law, fitted, label_curves
from regraft.measure.intervals import interval
from regraft.measure.metrics import METRICS, softmax

if TYPE_CHECKING:
    from regraft.evidence.gathered import Evidence


def label_efficiency(evidence: Evidence) -> dict[str, Any] | None:
    """Return the label-efficiency curves of the arms, or None where no budgets were asked for."""
    if not evidence.budget_points or evidence.test is None:
        return None
    metric, test = evidence.task.metric, evidence.test
    titles = {arm.key: arm.title for arm in evidence.arms}
    arms: dict[str, list[dict[str, Any]]] = {}
    for point in evidence.budget_points:
        one = interval(metric, softmax(point.logits), test.labels, costs=test.costs, seed=test.seed)
        arms.setdefault(point.arm, []).append(
            {
                "labels_per_class": point.per_class,
                "n_labels": point.n_labels,
                **interval_json(one, seeds=len(point.logits)),
            }
        )
    laws = {
        key: fitted(curve, metric)
        for key, curve in label_curves(evidence.budget_points, test, metric).items()
    }
    return {
        "metric": metric,
        "title": METRICS[metric].title,
        "arms": [
            {
                "protocol": key,
                "title": titles[key],
                "points": points,
                "law": None if (law := laws[key]) is None else drawn_law(law, points),
            }
            for key, points in arms.items()
        ],
        "note": "Protocol, learning rate and number of steps are those of the ladder; all labels "
        "train, none is held out. Scored on the sealed part in the one final opening.",
    }
