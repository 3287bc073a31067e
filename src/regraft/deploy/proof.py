"""Proof of a graft: a fresh process loads it and must predict what its run predicted.

Run as ``python -m regraft.deploy.proof GRAFT ITEMS OUT BACKBONE [--trust-remote-code]``: writes the
logits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from regraft.deploy.predictor import GraftPredictor
from regraft.errors import GraftError
from regraft.measure.metrics import score, softmax
from regraft.tasks.items import Items, items_from

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE = 1e-6
PROVED_ITEMS = 256
"""Items that the fresh process predicts, at most."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Outcome of a proof: largest difference of any logit, and the metric in both processes."""

    items: int
    largest_difference: float
    metric: str
    value: float


def prove(
    folder: Path,
    items: Items,
    expected: np.ndarray[Any, Any],
    *,
    metric: str,
    backbone: str,
    trust_remote_code: bool = False,
) -> Proof:
    """Load the graft in a fresh process and compare its predictions.

    Args:
        folder: The graft's folder.
        items: Labelled items to predict.
        expected: Logits that the run gives for just these items, shape (n, C).
        metric: The metric that must come out exactly the same.
        backbone: Where the backbone is.
        trust_remote_code: Whether the user lets code run that comes with a hub model.

    Raises:
        GraftError: A logit differs by more than 1e-6 of the largest, or the metric differs.
    """
    with tempfile.TemporaryDirectory(prefix="regraft-proof-") as scratch:
        trust = ["--trust-remote-code"] if trust_remote_code else []
        actual = _predicted_afresh(folder, items, [backbone, *trust], Path(scratch))
    if actual.shape != expected.shape:
        raise GraftError(
            f"a fresh process predicts logits of shape {actual.shape}, not {expected.shape}. The "
            "graft is not proved.",
            where=str(folder),
        )
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(actual - expected).max()) / scale
    here = score(metric, softmax(expected), items.labels)
    there = score(metric, softmax(actual), items.labels)
    if not difference <= TOLERANCE or here != there:  # "not <=" is also true of NaN
        raise GraftError(
            f"a fresh process predicts something else: logits differ by {difference:.2g}, "
            f"{metric} {there} instead of {here}. The graft is not proved.",
            where=str(folder),
        )
    return Proof(len(items), difference, metric, here)


def _predicted_afresh(
    folder: Path, items: Items, backbone: list[str], scratch: Path
) -> np.ndarray[Any, Any]:
    """Return the logits that a fresh process predicts.

    It finds the modules that this process finds and no others: not those that happen to lie in the
    working folder. Ctrl-C does not reach it, for it is this process that the user interrupts.
    """
    _write_items(items, scratch / "items")
    command = [sys.executable, "-P", "-m", "regraft.deploy.proof", str(folder)]
    command += [str(scratch / "items"), str(scratch / "logits.npy"), *backbone]
    path = os.pathsep.join(one or str(Path.cwd()) for one in sys.path)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise GraftError(
            f"a fresh process could not predict with it ({last}). The run's result is kept; the "
            "graft is not proved.",
            where=str(folder),
        )
    logits: np.ndarray[Any, Any] = np.load(scratch / "logits.npy", allow_pickle=False)
    return logits


def _write_items(items: Items, folder: Path) -> None:
    folder.mkdir(parents=True)
    inputs: Sequence[Any] = items.inputs
    if items.kind == "text" or all(isinstance(one, str | Path) for one in inputs):
        plain = [one if items.kind == "text" else str(Path(one).absolute()) for one in inputs]
        (folder / "inputs.json").write_text(json.dumps(plain), encoding="utf-8")
    else:
        arrays = {f"{i:08d}": np.ascontiguousarray(one) for i, one in enumerate(inputs)}
        save_file(arrays, folder / "inputs.safetensors")


def _read_items(folder: Path, kind: str) -> Items:
    if (folder / "inputs.json").exists():
        return items_from(json.loads((folder / "inputs.json").read_text(encoding="utf-8")), kind)
    arrays = load_file(folder / "inputs.safetensors")
    return items_from([arrays[name] for name in sorted(arrays)], kind)


def main(arguments: list[str]) -> None:
    """Load a graft, predict the items, write their logits."""
    graft, items, out, backbone, *trust = arguments
    predictor = GraftPredictor.load(graft, backbone=backbone, trust_remote_code=bool(trust))
    np.save(out, predictor.logits(_read_items(Path(items), predictor.graft.kind)))


if __name__ == "__main__":
    main(sys.argv[1:])
