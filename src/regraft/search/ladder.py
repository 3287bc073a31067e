"""The ladder: arm after arm as the advisor admits them, then repetitions of what ties."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, final

from regraft.engine.job import Job
from regraft.engine.meter import used_bytes
from regraft.evidence.gates import dropped_arms
from regraft.evidence.verdict import Verdict
from regraft.hashing import digest_json
from regraft.measure.metrics import METRICS
from regraft.search.advisor import (
    SCRATCH_SHARE,
    Admission,
    Purse,
    contenders,
    order,
    purse_of,
)
from regraft.search.arms import Arm, with_fit
from regraft.search.compiling import arm_compiles
from regraft.search.costing import arm_cost, has_no_time, not_tried
from regraft.search.drive import Outcome, adjustments, drive, recorded
from regraft.search.forecasts import RACE, mistimed, run_costs
from regraft.search.foresight import foresee_prefixes
from regraft.search.gating import run_pairs, verdict_of, with_trained_off_switches
from regraft.search.halving import racing_share
from regraft.search.outcomes import ArmOutcome
from regraft.search.race import Runner, dropped_out, grouped, race
from regraft.search.repeating import with_time
from regraft.search.stacking import in_turn, joint_stack
from regraft.seeds import derive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from regraft.engine.stack import Stack
    from regraft.events import Event
    from regraft.search.costs import CostModel
    from regraft.search.surroundings import Surroundings
    from regraft.tasks.task import Task

NUMERICS_VERSION = 7
"""Part of every run's id; raised only when the same inputs give other numbers."""


@final
class Ladder:
    """Runs the arms of a study on one task. `events` is the flow; `outcomes` fills as it goes.

    At its end `standing` are those of which no optional ingredient was dropped.
    """

    def __init__(self, around: Surroundings, task: Task) -> None:
        self._around, self._task = around, task
        self._data = [bench.run_data(task) for bench in around.benches]
        self.outcomes: list[ArmOutcome] = []
        self.standing: list[ArmOutcome] = []
        self._costs: dict[str, CostModel] = {}

    def events(
        self, arms: Sequence[Arm], *, seeds: int, more_follows: bool = False
    ) -> Generator[Event, str | None, Verdict]:
        """Run the ladder; return the verdict on the validation items.

        Args:
            arms: What to run.
            seeds: How often contenders run, with as many seeds.
            more_follows: Whether the budget must also hold a label-efficiency curve.

        Raises:
            BudgetError: The budget does not hold even the controls.
        """
        arms, left_out = self._tried(arms)
        is_race = len(self._task.folds) == 1
        around = self._around
        purse = purse_of(
            arms,
            budget=around.clock.budget,
            raced=is_race,
            more_follows=more_follows,
            seeds=seeds,
        )
        remaining = around.clock.remaining
        foresee_prefixes(arms, self._costs, purse, around.benches, remaining=remaining)
        for arm in order(arms, self._costs):
            if arm.role != "candidate":
                yield from self._tune(self._admitted(arm, purse))
        self._measure_again([arm for arm in arms if arm.role == "candidate"])
        for arm in order(arms, self._costs):
            if arm.role == "candidate":
                outcome = self._admitted(arm, purse)
                if not is_race:
                    yield from self._tune(outcome)
        for arm in left_out:
            self._decided(arm, lambda: not_tried(around.clock.budget))
        if is_race:
            yield from self._race(purse.reserved)
        yield from self._repeat(seeds, purse.kept)
        verdict = self.verdict()
        self._note_gates(verdict)
        return verdict

    def _tried(self, arms: Sequence[Arm]) -> tuple[list[Arm], list[Arm]]:
        """Measure what arms cost, controls first; return those, and those it left no time for."""
        left_out = []
        for arm in sorted(arms, key=lambda arm: arm.role == "candidate"):
            if has_no_time(self._around, arm):
                left_out.append(arm)
            else:
                self._costs[arm.key] = self.cost(arm)
        return [arm for arm in arms if arm.key in self._costs], left_out

    def cost(self, arm: Arm, *, again: bool = False) -> CostModel:
        """Return the cost model of an arm, measured in a trial of its first rate and written down.

        Args:
            arm: The arm.
            again: Whether it is the study's second trial of it.
        """
        place, protocol = arm.backbone or 0, arm.candidates[0]
        seed = derive(self._around.seed, "run", 0)
        job = self.job(self.run_id(protocol, place, seed), protocol, place=place, seed=seed)
        return arm_cost(self._around, arm, job, again=again)

    def verdict(self) -> Verdict:
        """Decide on the validation items between the arms that have a result."""
        return verdict_of(self.outcomes, self._task, seed=derive(self._around.seed, "verdict"))

    def run_id(self, protocol: Mapping[str, Any], place: int, seed: int) -> str:
        """Return the id of a run: a digest of all that its numbers depend on."""
        return digest_json(
            {
                "protocol": protocol,
                "task": self._task.fingerprint,
                "backbone": self._around.benches[place].backbone.identity,
                "preprocess": self._around.benches[place].backbone.preprocess.spec,
                "seed": seed,
                "precision": self._around.precision,
                "device": self._around.device.partition(":")[0],
                "numerics": NUMERICS_VERSION,
            }
        )[:24]

    def run(
        self,
        outcome: ArmOutcome,
        protocol: Mapping[str, Any],
        *,
        repetition: int,
        with_weights: bool = False,
        stack: Stack | None = None,
    ) -> Generator[Event, str | None, Outcome]:
        """Run one protocol with one seed, or take what is recorded of it."""
        place = outcome.arm.backbone or 0
        seed = derive(self._around.seed, "run", repetition)
        run = self.run_id(protocol, place, seed)
        self._around.ledger.runs.add(
            self._around.study,
            run,
            protocol=outcome.arm.key,
            role=outcome.arm.role,
            reason=outcome.admission.reason,
            configuration={
                "protocol": dict(protocol),
                "title": outcome.arm.title,
                "backbone": self._around.benches[place].backbone.reference,
                "backbone_digest": self._around.benches[place].backbone.digest,
                "seed": seed,
                "repetition": repetition,
                "precision": self._around.precision,
                "device": self._around.device,
                "labels": len(self._task.development),
            },
        )
        job = replace(self.job(run, protocol, place=place, seed=seed), stack=stack)
        job = replace(job, compiled=self._compiles(outcome, job))
        most = self._seconds_left(outcome)
        return (yield from drive(self._around, job, most_seconds=most, with_weights=with_weights))

    def _compiles(self, outcome: ArmOutcome, job: Job) -> bool:
        """Whether a run is compiled: where that repays itself in what it is expected to train."""
        arm, around = outcome.arm, self._around
        ended = recorded(around.ledger, around.study, job.run)
        if ended or not arm.is_trained or job.stack or arm.key not in self._costs:
            return False
        if job.protocol["unfreeze"] is not None:  # torch would compile anew at every stage
            return False
        racing = [o for o in self.outcomes if o.arm.role == "candidate" and o.admission.admitted]
        is_raced = outcome in racing and len(self._task.folds) == 1
        n = sum(len(one.admitted_candidates()) for one in racing)
        seconds = self._costs[arm.key].run(job.protocol) * (racing_share(n) if is_raced else 1.0)
        return arm_compiles(around, arm.key, job, seconds=seconds)

    def _seconds_left(self, outcome: ArmOutcome) -> float:
        """Return the seconds that an arm may still take: from scratch, a third of the budget."""
        if not outcome.arm.is_from_scratch:
            return math.inf
        runs = [*outcome.tuning, *outcome.repetitions[1:]]
        spent = sum(float(one.summary.get("seconds", 0.0)) for one in runs)
        return SCRATCH_SHARE * self._around.clock.budget - spent

    def job(self, run: str, protocol: Mapping[str, Any], *, place: int, seed: int) -> Job:
        """Return a run as the engine takes it, with what earlier sittings decided for it."""
        around = self._around
        return Job(
            run=run,
            protocol=protocol,
            backbone=around.benches[place].backbone,
            data=self._data[place],
            seed=seed,
            precision=around.precision,
            device=around.device,
            adjustments=adjustments(around.ledger, around.study, run),
            checkpoint_seconds=around.checkpoint_seconds,
            memory_bytes=around.memory_bytes,
        )

    def _admitted(self, arm: Arm, purse: Purse) -> ArmOutcome:
        """Decide on what terms an arm runs, if it does."""
        cost, clock = self._costs[arm.key], self._around.clock
        outcome = self._decided(arm, lambda: purse.terms(arm, cost, remaining=clock.remaining))
        purse.take(arm, outcome.admission, cost)
        return outcome

    def _decided(self, arm: Arm, terms: Callable[[], Admission]) -> ArmOutcome:
        """Write down on what terms an arm runs, unless that was decided before."""
        value = self._around.ledger.decisions.decide(
            self._around.study, f"arm/{arm.key}", lambda: terms().to_json()
        )
        self.outcomes.append(ArmOutcome(arm, Admission(**value)))
        return self.outcomes[-1]

    def _measure_again(self, candidates: Sequence[Arm]) -> None:
        """Try candidates once more where the controls' runs took other times than trials said.

        What else the machine does in a study's first seconds would else decide what it runs.
        """
        ledger, study = self._around.ledger, self._around.study

        def pace() -> dict[str, Any]:
            decisions = ledger.decisions.all(study)
            runs = [
                cost for one in self.outcomes for cost in run_costs(decisions, one, self.outcomes)
            ]
            why = mistimed(runs)
            return {"again": bool(why), "reason": why or "what ran does not belie the trials"}

        if ledger.decisions.decide(study, "pace", pace).get("again"):  # not asked by older versions
            trained = [arm for arm in candidates if arm.is_trained]
            self._costs |= {arm.key: self.cost(arm, again=True) for arm in trained}

    def _tune(self, outcome: ArmOutcome) -> Generator[Event, str | None, None]:
        """Try the admitted learning rates and choose the best on validation."""
        if not outcome.admission.admitted:
            return
        for candidate in outcome.admitted_candidates():
            if outcome.tuning and not self._has_time(outcome, candidate):
                break
            protocol = with_fit(candidate, epochs=outcome.admission.epochs)
            ended = yield from self.run(outcome, protocol, repetition=0)
            outcome.note(candidate, ended, self._task.metric)

    def _race(self, reserved: float) -> Generator[Event, str | None, None]:
        """Run every learning rate of the candidates, the worse dropping out on the way."""
        entries = [
            (outcome, candidate, runner)
            for outcome in self.outcomes
            if outcome.arm.role == "candidate" and outcome.admission.admitted
            for candidate, runner in self._runners(outcome)
        ]
        runners = [runner for _, _, runner in entries]
        metric = self._task.metric
        pairs = run_pairs([(outcome.arm, runner.run) for outcome, _, runner in entries])
        ledger, study = self._around.ledger, self._around.study
        ledger.decisions.decide(study, RACE, self._held)
        yield from race(self._around, runners, metric=metric, reserved=reserved, pairs=pairs)
        dropped = dropped_out(ledger.decisions.all(study), metric)
        for outcome, candidate, runner in entries:
            if runner.outcome is not None:
                outcome.note(candidate, runner.outcome, metric)
            elif runner.run in dropped:
                outcome.dropped[runner.run] = dropped[runner.run]

    def _held(self) -> dict[str, Any]:
        """Return what the process holds, from which the memory of the race's runs is predicted."""
        held, most = used_bytes(self._around.device), self._around.memory_bytes
        return {
            "held_bytes": held,
            "memory_bytes": most if math.isfinite(most) else None,
            "reason": f"{held / 2**30:.2f} GiB are held as the race begins",
        }

    def _runners(self, outcome: ArmOutcome) -> list[tuple[dict[str, Any], Runner]]:
        """Return the learning rates of an arm with their runs, together where that is faster."""
        candidates = outcome.admitted_candidates()
        epochs = outcome.admission.epochs
        asked = [(with_fit(candidate, epochs=epochs), 0) for candidate in candidates]
        runners = self._together(outcome, asked, key=outcome.arm.key)
        return list(zip(candidates, runners, strict=True))

    def _together(
        self, outcome: ArmOutcome, asked: Sequence[tuple[dict[str, Any], int]], *, key: str
    ) -> list[Runner]:
        """Return the runs of an arm, given protocols and repetitions; stacked where that pays."""
        place, jobs = outcome.arm.backbone or 0, list[Job]()
        for protocol, repetition in asked:
            seed = derive(self._around.seed, "run", repetition)
            run = self.run_id(protocol, place, seed)
            jobs.append(self.job(run, protocol, place=place, seed=seed))
        joint = None
        if outcome.arm.is_trained:
            cost = self._costs[outcome.arm.key]
            joint = joint_stack(
                self._around,
                key,
                jobs,
                step_seconds=cost.step(outcome.arm.candidates[0]),
                run_bytes=cost.peak_memory_bytes,
            )
        found = []
        for job, (protocol, repetition) in zip(jobs, asked, strict=True):
            stack = joint if joint is not None and job.run in joint.runs else None
            start = partial(self.run, outcome, protocol, repetition=repetition, stack=stack)
            found.append(Runner(job.run, start, self._around.ledger.journal, stack))
        return found

    def _repeat(self, seeds: int, kept: float) -> Generator[Event, str | None, None]:
        """Repeat with other seeds what ties with the best, while the budget lasts."""
        done = {o.arm.key: o for o in self.outcomes if o.is_done}
        tied = self._around.ledger.decisions.decide(
            self._around.study, "contenders", lambda: {"arms": self._contenders(done)}
        )
        for key in tied["arms"]:
            outcome = done[key]
            asked = [(outcome.protocol, number) for number in range(1, seeds)]
            runners = self._together(outcome, asked, key=f"{key}/seeds")
            numbers = {runner: number for number, runner in enumerate(runners, 1)}
            for group in grouped(runners):
                due = with_time(
                    self._around, outcome, {one: numbers[one] for one in group}, kept=kept
                )
                yield from in_turn(due, 1.0)
                ended = [one.outcome for one in due if one.outcome is not None]
                outcome.repetitions += [one for one in ended if one.status == "done"]

    def _has_time(self, outcome: ArmOutcome, candidate: Mapping[str, Any]) -> bool:
        """Whether an arm that is capped tries one more rate; decided and written down."""
        if not outcome.arm.is_from_scratch:
            return True
        left = self._seconds_left(outcome)
        value = self._around.ledger.decisions.decide(
            self._around.study,
            f"rate/{outcome.arm.key}/{candidate['rate']['peak']:g}",
            lambda: {
                "admitted": left > 0,
                "reason": f"{left:.0f} s of its third of the budget are left",
            },
        )
        return bool(value["admitted"])

    def _contenders(self, done: Mapping[str, ArmOutcome]) -> list[str]:
        """Return what is repeated; ingredients are judged after it, with all seeds, once."""
        seed = derive(self._around.seed, "verdict")
        verdict = verdict_of(self.outcomes, self._task, seed=seed, gated=False)
        tied = [done[key].arm for key in {verdict.leader, *verdict.tied}]
        metric = METRICS[self._task.metric]
        values = {
            key: metric.sign * outcome.repetitions[0].summary["metrics"][metric.name]
            for key, outcome in done.items()
        }
        chosen = contenders(tied, values)
        return [
            arm.key for arm in with_trained_off_switches(chosen, [o.arm for o in done.values()])
        ]

    def _note_gates(self, verdict: Verdict) -> None:
        """Write down what became of each optional ingredient."""
        for gate in verdict.gates:
            value = {"passed": gate.passed, "reason": gate.text}
            self._around.ledger.decisions.decide(
                self._around.study,
                f"gate/{gate.switch.protocol}/{gate.switch.ingredient}",
                partial(dict, value),
            )
        dropped = dropped_arms(verdict.gates)
        self.standing = [one for one in self.outcomes if one.arm.key not in dropped]
