"""The record of a study: plain JSON from which reports are made without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import yaml

from regraft.evidence.arm import ArmEvidence, arm_json, comparison_json, higher_is_better
from regraft.evidence.best import best_json
from regraft.evidence.label_curves import label_efficiency
from regraft.evidence.questions import asking
from regraft.evidence.target import target_json
from regraft.evidence.verdict import sentence
from regraft.evidence.warnings import (
    preflight_warnings,
    sealed_warnings,
    training_warnings,
    undone_warnings,
)

if TYPE_CHECKING:
    from regraft.evidence.gathered import Evidence

SCHEMA_VERSION = 1


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
    curves = label_efficiency(evidence)
    record = {
        "schema": SCHEMA_VERSION,
        "study": {**evidence.study, "metric": metric, "higher_is_better": higher_is_better(metric)},
        "verdict": verdict,
        "warnings": _warnings(evidence, winner),
        "target": target_json(evidence, winner),
        "task": dict(evidence.task_card),
        "arms": rows,
        "gates": [one.to_json() for one in evidence.verdict.gates],
        "curves": _curves(evidence),
        "best": {
            "run": winner.runs[0],
            "protocol": winner.key,
            "graft": None,
            **_best(evidence, winner),
        },
        "label_efficiency": curves,
        "questions": asking.answers(evidence, winner, curves),
        "decisions": list(evidence.decisions),
        "configuration": yaml.safe_dump(dict(evidence.configuration), sort_keys=False),
        "reproduce": list(evidence.reproduce),
        "test_openings": evidence.openings,
    }
    verdict["sentence"] = sentence(record, row)
    return record


def _warnings(evidence: Evidence, winner: ArmEvidence) -> list[str]:
    """Return what is hardly meant in this study; what is so in the data its task card says."""
    return [
        *preflight_warnings(evidence.arms),
        *training_warnings(evidence.arms, len(evidence.task.classes)),
        *undone_warnings(evidence.arms, evidence.validation),
        *sealed_warnings(winner, validation=evidence.validation, test=evidence.test),
    ]


def _arm_row(evidence: Evidence, arm: ArmEvidence) -> dict[str, Any]:
    verdict = evidence.verdict
    is_winner = arm.key == verdict.winner
    versus: dict[str, Any] = {"versus_best": None, "versus_best_test": None}
    if not is_winner:
        if (ours := verdict.comparisons.get(arm.key)) is not None:
            tie = arm.key in verdict.tied or arm.key == verdict.leader
            seeds = _seeds(evidence, arm, "logits")
            versus["versus_best"] = comparison_json(ours, tie=tie, seeds=seeds)
        tested = evidence.confirmation.comparisons if evidence.confirmation else {}
        if (theirs := tested.get(arm.key)) is not None:
            adjusted = theirs.p if theirs.p_adjusted is None else theirs.p_adjusted
            seeds = _seeds(evidence, arm, "test_logits")
            versus["versus_best_test"] = comparison_json(theirs, tie=adjusted >= 0.05, seeds=seeds)
    return arm_json(
        arm,
        validation=evidence.validation,
        test=evidence.test,
        parameters_total=evidence.parameters_total.get(arm.key, 0),
        winner=is_winner,
        versus=versus,
    )


def _seeds(
    evidence: Evidence, arm: ArmEvidence, part: Literal["logits", "test_logits"]
) -> tuple[int, int]:
    """Return the repetitions of the winner and of an arm that were compared."""
    winner = next(one for one in evidence.arms if one.key == evidence.verdict.winner)
    ours, theirs = (getattr(one, part) for one in (winner, arm))
    return len(ours), len(theirs)


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


def _curves(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the learning curve of each trained arm's chosen run."""
    metric = evidence.task.metric
    return [
        {
            "run": arm.runs[0],
            "protocol": arm.key,
            "label": arm.title,
            "n": len(evidence.validation.labels),
            "estimator": f"{metric} on the validation items, once per evaluation of the chosen run",
            "seeds": 1,
            "no_interval": "a curve shows how a run went; the score that counts has its interval",
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
