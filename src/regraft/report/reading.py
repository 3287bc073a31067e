"""How the report reads a record: the few questions that all its parts ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def metric_of(record: Mapping[str, Any]) -> str:
    """Return the name of the metric that decides."""
    return str(record["study"]["metric"])


def higher_is_better(record: Mapping[str, Any]) -> bool:
    """Return the direction of the metric that decides."""
    return bool(record["study"]["higher_is_better"])


def key_of(arm: Mapping[str, Any]) -> str:
    """Return the arm's name in the study."""
    return str(arm.get("key") or arm["protocol"])


def scored_arms(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the arms that have a validation score, in the order in which they ran."""
    metric = metric_of(record)
    return [
        arm
        for arm in record["arms"]
        if arm["validation"] and arm["validation"].get(metric, {}).get("value") is not None
    ]


def winner_of(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the arm that the verdict names."""
    return next((arm for arm in record["arms"] if arm["winner"]), None)


def kept_values(record: Mapping[str, Any]) -> list[float]:
    """Return the winner's interval on each part: what no scale may leave out."""
    winner, metric = winner_of(record), metric_of(record)
    if winner is None:
        return []
    scores = [score_of(winner, part, metric) for part in ("validation", "test")]
    ends = [one[end] for one in scores if one for end in ("low", "value", "high")]
    return [float(end) for end in ends if end is not None]


def places_of(record: Mapping[str, Any]) -> dict[str, int]:
    """Return each arm's place among the lines of all pictures: winner, trained arms, others."""

    def rank(arm: Mapping[str, Any]) -> tuple[bool, bool]:
        return not arm["winner"], not arm.get("tuning_runs")

    return {key_of(arm): i for i, arm in enumerate(sorted(record["arms"], key=rank))}


def score_of(arm: Mapping[str, Any], part: str, metric: str) -> Mapping[str, Any] | None:
    """Return an arm's score on a part, or None where it has none."""
    scores = arm.get(part)
    found: Mapping[str, Any] | None = scores.get(metric) if scores else None
    return found if found and found.get("value") is not None else None


def arm_number(record: Mapping[str, Any], arm: Mapping[str, Any]) -> int:
    """Return the arm's place on the ladder, from 1."""
    return 1 + [key_of(one) for one in record["arms"]].index(key_of(arm))


def figure_of(record: Mapping[str, Any], question: str) -> Mapping[str, Any]:
    """Return the plain data of a question's picture, empty where there is none."""
    for one in record.get("questions") or ():
        if one["key"] == question:
            return one.get("figure") or {}
    return {}
