"""Do the intervals hold the truth, and do the tests keep their promise? Simulations.

    python benchmarks/coverage.py --out coverage.json
    python benchmarks/coverage.py --quick --only intervals,differences --what accuracy macro_f1

`intervals`: how often a 95 % interval holds the true value of a metric, how long it is, and how
often it carries a warning, by metric, by value (near an end, in the middle) and by number of
items; `seeds`: the same of the mean of three seeds; `differences`: of two systems on the same
items. What is shown without a warning is counted alone. A cell *holds* where that covers
93 - 97 %; it is *warned* where at least half of its intervals carry a warning; else it *misses*.
`tests`: how often a test at 0.05 rejects a true null (6 % at most), and its power. `planning`: how
often the least detectable difference is found (0.8 is promised). `conformal`: how often sets at 0.9
hold the right class, within a point. One process, one thread, seeded: the same command gives the
same table.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from coverage_differences import differences
from coverage_draws import (
    ITEMS,
    Draw,
    Row,
    calibrated,
    costs_of,
    populations,
    repeated,
    verdict,
)
from coverage_nulls import answers, tests

from regraft.measure.conformal import conformal_sets
from regraft.measure.intervals import interval
from regraft.measure.metrics import score
from regraft.measure.power import minimum_detectable_difference
from regraft.measure.significance import mcnemar

RESAMPLES = 300
# Metrics without resampling are cheap: more trials, less chance in the table.
TRIALS = {"macro_f1": 800, "weighted_f1": 800, "auroc": 500, "ece": 500}
Wanted = Callable[[str], bool]


def intervals(*, quick: bool, wanted: Wanted) -> Iterator[Row]:
    yield from simulated(populations(), ITEMS, part=5 if quick else 1, wanted=wanted)


def seeds(*, quick: bool, wanted: Wanted) -> Iterator[Row]:
    yield from simulated(repeated(3), ITEMS[2:], part=10 if quick else 2, wanted=wanted)


def simulated(
    cells: Iterable[tuple[str, str, Draw]], sizes: tuple[int, ...], *, part: int, wanted: Wanted
) -> Iterator[Row]:
    """Simulate the metrics that are wanted in one part of the trials, and fewer sizes in few."""
    for metric, near, draw in cells:
        if not wanted(metric):
            continue
        p, labels = draw(400_000, np.random.default_rng(1))
        parts = p if p.ndim == 3 else p[None]
        truth = float(
            np.mean([score(metric, one, labels, costs=costs_of(metric)) for one in parts])
        )
        for n in sizes[:3] if part > 2 else sizes:
            yield coverage(metric, near, truth, n, draw, part=part)


def coverage(
    metric: str,
    near: str,
    truth: float,
    n: int,
    draw: Draw,
    *,
    part: int,
) -> Row:
    trials = TRIALS.get(metric, 1500) // part
    hits, warned, lengths = np.zeros(trials, bool), np.zeros(trials, bool), np.zeros(trials)
    cell = zlib.crc32(f"{metric} {near}".encode())  # cells of one seed would share their luck
    for trial in range(trials):
        p, labels = draw(n, np.random.default_rng([cell, n, trial]))
        found = interval(metric, p, labels, costs=costs_of(metric), resamples=RESAMPLES, seed=trial)
        hits[trial] = found.low <= truth <= found.high
        warned[trial] = found.warning is not None
        lengths[trial] = found.high - found.low
    share, shown = float(hits.mean()), int((~warned).sum())
    alone = float(hits[~warned].mean()) if shown else float("nan")
    return {
        "what": metric,
        "near": near,
        "n": n,
        "truth": truth,
        "coverage": share,
        "error": float(np.sqrt(share * (1 - share) / trials)),
        "length": float(lengths.mean()),
        "warned": float(warned.mean()),
        "alone": alone if shown else None,
        "shown": shown,
        "verdict": verdict(alone, shown, trials),
    }


def planning(*, quick: bool, wanted: Wanted) -> Iterator[Row]:
    if not wanted("least detectable difference"):
        return
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


def conformal(*, quick: bool, wanted: Wanted) -> Iterator[Row]:
    """Yield how often split-conformal sets hold the right class, over calibration parts."""
    trials = 400 if quick else 2000
    for method in filter(lambda one: wanted(f"conformal sets, {one}"), ("lac", "aps")):
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
    "seeds": seeds,
    "differences": differences,
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
        text += "" if row["alone"] is None else f"  unwarned {row['alone']:.3f}"
    print(f"{text}  {row['verdict']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", help=f"some of {', '.join(SIMULATIONS)}, with commas")
    parser.add_argument("--what", nargs="+", help="only metrics or tests of these names")
    parser.add_argument("--quick", action="store_true", help="fewer trials, small parts")
    parser.add_argument("--out", type=Path, help="JSON file")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(SIMULATIONS)
    if unknown := sorted(set(names) - set(SIMULATIONS)):
        parser.error(f"unknown simulation {unknown[0]!r}; known: {', '.join(SIMULATIONS)}")

    def wanted(name: str) -> bool:
        return given.what is None or name in given.what

    found: dict[str, list[Row]] = {}
    for name in names:
        began = time.perf_counter()
        print(f"\n{name}")
        found[name] = []
        for row in SIMULATIONS[name](quick=given.quick, wanted=wanted):
            found[name].append(row)
            show(row)
        counts = [row["verdict"] for row in found[name]]
        summary = ", ".join(f"{counts.count(one)} {one}" for one in sorted(set(counts)))
        print(f"{name}: {summary}; {time.perf_counter() - began:.0f} s")
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
