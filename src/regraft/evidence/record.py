"""The record of a study: plain JSON from which reports are made without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from regraft.evidence import questions
from regraft.evidence.arm import ArmEvidence, Part, arm_json, comparison_json, higher_is_better
from regraft.evidence.best import best_json
from regraft.evidence.criterion import judge, parse_target
from regraft.evidence.verdict import sentence
from regraft.measure.intervals import interval
from regraft.measure.metrics import METRICS, softmax
from regraft.measure.resampling import mean_score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from regraft.evidence.verdict import Confirmation, Verdict
    from regraft.tasks.task import Task

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class BudgetPoint:
    """Test logits of one arm at one label budget, shape (seeds, m, C)."""

    arm: str
    per_class: int
    n_labels: int
    logits: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All that a record is made of.

    Attributes:
        study: The record's ``study`` part, complete.
        task: The task; `task_card` is the record's ``task`` part.
        arms: Every arm, in the order in which they ran.
        validation: Labels on which the verdict was reached.
        test: Labels of the sealed part, once opened; `test_items` are its items.
        budget_points: Runs at other label budgets.
        decisions: Recorded decisions, as {seq, key, text}.
        configuration: The resolved study.
        parameters_total: Parameters by backbone index; None stands for no backbone.
    """

    study: Mapping[str, Any]
    task: Task
    task_card: Mapping[str, Any]
    arms: Sequence[ArmEvidence]
    validation: Part
    verdict: Verdict
    confirmation: Confirmation | None
    test: Part | None
    test_items: Any
    temperature: float
    budget_points: Sequence[BudgetPoint]
    histories: Mapping[str, Sequence[Mapping[str, Any]]]
    decisions: Sequence[Mapping[str, Any]]
    configuration: Mapping[str, Any]
    reproduce: Sequence[str]
    openings: int
    parameters_total: Mapping[str, int]


def build_record(evidence: Evidence) -> dict[str, Any]:
    """Return the record of a finished study."""
    metric = evidence.task.metric
    rows = [_arm_row(evidence, arm) for arm in evidence.arms]
    winner = next(arm for arm in evidence.arms if arm.key == evidence.verdict.winner)
    row = next(one for one in rows if one["winner"])
    confirmed = evidence.confirmation.confirmed if evidence.confirmation else None
    verdict: dict[str, Any] = {
        "kind": evidence.verdict.kind,
        "confirmed": confirmed,
        "reasons": list(evidence.verdict.reasons),
    }
    efficiency = _label_efficiency(evidence)
    record = {
        "schema": SCHEMA_VERSION,
        "study": {**evidence.study, "metric": metric, "higher_is_better": higher_is_better(metric)},
        "verdict": verdict,
        "target": _target(evidence, winner),
        "task": dict(evidence.task_card),
        "arms": rows,
        "curves": _curves(evidence),
        "best": {
            "run": winner.runs[0],
            "protocol": winner.key,
            "graft": None,
            **_best(evidence, winner),
        },
        "label_efficiency": efficiency,
        "questions": _questions(evidence, winner, efficiency),
        "decisions": list(evidence.decisions),
        "configuration": yaml.safe_dump(dict(evidence.configuration), sort_keys=False),
        "reproduce": list(evidence.reproduce),
        "test_openings": evidence.openings,
    }
    verdict["sentence"] = sentence(record, row)
    return record


def _arm_row(evidence: Evidence, arm: ArmEvidence) -> dict[str, Any]:
    verdict = evidence.verdict
    is_winner = arm.key == verdict.winner
    versus: dict[str, Any] = {"versus_best": None, "versus_best_test": None}
    if not is_winner:
        if (ours := verdict.comparisons.get(arm.key)) is not None:
            tie = arm.key in verdict.tied or arm.key == verdict.leader
            versus["versus_best"] = comparison_json(ours, tie=tie)
        tested = evidence.confirmation.comparisons if evidence.confirmation else {}
        if (theirs := tested.get(arm.key)) is not None:
            adjusted = theirs.p if theirs.p_adjusted is None else theirs.p_adjusted
            versus["versus_best_test"] = comparison_json(theirs, tie=adjusted >= 0.05)
    return arm_json(
        arm,
        validation=evidence.validation,
        test=evidence.test,
        parameters_total=evidence.parameters_total.get(arm.key, 0),
        winner=is_winner,
        versus=versus,
    )


def _best(evidence: Evidence, winner: ArmEvidence) -> dict[str, Any]:
    if winner.test_logits is None or evidence.test_items is None:
        raise AssertionError("the winner is scored in the final evaluation")
    return best_json(
        logits=winner.test_logits[0],
        items=evidence.test_items,
        classes=evidence.task.classes,
        temperature=evidence.temperature,
        costs=evidence.task.costs,
        part="test",
    )


def _questions(
    evidence: Evidence, winner: ArmEvidence, efficiency: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return the questions that this study can answer, each with its answers."""
    metric, test = evidence.task.metric, evidence.test
    values = {
        arm.key: METRICS[metric].sign
        * mean_score(
            metric,
            softmax(arm.logits),
            evidence.validation.labels,
            costs=evidence.validation.costs,
        )
        for arm in evidence.arms
        if arm.logits is not None
    }
    ours = questions.transferred(evidence.arms, winner.key, values)
    if test is None or ours is None:
        return []
    arms, found = evidence.arms, list[tuple[str, str, list[dict[str, Any]]]]()
    helped = questions.did_it_help(ours, arms, test, metric)
    found.append(("help", "Did transfer help?", helped))
    faster = questions.was_it_faster(ours, arms, evidence.histories, metric)
    found.append(("speed", "How much sooner did it learn?", faster))
    saved = questions.how_many_labels(efficiency, arms, ours.key, metric)
    found.append(("labels", "How many labels did it save?", saved))
    if winner.logits is not None and winner.test_logits is not None:
        trusted = questions.can_it_be_trusted(
            winner.logits[0], evidence.validation, winner.test_logits[0], test
        )
        found.append(("trust", "Can its confidence be trusted?", trusted))
    return [
        {"key": key, "question": question, "answers": answers}
        for key, question, answers in found
        if answers
    ]


def _target(evidence: Evidence, winner: ArmEvidence) -> dict[str, Any] | None:
    if evidence.task.target is None or evidence.test is None or winner.test_logits is None:
        return None
    criterion = parse_target(evidence.task.target, metric=evidence.task.metric)
    return judge(criterion, evidence.test.intervals(winner.test_logits)).to_json()


def _curves(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the learning curve of each trained arm's chosen run."""
    metric = evidence.task.metric
    return [
        {
            "run": arm.runs[0],
            "protocol": arm.key,
            "label": arm.title,
            "points": [
                {
                    "step": point["step"],
                    "epoch": point["epoch"],
                    "seconds": point["seconds"],
                    "train_loss": point["train_loss"],
                    "metric": point["metrics"].get(metric),
                }
                for point in evidence.histories[arm.runs[0]]
            ],
        }
        for arm in evidence.arms
        if arm.runs and evidence.histories.get(arm.runs[0])
    ]


def _label_efficiency(evidence: Evidence) -> dict[str, Any] | None:
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
                "value": one.value,
                "low": one.low,
                "high": one.high,
                "seeds": len(point.logits),
                "n": one.n,
                "estimator": one.estimator,
                "warning": one.warning,
            }
        )
    return {
        "metric": metric,
        "title": METRICS[metric].title,
        "arms": [
            {"protocol": key, "title": titles[key], "points": points}
            for key, points in arms.items()
        ],
        "note": "Protocol, learning rate and number of steps are those of the ladder; all labels "
        "train, none is held out. Scored on the sealed part in the one final opening.",
    }
