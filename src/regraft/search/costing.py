"""What the arms of a study cost, measured once in its trials and written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regraft.search.advisor import Admission
from regraft.search.costs import CostModel, measure_forward
from regraft.search.forecasts import cost_key
from regraft.search.trial import Trial, trial

if TYPE_CHECKING:
    from regraft.engine.job import Job
    from regraft.search.arms import Arm
    from regraft.search.surroundings import Surroundings

TRIAL_SHARE = 0.25
"""Share of the budget after which no further candidate is tried: what a slow machine spends on
trials it would lack for the controls, which always run."""


def arm_cost(around: Surroundings, arm: Arm, job: Job, *, again: bool = False) -> CostModel:
    """Return the cost model of an arm.

    Args:
        around: Ledger, clock and backbones.
        arm: The arm.
        job: A run of its first learning rate.
        again: Whether it is the study's second trial of it.
    """
    place, data = arm.backbone or 0, job.data
    bench = around.benches[place]
    forward = around.ledger.decisions.decide(
        around.study,
        f"cost/{place}",
        lambda: {"seconds_per_item": measure_forward(bench)},
    )
    tried = Trial(0.0, 0.0, 0)
    if arm.is_trained:
        measured = around.ledger.decisions.decide(
            around.study, cost_key(arm.key, again=again), lambda: trial(job).to_json()
        )
        tried = Trial(**measured)
    n_validated = sum(len(fold.validation) for fold in data.folds)
    return CostModel(
        feature_pass=float(forward["seconds_per_item"]) * len(data.labels),
        start_seconds=tried.start_seconds,
        epoch_seconds=tried.epoch_seconds,
        peak_memory_bytes=tried.peak_memory_bytes,
        n_train=len(data.labels) - (n_validated if len(data.folds) == 1 else 0),
        n_folds=len(data.folds),
        n_blocks=bench.backbone.n_blocks,
        preflight_seconds=tried.preflight_seconds,
        waiting_bytes=tried.waiting_bytes,
        checkpoint_bytes=tried.checkpoint_bytes,
    )


def has_no_time(around: Surroundings, arm: Arm) -> bool:
    """Whether a candidate is not tried, as trials have had their share of the budget.

    What was tried in an earlier sitting stays tried.
    """
    clock = around.clock
    if arm.role != "candidate" or not arm.is_trained or clock.seconds <= TRIAL_SHARE * clock.budget:
        return False
    decided = around.ledger.decisions.all(around.study)
    return all(one.key != cost_key(arm.key, again=False) for one in decided)


def not_tried(budget: float) -> Admission:
    """Return the terms of an arm for which trials left no time."""
    share = f"{TRIAL_SHARE * budget:.0f} s, a quarter of the budget"
    return Admission(False, f"not tried: the trials of other arms took {share}. Raise the budget.")
