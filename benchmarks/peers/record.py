"""What a peer leaves: seconds and validation of each candidate, the best's test predictions."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from candidates import N_BLOCKS

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("REGRAFT_DATA") or ROOT.parent / "shared" / "data")


def arguments(text: str | None) -> argparse.ArgumentParser:
    """Return a parser of what both peers take."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=text, formatter_class=form)
    weights = DATA / "squeezenet1_0_imagenet" / "squeezenet1_0.safetensors"
    parser.add_argument("--task", choices=sorted(N_BLOCKS), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the parts")
    parser.add_argument("--weights", type=Path, default=weights, help="of SqueezeNet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    return parser


class Record:
    """A JSON file, whole after each candidate."""

    def __init__(self, path: Path, asked: dict[str, Any]) -> None:
        self._path = path
        self.found: dict[str, Any] = {
            "asked": asked,
            "threads": torch.get_num_threads(),
            "versions": {one: version(one) for one in ("torch", "transformers", "peft")},
            "prepare_seconds": 0.0,
            "candidates": [],
            "best": None,
        }
        if path.exists():
            earlier = json.loads(path.read_text(encoding="utf-8"))
            if earlier["asked"] != asked:
                raise SystemExit(f"{path} is of other settings: {earlier['asked']}. Remove it.")
            self.found = earlier

    @property
    def names(self) -> set[str]:
        return {one["name"] for one in self.found["candidates"]}

    @property
    def seconds(self) -> float:
        """Of preparing, of every candidate, and of predicting the test items with the best."""
        best = self.found["best"]
        took = sum(one["seconds"] for one in self.found["candidates"])
        return float(self.found["prepare_seconds"] + took + (best["test_seconds"] if best else 0.0))

    def prepared(self, seconds: float) -> None:
        """Note what reading the items took, once."""
        self.found["prepare_seconds"] = self.found["prepare_seconds"] or seconds

    def add(
        self,
        name: str,
        *,
        seconds: float,
        accuracies: Sequence[float],
        test_logits: Callable[[], np.ndarray[Any, Any]] | None,
        timed: bool = True,
    ) -> None:
        """Note a candidate; the best so far predicts the test items. One cut short has no logits.

        Of equals the first stays. Seconds that are not `timed` are no measurement.
        """
        one = {"name": name, "seconds": seconds, "timed": timed, "validation": list(accuracies)}
        self.found["candidates"].append({**one, "pruned": test_logits is None})
        best, value = self.found["best"], accuracies[-1] if accuracies else None
        if test_logits is not None and (best is None or value > best["validation"]):
            started = time.perf_counter()
            logits = test_logits()
            self.found["best"] = {
                "name": name,
                "validation": value,
                "test_seconds": time.perf_counter() - started,
                "test_predictions": [int(i) for i in logits.argmax(1)],
                "test_logits": np.round(logits, 5).tolist(),
            }
        self.write()
        print(f"{name}: {seconds:.1f} s, accuracy on validation {accuracies}", flush=True)

    def write(self) -> None:
        part = self._path.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        whole = {**self.found, "seconds": self.seconds}
        part.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        part.rename(self._path)
