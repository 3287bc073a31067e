"""The linear probe against scikit-learn, and on a million rows.

    python benchmarks/probe.py --out probe.json

Path: 20 L2 strengths on 20,000 × 768 features of 10 classes (correlated, eigenvalues as 1/k),
against 20 fits of scikit-learn's LogisticRegression in float64, each at the first of its
tolerances 1e-4, 1e-5 … whose loss is within 1e-5 of the better of both; only that fit is counted.

Rows: 125,000 to 1,000,000 × 384 features of 100 classes in a file, the probe chosen on 5,000
held-out rows; seconds and how far the peak of the resident memory rose (pages of the file that are
mapped count), each size in a process of its own. With --memory the probe keeps no more rows than
that: 0 reads all of them anew in every pass. Where the system tells no peak, it is what is held.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

PATH_ROWS, PATH_WIDTH, PATH_CLASSES = 20_000, 768, 10
WIDTH, CLASSES, HELD_OUT = 384, 100, 5_000
ROWS = (125_000, 250_000, 500_000, 1_000_000)
TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7)
MUST = 8.0


class Made:
    """Correlated features around class centres, in chunks from a seed."""

    def __init__(self, width: int, n_classes: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.width, self.n_classes = width, n_classes
        self._centres = random.normal(size=(n_classes, width)).astype(np.float32)
        axes = np.linalg.qr(random.normal(size=(width, width)))[0]
        self._axes = (np.arange(1, width + 1) ** -0.5)[:, None] * axes
        self._axes = self._axes.astype(np.float32)

    def rows(self, n: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        random = np.random.default_rng(seed)
        labels = random.integers(0, self.n_classes, n)
        x = random.standard_normal((n, self.width), dtype=np.float32)
        x += self._centres[labels] * random.uniform(0, 0.25, (n, 1)).astype(np.float32)
        return x @ self._axes, labels


def path(rounds: int) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression

    from regraft.features.logistic import STRENGTHS, log_loss, logistic_path

    x, y = Made(PATH_WIDTH, PATH_CLASSES, 0).rows(PATH_ROWS, 1)
    mean, scale = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    standard = (x - mean) / scale

    def objective(
        weight: np.ndarray[Any, Any], bias: np.ndarray[Any, Any], strength: float
    ) -> float:
        loss = log_loss(standard @ weight.T + bias, y)
        return loss + 0.5 * strength * float((weight**2).sum())

    seconds, ours = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        probes = logistic_path(x, y, PATH_CLASSES)
        seconds.append(time.perf_counter() - started)
    for probe in probes:
        weight = probe.weight.astype(np.float64)
        ours.append(objective(weight * scale, probe.bias + weight @ mean, probe.strength))
    taken, worse = 0.0, []
    for strength, value in zip(STRENGTHS, ours, strict=True):
        for tolerance in TOLERANCES:
            model = LogisticRegression(C=1 / (strength * len(x)), tol=tolerance, max_iter=10_000)
            started = time.perf_counter()
            model.fit(standard, y)
            one = time.perf_counter() - started
            peer = objective(model.coef_, model.intercept_, strength)
            if peer <= value + 1e-5:
                break
        taken += one
        worse.append(value - peer)
        print(
            f"  strength {strength:.1e}: loss less scikit-learn's {value - peer:+.1e}", flush=True
        )
    median = statistics.median(seconds)
    print(
        f"path: ours {median:.2f} s, scikit-learn {taken:.1f} s, ratio {taken / median:.1f} "
        f"(must {MUST:.0f}); largest excess loss {max(worse):+.1e}"
    )
    return {"ours": seconds, "peer": taken, "ratio": taken / median, "excess": max(worse)}


def many(n: int, memory: str | None, folder: Path) -> dict[str, Any]:
    """Return seconds and memory of a probe on n rows of a file."""
    from regraft.config.spec import bytes_of
    from regraft.engine.meter import Meter, used_bytes
    from regraft.features.logistic import KEPT_BYTES, fit_probe
    from regraft.features.rows import chosen

    made = Made(WIDTH, CLASSES, 0)
    file = np.memmap(folder / f"{n}.f4", np.float32, "w+", shape=(n, WIDTH))
    labels = np.empty(n, np.int64)
    for start in range(0, n, 25_000):
        rows = slice(start, min(start + 25_000, n))
        file[rows], labels[rows] = made.rows(rows.stop - start, 1 + start)
    file.flush()
    del file
    held, held_labels = made.rows(HELD_OUT, 10**9)
    features = np.memmap(folder / f"{n}.f4", np.float32, "r", shape=(n, WIDTH))
    kept = 0 if memory == "0" else KEPT_BYTES if memory is None else bytes_of(memory)
    before, meter = used_bytes("cpu"), Meter("cpu")
    with meter.running():
        rows_read = chosen(features, slice(None))
        probe = fit_probe(rows_read, labels, CLASSES, held, held_labels, memory_bytes=kept)
        cost = meter.figures()
    right = float((probe.logits(held).argmax(1) == held_labels).mean())
    grown = cost["peak_memory_bytes"] - before
    return {"n": n, "seconds": cost["seconds"], "bytes": grown, "accuracy": right}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of the path; 0 leaves it out")
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--one", type=int, help="only this many rows; prints JSON")
    parser.add_argument("--memory", help="rows that may be kept: 0, 200M; 1 GiB if not given")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.one:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(many(arguments.one, arguments.memory, Path(folder))))
        return
    found: dict[str, Any] = {"rows": []}
    if arguments.rounds:
        found["path"] = path(arguments.rounds)
    for n in arguments.rows:
        command = [sys.executable, __file__, "--one", str(n)]
        if arguments.memory is not None:
            command += ["--memory", arguments.memory]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        one = json.loads(answer.splitlines()[-1])
        found["rows"].append(one)
        print(
            f"{n:>9,} rows: {one['seconds']:.1f} s, {1e6 * one['seconds'] / n:.1f} µs a row, "
            f"{one['bytes'] / 2**20:.0f} MiB, accuracy {one['accuracy']:.3f}",
            flush=True,
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
