"""The ladder against transformers' Trainer: 24 candidates, the same splits, the sealed test items.

    python benchmarks/ladder.py --task sst2 flowers5 --peer grid optuna --out out/ladder

MiniLM on sst2 (1,000 training sentences, dev validates, the test part is sealed) and SqueezeNet on
flowers5 (800 images of which a fifth validates, 200 sealed). The peers: all 24 candidates of
peers/candidates.json to their end and the best on validation; Optuna with Hyperband in the same
space. Ours: `regraft run` on the same candidates, the whole process with its start and its report;
the seconds of controls without transfer are taken off and printed apart. Prints a line per seed
and the medians; writes ladder.json and ladder.svg. What has ended is not run again. Where --most
ended the grid early, its line says so, its best is that of the candidates so far, and its seconds
are those of the whole, what is left taking what its kind took; it goes on where the command is
given again. Candidates that peers/trainer_grid.py --untimed trained, beside other work, count with
the seconds of their kind where it was timed, and are counted in the line.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from peers import ours
from peers.candidates import grid
from peers.splits import split

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("REGRAFT_DATA") or ROOT.parent / "shared" / "data")
SCRIPTS = {"grid": "trainer_grid.py", "optuna": "optuna_hyperband.py"}
MUST, MARGIN, DRAWS = {"grid": 1 / 10, "optuna": 1 / 3}, 0.01, 10_000


def peer(asked: argparse.Namespace, name: str, task: str, parts: Path, seed: int) -> dict[str, Any]:
    """Run a peer in a process of its own, or go on with it; return its record."""
    out = place(asked, task, seed) / f"{name}.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "peers" / SCRIPTS[name])]
    command += ["--task", task, "--data", str(parts), "--seed", str(seed), "--out", str(out)]
    command += ["--epochs", str(asked.epochs)]
    command += ["--weights", str(asked.data / "squeezenet1_0_imagenet/squeezenet1_0.safetensors")]
    if name == "grid":
        command += ["--only", asked.only]
    else:
        command += ["--trials", str(asked.trials)]
    with out.with_suffix(".log").open("a", encoding="utf-8") as log:
        try:
            subprocess.run(command, check=True, stdout=log, stderr=log, timeout=asked.most)
        except subprocess.TimeoutExpired:
            print(f"{out} ended after {asked.most:.0f} s, before its last candidate", flush=True)
    found = priced(json.loads(out.read_text(encoding="utf-8")), timed_candidates(asked, task))
    names = [one.name for one in grid() if re.search(asked.only, one.name)]
    asked_for = asked.trials if name == "optuna" else len(names)
    return {**found, "left": asked_for - len(found["candidates"])}


def timed_candidates(asked: argparse.Namespace, task: str) -> list[dict[str, Any]]:
    """Return the candidates of a task, of all seeds, that the grid trained on an idle machine."""
    records = [json.loads(one.read_text()) for one in asked.out.glob(f"{task}-*/grid.json")]
    return [one for record in records for one in record["candidates"] if one.get("timed", True)]


def priced(found: dict[str, Any], timed: list[dict[str, Any]]) -> dict[str, Any]:
    """Give candidates that ran beside other work the seconds of their kind, or of their protocol.

    What their best took for the sealed items is then left out.
    """
    candidates = [
        one if one.get("timed", True) else {**one, "seconds": kind_seconds(one["name"], timed)}
        for one in found["candidates"]
    ]
    if candidates == found["candidates"]:
        return found
    seconds = found["prepare_seconds"] + sum(one["seconds"] for one in candidates)
    n_priced = sum(not one.get("timed", True) for one in candidates)
    return {**found, "candidates": candidates, "seconds": seconds, "priced": n_priced}


def kind_seconds(name: str, timed: list[dict[str, Any]]) -> float:
    """Return the mean seconds of candidates that differ in the rate alone, or else in a setting.

    NaN where there are none: what it takes is then not known.
    """
    protocol, setting, _ = name.split("-", 2)
    for kind in (f"{protocol}-{setting}-", f"{protocol}-"):
        if took := [one["seconds"] for one in timed if one["name"].startswith(kind)]:
            return statistics.mean(took)
    return math.nan


def whole_seconds(found: dict[str, Any], timed: list[dict[str, Any]], only: str) -> float:
    """Return what a grid that was ended early would take: what is left as its kind did."""
    took = {one["name"]: float(one["seconds"]) for one in found["candidates"]}
    names = [one.name for one in grid() if re.search(only, one.name)]
    left = [kind_seconds(name, timed) for name in names if name not in took]
    return sum(took.values()) + sum(left) + float(found["prepare_seconds"])


def place(asked: argparse.Namespace, task: str, seed: int) -> Path:
    folder: Path = asked.out / f"{task}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def truth(task: str, parts: Path) -> list[str]:
    """Return the labels of the sealed items, in the order in which both sides predict."""
    if task == "sst2":
        lines = (parts / "test.jsonl").read_text(encoding="utf-8").splitlines()
        return [str(json.loads(line)["label"]) for line in lines]
    classes = sorted((parts / "test").iterdir())
    return [folder.name for folder in classes for _ in folder.iterdir()]


def hits(predicted: list[Any], labels: list[str], names: list[str]) -> list[int]:
    """Return 1 where a prediction, a class or its index, is right."""
    if len(predicted) != len(labels):
        raise SystemExit(f"{len(predicted)} predictions for {len(labels)} sealed items")
    said = [names[one] if isinstance(one, int) else one for one in predicted]
    return [int(a == b) for a, b in zip(said, labels, strict=True)]


def measured(asked: argparse.Namespace, task: str, seed: int) -> dict[str, Any]:
    """Return the figures of a seed: ours, then each peer's."""
    parts = split(task, asked.data, asked.out / "data" / task, seed=seed, few=asked.few)
    labels = truth(task, parts)
    names = sorted(set(labels))
    own = ours.run(asked, task, parts, place(asked, task, seed), seed)
    found: dict[str, Any] = {"task": task, "seed": seed, "ours": own, "peers": {}}
    own["hits"] = hits(own["test_predictions"], labels, names)
    for name in asked.peer:
        one = peer(asked, name, task, parts, seed)
        one["hits"] = hits(one["best"]["test_predictions"], labels, names)
        found["peers"][name] = one
        left = sum(own["without_transfer"].values())
        tried = len(one["candidates"])
        print(
            f"{task}, seed {seed}, {name}: ours {own['seconds']:.1f} s (and {left:.1f} s of "
            f"controls without transfer), peer {one['seconds']:.1f} s, ratio "
            f"{own['seconds'] / one['seconds']:.3f}; accuracy {np.mean(own['hits']):.4f} "
            f"({own['recommended']}), peer {np.mean(one['hits']):.4f} ({one['best']['name']})"
            + f"; the peer's after {tried} of {tried + one['left']} candidates" * bool(one["left"])
            + f"; {one.get('priced')} of them not timed" * bool(one.get("priced")),
            flush=True,
        )
        if one["left"] and name == "grid":
            whole = whole_seconds(one, timed_candidates(asked, task), asked.only)
            one["whole_seconds"], ratio = whole, own["seconds"] / whole
            print(f"  whole at this pace: {whole:.0f} s, ratio {ratio:.3f}", flush=True)
    return found


def bound(rows: list[dict[str, Any]], name: str) -> tuple[float, float]:
    """Return ours − peer in accuracy over all sealed items, and its one-sided 95 % lower bound.

    Paired bootstrap: items of a task are drawn with what all seeds predicted for them, as these
    predictions are no independent observations.
    """
    generator, total, n = np.random.default_rng(0), np.zeros(DRAWS), 0
    whole = 0.0
    for task in {row["task"] for row in rows}:
        pairs = [(r["ours"]["hits"], r["peers"][name]["hits"]) for r in rows if r["task"] == task]
        by_item = np.sum([np.subtract(a, b) for a, b in pairs], axis=0)
        for draw in range(DRAWS):
            total[draw] += by_item[generator.integers(0, len(by_item), len(by_item))].sum()
        whole += float(by_item.sum())
        n += len(pairs) * len(by_item)
    return whole / n, float(np.quantile(total, 0.05)) / n


def summary(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Print and return the medians of a task, or of all, against one peer."""
    theirs = [row["peers"][name] for row in rows]
    peer_seconds = [one.get("whole_seconds") or one["seconds"] for one in theirs]
    ratios = [row["ours"]["seconds"] / took for row, took in zip(rows, peer_seconds, strict=True)]
    difference, least = bound(rows, name)
    found = {
        "ours_seconds": statistics.median(row["ours"]["seconds"] for row in rows),
        "peer_seconds": statistics.median(peer_seconds),
        "ratio": statistics.median(ratios),
        "ratio_at_most": MUST[name],
        "difference": difference,
        "lower_bound": least,
        "lower_bound_at_least": -MARGIN,
    }
    print(
        f"medians, {', '.join(sorted({row['task'] for row in rows}))}, {name}: ours "
        f"{found['ours_seconds']:.1f} s, peer {found['peer_seconds']:.1f} s, ratio "
        f"{found['ratio']:.3f} (at most {MUST[name]:.3f}); accuracy ours − peer {difference:+.4f}, "
        f"one-sided 95 % bound {least:+.4f} (at least {-MARGIN:+.3f})",
        flush=True,
    )
    return found


def arguments() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    tasks = ["sst2", "flowers5"]
    parser.add_argument("--task", choices=tasks, nargs="+", default=tasks)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--peer", choices=sorted(SCRIPTS), nargs="*", default=["grid", "optuna"])
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "ladder")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--budget", default="5m", help="of our study")
    parser.add_argument("--most", type=float, help="seconds after which a peer is ended")
    tries = parser.add_argument_group("to try it on little")
    tries.add_argument("--few", type=int, help="items that train; a third in the other parts")
    tries.add_argument("--epochs", type=int, default=3)
    tries.add_argument("--trials", type=int, default=24)
    tries.add_argument("--only", default="", help="regular expression on the candidates' names")
    asked = parser.parse_args()
    asked.out, asked.data = asked.out.resolve(), asked.data.resolve()
    return asked


def main() -> None:
    asked = arguments()
    rows = [measured(asked, task, seed) for task in asked.task for seed in asked.seeds]
    found: dict[str, Any] = {"rows": rows, "summary": {}}
    for name in asked.peer:
        each = {task: [r for r in rows if r["task"] == task] for task in asked.task}
        found["summary"][name] = {task: summary(some, name) for task, some in each.items()}
        if len(each) > 1:
            found["summary"][name]["all"] = summary(rows, name)
    (asked.out / "ladder.json").write_text(json.dumps(found) + "\n", encoding="utf-8")
    if asked.peer:
        from peers.picture import draw

        draw(rows, asked.out / "ladder.svg")


if __name__ == "__main__":
    main()
