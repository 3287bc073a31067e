"""What the evidence needs to know of an arm, and its row in the record."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.measure.intervals import Interval, interval
from regraft.measure.metrics import METRICS, softmax

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.measure.comparison import Comparison

SHOWN_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "auroc",
    "log_loss",
    "brier",
    "ece",
)


@dataclass(frozen=True, slots=True)
class RunCost:
    """What a trained run was predicted to cost, and cost.

    Attributes:
        run: Its id.
        predicted_seconds: For the epochs that it took; seconds: what they took.
        predicted_memory_bytes: Most memory of the trial; peak_memory_bytes: of the run, None where
            it dropped out.
        dropped_at: The step at which it dropped out, and of how many; None of a run that ended.
    """

    run: str
    predicted_seconds: float
    seconds: float
    predicted_memory_bytes: int
    peak_memory_bytes: int | None = None
    dropped_at: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the plain form."""
        at = None if self.dropped_at is None else list(self.dropped_at)
        return {**asdict(self), "dropped_at": at}


@dataclass(frozen=True, slots=True, eq=False)
class ArmEvidence:
    """One arm of a study, as it ended.

    Attributes:
        key: Name of the arm in the study; `protocol` and `title` are the protocol's.
        role: Control without transfer, control without fine-tuning, or candidate.
        status: ``done``, ``skipped``, ``eliminated`` or ``failed``; `reason` says why.
        settings: What a reader wants to know of the protocol as it ran.
        runs: Ids of the repetitions; the first stands for the arm.
        tuning_runs: Ids of the runs that chose the learning rate.
        summaries: Summaries of the repetitions.
        seconds_total: Wall seconds of all its runs, tuning included.
        estimated_seconds: The advisor's estimate of one run.
        logits: Out-of-sample validation logits, shape (seeds, n, C); None where nothing ran.
        test_logits: Logits on the sealed part, shape (seeds, m, C); None where it was not scored.
        test_seconds: What its predictions for the sealed part took.
        costs: What each run that trained alone was predicted to cost, and cost.
        movement: How far the features moved, or None.
        preflight: The lines of the first run's pre-flight; `preflight_warnings` what it warned of.
        backbone: Index of its backbone in the study; None for controls that need none.
    """

    key: str
    protocol: str
    title: str
    role: str
    status: str
    reason: str
    settings: Mapping[str, Any]
    estimated_seconds: float
    runs: tuple[str, ...] = ()
    tuning_runs: tuple[str, ...] = ()
    summaries: tuple[Mapping[str, Any], ...] = ()
    seconds_total: float = 0.0
    logits: np.ndarray[Any, Any] | None = None
    test_logits: np.ndarray[Any, Any] | None = None
    test_seconds: float | None = None
    costs: tuple[RunCost, ...] = ()
    movement: Mapping[str, Any] | None = None
    preflight: tuple[str, ...] = field(default=())
    preflight_warnings: tuple[str, ...] = field(default=())
    backbone: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Labels of the items on which arms are scored, with what scoring needs."""

    labels: np.ndarray[Any, Any]
    costs: np.ndarray[Any, Any] | None
    seed: int

    def intervals(self, logits: np.ndarray[Any, Any]) -> dict[str, Interval]:
        """Return every shown metric of logits (seeds, n, C) with its interval."""
        probabilities = softmax(logits)
        names = [*SHOWN_METRICS, *(["mean_cost"] if self.costs is not None else [])]
        return {
            name: interval(name, probabilities, self.labels, costs=self.costs, seed=self.seed)
            for name in names
        }


def interval_json(one: Interval, *, seeds: int | None = None) -> dict[str, Any]:
    """Return the plain form of an interval; figures that do not exist are null.

    Args:
        one: The interval.
        seeds: Repetitions whose mean it is of; 0 where nothing was trained.
    """
    ends = {"low": _finite(one.low), "high": _finite(one.high)}
    missing = None in ends.values()
    return {
        "value": _finite(one.value),
        **ends,
        "n": one.n,
        "estimator": one.estimator,
        "seeds": seeds,
        "warning": one.warning,
        "no_interval": (one.warning or "it does not exist on these items") if missing else None,
    }


def comparison_json(
    one: Comparison, *, tie: bool, seeds: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Return the plain form of a paired comparison with the winner.

    Args:
        one: The comparison, of the winner minus the other.
        tie: Whether the two cannot be told apart.
        seeds: Repetitions of the two.
    """
    ends = {"low": _finite(one.low), "high": _finite(one.high)}
    return {
        "difference": _finite(one.difference),
        **ends,
        "p": one.p,
        "p_adjusted": one.p_adjusted,
        "n": one.n,
        "estimator": one.estimator,
        "seeds": None if seeds is None else list(seeds),
        "tie": tie,
        "warning": one.warning,
        "no_interval": "too few items to resample" if None in ends.values() else None,
    }


def arm_json(
    arm: ArmEvidence,
    *,
    validation: Part,
    test: Part | None,
    parameters_total: int,
    winner: bool,
    versus: Mapping[str, Mapping[str, Any] | None],
) -> dict[str, Any]:
    """Return an arm's row in the record.

    Args:
        arm: The arm.
        validation: Validation labels.
        test: Labels of the sealed part, once opened.
        parameters_total: Parameters of the backbone and a head.
        winner: Whether the verdict names it.
        versus: Plain comparisons with the winner, ``versus_best`` and ``versus_best_test``.
    """
    first: Mapping[str, Any] = arm.summaries[0] if arm.summaries else {}
    scored = None if arm.logits is None else validation.intervals(arm.logits)
    tested = None
    if test is not None and arm.test_logits is not None:
        tested = test.intervals(arm.test_logits)
    return {
        "key": arm.key,
        "protocol": arm.protocol,
        "title": arm.title,
        "role": arm.role,
        "status": arm.status,
        "reason": arm.reason,
        "run": arm.runs[0] if arm.runs else None,
        "runs": list(arm.runs),
        "tuning_runs": list(arm.tuning_runs),
        "n_seeds": len(arm.runs),
        "settings": dict(arm.settings),
        "validation": _all_json(scored, arm.logits),
        "test": _all_json(tested, arm.test_logits),
        "seconds": first.get("seconds"),
        "seconds_total": arm.seconds_total,
        "test_seconds": arm.test_seconds,
        "estimated_seconds": arm.estimated_seconds,
        "costs": [one.to_json() for one in arm.costs],
        "peak_memory_bytes": first.get("peak_memory_bytes"),
        "joules": first.get("joules"),
        "stacked": first.get("stacked"),
        "compiled": bool(first.get("compiled")),
        "examples_seen": first.get("examples_seen"),
        "activations": first.get("activations"),
        "labels_used": first.get("labels_used"),
        "parameters_trained": first.get("parameters_trained"),
        "parameters_total": parameters_total,
        "convergence": _convergence_json(first),
        "movement": None if arm.movement is None else dict(arm.movement),
        "preflight": list(arm.preflight),
        "winner": winner,
        **versus,
    }


def _convergence_json(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how soon a run converged, and what stands behind it."""
    found = summary.get("convergence")
    if not found:
        return None
    stages = summary.get("stages") or []
    return {
        **found,
        "n": len(stages[0].get("history", ())) if stages else None,
        "n_is": "evaluations",
        "seeds": 1,
        "estimator": "first evaluation on validation with 95 % of the run's gain in the metric",
        "no_interval": "read from the chosen run",
    }


def higher_is_better(metric: str) -> bool:
    """Return whether more of a metric is better."""
    return METRICS[metric].higher_is_better


def _all_json(
    scored: Mapping[str, Interval] | None, logits: np.ndarray[Any, Any] | None
) -> dict[str, Any] | None:
    if scored is None or logits is None:
        return None
    return {name: interval_json(one, seeds=len(logits)) for name, one in scored.items()}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
