"""Do the intervals hold the truth, and do the tests keep their promise? Simulations.

    python benchmarks/coverage.py --out coverage.json
    python benchmarks/coverage.py --quick --only intervals

`intervals`: how often a 95 % interval holds the true value of a metric, how long it is, and how
often it carries a warning, by metric, by value (near an end, in the middle) and by number of
items. A cell *holds* within 93 – 97 %; it is *warned* where at least half of its intervals carry a
warning; else it *misses*. `tests`: how often a test at 0.05 rejects a true null (6 % at most), and
its power. `planning`: how often the least detectable difference is found (0.8 is promised).
`conformal`: how often sets at 0.9 hold the right class, within a point. One process, one thread,
seeded: the same command gives the same table.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from regraft.measure.comparison import paired_bootstrap
from regraft.measure.conformal import conformal_sets
from regraft.measure.dominance import aso
from regraft.measure.intervals import interval
from regraft.measure.metrics import METRICS, score, softmax
from regraft.measure.power import minimum_detectable_difference
from regraft.measure.rankings import friedman, nemenyi
from regraft.measure.significance import mcnemar, nadeau_bengio, permutation_test, wilcoxon

Row = dict[str, Any]
Drawn = tuple[np.ndarray, np.ndarray]

ITEMS = (30, 60, 100, 300, 1000)
SHARES = np.array([0.5, 0.3, 0.2])
RESAMPLES = 300
# Metrics without resampling are cheap: more trials, less chance in the table.
TRIALS = {"macro_f1": 800, "auroc": 500, "ece": 500}
PROPORTIONS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")
VALUES = {"log_loss": (0.1, 0.5, 1.0), "brier": (0.1, 0.5, 1.0)}
HOLDS, NULL = (0.93, 0.97), 0.06


def classified(skill: float, n: int, random: np.random.Generator) -> Drawn:
    """Return probabilities (n, 3) and labels in fixed shares, as a stratified part has them."""
    counts = np.round(SHARES * n).astype(int)
    counts[0] += n - counts.sum()
    labels = np.repeat(np.arange(3), counts)
    return softmax(random.normal(size=(n, 3)) + skill * np.eye(3)[labels]), labels


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


def skill_for(metric: str, target: float) -> float:
    """Return the skill at which a metric has a value in the population, by bisection."""
    low, high = -9.0, 9.0
    for _ in range(20):
        middle = (low + high) / 2
        value = score(metric, *classified(middle, 40_000, np.random.default_rng(0)))
        if (value - target) * METRICS[metric].sign < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def populations() -> Iterator[tuple[str, str, Callable[[int, np.random.Generator], Drawn]]]:
    """Yield metric, what its value is near, and how items are drawn."""
    for metric in (*PROPORTIONS, *VALUES):
        for target in VALUES.get(metric, (0.05, 0.5, 0.95)):
            skill = skill_for(metric, target)
            yield metric, f"{target:g}", lambda n, random, s=skill: classified(s, n, random)
    yield "ece", "0 (calibrated)", lambda n, random: calibrated(1.0, n, random)
    yield "ece", "0.14", lambda n, random: calibrated(0.5, n, random)
    yield "ece", "0.46", lambda n, random: calibrated(0.0, n, random)
    yield "ece", "0.9", lambda n, random: confidently_wrong(0.05, n, random)


def intervals(*, quick: bool) -> Iterator[Row]:
    for metric, near, draw in populations():
        truth = score(metric, *draw(400_000, np.random.default_rng(1)))
        for n in ITEMS[:3] if quick else ITEMS:
            yield coverage(metric, near, truth, n, draw, quick=quick)


def coverage(
    metric: str,
    near: str,
    truth: float,
    n: int,
    draw: Callable[[int, np.random.Generator], Drawn],
    *,
    quick: bool,
) -> Row:
    trials = TRIALS.get(metric, 1500) // (5 if quick else 1)
    hits, warned, lengths = np.zeros(trials, bool), np.zeros(trials, bool), np.zeros(trials)
    cell = zlib.crc32(f"{metric} {near}".encode())  # cells of one seed would share their luck
    for trial in range(trials):
        p, labels = draw(n, np.random.default_rng([cell, n, trial]))
        found = interval(metric, p, labels, resamples=RESAMPLES, seed=trial)
        hits[trial] = found.low <= truth <= found.high
        warned[trial] = found.warning is not None
        lengths[trial] = found.high - found.low
    share = float(hits.mean())
    verdict = "holds" if HOLDS[0] <= share <= HOLDS[1] else "misses"
    return {
        "what": metric,
        "near": near,
        "n": n,
        "truth": truth,
        "coverage": share,
        "error": float(np.sqrt(share * (1 - share) / trials)),
        "length": float(lengths.mean()),
        "warned": float(warned.mean()),
        "verdict": "warned" if warned.mean() >= 0.5 else verdict,
    }


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


# name: how it rejects, sizes, gains beside 0, trials
TESTS: dict[str, tuple[Rejects, tuple[int, ...], tuple[float, ...], int]] = {
    "mcnemar, mid-p": (by_mcnemar("mid_p"), ITEMS, (0.02, 0.05, 0.1), 2000),
    "mcnemar, exact": (by_mcnemar("exact"), ITEMS, (0.02, 0.05, 0.1), 2000),
    "mcnemar, chi2": (by_mcnemar("chi2"), ITEMS, (0.02, 0.05, 0.1), 2000),
    "paired bootstrap, macro-F1": (by_bootstrap("macro_f1"), ITEMS[:4], (0.05, 0.1), 500),
    "paired bootstrap, log loss": (by_bootstrap("log_loss"), ITEMS[:4], (0.05, 0.1), 500),
    "permutation": (by_scores(permutation_test), (6, 10), (0.05, 0.1), 1000),
    "wilcoxon": (by_scores(wilcoxon), (6, 10, 30), (0.05, 0.1), 2000),
    "wilcoxon, skewed": (by_scores(wilcoxon, skewed=True), (6, 10, 30), (0.05, 0.1), 2000),
    "nadeau-bengio": (by_splits(corrected=True), (10, 30), (0.05, 0.1), 500),
    "plain t on the same splits": (by_splits(corrected=False), (10, 30), (0.05, 0.1), 500),
    "aso below 0.2": (by_order(0.2), (5, 10, 30), (0.1, 0.2), 500),
    "aso below 0.5": (by_order(0.5), (5, 10, 30), (0.1, 0.2), 500),
    "friedman, 3 systems": (by_ranks(3, any_pair=False), (5, 10, 30), (0.05, 0.1), 2000),
    "friedman, 6 systems": (by_ranks(6, any_pair=False), (5, 10, 30), (0.05, 0.1), 2000),
    "friedman and nemenyi, 4": (by_ranks(4, any_pair=True), (5, 10, 30), (0.1,), 500),
}


def tests(*, quick: bool) -> Iterator[Row]:
    for name, (rejects, sizes, gains, trials) in TESTS.items():
        count = trials // (5 if quick else 1)
        for n in sizes[:2] if quick else sizes:
            shares = {}
            for gain in (0.0, *gains):
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
                "error": float(np.sqrt(null * (1 - null) / count)),
                "power": shares,
                "verdict": "holds" if null <= NULL else "misses",
            }


def planning(*, quick: bool) -> Iterator[Row]:
    trials = 400 if quick else 2000
    for n in ITEMS:
        for rate in (0.6, 0.75, 0.9):
            gain = minimum_detectable_difference(n, rate)
            if gain is None:
                continue
            calls = []
            for trial in range(trials):
                random = np.random.default_rng([n, round(100 * rate), trial])
                calls.append(mcnemar(*answers(rate, rate + gain, n, random)).p < 0.05)
            share = float(np.mean(calls))
            yield {
                "what": "least detectable difference",
                "near": f"{rate:g} + {gain:.3f}",
                "n": n,
                "coverage": share,
                "error": float(np.sqrt(share * (1 - share) / trials)),
                "verdict": "holds" if 0.75 <= share <= 0.87 else "misses",
            }


def conformal(*, quick: bool) -> Iterator[Row]:
    """Yield how often split-conformal sets hold the right class, over calibration parts."""
    trials = 400 if quick else 2000
    for method in ("lac", "aps"):
        for power in (1.0, 0.5):  # calibrated, overconfident
            for n in ITEMS:
                held = np.zeros(trials)
                for trial in range(trials):
                    random = np.random.default_rng([n, round(10 * power), trial])
                    p, labels = calibrated(power, n + 200, random)
                    sets = conformal_sets(
                        p[:n], labels[:n], p[n:], alpha=0.1, method=method, seed=trial
                    )
                    held[trial] = sets[np.arange(200), labels[n:]].mean()
                share = float(held.mean())
                yield {
                    "what": f"conformal sets, {method}",
                    "near": "calibrated" if power == 1.0 else "overconfident",
                    "n": n,
                    "coverage": share,
                    "error": float(held.std() / np.sqrt(trials)),
                    "verdict": "holds" if abs(share - 0.9) <= 0.01 else "misses",
                }


# A further simulation is a further line here: its name is what --only takes.
SIMULATIONS: dict[str, Callable[..., Iterator[Row]]] = {
    "intervals": intervals,
    "tests": tests,
    "planning": planning,
    "conformal": conformal,
}


def show(row: Row) -> None:
    text = (
        f"{row['what']:28} {row['near']:26} {row['n']:5} {row['coverage']:.3f} ±{row['error']:.3f}"
    )
    if "length" in row:
        text += f"  length {row['length']:.3f}  warned {row['warned']:.2f}"
    print(f"{text}  {row['verdict']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", help=f"some of {', '.join(SIMULATIONS)}, with commas")
    parser.add_argument("--quick", action="store_true", help="fewer trials, small parts")
    parser.add_argument("--out", type=Path, help="JSON file")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(SIMULATIONS)
    if unknown := sorted(set(names) - set(SIMULATIONS)):
        parser.error(f"unknown simulation {unknown[0]!r}; known: {', '.join(SIMULATIONS)}")
    found: dict[str, list[Row]] = {}
    for name in names:
        began = time.perf_counter()
        print(f"\n{name}")
        found[name] = []
        for row in SIMULATIONS[name](quick=given.quick):
            found[name].append(row)
            show(row)
        counts = [row["verdict"] for row in found[name]]
        summary = ", ".join(f"{counts.count(one)} {one}" for one in sorted(set(counts)))
        print(f"{name}: {summary}; {time.perf_counter() - began:.0f} s")
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
