"""For whom does it work? The known gap of the adult census set, and whether the intervals hold.

    python benchmarks/groups.py --out groups.json

`adult`: a logistic regression on the census rows as arrays; sex and race come beside the arrays,
though the columns of the set are also among the features, as in the literature. Rates and gaps are
those that a study reports, on the sealed 20 %. `coverage`: how often the 95 % intervals of the
worst group, of the gap between groups, and of the change of a gap hold the truth, by simulation.
Data are read from --data, else $REGRAFT_DATA, else ``../shared/data``. One thread, seeded.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from regraft.evidence.criterion import criterion_of
from regraft.evidence.target import Scored, judge
from regraft.measure.group_gaps import (
    gap_change,
    gap_interval,
    pair_level,
    sidak,
    worst_interval,
)
from regraft.measure.groups import fairness
from regraft.measure.intervals import Interval, wilson
from regraft.tasks.task import Task

DATA = Path(os.environ.get("REGRAFT_DATA") or Path(__file__).resolve().parents[2] / "shared/data")
LABEL = "income-per-year"
COLUMNS = ("sex", "race")
TARGET = (
    "accuracy>=0.8 and worst_group(sex).recall>=0.5 and demographic_parity(sex)<=0.1 "
    "and equalized_odds(sex)<=0.1 and worst_group(race).accuracy>=0.8"
)
# Items of each group, and the true share of each.
CELLS: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "2 alike": ((60, 60), (0.9, 0.9)),
    "2 apart": ((60, 60), (0.9, 0.7)),
    "2 large": ((500, 200), (0.93, 0.86)),
    "5 alike": ((40, 60, 80, 100, 120), (0.85,) * 5),
    "5, one worse": ((40, 60, 80, 100, 120), (0.6, 0.9, 0.9, 0.85, 0.8)),
    "5, one tiny": ((8, 60, 80, 100, 120), (0.9, 0.9, 0.9, 0.85, 0.8)),
    "10 alike": ((50,) * 10, (0.8,) * 10),
}


def read_adult(folder: Path) -> Task:
    """Return the census rows as arrays, with the groups beside them."""
    frame = pd.read_csv(folder / "adult" / "adult.csv.gz", skipinitialspace=True)
    labels = frame.pop(LABEL).str.strip()
    numbers = [name for name in frame if pd.api.types.is_numeric_dtype(frame[name])]
    names = [name for name in frame if name not in numbers]
    encode = make_column_transformer(
        (StandardScaler(), numbers), (OneHotEncoder(sparse_output=False), names)
    )
    arrays = encode.fit_transform(frame).astype(np.float32)
    groups = {column: frame[column].tolist() for column in COLUMNS}
    return Task.read((arrays, labels.tolist(), groups), metric="accuracy", target=TARGET)


def scored(probabilities: np.ndarray[Any, Any], task: Task) -> Scored:
    """Return a system on the sealed part."""
    items = task.sealed.open()
    groups = {name: sorted(set(values.tolist())) for name, values in items.subgroups.items()}
    return Scored(probabilities[None], items.labels, task.classes, items.subgroups, groups)


def plain(one: Interval | None) -> dict[str, Any] | None:
    """Return value, ends and n."""
    if one is None:
        return None
    return {"value": one.value, "low": one.low, "high": one.high, "n": one.n}


def adult(folder: Path) -> dict[str, Any]:
    """Return the rates of each group and the target's clauses."""
    task = read_adult(folder)
    x = np.stack(list(task.development.inputs))
    fitted = LogisticRegression(max_iter=2000).fit(x, task.development.labels)
    p = fitted.predict_proba(np.stack(list(task.sealed.inputs.inputs)))
    items = task.sealed.open()
    found: dict[str, Any] = {"n_test": len(items), "columns": {}}
    for column in COLUMNS:
        groups = items.subgroups[column].tolist()
        whole = fairness("accuracy", p, items.labels, groups)
        found["columns"][column] = {
            name: {
                "accuracy": plain(whole.groups[name]),
                "selection": plain(one.selection),
                "true_positive": plain(one.true_positive),
                "false_positive": plain(one.false_positive),
                "positives": float(items.labels[items.subgroups[column] == name].mean()),
            }
            for name, one in whole.rates.items()
        }
    found["target"] = judge(criterion_of(task), scored(p, task))
    return found


def coverage(trials: int) -> list[dict[str, Any]]:
    """Return how often the intervals hold the truth, by cell."""
    random = np.random.default_rng(0)
    rows = []
    for name, (sizes, shares) in CELLS.items():
        each, pair = sidak(0.95, len(sizes)), pair_level(0.95, len(sizes))
        truth = max(shares) - min(shares)
        held, lengths = np.zeros(3), []
        for _ in range(trials):
            ours, theirs = (
                [int(random.binomial(n, p)) for n, p in zip(sizes, shares, strict=True)]
                for _ in range(2)
            )
            worst = worst_interval(_wilson(ours, sizes, each))
            gaps = [gap_interval([_wilson(one, sizes, pair)]) for one in (ours, theirs)]
            change = gap_change(*gaps)
            held += [
                worst.low <= min(shares) <= worst.high,
                gaps[0].low <= truth + 1e-12 and truth - 1e-12 <= gaps[0].high,
                change.low <= 0 <= change.high,
            ]
            lengths.append(gaps[0].high - gaps[0].low)
        worst_, gap_, change_ = held / trials
        row = {"cell": name, "worst": worst_, "gap": gap_, "change": change_}
        rows.append({**row, "length": float(np.mean(lengths))})
    return rows


def _wilson(counts: list[int], sizes: tuple[int, ...], level: float) -> dict[str, Interval]:
    pairs = zip(counts, sizes, strict=True)
    return {str(i): wilson(k, n, level=level) for i, (k, n) in enumerate(pairs)}


def _text(one: dict[str, Any] | None) -> str:
    return "" if one is None else f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def main() -> None:
    """Print both tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("groups.json"))
    given = parser.parse_args()
    found = adult(given.data)
    for column, groups in found["columns"].items():
        for name, one in groups.items():
            cells = [_text(one[k]) for k in ("accuracy", "selection", "true_positive")]
            n = one["selection"]["n"]
            print(f"{column:5} {name:20} {n:5} {one['positives']:.3f}  " + "  ".join(cells))
    for clause in found["target"]["clauses"]:
        print(f"{clause['text']:40} {_text(clause)} {clause['says']}")
    rows = coverage(given.trials)
    for row in rows:
        cells = (f"{key} {row[key]:.3f}" for key in ("worst", "gap", "change", "length"))
        print(f"{row['cell']:14} " + "  ".join(cells))
    text = json.dumps({"adult": found, "coverage": rows}, indent=1)
    given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
