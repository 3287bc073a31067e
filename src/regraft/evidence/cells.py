"""Cells of the transfer-limits analysis: an adapted backbone on a task, what moved, what it won."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.verdict import WITHOUT_TRANSFER
from regraft.evidence.words import number
from regraft.measure.comparison import paired_bootstrap
from regraft.measure.limits import FEWEST, transfer_limits
from regraft.measure.metrics import METRICS, softmax
from regraft.measure.resampling import mean_score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.gathered import Evidence
    from regraft.measure.limits import Correlation

ALPHA = 0.05
FEWEST_DECIDABLE = 5
"""Even a perfect order of four cells has p = 2/4! = .083."""
CELL_BY = (
    "movement: paired, unbiased MMD² of the first run with a jackknife interval; gain: paired "
    "bootstrap of the validated items, in per cent of the control's value"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One adapted arm of a study.

    Attributes:
        study: Id of its study; `data` and `backbone` are the cell's task and model.
        arm: Key of the arm; `title` is its name for people.
        mmd2: How far its pooled features moved; `low` and `high` are its 95 % ends.
        gain: Relative performance gain over the control without transfer, in per cent.
        gain_low: Lower end of its 95 % interval, the control's value held fixed.
        gain_high: Upper end.
        over: The control: from scratch on the same backbone, else the best without transfer.
        steps: Share of its steps after which it had converged; None where that is unknown.
        n: Validated items.
        seeds: Repetitions of the arm.
        estimator: How movement and gain were found.
        warning: Why the interval of the gain is to be taken with care, or None.
    """

    study: str
    data: str
    backbone: str
    arm: str
    title: str
    mmd2: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float
    over: str
    steps: float | None
    n: int
    seeds: int
    estimator: str = CELL_BY
    warning: str | None = None


def cells_of(evidence: Evidence) -> list[Cell]:
    """Return the cells of a study: its adapted arms that have a control without transfer."""
    found = []
    for arm in evidence.arms:
        control = _control(evidence, arm)
        if arm.movement is None or arm.logits is None or control is None:
            continue
        cell = _cell(evidence, arm, control)
        if cell is not None:
            found.append(cell)
    return found


def _control(evidence: Evidence, arm: ArmEvidence) -> ArmEvidence | None:
    """Return from scratch on the same backbone where it ran, else the best without transfer."""
    known = [
        one for one in evidence.arms if one.role == WITHOUT_TRANSFER and one.logits is not None
    ]
    same = [one for one in known if one.backbone is not None and one.backbone == arm.backbone]
    metric, part = evidence.task.metric, evidence.validation

    def value(one: ArmEvidence) -> float:
        if one.logits is None:
            raise AssertionError("these have predicted")
        scored = mean_score(metric, softmax(one.logits), part.labels, costs=part.costs)
        return METRICS[metric].sign * scored

    return max(same or known, key=value, default=None)


def _cell(evidence: Evidence, arm: ArmEvidence, control: ArmEvidence) -> Cell | None:
    metric, part = evidence.task.metric, evidence.validation
    if arm.movement is None or arm.logits is None or control.logits is None:
        raise AssertionError("a cell has moved and is scored")
    reference = mean_score(metric, softmax(control.logits), part.labels, costs=part.costs)
    compared = paired_bootstrap(
        metric,
        softmax(arm.logits),
        softmax(control.logits),
        part.labels,
        costs=part.costs,
        seed=part.seed,
    )
    moved = [float(arm.movement[name]) for name in ("mmd2", "low", "high")]
    gains = [compared.difference, compared.low, compared.high]
    if not reference or not np.isfinite([*moved, *gains]).all():
        return None
    first = arm.summaries[0] if arm.summaries else {}
    sooner = first.get("convergence")
    gain, gain_low, gain_high = (100 * one / abs(reference) for one in gains)
    return Cell(
        study=evidence.study["id"],
        data=evidence.study["data"],
        backbone=evidence.study["backbones"][arm.backbone or 0],
        arm=arm.key,
        title=arm.title,
        mmd2=moved[0],
        low=moved[1],
        high=moved[2],
        gain=gain,
        gain_low=gain_low,
        gain_high=gain_high,
        over=control.title,
        steps=sooner["step"] / sooner["of_steps"] if sooner else None,
        n=len(part.labels),
        seeds=len(arm.logits),
        warning=compared.warning,
    )


def limits_json(cells: Sequence[Cell], *, seed: int) -> dict[str, Any]:
    """Return the cells, and how movement goes with gain and with the speed of convergence.

    Args:
        cells: Any number of them.
        seed: Of bootstrap and random orders.
    """
    timed = [one for one in cells if one.steps is not None]
    return {
        "cells": [asdict(one) for one in cells],
        "gain": correlation_json(
            [one.mmd2 for one in cells], [one.gain for one in cells], seed=seed
        ),
        "speed": correlation_json(
            [one.mmd2 for one in timed], [one.steps or 0.0 for one in timed], seed=seed
        ),
    }


def correlation_json(
    movement: Sequence[float], other: Sequence[float], *, seed: int
) -> dict[str, Any]:
    """Return Spearman's and Kendall's correlations, their power, and a verdict in words.

    The verdict is ``undecidable`` below 5 cells or where a side does not vary, else ``shown`` where
    the exact permutation p of Spearman's ρ is below 0.05, else ``not shown``.
    """
    n = len(movement)
    if n < FEWEST:
        return {"n": n, "verdict": "undecidable", "text": _too_few(n)}
    found = transfer_limits(np.array(movement), np.array(other), seed=seed)
    rho = found.spearman
    power = {
        "critical": found.critical if np.isfinite(found.critical) else None,
        "detectable": found.detectable,
    }
    both = {"spearman": _plain(rho, n), "kendall": _plain(found.kendall, n)}
    if n < FEWEST_DECIDABLE:
        verdict, text = "undecidable", _too_few(n)
    elif not np.isfinite(rho.value):
        verdict, text = "undecidable", f"undecidable: over {n} cells one side does not vary"
    else:
        verdict = "shown" if rho.p < ALPHA else "not shown"
        text = f"{_said(rho)}: {verdict}; {power_text(n, **power)}"
    return {"n": n, "verdict": verdict, "text": text, **both, **power}


def power_text(n: int, *, critical: float | None, detectable: float | None) -> str:
    """Return what so many cells can show.

    Example:
        >>> power_text(10, critical=0.648, detectable=0.8)
        '10 cells show |ρ| ≥ .648 only, and find a true .800 with probability .8'
    """
    if critical is None:
        return f"{n} cells can show no correlation"
    finds = (
        "find not even a true .99 with probability .8"
        if detectable is None
        else f"find a true {number(detectable)} with probability .8"
    )
    return f"{n} cells show |ρ| ≥ {number(critical)} only, and {finds}"


def _said(one: Correlation) -> str:
    ends = f"[{number(one.low)}, {number(one.high)}]"
    p = "< .001" if one.p < 0.001 else f"= {number(one.p)}"
    return f"ρ = {number(one.value)} {ends}, p {p} ({one.estimator})"


def _too_few(n: int) -> str:
    cells = "1 cell" if n == 1 else f"{n} cells"
    return f"undecidable: {cells}; even a perfect order of 4 has p = .083, so it takes 5 or more"


def _plain(one: Correlation, n: int) -> Mapping[str, Any]:
    plain = {key: _finite(value) for key, value in asdict(one).items()}
    why = {} if plain["low"] is not None else {"no_interval": "one side does not vary"}
    return {**plain, "n": n, "seeds": 1, **why}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
