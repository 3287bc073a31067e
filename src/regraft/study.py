"""The study: one question, one budget, one verdict. The flow of the whole system reads here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from regraft.backbones.loading import load_backbone
from regraft.config.loading import validate_data
from regraft.config.spec import resolved
from regraft.config.study import StudySpec, located
from regraft.deploy.keeping import keep_graft
from regraft.deploy.latency import decide_latency
from regraft.deploy.predictor import GraftPredictor
from regraft.deploy.proof import FreshProcess
from regraft.engine.device import choose_device
from regraft.engine.meter import share_of_free
from regraft.evidence.criterion import criterion_of
from regraft.evidence.record import build_record
from regraft.features.store import Cache
from regraft.hashing import digest_json
from regraft.ledger.ledger import Ledger
from regraft.measure.metrics import METRICS
from regraft.report.card import card_markdown
from regraft.report.page import write_report
from regraft.search.account import Account, evidence_of
from regraft.search.arms import Arm, check_depths, check_kinds, study_arms
from regraft.search.bench import Bench, prefix_limit
from regraft.search.beyond import Asides, predict_beyond, read_asides
from regraft.search.clock import Clock
from regraft.search.final import final_evaluation, finalists, weights_of_finalists
from regraft.search.grafting import winner_graft
from regraft.search.label_efficiency import BudgetRun, budget_events, efficiency_arms
from regraft.search.ladder import Ladder
from regraft.search.precision import study_precision
from regraft.search.space import check_space
from regraft.search.surroundings import Surroundings
from regraft.seeds import derive
from regraft.tasks.task import Task, check_validated, read_task

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from regraft.api import Backbone, Protocol
    from regraft.backbones.backbone import Backbone as Encoder
    from regraft.events import Event
    from regraft.tasks.items import Items


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """What few studies set.

    Attributes:
        label_budget: Labels per class of the ladder; None takes all.
        label_budgets: Labels per class of the label-efficiency curve.
        precision: ``auto``, ``fp32`` or ``bf16``.
        name: A name to find the study by.
        robustness: Whether, or how, it is tested on corrupted inputs and outliers.
        source: A path to labelled items of the source domain.
    """

    label_budget: int | None = None
    label_budgets: tuple[int, ...] = ()
    precision: str = "auto"
    name: str = ""
    robustness: bool | Mapping[str, Any] = False
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Sitting:
    """How this sitting drives a study; nothing of it changes the study's id.

    Attributes:
        checkpoint_seconds: Least time between two checkpoints of a run.
        memory_bytes: What the process may hold at most, in training and in solving heads on
            features, which stay on the disk and are read in blocks; None: 60 % of what is free.
        cache_bytes: What the cache may take on the disk; None: a fifth of what is free, 20 GiB at
            most.
        trust_remote_code: Whether a hub model may bring code that is then run.
    """

    checkpoint_seconds: float = 10.0
    memory_bytes: int | None = None
    cache_bytes: int | None = None
    trust_remote_code: bool = False


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

    spec: StudySpec
    pool: Task
    asides: Asides
    ledger: Ledger

    def __init__(
        self,
        task: Task,
        *,
        backbones: Sequence[str | Backbone],
        budget: str | float = "30m",
        protocols: Sequence[str | Protocol] = ("ladder",),
        seed: int = 0,
        seeds: int = 3,
        options: StudyOptions | None = None,
        home: str | Path | None = None,
    ) -> None:
        options = options or StudyOptions()
        data = {
            "task": dict(task.asked),
            "backbones": [one if isinstance(one, str) else one.reference for one in backbones],
            "budget": budget,
            "protocols": [one if isinstance(one, str) else one.reference for one in protocols],
            "seed": seed,
            "seeds": seeds,
            "label_budget": options.label_budget,
            "label_budgets": list(options.label_budgets),
            "precision": options.precision,
            "name": options.name,
            "robustness": options.robustness,
            "source": options.source,
        }
        given = {one.reference: one.encoder for one in backbones if not isinstance(one, str)}
        self._begin(validate_data(StudySpec, data, where="study"), task, given, home)

    @classmethod
    def from_spec(
        cls, spec: StudySpec, *, home: str | Path | None = None, sitting: Sitting | None = None
    ) -> Study:
        """Return the study of a study file, its data read.

        Raises:
            ConfigError: A metric, protocol or target is unknown.
            DataError: The data cannot be used.
        """
        study = cls.__new__(cls)
        task = read_task(spec.task, seed=spec.seed)
        study._begin(spec, task, {}, home, sitting)
        return study

    def _begin(
        self,
        spec: StudySpec,
        task: Task,
        given: dict[str, Encoder],
        home: str | Path | None,
        sitting: Sitting | None = None,
    ) -> None:
        """Check what can be checked before anything is written."""
        criterion_of(task)
        self.spec, self.pool = located(spec, Path.cwd()), task
        self.asides = read_asides(self.spec, task)
        self._given, self._sitting = given, sitting or Sitting()
        self.ledger = Ledger.open(None if home is None else Path(home))

    @cached_property
    def task(self) -> Task:
        """The task of the ladder: the pool of labelled items, or a label budget of it.

        Raises:
            DataError: There is nothing to validate on, or the metric is not defined there.
        """
        task = self.pool
        if self.spec.label_budget is not None:
            seed = derive(self.spec.seed, "labels")
            task = task.with_label_budget(self.spec.label_budget, seed=seed)
        check_validated(task)
        return task

    @cached_property
    def id(self) -> str:
        """A digest of its configuration, protocols, backbones and data, test inputs included."""
        return digest_json(
            {
                "study": resolved(self.spec),
                "arms": [[arm.key, arm.role, arm.candidates] for arm in self.arms],
                "task": self.task.fingerprint,
                "pool": self.pool.identity,
                "sealed": self.pool.sealed.digest,
                "backbones": [[one.identity, one.preprocess.spec] for one in self.backbones],
                **self.asides.identity,
            }
        )[:16]

    @cached_property
    def backbones(self) -> list[Encoder]:
        """The backbones, loaded."""
        trusted = self._sitting.trust_remote_code
        return [
            self._given.get(one) or load_backbone(one, trust_remote_code=trusted)
            for one in self.spec.backbones
        ]

    @cached_property
    def arms(self) -> list[Arm]:
        """The protocols to run, with their learning rates.

        Raises:
            BackboneError: A backbone takes another kind of input than the data are.
            ConfigError: A protocol is unknown, or names a block that its backbone does not have.
        """
        folds = self.task.folds
        n_train = len(folds[0].train) if folds else len(self.task.development)
        arms = study_arms(self.spec.protocols, self.spec.backbones, n_train=n_train)
        check_kinds(self.pool.kind, self.backbones)
        check_depths(arms, self.backbones)
        return arms

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
            check_space(self.ledger.home, self.arms, self.backbones)
            clock = Clock(self.ledger, study, spec.budget)
            around = self.surroundings(clock)
            ladder = Ladder(around, self.task)
            later = bool(spec.label_budgets or spec.robustness)
            verdict = yield from ladder.events(self.arms, seeds=spec.seeds, more_follows=later)
            self.ledger.decisions.decide(study, "verdict", verdict.to_json)
            budget_runs = yield from self._budget_runs(ladder, around)
            yield from weights_of_finalists(ladder, verdict, self.ledger)
            inputs, scored = self.pool.sealed.inputs, finalists(ladder.outcomes, verdict)
            final, points = final_evaluation(
                self.ledger,
                study,
                task=self.pool,
                benches=self._benches(inputs, around.device),
                finalists=scored,
                budget_runs=budget_runs,
                beyond=predict_beyond(around, self.asides, self.task, inputs, scored, verdict),
            )
            clock.save()
            self._keep(
                Account(
                    ledger=self.ledger,
                    study=study,
                    spec=spec,
                    task=self.task,
                    benches=around.benches,
                    outcomes=ladder.outcomes,
                    verdict=verdict,
                    final=final,
                    points=points,
                    seconds=clock.seconds,
                )
            )
            clock.save()

    def surroundings(
        self, clock: Clock, *, device: str | None = None, prefix_bytes: float | None = None
    ) -> Surroundings:
        """Return what every run of the study shares; features and prefixes are computed once.

        Where a run is run again, `device` and `prefix_bytes` are those of then.
        """
        device, study, limit = device or choose_device(), clock.study, prefix_bytes
        if limit is None:
            limit = prefix_limit(self.ledger, study, self._cache)
        benches = self._benches(self.pool.development, device, limit)
        precision = study_precision(
            self.ledger, study, benches, self.task, asked=self.spec.precision, device=device
        )
        return Surroundings(
            ledger=self.ledger,
            study=study,
            benches=[bench.at(precision) for bench in benches],
            clock=clock,
            seed=self.spec.seed,
            precision=precision,
            device=device,
            checkpoint_seconds=self._sitting.checkpoint_seconds,
            memory_bytes=self._sitting.memory_bytes or share_of_free(device),
        )

    @property
    def _cache(self) -> Cache:
        return Cache(self.ledger.home / "cache", most_bytes=self._sitting.cache_bytes)

    def _benches(self, items: Items, device: str, limit: float | None = None) -> list[Bench]:
        cache = self._cache
        return [Bench(items, b, cache, device=device, most_bytes=limit) for b in self.backbones]

    def _budget_runs(
        self, ladder: Ladder, around: Surroundings
    ) -> Generator[Event, str | None, list[BudgetRun]]:
        if not self.spec.label_budgets:
            return []
        return (
            yield from budget_events(
                around,
                efficiency_arms(ladder.standing, METRICS[self.task.metric]),
                self.pool,
                budgets=self.spec.label_budgets,
                seeds=self.spec.seeds,
                seed=derive(self.spec.seed, "labels"),
            )
        )

    def _keep(self, account: Account) -> None:
        """Write the record and the graft, prove it in a fresh process, free what lost."""
        winner = account.winner
        backbone = self.backbones[winner.arm.backbone or 0]
        folder = self.ledger.home / "grafts" / self.id
        decide_latency(account, backbone)
        evidence, trusted = evidence_of(account), self._sitting.trust_remote_code
        with FreshProcess(backbone.reference, trust_remote_code=trusted) as fresh:
            record = build_record(evidence)
            record["best"] |= {"graft": str(folder), "backbone": backbone.reference}
            row = next(one for one in record["arms"] if one["winner"])
            graft = winner_graft(
                self.ledger,
                winner,
                backbone,
                self.task,
                temperature=account.temperature,
                metrics={"validation": row["validation"], "test": row["test"]},
                card=card_markdown(record),
            )
            items, metric = account.final.items, self.task.metric
            proof = keep_graft(folder, graft, backbone, items, metric=metric, fresh=fresh)
        record["best"]["proof"] = proof
        self.ledger.studies.save_record(self.id, record)
        kept = finalists(account.outcomes, account.verdict)
        self.ledger.runs.keep_states(self.id, {one.run for o in kept for one in o.repetitions})
