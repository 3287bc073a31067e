"""The study: one question, one budget, one verdict. The flow of the whole system reads here."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from regraft.backbones.loading import load_backbone
from regraft.config.loading import validate_data
from regraft.config.spec import resolved
from regraft.config.study import StudySpec
from regraft.deploy.predictor import GraftPredictor
from regraft.deploy.proof import PROVED_ITEMS, prove
from regraft.engine.device import choose_device, choose_precision
from regraft.evidence.arm import ArmEvidence, Part
from regraft.evidence.best import temperature_of
from regraft.evidence.movement import movement
from regraft.evidence.record import BudgetPoint, Evidence, build_record
from regraft.evidence.task_card import task_card
from regraft.evidence.verdict import confirm
from regraft.features.store import Cache
from regraft.hashing import digest_json
from regraft.ledger.grafts import write_graft
from regraft.ledger.ledger import Ledger
from regraft.measure.metrics import METRICS
from regraft.report.card import card_markdown
from regraft.report.page import write_report
from regraft.search.arms import Arm, study_arms
from regraft.search.bench import Bench
from regraft.search.clock import Clock
from regraft.search.final import Final, arm_logits, finalists, open_sealed, run_logits
from regraft.search.grafting import describe, winner_graft
from regraft.search.label_efficiency import BudgetRun, budget_events, efficiency_arms
from regraft.search.ladder import ArmOutcome, Ladder, arm_result
from regraft.seeds import derive
from regraft.tasks.task import Task, read_task

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.events import Event
    from regraft.evidence.verdict import Verdict
    from regraft.tasks.items import Items

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """What few studies set.

    Attributes:
        label_budget: Labels per class of the ladder; None takes all.
        label_budgets: Labels per class of the label-efficiency curve.
        precision: ``auto``, ``fp32`` or ``bf16``.
        name: A name to find the study by.
    """

    label_budget: int | None = None
    label_budgets: tuple[int, ...] = ()
    precision: str = "auto"
    name: str = ""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A finished study.

    Attributes:
        study: Its id.
        record: All of its evidence, plain JSON.
        home: The ledger's folder.
    """

    study: str
    record: dict[str, Any]
    home: Path

    @property
    def verdict(self) -> str:
        """The verdict in one sentence."""
        return str(self.record["verdict"]["sentence"])

    @property
    def best(self) -> GraftPredictor:
        """The winner's graft, attached to its backbone."""
        return GraftPredictor.load(
            self.record["best"]["graft"], backbone=self.record["best"]["backbone"]
        )

    def report(self, path: str | Path) -> Path:
        """Write the report as one HTML file and return its path."""
        return write_report(self.record, Path(path))


@final
class Study:
    """One question under one budget, resumable at any moment.

    Example:
        >>> task = Task.read("photos/", metric="macro_f1")  # doctest: +SKIP
        >>> Study(task, backbones=["facebook/dinov2-small"], budget="30m").run()  # doctest: +SKIP
    """

    def __init__(
        self,
        task: Task,
        *,
        backbones: Sequence[str | Backbone],
        budget: str | float = "30m",
        protocols: Sequence[str] = ("ladder",),
        seed: int = 0,
        seeds: int = 3,
        options: StudyOptions | None = None,
        home: str | Path | None = None,
    ) -> None:
        options = options or StudyOptions()
        self._given = {
            one.reference: one for one in backbones if not isinstance(one, str)
        }
        data = {
            "task": {"data": task.intake.source, "metric": task.metric, "target": task.target},
            "backbones": [one if isinstance(one, str) else one.reference for one in backbones],
            "budget": budget,
            "protocols": list(protocols),
            "seed": seed,
            "seeds": seeds,
            "label_budget": options.label_budget,
            "label_budgets": list(options.label_budgets),
            "precision": options.precision,
            "name": options.name,
        }
        self.spec: StudySpec = validate_data(StudySpec, data, where="study")
        self.pool = task
        self.ledger = Ledger.open(None if home is None else Path(home))

    @classmethod
    def from_spec(cls, spec: StudySpec, *, home: Path | None = None) -> Study:
        """Return the study of a study file, its data read.

        Raises:
            ConfigError: A metric, protocol or target is unknown.
            DataError: The data cannot be used.
        """
        task = read_task(spec.task, seed=derive(spec.seed, "split"))
        study = cls(task, backbones=spec.backbones, home=home)
        study.spec = spec
        return study

    @cached_property
    def task(self) -> Task:
        """The task of the ladder: the pool of labelled items, or a label budget of it."""
        if self.spec.label_budget is None:
            return self.pool
        return self.pool.with_label_budget(
            self.spec.label_budget, seed=derive(self.spec.seed, "labels")
        )

    @cached_property
    def id(self) -> str:
        """The study's id: a digest of its configuration and its data, the test part's inputs included."""
        return digest_json(
            {
                "study": resolved(self.spec),
                "task": self.task.fingerprint,
                "pool": self.pool.fingerprint,
                "sealed": self.pool.sealed.digest,
                "backbones": [backbone.digest for backbone in self.backbones],
            }
        )[:16]

    @cached_property
    def backbones(self) -> list[Backbone]:
        """The backbones, loaded."""
        return [self._given.get(one) or load_backbone(one) for one in self.spec.backbones]

    @cached_property
    def arms(self) -> list[Arm]:
        """The protocols to run, with their learning rates."""
        folds = self.task.folds
        n_train = len(folds[0].train) if folds else len(self.task.development)
        return study_arms(self.spec.protocols, self.spec.backbones, n_train=n_train)

    def register(self) -> None:
        """Write the study into the ledger, if it is not there."""
        self.ledger.studies.create(
            self.id, name=self.spec.name or self.id, configuration=resolved(self.spec)
        )

    def run(self) -> Result:
        """Run to the end, or go on where an earlier sitting was interrupted.

        Raises:
            BudgetError: The budget does not hold even the controls.
            LockedError: Another process drives this study.
        """
        for _ in self.events():
            pass
        return self.result()

    def result(self) -> Result:
        """Return what a finished study left."""
        record = self.ledger.studies.record(self.id)
        if record is None:
            raise AssertionError("a study that ran to the end has a record")
        return Result(self.id, record, self.ledger.home)

    def events(self) -> Generator[Event, str | None, None]:
        """Yield the events of every run; pausing is not asking for the next one.

        From top to bottom: runs under the budget, the verdict on validation, runs at other label
        budgets, the one opening of the sealed part, the record, the graft and its proof.
        """
        study, spec = self.id, self.spec
        self.register()
        with self.ledger.lock(study):
            if self.ledger.studies.record(study) is not None:
                return
            clock = Clock(self.ledger, study, spec.budget)
            benches = self.benches()
            ladder = self._ladder(self.task, benches, clock)
            verdict = yield from ladder.events(self.arms, seeds=spec.seeds)
            self.ledger.decisions.decide(study, "verdict", lambda: _verdict_json(verdict))
            budget_runs = yield from self._budget_runs(ladder, benches, clock)
            final, points = self._final(ladder, verdict, budget_runs)
            clock.save()
            evidence = self._evidence(ladder, verdict, final, points, benches, clock)
            record = build_record(evidence)
            self._keep(record, ladder, verdict, final, evidence.temperature)
            clock.save()

    def benches(self) -> list[Bench]:
        """The backbones with all labelled items, their features and prefixes shared by every run."""
        return self._benches(self.pool.development)

    def _benches(self, items: Items) -> list[Bench]:
        cache = Cache(self.ledger.home / "cache")
        return [Bench(items, backbone, cache) for backbone in self.backbones]

    def _ladder(self, task: Task, benches: Sequence[Bench], clock: Clock) -> Ladder:
        device = choose_device()
        return Ladder(
            ledger=self.ledger,
            study=self.id,
            task=task,
            benches=benches,
            clock=clock,
            seed=self.spec.seed,
            precision=choose_precision(self.spec.precision, device),
            device=device,
        )

    def _budget_runs(
        self, ladder: Ladder, benches: Sequence[Bench], clock: Clock
    ) -> Generator[Event, str | None, list[BudgetRun]]:
        if not self.spec.label_budgets:
            return []
        return (
            yield from budget_events(
                efficiency_arms(ladder.outcomes, METRICS[self.task.metric]),
                self.pool,
                budgets=self.spec.label_budgets,
                seeds=self.spec.seeds,
                seed=derive(self.spec.seed, "labels"),
                make_ladder=lambda task: self._ladder(task, benches, clock),
            )
        )

    def _final(
        self, ladder: Ladder, verdict: Verdict, budget_runs: Sequence[BudgetRun]
    ) -> tuple[Final, list[BudgetPoint]]:
        """Predict the sealed inputs with all that is to be scored; then, once, open the labels."""
        benches = self._benches(self.pool.sealed.inputs)
        chosen = finalists(ladder.outcomes, verdict)
        logits = {
            one.arm.key: arm_logits(self.ledger, one, benches, self.task) for one in chosen
        }
        grouped: dict[tuple[str, int, int], list[np.ndarray[Any, Any]]] = {}
        for run in budget_runs:
            scores = run_logits(
                self.ledger, run.run, run.protocol, benches[run.backbone], self.task
            )
            grouped.setdefault((run.arm, run.per_class, run.n_labels), []).append(scores)
        points = [
            BudgetPoint(arm, per_class, n, np.stack(all_scores))
            for (arm, per_class, n), all_scores in grouped.items()
        ]
        return open_sealed(self.ledger, self.id, self.pool, logits), points

    def _evidence(
        self,
        ladder: Ladder,
        verdict: Verdict,
        final: Final,
        points: Sequence[BudgetPoint],
        benches: Sequence[Bench],
        clock: Clock,
    ) -> Evidence:
        task, seed = self.task, derive(self.spec.seed, "evidence")
        done = {o.arm.key: o for o in ladder.outcomes if o.is_done}
        winner = done[verdict.winner]
        rows = winner.repetitions[0].arrays["rows"]
        labels = task.development.labels[rows]
        bench = benches[winner.arm.backbone or 0]
        data = bench.run_data(task)
        return Evidence(
            study=self._study_json(winner, clock),
            task=task,
            task_card=task_card(task, features=data.features()[data.rows]),
            arms=[self._arm(o, final, benches) for o in ladder.outcomes],
            validation=Part(labels, task.costs, seed),
            verdict=verdict,
            confirmation=confirm(
                verdict,
                [arm_result(done[key], logits) for key, logits in final.logits.items()],
                final.items.labels,
                metric=task.metric,
                costs=task.costs,
                seed=seed,
            ),
            test=Part(final.items.labels, task.costs, seed),
            test_items=final.items,
            temperature=temperature_of(winner.repetitions[0].arrays["logits"], labels),
            budget_points=points,
            histories={
                o.repetitions[0].run: o.repetitions[0].summary["stages"][0]["history"]
                for o in done.values()
                if o.repetitions[0].summary["stages"]
            },
            decisions=self._decisions(),
            configuration=resolved(self.spec),
            reproduce=self._reproduce(winner),
            openings=final.openings,
            parameters_total={
                o.arm.key: _parameters(benches[o.arm.backbone]) if o.arm.backbone is not None else 0
                for o in ladder.outcomes
            },
        )

    def _arm(
        self, outcome: ArmOutcome, final: Final, benches: Sequence[Bench]
    ) -> ArmEvidence:
        runs = [*outcome.tuning, *outcome.repetitions[1:]]
        first = outcome.repetitions[0] if outcome.is_done else None
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
            tuning_runs=tuple(one.run for one in outcome.tuning),
            summaries=tuple(one.summary for one in outcome.repetitions),
            seconds_total=sum(float(one.summary.get("seconds", 0.0)) for one in runs),
            logits=None
            if first is None
            else np.stack([one.arrays["logits"] for one in outcome.repetitions]),
            test_logits=final.logits.get(outcome.arm.key),
            movement=self._movement(outcome, benches),
            preflight=self._preflight(outcome),
        )

    def _movement(self, outcome: ArmOutcome, benches: Sequence[Bench]) -> dict[str, Any] | None:
        if not outcome.is_done or outcome.arm.is_from_scratch:
            return None
        arrays = outcome.repetitions[0].arrays
        if "features" not in arrays:
            return None
        data = benches[outcome.arm.backbone or 0].run_data(self.task)
        before = data.features()[data.rows][arrays["rows"]]
        return movement(before, arrays["features"], seed=derive(self.spec.seed, "movement"))

    def _preflight(self, outcome: ArmOutcome) -> tuple[str, ...]:
        runs = [*outcome.repetitions[:1], *outcome.tuning[:1]]
        for event in self.ledger.runs.events(runs[0].run) if runs else ():
            if event["kind"] == "preflight":
                return (*event["lines"], *event["problems"])
        return ()

    def _study_json(self, winner: ArmOutcome, clock: Clock) -> dict[str, Any]:
        row = self.ledger.studies.get(self.id)
        backbone = self.backbones[winner.arm.backbone or 0]
        configuration = self.ledger.runs.get(winner.repetitions[0].run).configuration
        return {
            "id": self.id,
            "name": row.name,
            "created": row.created,
            "seconds": clock.seconds,
            "budget_seconds": self.spec.budget,
            "backbone": ", ".join(one.reference for one in self.backbones),
            "backbone_notes": list(backbone.notes),
            "data": self.spec.task.data,
            "seed": self.spec.seed,
            "precision": configuration["precision"],
            "device": configuration["device"],
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }

    def _decisions(self) -> list[dict[str, Any]]:
        return [
            {
                "seq": one.seq,
                "key": one.key,
                "text": str(one.value.get("reason") or one.value),
            }
            for one in self.ledger.decisions.all(self.id)
        ]

    def _reproduce(self, winner: ArmOutcome) -> list[str]:
        return [
            f"regraft verify {winner.repetitions[0].run}",
            f"regraft report {self.id}",
        ]

    def _keep(
        self,
        record: dict[str, Any],
        ladder: Ladder,
        verdict: Verdict,
        final: Final,
        temperature: float,
    ) -> None:
        """Write the graft, prove it in a fresh process, store the record, free what lost."""
        winner = next(o for o in ladder.outcomes if o.arm.key == verdict.winner)
        backbone = self.backbones[winner.arm.backbone or 0]
        folder = self.ledger.home / "grafts" / self.id
        record["best"]["graft"] = str(folder)
        record["best"]["backbone"] = backbone.reference
        row = next(one for one in record["arms"] if one["winner"])
        sample = np.linspace(
            0, len(final.items) - 1, min(PROVED_ITEMS, len(final.items))
        ).astype(int)
        items = final.items.subset(sample)
        graft = winner_graft(
            self.ledger,
            winner,
            Bench(items, backbone, Cache(self.ledger.home / "cache")),
            self.task,
            temperature=temperature,
            metrics={"validation": row["validation"], "test": row["test"]},
            card=card_markdown(record),
        )
        write_graft(folder, graft)
        expected = GraftPredictor(graft, backbone).logits(items)
        proof = prove(
            folder, items, expected, metric=self.task.metric, backbone=backbone.reference
        )
        record["best"]["proof"] = {
            "items": proof.items,
            "largest_difference": proof.largest_difference,
            "metric": proof.metric,
            "value": proof.value,
        }
        self.ledger.studies.save_record(self.id, record)
        self.ledger.runs.keep_states(
            self.id, {one.run for o in finalists(ladder.outcomes, verdict) for one in o.repetitions}
        )


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("regraft", "torch", "transformers", "peft", "scikit-learn", "numpy")
    return {**{name: version(name) for name in names}, "python": sys.version.split()[0]}


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": verdict.kind,
        "winner": verdict.winner,
        "tied": list(verdict.tied),
        "reason": "; ".join(verdict.reasons),
    }


def _parameters(bench: Bench) -> int:
    return sum(p.numel() for p in bench.backbone.module.parameters())


