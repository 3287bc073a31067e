"""Whether an arm's training passes are compiled: measured, written down, replayed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from regraft.engine.adapted import build
from regraft.engine.batches import Loader, epoch_batches
from regraft.engine.job import fold_stages
from regraft.engine.objective import Objective
from regraft.engine.randomness import RunRandomness
from regraft.search.trial import small_job
from regraft.seeds import derive

if TYPE_CHECKING:
    import numpy as np

    from regraft.engine.job import Job
    from regraft.search.surroundings import Surroundings

_AT_BEST = 2.0
"""No compiled step is expected to be more than so many times as fast."""

_COMPILING_SECONDS = {"cuda": 20.0, "cpu": 40.0}
"""What compiling takes at least, for a model of a few blocks; measured before it decides."""

_WORTH = {"cuda": 1.05, "cpu": 1.3}
"""Gain from which a pass is compiled; on a CPU one that no noise makes or hides, as two studies
there are meant to come to identical numbers."""


def arm_compiles(around: Surroundings, arm: str, job: Job, *, seconds: float) -> bool:
    """Return whether the runs of an arm are compiled.

    Decided once by measurement (`compare`) and written down with its figures; not even measured
    where compiling takes longer than it could save.

    Args:
        around: Ledger and device.
        arm: The arm's key.
        job: One of its runs.
        seconds: What one of its runs is expected to train.
    """
    if seconds * (1 - 1 / _AT_BEST) <= _COMPILING_SECONDS[_device(job)]:
        return False
    value = around.ledger.decisions.decide(
        around.study, f"compile/{arm}", lambda: compare(job, seconds)
    )
    return bool(value["compiled"])


def compare(job: Job, seconds: float) -> dict[str, Any]:
    """Time a compiled training pass against a plain one, as a decision.

    Args:
        job: A run.
        seconds: What it is expected to train.

    Returns:
        compiled: Whether compiling repays itself within one run.
        seconds_plain, seconds_compiled: Of one step; None where it cannot be compiled.
        seconds_compiling: What compiling took.
        reason: Why.
    """
    try:
        plain, fast, took = _measure(small_job(job))
    except RuntimeError as error:  # what it does not know, or no compiler on this machine
        why = str(error).strip().partition("\n")[0]
        return _decision(None, None, None, f"it cannot be compiled: {why}", compiled=False)
    gain = plain / fast
    saved = seconds * (1 - 1 / gain)
    reason = (
        f"a compiled step is {gain:.2f} times as fast: {saved:.0f} s saved of {seconds:.0f} s, for "
        f"{took:.0f} s of compiling"
    )
    worth = gain >= _WORTH[_device(job)] and saved > took
    return _decision(plain, fast, took, reason, compiled=worth)


def _decision(
    plain: float | None, fast: float | None, took: float | None, reason: str, *, compiled: bool
) -> dict[str, Any]:
    return {
        "compiled": compiled,
        "seconds_plain": plain,
        "seconds_compiled": fast,
        "seconds_compiling": took,
        "reason": reason,
    }


def _device(job: Job) -> str:
    return job.device.partition(":")[0]


def _measure(job: Job) -> tuple[float, float, float]:
    """Return the seconds of a plain step and a compiled one, and of compiling.

    Raises:
        RuntimeError: It cannot be compiled.
    """
    stage = fold_stages(job.data, 1)[0]
    with RunRandomness(derive(job.seed, "torch"), job.device).active():
        model = build(job, stage)
        lowest = model.trains.lowest_depth
        model.set_modes(lowest)
        loader = Loader(job)
        depth, size = loader.source(lowest, epoch=0).depth, int(job.protocol["fit"]["batch_size"])
        batches = epoch_batches(
            stage.train,
            size=size,
            seed=job.seed,
            draw=(stage.name, 0),
            lengths=loader.lengths(),
        )

        def pass_seconds(objective: Objective) -> float:
            """Return the mean seconds of a step over all batches."""
            started = time.perf_counter()
            for i, rows in enumerate(batches):
                _step(job, objective, loader, rows, depth=depth, draw=(stage.name, 0, i))
            for _, parameter in model.named_parameters():
                parameter.grad = None
            return (time.perf_counter() - started) / len(batches)

        plain = Objective(replace(job, compiled=False), stage, model)
        compiled = Objective(replace(job, compiled=True), stage, model)
        pass_seconds(plain)
        seconds = min(pass_seconds(plain), pass_seconds(plain))
        began = time.perf_counter()
        pass_seconds(compiled)
        took = time.perf_counter() - began - seconds * len(batches)
        return seconds, min(pass_seconds(compiled), pass_seconds(compiled)), max(took, 0.0)


def _step(
    job: Job,
    objective: Objective,
    loader: Loader,
    rows: np.ndarray[Any, Any],
    *,
    depth: int,
    draw: tuple[str, int, int],
) -> None:
    objective.accumulate(loader.training(rows, depth=depth, draw=draw), len(rows))
    if job.device.startswith("cuda"):
        torch.cuda.synchronize()
