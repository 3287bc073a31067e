"""The benchmark of a ViT's training step: what it counts, and what it prints and writes."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module("vit_step")


def forward_products(config: Any) -> tuple[int, int]:
    """Return the multiplications of an image: those of the patches, and all that follow."""
    patches = (config.image_size // config.patch_size) ** 2
    tokens, width = patches + 1, config.hidden_size
    projections = 4 * tokens * width**2
    attention = 2 * tokens**2 * width
    hidden = 2 * tokens * width * config.intermediate_size
    blocks = config.num_hidden_layers * (projections + attention + hidden)
    embedding = patches * width * config.num_channels * config.patch_size**2
    return embedding, blocks + width * config.num_labels


@pytest.mark.parametrize("small", [True, False])
def test_flops_are_those_of_the_closed_form(benchmark: Any, small: bool) -> None:
    config = benchmark.vit_config(small=small)
    embedding, rest = forward_products(config)
    # The backward pass costs twice the forward one; pixels need no gradient. A product counts two.
    assert benchmark.step_flops(config, 3) == 3 * 2 * (2 * embedding + 3 * rest)


def test_the_default_is_vit_b_16(benchmark: Any) -> None:
    config = benchmark.vit_config(small=False)
    config.num_labels = 1000
    assert sum(forward_products(config)) / 1e9 == pytest.approx(17.56, abs=0.01)


def test_a_device_has_a_name(benchmark: Any) -> None:
    assert benchmark.device_name("cpu").strip()


def run(*arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / "vit_step.py"), "--small", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_both_sides_are_timed_and_put_in_relation(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="the Trainer needs it")
    out = tmp_path / "vit_step.json"
    few = ("--batch-size", "2", "--steps", "6", "--rounds", "1", "--out", str(out))
    shown = run(*few, "--peak-tflops", "1")
    found = json.loads(out.read_text(encoding="utf-8"))
    seconds = found["seconds"]
    assert found["device"] in shown
    assert min(seconds.values()) > 0
    assert {name: len(took) for name, took in found["rounds"].items()} == {"ours": 1, "peer": 1}
    assert found["ratio"] == seconds["ours"] / seconds["peer"]
    assert found["mfu"] == pytest.approx(
        {name: found["flops"] / (one * 1e12) for name, one in seconds.items()}
    )


def test_the_utilisation_of_an_unknown_device_is_not_made_up(benchmark: Any) -> None:
    found = {
        "model": "a tiny ViT",
        "batch_size": 4,
        "device": "an abacus",
        "seconds": {"ours": 1.0, "peer": 2.0},
        "ratio": 0.5,
        "flops": 1e12,
        "peak_tflops": None,
        "mfu": None,
    }
    assert benchmark.report(found).endswith("MFU unknown: give --peak-tflops")
