"""How often the interval of a paired difference holds the true difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from coverage_draws import Row, costs_of, skill_for, stratified, verdict

from regraft.measure.comparison import comparison_of, comparison_warning
from regraft.measure.contest import compare_items
from regraft.measure.metrics import METRICS, score, softmax
from regraft.measure.resampling import mean_score, resampled_scores

NEAR = {0.5: (0.0, 0.03, 0.1), 0.75: (0.0, 0.03, 0.1), 0.95: (0.0, 0.02, 0.1)}
"""Accuracy of the better system, and how much less the other has."""
SHARED = (0.5, 0.9)
"""Share of the noise's variance that two systems have in common: alike, and nearly the same."""
SIZES = (30, 100, 300, 1000)
SEEDS = (1, 3)
RESAMPLES = 600
ROUNDING = 1e-12  # a true difference of 0 may lie on the end of an interval of counts
# metric: items, trials of one seed and of three
CELLS: dict[str, tuple[tuple[int, ...], tuple[int, int]]] = {
    "accuracy": ((30, 60, 100, 300, 1000), (800, 600)),
    "balanced_accuracy": (SIZES[:3], (200, 0)),
    "macro_f1": (SIZES, (300, 100)),
    "weighted_f1": (SIZES[:3], (200, 0)),
    "log_loss": (SIZES, (400, 200)),
    "brier": (SIZES[:3], (300, 0)),
    "mean_cost": (SIZES[:3], (300, 0)),
    "auroc": (SIZES[:3], (150, 0)),
    "ece": ((100, 1000), (60, 0)),
}
BY_MCNEMAR = "accuracy (McNemar)"


class Cell(NamedTuple):
    """The better system, the share of noise in common, and how much less accurate the other is."""

    near: float
    shared: float
    less: float

    @property
    def first(self) -> tuple[float, float, float]:
        return (self.near, self.shared, -1.0)

    @property
    def text(self) -> str:
        return f"{self.near:g} - {self.less:g}, shared {self.shared:g}"


ALL = [Cell(near, shared, less) for near in NEAR for shared in SHARED for less in NEAR[near]]


def systems(
    n: int, seeds: int, skills: dict[float, float], random: np.random.Generator
) -> tuple[dict[tuple[float, float, float], np.ndarray], np.ndarray]:
    """Return probabilities (seeds, n, 3) of every system of every cell, and their labels.

    What systems do not share is half their own and half the seed's.
    """
    labels = stratified(n)
    common = random.normal(size=(n, 3))
    drawn = {}
    for key in [key for cell in ALL for key in (cell.first, tuple(cell))]:
        if key in drawn:
            continue
        near, shared, less = key
        own, seed = random.normal(size=(n, 3)), random.normal(size=(seeds, n, 3))
        noise = np.sqrt(shared) * common + np.sqrt((1 - shared) / 2) * (own + seed)
        skill = skills[round(near - max(less, 0.0), 3)]
        drawn[key] = softmax(noise + skill * np.eye(3)[labels])
    return drawn, labels


def truths(metric: str, skills: dict[float, float]) -> dict[Cell, float]:
    """Return the true differences, the sign turned where less is better."""
    labels = stratified(400_000)
    noise, right = np.random.default_rng(5).normal(size=(400_000, 3)), np.eye(3)[labels]

    def value(accuracy: float) -> float:
        p = softmax(noise + skills[accuracy] * right)
        return METRICS[metric].sign * score(metric, p, labels, costs=costs_of(metric))

    known = {accuracy: value(accuracy) for accuracy in skills}
    return {one: known[one.near] - known[round(one.near - one.less, 3)] for one in ALL}


def differences(*, quick: bool, wanted: Callable[[str], bool]) -> Iterator[Row]:
    accuracies = {round(near - less, 3) for near, known in NEAR.items() for less in known}
    skills = {one: skill_for("accuracy", one) for one in sorted(accuracies)}
    for metric, (sizes, trials) in CELLS.items():
        if not wanted(metric):
            continue
        known = truths(metric, skills)
        for seeds, planned in zip(SEEDS, trials, strict=True):
            count = planned // (5 if quick else 1)
            for n in (sizes[:3] if quick else sizes) if count else ():
                yield from covered(metric, n, seeds, count, skills, known)


def covered(
    metric: str,
    n: int,
    seeds: int,
    trials: int,
    skills: dict[float, float],
    known: dict[Cell, float],
) -> Iterator[Row]:
    """Yield a row for each cell; all cells of a trial are drawn together."""
    kinds = [metric, BY_MCNEMAR] if metric == "accuracy" and seeds == 1 else [metric]
    found: dict[tuple[str, Cell], list[tuple[bool, bool, float]]] = {
        (kind, cell): [] for kind in kinds for cell in ALL
    }
    for trial in range(trials):
        drawn, labels = systems(n, seeds, skills, np.random.default_rng([n, seeds, trial]))
        ends = compared(metric, drawn, labels, seed=trial)
        if len(kinds) > 1:
            ends |= by_mcnemar(drawn, labels)
        for (kind, cell), (low, high, warning) in ends.items():
            held = low - ROUNDING <= known[cell] <= high + ROUNDING
            found[kind, cell].append((held, warning is not None, high - low))
    for (kind, cell), results in found.items():
        yield row(kind, cell, n, seeds, np.array(results, dtype=float))


Ends = dict[tuple[str, Cell], tuple[float, float, str | None]]


def compared(
    metric: str,
    drawn: dict[tuple[float, float, float], np.ndarray],
    labels: np.ndarray,
    *,
    seed: int,
) -> Ends:
    """Compare as a study does: all systems on the same resamples."""
    costs = costs_of(metric)
    draws = resampled_scores(
        metric, list(drawn.values()), labels, costs=costs, resamples=RESAMPLES, seed=seed
    )
    by_key = dict(zip(drawn, draws, strict=True))
    values = {key: mean_score(metric, p, labels, costs=costs) for key, p in drawn.items()}
    ends: Ends = {}
    for cell in ALL:
        first, second = cell.first, tuple(cell)
        warning = comparison_warning(metric, drawn[first], drawn[second], labels, costs=costs)
        one = comparison_of(
            metric,
            (values[first], values[second]),
            (by_key[first], by_key[second]),
            n=len(labels),
            warning=warning,
        )
        ends[metric, cell] = one.low, one.high, one.warning
    return ends


def by_mcnemar(drawn: dict[tuple[float, float, float], np.ndarray], labels: np.ndarray) -> Ends:
    """Return the intervals that `regraft compare` shows beside McNemar's test."""
    ends: Ends = {}
    for cell in ALL:
        two = {"first": drawn[cell.first], "second": drawn[tuple(cell)]}
        (one,) = compare_items("accuracy", two, labels).pairs
        if one.low is None or one.high is None:
            raise AssertionError("McNemar's test comes with an interval")
        ends[BY_MCNEMAR, cell] = one.low, one.high, one.warning
    return ends


def row(kind: str, cell: Cell, n: int, seeds: int, results: np.ndarray) -> Row:
    hits, warned, lengths = results[:, 0], results[:, 1] > 0, results[:, 2]
    share, shown = float(hits.mean()), int((~warned).sum())
    alone = float(hits[~warned].mean()) if shown else float("nan")
    return {
        "what": f"{kind}, {seeds} seed{'s' * (seeds > 1)}",
        "near": cell.text,
        "n": n,
        "coverage": share,
        "error": float(np.sqrt(share * (1 - share) / len(hits))),
        "length": float(lengths.mean()),
        "warned": float(warned.mean()),
        "alone": alone if shown else None,
        "held": int(hits[~warned].sum()),
        "shown": shown,
        "verdict": verdict(alone, shown, len(hits)),
    }
