"""Whether the runs of an arm train together: measured, written down, replayed."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from regraft.engine.adapted import Adapted, build
from regraft.engine.batches import Loader, epoch_batches
from regraft.engine.job import fold_stages
from regraft.engine.meter import Meter
from regraft.engine.objective import Objective
from regraft.engine.randomness import RunRandomness
from regraft.engine.stack import Member, Stack
from regraft.errors import RegraftError
from regraft.events import Started, Step
from regraft.search.drive import recorded
from regraft.search.trial import small_job
from regraft.seeds import derive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from regraft.engine.job import Job
    from regraft.events import Event
    from regraft.search.race import Runner
    from regraft.search.surroundings import Surroundings

_PASSES = 6
_ENOUGH_SECONDS = 0.5
"""Each way is timed so often, the first time only to warm up; twice where that takes so long."""

_WORTH = {"cuda": 1.15, "cpu": 2.0}
"""Gain from which runs train together. Two studies on a CPU are meant to come to identical numbers,
so that there only a gain that no noise makes or hides may decide."""

_BUSY_SECONDS = {"cuda": math.inf, "cpu": 0.02}
"""A step that takes longer keeps the processor busy as it is: no gain is looked for."""

_NO_RULE = "There is a performance drop"  # torch, of an operation that vmap loops over


class _AloneError(Exception):
    """Runs cannot train together; says why."""


def joint_stack(
    around: Surroundings, key: str, jobs: Sequence[Job], *, step_seconds: float, run_bytes: int
) -> Stack | None:
    """Return the stack of those runs of an arm that have not ended, or None where they train alone.

    Decided once by measurement (`compare`) and written down with both figures; not measured where
    a step is so long that nothing can be gained.

    Args:
        around: Ledger and device.
        key: What the decision is kept under, after ``stack/``.
        jobs: The runs; they differ in their rate alone, or in their seed.
        step_seconds: Of one step of one of them, by its trial.
        run_bytes: Most memory of one of them, by its trial.
    """
    if len(jobs) < 2 or step_seconds > _BUSY_SECONDS[_device(jobs[0])]:
        return None

    def decision() -> dict[str, Any]:
        ledger, study = around.ledger, around.study
        left = [job for job in jobs if recorded(ledger, study, job.run) is None]
        fits = len(left) * run_bytes <= around.memory_bytes
        found = compare(left) if fits else _alone("there is not the memory for all at once")
        return {"runs": [job.run for job in left], **found}

    value = around.ledger.decisions.decide(around.study, f"stack/{key}", decision)
    return Stack(value["runs"], apart=_apart(jobs)) if value["together"] > 1 else None


def compare(jobs: Sequence[Job]) -> dict[str, Any]:
    """Time a step of runs one by one against one step of all together, as a decision.

    Returns:
        together: How many train together, 1 where they train alone.
        seconds_alone, seconds_together: Of one step of all of them; None where not measured.
        reason: Why.
    """
    if len(jobs) < 2:
        return _alone("there are no two left")
    try:
        alone, together = _measure(small_job(jobs[0]), len(jobs), apart=_apart(jobs))
    except (_AloneError, RegraftError, torch.OutOfMemoryError) as error:
        return _alone(str(error).partition("\n")[0])
    gain = alone / together
    worth = _WORTH[_device(jobs[0])]
    return {
        "together": len(jobs) if gain >= worth else 1,
        "seconds_alone": alone,
        "seconds_together": together,
        "reason": f"a step of {len(jobs)} runs together is {gain:.2f} times as fast as one by one; "
        f"from {worth:g} on they train together",
    }


def _apart(jobs: Sequence[Job]) -> bool:
    """Whether runs have other seeds, and so batches of their own."""
    return len({job.seed for job in jobs}) > 1


def _device(job: Job) -> str:
    return job.device.partition(":")[0]


def _alone(why: str) -> dict[str, Any]:
    reason = f"the runs train one by one: {why}"
    return {"together": 1, "seconds_alone": None, "seconds_together": None, "reason": reason}


def in_turn(runners: Sequence[Runner], share: float) -> Generator[Event, str | None, None]:
    """Advance candidates to a share of their steps, always the one that is furthest behind.

    So they stand at the same step when they ask for its gradient, resumed ones after catching up.
    """
    flows = {runner: runner.advance(share) for runner in runners}
    steps = dict.fromkeys(runners, -1)
    answers: dict[Runner, str | None] = {}
    while flows:
        runner = min(flows, key=lambda one: steps[one])
        try:
            event = flows[runner].send(answers.pop(runner, None))
        except StopIteration:
            del flows[runner]
            if runner.stack is not None and runner.outcome is not None:
                runner.stack.end(runner.run, runner.step)
            continue
        if isinstance(event, Started):
            steps[runner] = event.resumed_at_step
        elif isinstance(event, Step):
            steps[runner] = event.step
        answers[runner] = yield event


def _measure(job: Job, n: int, *, apart: bool) -> tuple[float, float]:
    """Return the seconds of n steps of a job one by one, and of n of its like together.

    Args:
        job: One of the runs, on a few items.
        n: How many they are.
        apart: Whether each has batches of its own.

    Raises:
        _AloneError: They cannot train together.
    """
    if apart and job.data.kind == "text":
        raise _AloneError("texts of other seeds differ in length")
    stack = Stack([job.run, *(f"{job.run}/{i}" for i in range(1, n))], apart=apart)
    job = replace(job, stack=stack)
    stage = fold_stages(job.data, 1)[0]
    with RunRandomness(derive(job.seed, "torch"), job.device).active():
        model = build(job, stage)
        _check(model)
        lowest = model.trains.lowest_depth
        model.set_modes(lowest)
        loader, objective = Loader(job), Objective(job, stage, model)
        depth, size = loader.source(lowest, epoch=0).depth, int(job.protocol["fit"]["batch_size"])
        rows = epoch_batches(stage.train, size=size, seed=job.seed, draw=(stage.name, 0))[0]
        member = Member(
            job,
            stage.name,
            model,
            Meter(job.device),
            objective,
            step=lambda: 0,
            batch=lambda _, at: loader.training(rows, depth=at, draw=(stage.name, 0, 0)),
            parameters=model.trained(),
        )
        n_batches = n if apart else 1  # a member that is stood in for loads none

        def jointly() -> torch.Tensor:
            for _ in range(n_batches - 1):
                member.batch(0, depth)
            return member.take_gradient(depth)

        ways = (lambda: objective.accumulate(member.batch(0, depth), len(rows)), jointly)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=_NO_RULE)
                alone, together = _fastest(ways, model, job.device)
        except (RuntimeError, ValueError, UserWarning) as error:  # no rule, random numbers, memory
            raise _AloneError(str(error)) from error
    return n * alone, together


def _check(model: Adapted) -> None:
    if model.learns_statistics:
        raise _AloneError("normalisation learns its statistics")
    if f"backbone.{model.backbone.token_table}.weight" in model.trains.names:
        raise _AloneError("they train the rows of a token embedding")
    if not model.trains.names:
        raise _AloneError("nothing trains")


def _fastest(ways: Sequence[Callable[[], Any]], model: Adapted, device: str) -> tuple[float, ...]:
    """Return the least seconds of each way, timed in turn: other work on the machine slows all."""
    seconds: list[tuple[float, ...]] = []
    while len(seconds) < 2 or (
        len(seconds) < _PASSES and sum(map(sum, seconds)) < len(ways) * _ENOUGH_SECONDS
    ):
        seconds.append(tuple(_timed(way, model, device) for way in ways))
    return tuple(min(took) for took in zip(*seconds[1:], strict=True))


def _timed(way: Callable[[], Any], model: Adapted, device: str) -> float:
    started = time.perf_counter()
    way()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    took = time.perf_counter() - started
    for _, parameter in model.named_parameters():
        parameter.grad = None
    return took
