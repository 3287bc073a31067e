"""What a study's record is made of, gathered from its runs, its ledger and the opened test part."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.config.spec import resolved
from regraft.evidence.arm import ArmEvidence, Part
from regraft.evidence.best import temperature_of
from regraft.evidence.gathered import Evidence
from regraft.evidence.movement import movement
from regraft.evidence.task_card import task_card
from regraft.evidence.verdict import confirm
from regraft.features.rows import chosen
from regraft.search.depths import moved_depths
from regraft.search.final import finalists
from regraft.search.forecasts import run_costs
from regraft.search.grafting import describe
from regraft.search.outcomes import ArmOutcome, arm_result
from regraft.seeds import derive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.config.study import StudySpec
    from regraft.evidence.gathered import BudgetPoint
    from regraft.evidence.verdict import Verdict
    from regraft.ledger.ledger import Ledger
    from regraft.search.bench import Bench
    from regraft.search.final import Final
    from regraft.tasks.task import Task

LATENCY_DECISION = "latency"
"""Key of the decision that holds what the latency was measured to be."""

_DEPENDED_ON = ("regraft", "torch", "transformers", "peft", "scikit-learn", "numpy")


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """A study whose runs have ended and whose sealed part is open.

    Attributes:
        study: Its id; `spec` is what was asked.
        task: The task of the ladder.
        benches: The backbones with all labelled items.
        outcomes: What became of each arm.
        verdict: Decided on validation; `final` is the sealed part.
        points: Test logits of the label-efficiency runs.
        seconds: Wall seconds of the study.
    """

    ledger: Ledger
    study: str
    spec: StudySpec
    task: Task
    benches: Sequence[Bench]
    outcomes: Sequence[ArmOutcome]
    verdict: Verdict
    final: Final
    points: Sequence[BudgetPoint]
    seconds: float

    @property
    def winner(self) -> ArmOutcome:
        """The arm that the verdict names."""
        return next(one for one in self.outcomes if one.arm.key == self.verdict.winner)

    @property
    def winner_labels(self) -> np.ndarray[Any, Any]:
        """Labels of the validated items."""
        rows = self.winner.repetitions[0].arrays["rows"]
        labels: np.ndarray[Any, Any] = self.task.development.labels[rows]
        return labels

    @property
    def temperature(self) -> float:
        """The winner's temperature, fitted on validation."""
        return temperature_of(self.winner.repetitions[0].arrays["logits"], self.winner_labels)


def evidence_of(account: Account) -> Evidence:
    """Return all that the record is made of."""
    task, final = account.task, account.final
    seed = derive(account.spec.seed, "evidence")
    done = {o.arm.key: o for o in account.outcomes if o.is_done}
    bench = account.benches[account.winner.arm.backbone or 0]
    data = bench.run_data(task)
    return Evidence(
        study=_study(account),
        task=task,
        task_card=task_card(
            task, features=chosen(data.features(), data.rows), n_seeds=account.spec.seeds
        ),
        arms=[_arm(account, o) for o in account.outcomes],
        validation=Part(account.winner_labels, task.costs, seed),
        verdict=account.verdict,
        confirmation=confirm(
            account.verdict,
            [arm_result(done[key], logits) for key, logits in final.logits.items()],
            final.items.labels,
            metric=task.metric,
            costs=task.costs,
            seed=seed,
        ),
        test=Part(final.items.labels, task.costs, seed),
        test_items=final.items,
        temperature=account.temperature,
        budget_points=account.points,
        histories={
            o.repetitions[0].run: o.repetitions[0].summary["stages"][0]["history"]
            for o in done.values()
            if o.repetitions[0].summary["stages"]
        },
        decisions=_decisions(account),
        configuration=resolved(account.spec),
        reproduce=_reproduce(account),
        openings=final.openings,
        parameters_total={o.arm.key: _parameters(account, o) for o in account.outcomes},
        held_up=final.beyond.held_up,
        source=final.beyond.source,
        test_features=final.benches[account.winner.arm.backbone or 0].features,
        latency=_latency(account),
        depths=_depths(account),
    )


def _reproduce(account: Account) -> list[str]:
    """Return the commands; a backbone that is Python code is run only when the user names it."""
    backbone = account.benches[account.winner.arm.backbone or 0].backbone.reference
    named = f" --backbone {shlex.quote(backbone)}" if backbone.startswith("python:") else ""
    run = account.winner.repetitions[0].run
    return [f"regraft verify {run}{named}", f"regraft report {account.study}"]


def _arm(account: Account, outcome: ArmOutcome) -> ArmEvidence:
    runs = [*outcome.tuning, *outcome.repetitions[1:]]
    logits = [one.arrays["logits"] for one in outcome.repetitions]
    return ArmEvidence(
        key=outcome.arm.key,
        protocol=outcome.arm.protocol,
        title=outcome.arm.title,
        role=outcome.arm.role,
        status=outcome.status,
        reason=outcome.reason,
        settings=describe(outcome.protocol),
        estimated_seconds=outcome.admission.estimated_seconds,
        runs=tuple(one.run for one in outcome.repetitions),
        tuning_runs=(*(one.run for one in outcome.tuning), *outcome.dropped),
        summaries=tuple(one.summary for one in outcome.repetitions),
        seconds_total=sum(float(one.summary.get("seconds", 0.0)) for one in runs)
        + sum(one.seconds for one in outcome.dropped.values()),
        logits=np.stack(logits) if logits else None,
        test_logits=account.final.logits.get(outcome.arm.key),
        test_seconds=account.final.seconds.get(outcome.arm.key),
        costs=run_costs(account.ledger.decisions.all(account.study), outcome, account.outcomes),
        movement=_movement(account, outcome),
        preflight=_preflight(account, outcome, "lines", "problems"),
        preflight_warnings=_preflight(account, outcome, "warnings"),
        backbone=outcome.arm.backbone,
    )


def _movement(account: Account, outcome: ArmOutcome) -> dict[str, Any] | None:
    """Return how far the features of the validation items moved; None where nothing was adapted."""
    if not outcome.is_done or outcome.arm.is_from_scratch:
        return None
    arrays = outcome.repetitions[0].arrays
    if "features" not in arrays:
        return None
    data = account.benches[outcome.arm.backbone or 0].run_data(account.task)
    before = data.features()[data.rows[arrays["rows"]]]
    return movement(before, arrays["features"], seed=derive(account.spec.seed, "movement"))


def _depths(account: Account) -> dict[str, list[dict[str, Any]]]:
    return moved_depths(
        account.ledger,
        finalists(account.outcomes, account.verdict),
        account.benches,
        account.task,
        seed=account.spec.seed,
    )


def _preflight(account: Account, outcome: ArmOutcome, *keys: str) -> tuple[str, ...]:
    """Return what pre-flight said of the arm's first run; studies of old have no warnings."""
    runs = [*outcome.repetitions[:1], *outcome.tuning[:1]]
    for event in account.ledger.journal.events(runs[0].run) if runs else ():
        if event["kind"] == "preflight":
            return tuple(line for key in keys for line in event.get(key, ()))
    return ()


def _study(account: Account) -> dict[str, Any]:
    row = account.ledger.studies.get(account.study)
    backbone = account.benches[account.winner.arm.backbone or 0].backbone
    configuration = account.ledger.runs.get(account.winner.repetitions[0].run).configuration
    return {
        "id": account.study,
        "name": row.name,
        "created": row.created,
        "seconds": account.seconds,
        "budget_seconds": account.spec.budget,
        "backbone": backbone.reference,
        "backbones": [one.backbone.reference for one in account.benches],
        "backbone_notes": list(backbone.notes),
        "data": account.spec.task.data,
        "seed": account.spec.seed,
        "precision": configuration["precision"],
        "device": configuration["device"],
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {
        **{name: version(name) for name in _DEPENDED_ON},
        "python": sys.version.split()[0],
    }


def _decisions(account: Account) -> list[dict[str, Any]]:
    return [
        {"seq": one.seq, "key": one.key, "text": _told(one.value)}
        for one in account.ledger.decisions.all(account.study)
    ]


def _told(value: Mapping[str, Any]) -> str:
    """Return a decision's reason; of a measurement, what was measured."""
    if value.get("reason"):
        return str(value["reason"])
    parts = []
    for name, one in value.items():
        shown = f"{one:.3g}" if isinstance(one, float) else str(one)
        parts.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def _latency(account: Account) -> dict[str, Any] | None:
    decided = account.ledger.decisions.all(account.study)
    return next(
        (dict(one.value["interval"]) for one in decided if one.key == LATENCY_DECISION), None
    )


def _parameters(account: Account, outcome: ArmOutcome) -> int:
    if outcome.arm.backbone is None:
        return 0
    module = account.benches[outcome.arm.backbone].backbone.module
    return sum(parameter.numel() for parameter in module.parameters())
