"""bf16 is taken where it pays and where it keeps the validation metric within its noise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from regraft.backbones.loading import load_backbone
from regraft.features.store import Cache
from regraft.search import precision
from regraft.search.bench import Bench
from regraft.search.precision import compare_metric, measure_precision, study_precision
from regraft.tasks.splits import Fold
from regraft.tasks.task import Task
from small_search import around, small_study

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.engine.job import RunData

FAR = """
from torch import nn


class Far(nn.Module):
    blocks = ["parts.0", "parts.1"]
    preprocess = {"size": [8, 8], "mean": [0.5] * 3, "std": [0.25] * 3}

    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(nn.Conv2d(3, 24, 5, stride=2), nn.Conv2d(24, 24, 1))

    def forward(self, images):
        return self.parts(images)
"""


@pytest.fixture
def willing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any processor be fast enough in bf16."""
    monkeypatch.setattr(precision, "_WORTH_GAIN", 0.0)
    monkeypatch.setattr(precision, "_WORTH_SECONDS", 0.0)
    monkeypatch.setattr(precision, "_HOPELESS", math.inf)
    monkeypatch.setattr(precision, "_FEWEST_CHECKED", 240)


@pytest.fixture(scope="module")
def digits() -> Task:
    study_task = Task.read("zoo:digits", metric="accuracy", seed=0)
    return study_task.with_label_budget(20, seed=0)


def write_far(folder: Path, *, offset: float) -> str:
    """Write a backbone whose features lie around an offset; return its reference."""
    (folder / "far.py").write_text(FAR, encoding="utf-8")
    generator = torch.Generator().manual_seed(0)
    state = {
        "parts.0.weight": torch.randn(24, 3, 5, 5, generator=generator) / 8,
        "parts.0.bias": torch.zeros(24),
        "parts.1.weight": torch.eye(24)[:, :, None, None].clone(),
        "parts.1.bias": torch.full((24,), offset),
    }
    save_file(state, folder / "far.safetensors")
    return f"python:{folder}/far.py:Far@{folder}/far.safetensors"


def bench_of(folder: Path, task: Task, *, offset: float) -> Bench:
    backbone = load_backbone(write_far(folder, offset=offset))
    return Bench(task.development, backbone, Cache(folder / "cache"))


@pytest.mark.usefixtures("willing")
def test_bf16_is_taken_where_the_metric_stays(tmp_path: Path, digits: Task) -> None:
    bench = bench_of(tmp_path, digits, offset=0.0)
    found = measure_precision(bench.backbone, bench.run_data(digits))
    assert found["precision"] == "bf16"
    assert "accuracy of a linear probe on" in found["reason"]


@pytest.mark.usefixtures("willing")
def test_features_that_look_alike_and_lose_the_classes_stay_in_fp32(
    tmp_path: Path, digits: Task
) -> None:
    bench = bench_of(tmp_path, digits, offset=3000.0)  # bf16 tells 3000 from 3016
    found = measure_precision(bench.backbone, bench.run_data(digits))
    assert found["precision"] == "fp32"
    assert "cosine at least 1.0000; accuracy of a linear probe on" in found["reason"]


@pytest.mark.usefixtures("willing")
def test_a_study_goes_on_in_the_precision_that_was_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(tmp_path / "home", ["ladder"], precision="auto")
    benches, ledger = around(study).benches, study.ledger
    (decided,) = [d for d in ledger.decisions.all(study.id) if d.key == "precision/0"]
    monkeypatch.setattr(precision, "_WORTH_GAIN", math.inf)
    again = study_precision(ledger, study.id, benches, study.task, asked="auto", device="cpu")
    assert again == decided.value["precision"] == "bf16"
    for asked in ("fp32", "bf16"):
        found = study_precision(ledger, study.id, benches, study.task, asked=asked, device="cpu")
        assert found == asked


def test_what_does_not_pay_is_not_compared(
    tmp_path: Path, digits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_WORTH_GAIN", math.inf)
    bench = bench_of(tmp_path, digits, offset=0.0)
    found = measure_precision(bench.backbone, bench.run_data(digits))
    assert found["precision"] == "fp32"
    assert "linear probe" not in found["reason"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, digits: Task) -> RunData:
    return bench_of(tmp_path_factory.mktemp("data"), digits, offset=0.0).run_data(digits)


def separable(labels: np.ndarray) -> np.ndarray:
    """Return features that name the class, with a little noise."""
    noise = np.random.default_rng(0).normal(size=(len(labels), 10))
    return (np.eye(10)[labels] * 4 + noise).astype(np.float32)


@pytest.mark.parametrize(("n_lost", "holds"), [(0, True), (1, True), (12, False)])
def test_a_loss_within_one_standard_error_is_none(n_lost: int, holds: bool, data: RunData) -> None:
    fold = data.folds[0]
    train, validation = fold.train, fold.validation
    fp32 = separable(data.labels[np.concatenate([train, validation])])
    bf16 = fp32.copy()
    wrong = len(train) + np.arange(n_lost)
    bf16[wrong] = np.roll(bf16[wrong], 1, axis=1)
    found, why = compare_metric({"fp32": fp32, "bf16": bf16}, data, train, validation)
    assert found is holds
    assert f"on {len(validation)} validation items" in why


def test_the_noise_is_that_of_all_validation_items_however_few_are_looked_at(
    data: RunData,
) -> None:
    """One item of a few is much, and is not excused by their being few."""
    fold = data.folds[0]
    few, n = fold.validation[:20], len(fold.train)
    noise = np.random.default_rng(0).normal(size=(n + len(few), 10)) / 10
    fp32 = (np.eye(10)[data.labels[np.concatenate([fold.train, few])]] + noise).astype(np.float32)
    fp32[n : n + 2] = np.roll(fp32[n : n + 2], 1, axis=1)
    bf16 = fp32.copy()
    bf16[n + 2] = np.roll(bf16[n + 2], 1)
    found = {"fp32": fp32, "bf16": bf16}  # 18 and 17 of 20 right
    assert not compare_metric(found, data, fold.train, few)[0]
    as_if_all = replace(data, folds=[Fold(fold.train, few)])
    assert compare_metric(found, as_if_all, fold.train, few)[0]


def test_a_gain_is_no_loss_whichever_way_the_metric_counts(data: RunData) -> None:
    fold = data.folds[0]
    train, validation = fold.train, fold.validation
    fp32 = separable(data.labels[np.concatenate([train, validation])])
    noise = np.random.default_rng(1).normal(size=fp32.shape).astype(np.float32)
    for metric in ("accuracy", "log_loss"):
        asked = replace(data, metric=metric)
        for bf16, holds in ((noise, False), (fp32, True)):
            found = {"fp32": fp32, "bf16": bf16}
            assert compare_metric(found, asked, train, validation)[0] is holds
        worse_first = {"fp32": noise, "bf16": fp32}
        assert compare_metric(worse_first, asked, train, validation)[0]
