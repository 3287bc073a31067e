"""How often the tests reject a true null at 0.05, and how often they find a gain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from coverage_draws import ITEMS, NULL, Drawn, Row, classified
from scipy.stats import t as student

from regraft.measure.comparison import paired_bootstrap
from regraft.measure.dominance import aso
from regraft.measure.limits import rank_correlation
from regraft.measure.mmd import mmd2_block_test, mmd2_linear_test, mmd2_test
from regraft.measure.rankings import friedman, nemenyi
from regraft.measure.shift import mmd2_paired_test
from regraft.measure.significance import mcnemar, nadeau_bengio, permutation_test, wilcoxon
from regraft.measure.slices import error_slices
from regraft.measure.two_sample import c2st, energy_test


def answers(p: float, q: float, n: int, random: np.random.Generator) -> Drawn:
    """Return 0/1 answers of two systems, shares p ≤ q, correlation about one half."""
    both = p * q + min(0.5 * np.sqrt(p * (1 - p) * q * (1 - q)), p * (1 - q))
    cells = random.choice(4, size=n, p=[both, p - both, q - both, 1 - p - q + both])
    return cells <= 1, (cells == 0) | (cells == 2)


def splits_of_two(
    gain: float, k: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return accuracies (k,) of two nearest-centroid classifiers on k random splits of 100 items.

    Each sees ten features of its own; `gain` makes those of the second more telling.
    """
    labels = np.repeat([0, 1], 50)
    means = np.where(np.arange(20) < 10, 0.35, 0.35 + gain)
    x = random.normal(size=(100, 20)) + np.outer(2 * labels - 1, means / 2)
    found = np.zeros((2, k))
    for split in range(k):
        order = random.permutation(100)
        train, test = order[:90], order[90:]
        for side, columns in enumerate((slice(0, 10), slice(10, 20))):
            z = x[:, columns]
            centres = [z[train][labels[train] == c].mean(axis=0) for c in (0, 1)]
            away = [((z[test] - centre) ** 2).sum(axis=1) for centre in centres]
            found[side, split] = np.mean((away[1] < away[0]) == labels[test])
    return found[1], found[0]


def plain_t(a: np.ndarray, b: np.ndarray) -> float:
    gaps = a - b
    if not gaps.std():
        return float(not gaps.any())
    t = gaps.mean() / (gaps.std(ddof=1) / np.sqrt(len(gaps)))
    return float(2 * student.sf(abs(t), len(gaps) - 1))


Rejects = Callable[[float, int, np.random.Generator], bool]


def by_mcnemar(method: Any) -> Rejects:
    def rejects(gain: float, n: int, random: np.random.Generator) -> bool:
        return mcnemar(*answers(0.8, 0.8 + gain, n, random), method=method).p < 0.05

    return rejects


def by_bootstrap(metric: str) -> Rejects:
    def rejects(gain: float, n: int, random: np.random.Generator) -> bool:
        a, labels = classified(1.5, n, random)
        b, _ = classified(1.5 + 6 * gain, n, random)
        seed = int(random.integers(2**31))
        found = paired_bootstrap(metric, a[None], b[None], labels, resamples=400, seed=seed)
        return found.p < 0.05

    return rejects


def by_scores(test: Callable[..., Any], *, skewed: bool = False) -> Rejects:
    def rejects(gain: float, n: int, random: np.random.Generator) -> bool:
        noise = random.normal(size=(2, n))
        noise = np.exp(noise) if skewed else noise  # two alike differ symmetrically all the same
        return bool(test(noise[0] + 10 * gain, noise[1]).p < 0.05)

    return rejects


def by_splits(*, corrected: bool) -> Rejects:
    def rejects(gain: float, n: int, random: np.random.Generator) -> bool:
        a, b = splits_of_two(2 * gain, n, random)
        p = nadeau_bengio(a, b, n_train=90, n_test=10).p if corrected else plain_t(a, b)
        return p < 0.05

    return rejects


def by_order(bound: float) -> Rejects:
    def rejects(gain: float, n: int, random: np.random.Generator) -> bool:
        a, b = random.normal(size=(2, n)) + np.array([[10 * gain], [0.0]])
        return aso(a, b, resamples=200, seed=int(random.integers(2**31))).upper < bound

    return rejects


def by_ranks(k: int, *, any_pair: bool) -> Rejects:
    def rejects(gain: float, n: int, random: np.random.Generator) -> bool:
        table = random.normal(size=(n, k))
        table[:, 0] += 10 * gain
        overall = friedman(table).p < 0.05
        if not (overall and any_pair):
            return overall
        return bool(np.min(nemenyi(table).p) < 0.05)

    return rejects


def by_rows(test: Callable[..., Any], **options: Any) -> Rejects:
    """Two samples of five features; the gain is a shift of one of them, in tenths of σ."""

    def rejects(gain: float, n: int, random: np.random.Generator) -> bool:
        x, y = random.normal(size=(2, n, 5))
        y[:, 0] += 10 * gain
        return bool(test(x, y, **options).p < 0.05)

    return rejects


def by_swaps(gain: float, n: int, random: np.random.Generator) -> bool:
    """The same items before and after, each with noise of its own."""
    before, after = random.normal(size=(n, 5)) + 0.5 * random.normal(size=(2, n, 5))
    after[:, 0] += 10 * gain
    return (
        mmd2_paired_test(before, after, permutations=200, seed=int(random.integers(2**31))) < 0.05
    )


def by_correlation(gain: float, n: int, random: np.random.Generator) -> bool:
    """Cells whose movement and gain are normal with a true correlation of ten gains."""
    first, noise = random.normal(size=(2, n))
    second = 10 * gain * first + np.sqrt(1 - (10 * gain) ** 2) * noise
    # p needs no bootstrap of cells.
    found = rank_correlation(first, second, "spearman", resamples=2, permutations=1000)
    return found.p < 0.05


def by_slices(gain: float, n: int, random: np.random.Generator) -> bool:
    """Eight clusters and two columns of three values; the first cluster errs more by the gain."""
    partitions = [random.integers(0, k, size=n) for k in (8, 3, 3)]
    candidates = {
        f"{place} = {value}": members == value
        for place, members in enumerate(partitions)
        for value in np.unique(members)
    }
    wrong = random.random(n) < 0.2 + gain * (partitions[0] == 0)
    return any(one.is_worse for one in error_slices(wrong, candidates))


# name: how it rejects, sizes, gains beside 0, trials
TESTS: dict[str, tuple[Rejects, tuple[int, ...], tuple[float, ...], int]] = {
    "mcnemar, mid-p": (by_mcnemar("mid_p"), ITEMS, (0.02, 0.05, 0.1), 2000),
    "mcnemar, exact": (by_mcnemar("exact"), ITEMS, (0.02, 0.05, 0.1), 2000),
    "mcnemar, chi2": (by_mcnemar("chi2"), ITEMS, (0.02, 0.05, 0.1), 2000),
    "paired bootstrap, accuracy": (by_bootstrap("accuracy"), ITEMS[:4], (0.05, 0.1), 1000),
    "paired bootstrap, macro-F1": (by_bootstrap("macro_f1"), ITEMS[:4], (0.05, 0.1), 500),
    "paired bootstrap, log loss": (by_bootstrap("log_loss"), ITEMS[:4], (0.05, 0.1), 500),
    "paired bootstrap, AUROC": (by_bootstrap("auroc"), ITEMS[:4], (0.1,), 300),
    "permutation": (by_scores(permutation_test), (6, 10, 30), (0.05, 0.1), 1000),
    "wilcoxon": (by_scores(wilcoxon), (6, 10, 30), (0.05, 0.1), 2000),
    "wilcoxon, skewed": (by_scores(wilcoxon, skewed=True), (6, 10, 30), (0.05, 0.1), 2000),
    "nadeau-bengio": (by_splits(corrected=True), (10, 30), (0.05, 0.1), 500),
    "plain t on the same splits": (by_splits(corrected=False), (10, 30), (0.05, 0.1), 500),
    "aso below 0.2": (by_order(0.2), (5, 10, 30), (0.1, 0.2), 500),
    "aso below 0.5": (by_order(0.5), (5, 10, 30), (0.1, 0.2), 500),
    "friedman, 3 systems": (by_ranks(3, any_pair=False), (5, 10, 30), (0.05, 0.1), 2000),
    "friedman, 6 systems": (by_ranks(6, any_pair=False), (5, 10, 30), (0.05, 0.1), 2000),
    "friedman and nemenyi, 4": (by_ranks(4, any_pair=True), (5, 10, 30), (0.1,), 500),
    "MMD², permuted": (by_rows(mmd2_test, permutations=200), (20, 100), (0.05, 0.1), 800),
    "MMD², linear-time": (by_rows(mmd2_linear_test), (20, 100, 1000), (0.05, 0.1), 2000),
    "MMD², block": (by_rows(mmd2_block_test), (20, 100), (0.05, 0.1), 600),
    "MMD², paired": (by_swaps, (20, 100), (0.05, 0.1), 1600),
    "energy distance": (by_rows(energy_test, permutations=200), (20, 100), (0.05, 0.1), 800),
    "classifier, permutation": (by_rows(c2st), (20, 100), (0.05, 0.1), 500),
    "classifier, binomial": (by_rows(c2st, null="binomial"), (20, 100), (0.05, 0.1), 500),
    "Spearman over cells": (by_correlation, (5, 8), (0.05, 0.08), 1000),
    "error slices, any of 14": (by_slices, (100, 300), (0.1, 0.2), 1000),
}

SLOW = (
    "paired bootstrap, accuracy",
    "paired bootstrap, AUROC",
    "MMD², permuted",
    "MMD², block",
    "MMD², paired",
    "energy distance",
    "classifier, permutation",
    "classifier, binomial",
)
"""Their power is looked at in a quarter of the trials."""


def tests(*, quick: bool, wanted: Callable[[str], bool]) -> Iterator[Row]:
    for name, (rejects, sizes, gains, trials) in TESTS.items():
        if not wanted(name):
            continue
        planned = trials // (5 if quick else 1)
        for n in sizes[:2] if quick else sizes:
            shares = {}
            for gain in (0.0, *gains):
                count = planned // 4 if gain and name in SLOW else planned
                calls = [
                    rejects(gain, n, np.random.default_rng([n, round(1000 * gain), trial]))
                    for trial in range(count)
                ]
                shares[f"{gain:g}"] = float(np.mean(calls))
            null = shares.pop("0")
            yield {
                "what": name,
                "near": " ".join(f"{gain}: {share:.2f}" for gain, share in shares.items()),
                "n": n,
                "coverage": null,
                "error": float(np.sqrt(null * (1 - null) / planned)),
                "power": shares,
                "verdict": "holds" if null <= NULL else "misses",
            }
