"""What the simulations of coverage draw: predictions and labels of which the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from regraft.measure.metrics import METRICS, score, softmax

Row = dict[str, Any]
Drawn = tuple[np.ndarray, np.ndarray]
Draw = Callable[[int, np.random.Generator], Drawn]

ITEMS = (30, 60, 100, 300, 1000)
SHARES = np.array([0.5, 0.3, 0.2])
COSTS = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [4.0, 2.0, 0.0]])
PROPORTIONS = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "auroc")
VALUES = {"log_loss": (0.1, 0.5, 1.0), "brier": (0.1, 0.5, 1.0), "mean_cost": (0.05, 0.3, 0.7)}
HOLDS, NULL = (0.93, 0.97), 0.06


def verdict(shown: float, n_shown: int, n: int) -> str:
    """Return what is said of a cell by the coverage of what it shows without a warning."""
    if n_shown <= n / 2:
        return "warned"
    return "holds" if HOLDS[0] <= shown <= HOLDS[1] else "misses"


def stratified(n: int) -> np.ndarray:
    """Return labels in fixed shares, as a stratified part has them."""
    counts = np.round(SHARES * n).astype(int)
    counts[0] += n - counts.sum()
    return np.repeat(np.arange(3), counts)


def classified(skill: float, n: int, random: np.random.Generator, *, seeds: int = 1) -> Drawn:
    """Return probabilities (n, 3), or (seeds, n, 3), and labels.

    Several seeds share half of the variance of the noise: they err on the same items.
    """
    labels = stratified(n)
    noise = random.normal(size=(n, 3))
    if seeds > 1:
        noise = np.sqrt(0.5) * (noise + random.normal(size=(seeds, n, 3)))
    return softmax(noise + skill * np.eye(3)[labels]), labels


def calibrated(power: float, n: int, random: np.random.Generator) -> Drawn:
    """Return probabilities p and labels drawn from p^power; below 1 p is overconfident."""
    p = random.dirichlet(np.full(3, 0.5), size=n)
    true = p**power / (p**power).sum(axis=1, keepdims=True)
    labels = (random.random(n)[:, None] > true.cumsum(axis=1)).sum(axis=1)
    return p, np.minimum(labels, 2)


def confidently_wrong(share: float, n: int, random: np.random.Generator) -> Drawn:
    """Return confidences in 0.9 … 1 of which only so many are right: an ECE near one."""
    labels = random.integers(0, 3, size=n)
    guess = np.where(random.random(n) < share, labels, (labels + 1) % 3)
    top = random.uniform(0.9, 1.0, size=n)
    p = np.repeat((1 - top)[:, None] / 2, 3, axis=1)
    p[np.arange(n), guess] = top
    return p, labels


def costs_of(metric: str) -> np.ndarray | None:
    return COSTS if metric == "mean_cost" else None


def skill_for(metric: str, target: float) -> float:
    """Return the skill at which a metric has a value in the population, by bisection."""
    low, high = -9.0, 9.0
    for _ in range(20):
        middle = (low + high) / 2
        drawn = classified(middle, 40_000, np.random.default_rng(0))
        if (score(metric, *drawn, costs=costs_of(metric)) - target) * METRICS[metric].sign < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def populations() -> Iterator[tuple[str, str, Draw]]:
    """Yield metric, what its value is near, and how items are drawn."""
    for metric in (*PROPORTIONS, *VALUES):
        for target in VALUES.get(metric, (0.05, 0.5, 0.95)):
            skill = skill_for(metric, target)
            yield metric, f"{target:g}", lambda n, random, s=skill: classified(s, n, random)
    yield "ece", "0 (calibrated)", lambda n, random: calibrated(1.0, n, random)
    yield "ece", "0.14", lambda n, random: calibrated(0.5, n, random)
    yield "ece", "0.46", lambda n, random: calibrated(0.0, n, random)
    yield "ece", "0.9", lambda n, random: confidently_wrong(0.05, n, random)


def repeated(seeds: int) -> Iterator[tuple[str, str, Draw]]:
    """Yield metric, its value, and how items are drawn that several seeds predict."""
    cells = [(metric, near) for metric in ("accuracy", "macro_f1") for near in (0.5, 0.95)]
    for metric, near in [*cells, ("log_loss", 0.1), ("log_loss", 1.0)]:
        skill = skill_for(metric, near)
        yield metric, f"{near:g}", lambda n, r, s=skill: classified(s, n, r, seeds=seeds)
    for skill, near in ((-1.0, "0.51"), (0.0, "0.26"), (2.0, "0.13")):
        yield "ece", near, lambda n, r, s=skill: classified(s, n, r, seeds=seeds)
