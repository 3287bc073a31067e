"""Sixteen LoRA runs of a small ViT, together and one by one, in one process on the device at hand.

    python benchmarks/stack.py --out stack.json

On a CPU try it with --items 20 --epochs 2 --batch-size 8 --width 32 --layers 1 --repeats 1.

The runs differ in their learning rate and train on the same images, whose labels are drawn: only
seconds are measured, from the second step to the last, without building and pre-flight. The ViT
has random weights. Prints the seconds of both ways, their ratio, and how far the logits are apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from regraft.backbones.loading import load_backbone
from regraft.config.protocol import ProtocolSpec, resolve_protocol
from regraft.engine.device import choose_device, choose_precision
from regraft.engine.job import Job
from regraft.engine.run import execute
from regraft.engine.stack import Stack
from regraft.events import Done, Failed, Step
from regraft.features.store import Cache
from regraft.search.arms import with_rate
from regraft.search.bench import Bench
from regraft.tasks.items import items_from
from regraft.tasks.unsealed import unsealed_task

SIZE, CLASSES = 32, 10


def save_vit(folder: Path, *, width: int, layers: int) -> str:
    """Save a ViT of random weights for images of 32 pixels; return its folder."""
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        intermediate_size=4 * width,
        image_size=SIZE,
        patch_size=4,
    )
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return str(folder)


def jobs(work: Path, asked: argparse.Namespace) -> list[Job]:
    """Return the runs, each at its own rate."""
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (asked.items, SIZE, SIZE, 3), dtype=np.uint8))
    items = replace(items_from(images, "image"), labels=np.arange(asked.items) % CLASSES)
    names = [str(i) for i in range(CLASSES)]
    task = unsealed_task(items, names, metric="accuracy", validation=0.2, seed=0)
    backbone = load_backbone(save_vit(work / "vit", width=asked.width, layers=asked.layers))
    spec = {
        "name": "lora",
        "head": {"kind": "linear", "start": "random"},
        "modules": [{"kind": "lora", "rank": 8}],
        "rate": {"kind": "cosine", "peak": 1e-4},
        "fit": {"epochs": asked.epochs, "batch_size": asked.batch_size, "least_steps": 0},
    }
    protocol = resolve_protocol(ProtocolSpec.model_validate(spec))
    protocol["fit"]["patience"] = asked.epochs
    device = choose_device()
    data = Bench(task.development, backbone, Cache(work / "cache")).run_data(task)
    rates = np.geomspace(0.3, 3.0, asked.runs)
    return [
        Job(
            f"run{i}",
            with_rate(protocol, float(rate)),
            backbone,
            data,
            0,
            precision=choose_precision(asked.precision, device),
            device=device,
        )
        for i, rate in enumerate(rates)
    ]


def in_turn(some: list[Job]) -> tuple[float, list[Done]]:
    """Drive jobs step by step in turn; return the seconds from the second step on, and the ends."""
    flows = {one.run: execute(one) for one in some}
    ended: dict[str, Done] = {}
    began = 0.0
    turn = 0
    while flows:
        if turn == 1:
            synchronise(some[0].device)
            began = time.perf_counter()
        for run in list(flows):
            for event in flows[run]:
                if isinstance(event, Failed):
                    raise SystemExit(event.reason)
                if isinstance(event, Done):
                    ended[run] = event
                if isinstance(event, Step):
                    break
            else:
                del flows[run]
        turn += 1
    synchronise(some[0].device)
    return time.perf_counter() - began, [ended[one.run] for one in some]


def synchronise(device: str) -> None:
    """Wait for what a GPU has still to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def device_name(device: str) -> str:
    """Return what the maker calls a GPU or a processor."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def measured(some: list[Job]) -> tuple[float, float, float]:
    """Return the seconds one by one, the seconds together, the largest difference of a logit."""
    singles = [in_turn([one]) for one in some]
    alone = sum(seconds for seconds, _ in singles)
    stack = Stack([one.run for one in some])
    together, ends = in_turn([replace(one, stack=stack) for one in some])
    difference = max(
        float(np.abs(single[1][0].arrays["logits"] - end.arrays["logits"]).max())
        for single, end in zip(singles, ends, strict=True)
    )
    return alone, together, difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/stack.json"))
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--items", type=int, default=640)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="fp32")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        some = jobs(Path(folder), asked)
        took = [measured(some) for _ in range(asked.repeats)]
    alone, together = (statistics.median(one[i] for one in took) for i in (0, 1))
    found: dict[str, Any] = {
        "device": device_name(some[0].device),
        "runs": asked.runs,
        "seconds_alone": alone,
        "seconds_together": together,
        "ratio": alone / together,
        "largest_difference": max(one[2] for one in took),
    }
    print(
        f"{asked.runs} LoRA runs on {found['device']}: one by one {alone:.2f} s, together "
        f"{together:.2f} s: {found['ratio']:.2f} times as fast; logits differ by at most "
        f"{found['largest_difference']:.1e}"
    )
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
