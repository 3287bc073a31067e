"""Seconds and MFU of a training step of ViT-B/16: regraft against transformers' Trainer.

    python benchmarks/vit_step.py --out vit_step.json
    python benchmarks/vit_step.py --small --peak-tflops 0.1    (a tiny ViT, seconds on a CPU)

Full fine-tuning in bf16 from one folder of random weights, images of 224 pixels drawn by the seed.
Both sides get the same prepared pixels in the same order, normalised batch by batch by the same
code, and the same settings: fused AdamW at a constant rate, weight decay and clipping, nothing
saved or evaluated. A step is the mean over a pass, its first five steps left out; a GPU is waited
for at both ends. The sides take turns, and the median of the rounds is printed.

MFU is the FLOPs of a step over its seconds and the device's peak. The FLOPs are those of the matrix
products and convolutions of one forward and backward pass, counted by torch's FlopCounterMode. The
peak is the vendor's for dense bf16, or what --peak-tflops says.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from stack import device_name, synchronise
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForImageClassification,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)
from transformers.utils import logging as transformers_logging

from regraft.backbones.loading import load_backbone
from regraft.config.protocol import ProtocolSpec, resolve_protocol
from regraft.engine.batches import epoch_batches
from regraft.engine.device import choose_device
from regraft.engine.job import Job, fold_stages
from regraft.engine.run import execute
from regraft.events import Adjusted, Failed, Started, Step
from regraft.features.store import Cache
from regraft.search.bench import Bench
from regraft.tasks.items import items_from
from regraft.tasks.unsealed import unsealed_task

CLASSES, WARM_UP = 10, 5
RATE, WEIGHT_DECAY, CLIP_NORM = 1e-4, 0.01, 1.0
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}
PEAK_TFLOPS = {
    "NVIDIA H200": 989.4,
    "NVIDIA H100 80GB HBM3": 989.4,
    "NVIDIA H100 PCIe": 756.0,
    "NVIDIA A100-SXM4-80GB": 312.0,
    "NVIDIA A100-SXM4-40GB": 312.0,
    "NVIDIA A100 80GB PCIe": 312.0,
    "NVIDIA A100-PCIE-40GB": 312.0,
}
"""Dense bf16, by the name that torch gives the device; half of what is said of sparse matrices."""


@dataclass(frozen=True)
class Side:
    """Seconds of a step, and how many numbers trained."""

    seconds: float
    parameters: int


class Clock:
    """Reads the time after the warm-up and after the last step."""

    def __init__(self, device: str, steps: int) -> None:
        self._device, self._steps, self._n = device, steps, 0
        self._at: list[float] = []

    def tick(self) -> None:
        self._n += 1
        if self._n in (WARM_UP, self._steps):
            synchronise(self._device)
            self._at.append(time.perf_counter())

    def seconds(self) -> float:
        began, ended = self._at
        return (ended - began) / (self._steps - WARM_UP)


def vit_config(*, small: bool) -> ViTConfig:
    """Return ViT-B/16, which is what transformers makes by default, or a tiny one."""
    return ViTConfig(num_labels=CLASSES, **(SMALL if small else {}))


def save_vit(folder: Path, config: ViTConfig, seed: int) -> str:
    """Save an encoder of random weights and its image processor; return the folder."""
    torch.manual_seed(seed)
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    side = {"height": config.image_size, "width": config.image_size}
    ViTImageProcessorPil(size=side).save_pretrained(folder)
    return str(folder)


def step_flops(config: ViTConfig, batch_size: int) -> int:
    """Return the FLOPs of one forward and backward pass.

    Attention is written out, on tensors without memory: the counter knows no fused kernel of a CPU,
    and of a GPU's it also counts what the backward pass computes a second time.
    """
    with torch.device("meta"):
        model = AutoModelForImageClassification.from_config(config, attn_implementation="eager")
        images = torch.empty(batch_size, config.num_channels, config.image_size, config.image_size)
    with FlopCounterMode(display=False) as counter:
        model(images).logits.sum().backward()
    return counter.get_total_flops()


def make_job(work: Path, asked: argparse.Namespace) -> Job:
    """Return our run over random images, on the device at hand."""
    config = vit_config(small=asked.small)
    rng, n = np.random.default_rng(asked.seed), asked.batch_size * asked.steps
    shape = (n, config.image_size, config.image_size, 3)
    images = list(rng.integers(0, 256, shape, dtype=np.uint8))
    items = replace(items_from(images, "image"), labels=np.arange(n) % CLASSES)
    names = [str(i) for i in range(CLASSES)]
    task = unsealed_task(items, names, metric="accuracy", validation=0.0, seed=asked.seed)
    backbone = load_backbone(save_vit(work / "vit", config, asked.seed))
    spec = {
        "name": "full",
        "head": {"kind": "linear", "start": "random"},
        "train": {"from_depth": 0, "stem": True},
        "rate": {"kind": "constant", "peak": RATE},
        "fit": {
            "epochs": 1,
            "batch_size": asked.batch_size,
            "least_steps": 0,
            "weight_decay": WEIGHT_DECAY,
            "clip_norm": CLIP_NORM,
        },
    }
    data = Bench(task.development, backbone, Cache(work / "cache")).run_data(task)
    return Job(
        "full",
        resolve_protocol(ProtocolSpec.model_validate(spec)),
        backbone,
        replace(data, folds=()),  # all items train, so that every batch is full
        asked.seed,
        precision="bf16",
        device=choose_device(),
        checkpoint_seconds=math.inf,  # the Trainer saves nothing either
    )


def ours(job: Job, steps: int) -> Side:
    clock, parameters = Clock(job.device, steps), 0
    for event in execute(job):
        if isinstance(event, Failed | Adjusted):
            raise SystemExit(event.reason)
        if isinstance(event, Started):
            parameters = event.parameters_trained
        if isinstance(event, Step):
            clock.tick()
    return Side(clock.seconds(), parameters)


def peer(job: Job, steps: int) -> Side:
    """Train the same folder on the same batches with the Trainer."""
    from transformers import Trainer, TrainerCallback, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    clock, preprocess = Clock(job.device, steps), job.backbone.preprocess
    size, (stage,) = job.protocol["fit"]["batch_size"], fold_stages(job.data, 1)
    batches = epoch_batches(stage.train, size=size, seed=job.seed, draw=(stage.name, 0))
    order = np.concatenate(batches)
    pixels, labels = job.data.prepared.gather(job.data.rows[order]), job.data.labels[order]

    class Ticks(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

    def collate(rows: list[tuple[Any, int]]) -> dict[str, torch.Tensor]:
        inputs = preprocess.collate([one for one, _ in rows])
        return {**inputs, "labels": torch.tensor([label for _, label in rows])}

    model = AutoModelForImageClassification.from_pretrained(
        job.backbone.reference, num_labels=CLASSES
    )
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=size,
            train_sampling_strategy="sequential",
            optim="adamw_torch_fused",
            learning_rate=RATE,
            lr_scheduler_type="constant",
            weight_decay=WEIGHT_DECAY,
            max_grad_norm=CLIP_NORM,
            bf16=True,
            use_cpu=job.device == "cpu",
            dataloader_pin_memory=job.device != "cpu",
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=job.seed,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=[(one, int(label)) for one, label in zip(pixels, labels, strict=True)],
            data_collator=collate,
            callbacks=[Ticks()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return Side(clock.seconds(), sum(p.numel() for p in model.parameters() if p.requires_grad))


def measured(job: Job, asked: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds of each side in each round; another side begins each round."""
    sides: dict[str, Callable[[Job, int], Side]] = {"ours": ours, "peer": peer}
    took: dict[str, list[float]] = {name: [] for name in sides}
    trained = set()
    for turn in range(asked.rounds):
        for name in list(sides)[:: 1 if turn % 2 == 0 else -1]:
            gc.collect()  # the models of the turn before
            found = sides[name](job, asked.steps)
            took[name].append(found.seconds)
            trained.add(found.parameters)
    if len(trained) > 1:
        raise SystemExit(f"the sides do not train the same: {sorted(trained)} parameters")
    return took


def report(found: dict[str, Any]) -> str:
    seconds, mfu = found["seconds"], found["mfu"]
    lines = [
        f"{found['model']}, {found['batch_size']} images, bf16 on {found['device']}, a step: "
        f"regraft {1e3 * seconds['ours']:.1f} ms, Trainer {1e3 * seconds['peer']:.1f} ms: "
        f"{found['ratio']:.2f}×"
    ]
    shares = "unknown: give --peak-tflops"
    if mfu is not None:
        shares = (
            f"regraft {mfu['ours']:.1%}, Trainer {mfu['peer']:.1%} of {found['peak_tflops']:g} "
            "TFLOP/s"
        )
    lines.append(f"{found['flops'] / 1e12:.4g} TFLOPs a step (counted); MFU {shares}")
    return "\n".join(lines)


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--out", type=Path, default=Path("out/vit_step.json"))
    parser.add_argument("--small", action="store_true", help="a tiny ViT of two layers")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30, help=f"of a pass; more than {WARM_UP}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peak-tflops", type=float, help="of the device, dense bf16")
    asked = parser.parse_args()
    if asked.steps <= WARM_UP:
        parser.error(f"--steps: the first {WARM_UP} are left out. Give more.")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    with TemporaryDirectory() as folder:
        job = make_job(Path(folder), asked)
        rounds = measured(job, asked)
    device = device_name(job.device)
    flops = step_flops(vit_config(small=asked.small), asked.batch_size)
    seconds = {name: statistics.median(took) for name, took in rounds.items()}
    peak = asked.peak_tflops or PEAK_TFLOPS.get(device)
    found: dict[str, Any] = {
        "device": device,
        "model": "a tiny ViT" if asked.small else "ViT-B/16",
        "batch_size": asked.batch_size,
        "steps": asked.steps,
        "seconds": seconds,
        "ratio": seconds["ours"] / seconds["peer"],
        "rounds": rounds,
        "flops": flops,
        "peak_tflops": peak,
        "mfu": peak and {name: flops / (one * 1e12 * peak) for name, one in seconds.items()},
        "threads": torch.get_num_threads(),
        "versions": {one: version(one) for one in ("torch", "transformers")},
    }
    print(report(found))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
