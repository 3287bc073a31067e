"""What moved at each depth of the finalists, read from the weights that they are scored with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.engine.depths import (
    adapted_with,
    depth_features,
    looked_at_depths,
    weight_changes,
)
from regraft.engine.job import Job
from regraft.evidence.draws import drawn
from regraft.evidence.movement import depth_movement
from regraft.seeds import derive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.ledger.ledger import Ledger
    from regraft.search.bench import Bench
    from regraft.search.outcomes import ArmOutcome
    from regraft.tasks.task import Task

MOST_ITEMS = 256


def moved_depths(
    ledger: Ledger,
    outcomes: Sequence[ArmOutcome],
    benches: Sequence[Bench],
    task: Task,
    *,
    seed: int,
) -> dict[str, list[dict[str, Any]]]:
    """Return `depth_movement` by arm, of those that adapted a pretrained backbone.

    The items are at most 256 of those that validated, the same for all arms, in fp32. Under
    cross-validation the weights that are looked at have been fitted on them too.

    Args:
        ledger: Where the weights lie.
        outcomes: Arms whose first run's weights are kept, as those of the finalists are.
        benches: The backbones with all labelled items.
        task: The task of the ladder.
        seed: Of the draw of items and of the permutations.
    """
    before: dict[int, dict[int, np.ndarray[Any, Any]]] = {}
    found = {}
    for outcome in outcomes:
        place = outcome.arm.backbone
        if place is None or not outcome.arm.is_trained or outcome.arm.is_from_scratch:
            continue
        bench = benches[place]
        job = _job(ledger, outcome, bench, task)
        rows = drawn_rows(outcome.repetitions[0].arrays["rows"], seed=seed)
        result = ledger.runs.result(job.run)
        if result is None:
            raise AssertionError(f"run {job.run} has no result")
        model = adapted_with(job, result.load_state())
        depths = looked_at_depths(bench.backbone)
        if place not in before:
            pretrained = bench.backbone.copy()
            pretrained.module.to(job.device)
            before[place] = depth_features(job, pretrained, rows, depths)
        moved = depth_movement(
            before[place],
            depth_features(job, model.backbone, rows, depths),
            weight_changes(bench.backbone, model, depths),
            n_blocks=bench.backbone.n_blocks,
            seed=derive(seed, "movement"),
        )
        if moved:
            found[outcome.arm.key] = moved
    return found


def drawn_rows(rows: np.ndarray[Any, Any], *, seed: int) -> np.ndarray[Any, Any]:
    """Return at most 256 of some rows, drawn by the seed alone, ascending."""
    chosen = drawn(len(rows), MOST_ITEMS, seed=seed, name="depths")
    return np.sort(rows[chosen])


def _job(ledger: Ledger, outcome: ArmOutcome, bench: Bench, task: Task) -> Job:
    run = outcome.repetitions[0].run
    configuration = ledger.runs.get(run).configuration
    return Job(
        run=run,
        protocol=outcome.protocol,
        backbone=bench.backbone,
        data=bench.run_data(task),
        seed=int(configuration["seed"]),
        precision="fp32",
        device=configuration["device"],
    )
