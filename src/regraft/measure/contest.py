"""Two systems or more held against each other by the test that fits, with one conclusion."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

from regraft.errors import ShapeError
from regraft.measure.choice import Choice, choose_comparison
from regraft.measure.comparison import ALPHA, holm, paired_bootstrap
from regraft.measure.dominance import aso
from regraft.measure.metrics import item_values
from regraft.measure.rankings import friedman, nemenyi
from regraft.measure.significance import (
    mcnemar,
    nadeau_bengio,
    paired_share_ends,
    signed_rank_ends,
    wilcoxon,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


FEW_FOR_SHARES = 10
"""Where two systems differ on fewer items the interval of their shares covers 97 to 100 %."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One system against another; positive differences mean that the first is better.

    Attributes:
        first: Name of one system; second: of the other.
        difference: In the metric, or in mean ranks after Friedman's test.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end.
        p: Two-sided; None where there is no test, or one without p (almost stochastic order).
        p_adjusted: Corrected for all pairs.
        winner: Name of the better one at 0.05, corrected; None where they cannot be told apart.
        estimator: How it was found, in words.
        warning: Why the interval may not hold what it says, or None.
    """

    first: str
    second: str
    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    winner: str | None = None
    estimator: str = ""
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Contest:
    """What a comparison of systems found.

    Attributes:
        choice: The test, and why; without a test only differences are known.
        pairs: Every pair of systems, in the order given.
        conclusion: In sentences.
        mean_ranks: Of each system after Friedman's test, 1 the best.
        p_overall: Friedman's p that all systems are alike.
        critical_difference: Nemenyi's, in mean ranks.
    """

    choice: Choice
    pairs: tuple[Pair, ...]
    conclusion: str
    mean_ranks: tuple[tuple[str, float], ...] = ()
    p_overall: float | None = None
    critical_difference: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the plain record."""
        return {
            "test": self.choice.test,
            "why": self.choice.why,
            "comparisons": [{**asdict(one), "tie": one.winner is None} for one in self.pairs],
            "mean_ranks": dict(self.mean_ranks) or None,
            "p_overall": self.p_overall,
            "critical_difference": self.critical_difference,
            "conclusion": self.conclusion,
        }


def compare_items(
    metric: str,
    systems: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
    seed: int = 0,
) -> Contest:
    """Compare systems that predicted the same items.

    Args:
        metric: A metric's name.
        systems: Probabilities by name, shape (S, N, C) each; S may differ.
        labels: Class indices, shape (N,).
        costs: Shape (C, C), rows the true class.
        seed: Of the resampling.

    Raises:
        ConfigError: The metric is unknown, or is ``mean_cost`` and no costs are given.
        ShapeError: There are fewer than 2 systems, or the shapes do not fit together.
    """
    choice = choose_comparison(
        n_systems=len(systems),
        n_items=len(labels),
        zero_one=metric == "accuracy",
        n_seeds=max(len(one) for one in systems.values()) if systems else 1,
    )
    pairs = []
    for (first, a), (second, b) in combinations(systems.items(), 2):
        if choice.test == "mcnemar":
            rights = (item_values(metric, one[0], labels, costs=costs) for one in (a, b))
            pairs.append(_by_mcnemar(first, second, *rights))
            continue
        found = paired_bootstrap(metric, a, b, labels, costs=costs, seed=seed)
        known: dict[str, Any] = {"low": found.low, "high": found.high, "p": found.p}
        known["warning"] = found.warning
        if choice.test is None:
            known = {}
        pairs.append(Pair(first, second, found.difference, estimator=found.estimator, **known))
    return _concluded(choice, pairs)


def compare_scores(
    scores: Mapping[str, NDArray[np.floating]],
    *,
    higher_is_better: bool = True,
    splits: tuple[int, int] | None = None,
    paired: bool = True,
    seed: int = 0,
) -> Contest:
    """Compare systems of which only scores are known, over data sets or over seeds.

    Over several data sets each system counts with its mean over seeds, so that a data set with more
    seeds weighs no more than another.

    Args:
        scores: By name, shape (D, S): a row per data set, a column per seed; NaN where missing.
        higher_is_better: The direction of the score.
        splits: (n_train, n_test) where the seeds are splits of one data set that overlap.
        paired: Whether a column means the same split and order for every system.
        seed: Of the resampling.

    Raises:
        ShapeError: There are fewer than 2 systems, or the shapes do not fit together.
    """
    shapes = {one.shape for one in scores.values()}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise ShapeError(f"compare_scores: shapes {sorted(shapes)}. Give (data sets, seeds) alike.")
    sign = 1.0 if higher_is_better else -1.0
    table = {name: sign * np.asarray(one, np.float64) for name, one in scores.items()}
    n_datasets = next(iter(shapes))[0] if shapes else 0
    if n_datasets > 1:
        return _over_datasets(table)
    rows = {name: one[0] for name, one in table.items()}
    if paired:
        both = np.isfinite(np.stack(list(rows.values()))).all(axis=0)
        rows = {name: one[both] for name, one in rows.items()}
    rows = {name: one[np.isfinite(one)] for name, one in rows.items()}
    choice = choose_comparison(
        n_systems=len(rows),
        n_seeds=min(len(one) for one in rows.values()),
        paired=paired,
        overlapping=splits is not None,
    )
    found = [
        _of_scores(choice, pair, rows, splits=splits, seed=seed) for pair in combinations(rows, 2)
    ]
    return _concluded(choice, found)


def _over_datasets(table: Mapping[str, NDArray[np.float64]]) -> Contest:
    missing = [name for name, one in table.items() if np.isnan(one).all(axis=1).any()]
    if missing:
        raise ShapeError(f"{missing[0]} has no score on a data set. Leave that data set out.")
    means = {name: np.nanmean(one, axis=1) for name, one in table.items()}
    n = len(next(iter(means.values())))
    choice = choose_comparison(n_systems=len(means), n_datasets=n)
    if choice.test == "friedman":
        return _by_ranks(choice, means)
    pairs = [
        _of_scores(choice, pair, means, splits=None, seed=0) for pair in combinations(means, 2)
    ]
    return _concluded(choice, pairs)


def _of_scores(
    choice: Choice,
    names: tuple[str, str],
    rows: Mapping[str, NDArray[np.float64]],
    *,
    splits: tuple[int, int] | None,
    seed: int,
) -> Pair:
    first, second = names
    a, b = rows[first], rows[second]
    if choice.test == "wilcoxon":
        low, middle, high = signed_rank_ends(a - b)
        found = wilcoxon(a, b)
        how = f"{found.test}; median of pair means (Hodges–Lehmann)"
        return Pair(first, second, middle, low, high, found.p, estimator=how)
    if choice.test == "nadeau_bengio" and splits is not None:
        return _by_splits(first, second, a, b, splits)
    difference = float(a.mean() - b.mean()) if len(a) and len(b) else float("nan")
    if choice.test == "aso":
        n_pairs = len(rows) * (len(rows) - 1)
        ours, theirs = (aso(x, y, comparisons=n_pairs, seed=seed) for x, y in ((a, b), (b, a)))
        winner = first if ours.is_better else second if theirs.is_better else None
        how = f"almost stochastic order, ε_min {ours.upper:.2f} and {theirs.upper:.2f} turned round"
        return Pair(first, second, difference, winner=winner, estimator=how)
    return Pair(first, second, difference, estimator="no test")


def _by_mcnemar(first: str, second: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> Pair:
    found = mcnemar(a, b)
    low, high = paired_share_ends(a, b)
    differ = int((a != b).sum())
    warning = None
    if differ < FEW_FOR_SHARES:
        items = f"{differ or 'no'} item{'s' * (differ > 1)}"
        warning = f"the two differ on {items}: the interval is wide"
    return Pair(
        first,
        second,
        found.difference,
        low,
        high,
        found.p,
        estimator=found.test,
        warning=warning,
    )


def _by_splits(
    first: str,
    second: str,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    splits: tuple[int, int],
) -> Pair:
    found = nadeau_bengio(a, b, n_train=splits[0], n_test=splits[1])
    spread = float((a - b).std(ddof=1)) * float(np.sqrt(1 / len(a) + splits[1] / splits[0]))
    half = float(student.ppf(1 - ALPHA / 2, len(a) - 1)) * spread
    ends = found.difference - half, found.difference + half
    return Pair(first, second, found.difference, *ends, found.p, estimator=found.test)


def _by_ranks(choice: Choice, means: Mapping[str, NDArray[np.float64]]) -> Contest:
    table = np.stack(list(means.values()), axis=1)
    overall, after = friedman(table), nemenyi(table)
    names = list(means)
    pairs = []
    for i, j in combinations(range(len(names)), 2):
        ahead = after.mean_ranks[j] - after.mean_ranks[i]
        p = max(after.p[i][j], overall.p)  # no pair speaks where all may be alike
        reach = after.critical_difference
        pairs.append(
            Pair(
                names[i],
                names[j],
                ahead,
                ahead - reach,
                ahead + reach,
                after.p[i][j],
                p,
                _winner(names[i], names[j], ahead, p),
                f"Nemenyi after Friedman, in mean ranks, critical difference {reach:.2f}",
            )
        )
    ranks = tuple(zip(names, after.mean_ranks, strict=True))
    said = f"Friedman's p that all are alike is {overall.p:.3g}"
    conclusion = f"{said}; {_sentences(choice, pairs)}"
    return Contest(choice, tuple(pairs), conclusion, ranks, overall.p, after.critical_difference)


def _concluded(choice: Choice, pairs: list[Pair]) -> Contest:
    """Correct the pairs for their number by Holm, and say what follows."""
    known = [one for one in pairs if one.p is not None]
    adjusted = iter(holm([one.p for one in known if one.p is not None]))
    judged = []
    for one in pairs:
        if one.p is None:
            judged.append(one)
            continue
        p = next(adjusted)
        winner = _winner(one.first, one.second, one.difference, p)
        judged.append(replace(one, p_adjusted=p, winner=winner))
    return Contest(choice, tuple(judged), _sentences(choice, judged))


def _winner(first: str, second: str, difference: float, p: float) -> str | None:
    if p >= ALPHA or difference == 0.0:
        return None
    return first if difference > 0 else second


def _sentences(choice: Choice, pairs: list[Pair]) -> str:
    if choice.test is None:
        return f"nothing can be concluded: {choice.why}"
    parts = []
    for one in pairs:
        if one.winner is None:
            parts.append(f"{one.first} and {one.second} cannot be told apart")
        else:
            loser = one.second if one.winner == one.first else one.first
            parts.append(f"{one.winner} is better than {loser}")
    return "; ".join(parts)
