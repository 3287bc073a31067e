"""Proof of a graft: a fresh process loads it and must predict what its run predicted.

The process is ``python -m regraft.deploy.proof BACKBONE [--trust-remote-code]``: it loads the
backbone, reads one line of JSON (``graft``, ``items``, ``out``) and writes the logits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
from safetensors.numpy import load_file, save_file

from regraft.backbones.loading import load_backbone
from regraft.deploy.predictor import GraftPredictor
from regraft.errors import GraftError
from regraft.ledger.grafts import read_graft
from regraft.measure.metrics import score, softmax
from regraft.tasks.items import Items, items_from

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

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


@final
class FreshProcess:
    """A process that loads a backbone, then waits to be asked, once, for what a graft predicts.

    What it imports and loads, it does beside whatever who started it still has to do.

    It finds the modules that this process finds and no others: not those that happen to lie in the
    working folder. Ctrl-C does not reach it, for it is this process that the user interrupts. Where
    this process is killed, it ends once it has done what it was at.

    Args:
        backbone: Where the backbone is.
        trust_remote_code: Whether the user lets code run that comes with a hub model.
    """

    def __init__(self, backbone: str, *, trust_remote_code: bool = False) -> None:
        self._command = [sys.executable, "-P", "-m", "regraft.deploy.proof", backbone]
        self._command += ["--trust-remote-code"] if trust_remote_code else []

    def __enter__(self) -> Self:
        path = os.pathsep.join(one or str(Path.cwd()) for one in sys.path)
        with ExitStack() as until:
            scratch = tempfile.TemporaryDirectory(prefix="regraft-proof-")
            self._scratch = Path(until.enter_context(scratch))
            self._process = until.enter_context(
                subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "PYTHONPATH": path},
                    start_new_session=True,
                )
            )
            self._until = until.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._until.close()

    def logits(self, folder: Path, items: Items) -> np.ndarray[Any, Any]:
        """Return the logits (n, C) that the process predicts with a graft.

        Raises:
            GraftError: It could not.
        """
        _write_items(items, self._scratch / "items")
        out = self._scratch / "logits.npy"
        asked = {"graft": str(folder), "items": str(self._scratch / "items"), "out": str(out)}
        _, said = self._process.communicate(json.dumps(asked) + "\n")
        if self._process.returncode != 0:
            ended = f"it ended with {self._process.returncode}"
            last = (said.strip().splitlines() or [ended])[-1]
            raise GraftError(
                f"a fresh process could not predict with it ({last}). The run's result is kept; "
                "the graft is not proved.",
                where=str(folder),
            )
        logits: np.ndarray[Any, Any] = np.load(out, allow_pickle=False)
        return logits


def prove(
    fresh: FreshProcess,
    folder: Path,
    items: Items,
    expected: np.ndarray[Any, Any],
    *,
    metric: str,
) -> Proof:
    """Load the graft in a fresh process and compare its predictions.

    Args:
        fresh: The process, with the graft's backbone.
        folder: The graft's folder.
        items: Labelled items to predict.
        expected: Logits that the run gives for just these items, shape (n, C).
        metric: The metric that must come out exactly the same.

    Raises:
        GraftError: A logit differs by more than 1e-6 of the largest, or the metric differs.
    """
    actual = fresh.logits(folder, items)
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
    """Load a backbone; then, as asked, load a graft, predict the items, write their logits."""
    backbone, *trust = arguments
    loaded = load_backbone(backbone, trust_remote_code=bool(trust))
    line = sys.stdin.readline()
    if not line:
        return  # who started it has ended
    asked = json.loads(line)
    predictor = GraftPredictor(read_graft(Path(asked["graft"])), loaded)
    items = _read_items(Path(asked["items"]), predictor.graft.kind)
    np.save(asked["out"], predictor.logits(items))


if __name__ == "__main__":
    main(sys.argv[1:])
