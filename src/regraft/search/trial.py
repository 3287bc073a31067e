"""A trial: a few steps of a run on a few items, timed, to say what the whole will cost."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
import torch

from regraft.config.protocol import depth_index
from regraft.config.registry import kind_spec, load
from regraft.engine.batches import Loader, epoch_batches
from regraft.engine.run import execute
from regraft.events import Done, Epoch, Evaluation, Preflight, Step
from regraft.features.passes import cached_batches
from regraft.features.views import ViewInputs
from regraft.search.arms import lowest_trained_depth, with_fit
from regraft.seeds import numpy_generator
from regraft.tasks.splits import Fold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.engine.job import Job
    from regraft.features.views import View


class _Size(NamedTuple):
    """Steps of a trial, of which the first only warms up, and items that are validated."""

    steps: int
    validated: int


_FEW, _MANY = _Size(4, 32), _Size(24, 256)
_SHORT_SECONDS = 0.05
"""Of a step: many of them take a second or two."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a run of one fit costs.

    Attributes:
        start_seconds: Of building it; pre-flight is made once for all runs of an arm.
        epoch_seconds: One pass over the training items, one evaluation.
        peak_memory_bytes: Most memory of the process, or of the device.
        evaluation_seconds: Of an epoch, what its evaluation takes.
        n_validated: Items that an evaluation passes.
    """

    start_seconds: float
    epoch_seconds: float
    peak_memory_bytes: int
    evaluation_seconds: float = 0.0
    n_validated: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that the ledger keeps."""
        return asdict(self)

    def seconds_of(self, stages: Sequence[Mapping[str, Any]]) -> float:
        """Return the seconds that a run's fits take for the epochs that they ran."""
        first = stages[0]["n_train"]
        epochs = sum(
            (one["history"][-1]["epoch"] if one["history"] else one["epochs"])
            * (one["n_train"] / first)
            for one in stages
        )
        return self.start_seconds + self.epoch_seconds * float(epochs)

    def seconds_to(self, step: int, *, steps_per_epoch: float, looked_at: int) -> float:
        """Return the seconds of so many steps, each whole epoch evaluated.

        Args:
            step: Steps taken.
            steps_per_epoch: Of the run.
            looked_at: Validation items that were passed between evaluations.
        """
        training = (self.epoch_seconds - self.evaluation_seconds) * step / steps_per_epoch
        evaluations = step // steps_per_epoch + looked_at / max(self.n_validated, 1)
        return self.start_seconds + training + self.evaluation_seconds * evaluations


def trial(job: Job) -> Trial:
    """Run a few steps and one evaluation of a job on a few of its items.

    Seconds are scaled to all items by what a batch holds, padding included. Where steps are short
    more are taken: what a step costs beside its items, and what else the machine does just then,
    would else be most of it. Under gradual unfreezing the time is that of as many open blocks as an
    epoch has in the mean, the memory that of all. A run that fails here fails in the study too,
    with its reason: it costs nothing.
    """
    size = _FEW
    found, step = _tried(job, size)
    if 0.0 < step < _SHORT_SECONDS:
        size = _MANY
        found, _ = _tried(job, size)
    if found.epoch_seconds and (depth := typical_depth(job.protocol, job.backbone.n_blocks)):
        train = {**job.protocol["train"], "from_depth": depth, "stem": False}
        typical, _ = _tried(replace(job, protocol={**job.protocol, "train": train}), size)
        return replace(typical, peak_memory_bytes=found.peak_memory_bytes)
    return found


def typical_depth(protocol: Mapping[str, Any], n_blocks: int) -> int | str | None:
    """Return the lowest block that is open in a mean epoch of a fit; None where it never changes.

    Args:
        protocol: A resolved protocol.
        n_blocks: Blocks of the backbone.
    """
    if protocol["unfreeze"] is None or protocol["train"]["from_depth"] == "none":
        return None
    spec = kind_spec("unfreeze", protocol["unfreeze"], where="unfreeze")
    lowest_open = load("unfreeze", protocol["unfreeze"]["kind"]).lowest_open
    lowest = depth_index(protocol["train"]["from_depth"], n_blocks)
    each = [
        lowest_open(spec, epoch=epoch, from_depth=lowest, n_blocks=n_blocks)
        for epoch in range(int(protocol["fit"]["epochs"]))
    ]
    mean = round(float(np.mean(each)))
    return "none" if mean >= n_blocks else mean or None


def _tried(job: Job, size: _Size) -> tuple[Trial, float]:
    """Return what a trial of a size says, and the seconds of a step of it."""
    small, seconds, evaluation = small_job(job, size), list[float](), 0.0
    lowest = lowest_trained_depth(small.protocol, job.backbone.n_blocks)
    Loader(small).source(lowest, epoch=0)  # the time of what is kept is not the run's
    start, peak, began = 0.0, 0, time.perf_counter()
    before = began
    for event in execute(small):
        now = time.perf_counter()
        if isinstance(event, Preflight):
            began = now  # it is made once for all runs of an arm, and was just now
        elif isinstance(event, Step):
            start = start or now - began - event.seconds
            seconds.append(event.seconds)
        elif isinstance(event, Evaluation):
            evaluation = now - before
        elif isinstance(event, Done):
            peak = int(event.summary["peak_memory_bytes"])
        if isinstance(event, Epoch | Step):
            before = now
    if not seconds:
        return Trial(0.0, 0.0, 0), 0.0
    lengths = job.data.prepared.lengths()
    rates = [s / h for s, h in zip(seconds, _held(small, lengths), strict=True)]
    train = float(np.median(rates[1:] or rates)) * sum(_held(job, lengths))
    few, all_ = (_validated(one, lengths) for one in (small, job))
    evaluation *= all_ / max(few, 1.0)
    n_validated = len(job.data.folds[0].validation) if job.data.folds else 0
    found = Trial(start, train + evaluation, peak, evaluation, n_validated)
    return found, float(np.median(seconds[1:] or seconds))


def small_job(job: Job, size: _Size = _FEW) -> Job:
    """Return the job on a few of its items, its head not solved, its prefix of these alone."""
    data, batch_size = job.data, int(job.protocol["fit"]["batch_size"])
    folds = data.folds or (Fold(np.arange(len(data.labels)), np.empty(0, np.int64)),)
    generator = numpy_generator(job.seed, "trial")
    train = generator.permutation(folds[0].train)[: size.steps * batch_size]
    validation = generator.permutation(folds[0].validation)[: size.validated]
    chosen = np.concatenate([train, validation])
    fold = Fold(np.arange(len(train)), np.arange(len(train), len(chosen)))
    protocol = {**with_fit(job.protocol, epochs=1), "unfreeze": None}  # all that it will open
    if protocol["head"].get("start") in ("probe", "centroid"):
        protocol = {**protocol, "head": {**protocol["head"], "start": "random"}}
    rows = data.rows[chosen]
    prefix = cache(partial(_Prefix, job, rows))
    small = replace(
        data,
        labels=data.labels[chosen],
        folds=(fold,),
        rows=rows,
        prefix=prefix,
        view_prefix=prefix,
        metric="accuracy",
        solved={},
    )
    return replace(job, protocol=protocol, data=small, adjustments={}, checkpoint_seconds=1e9)


@final
class _Prefix:
    """The hidden states of a few items, computed when the trial begins and held in memory."""

    def __init__(
        self, job: Job, rows: np.ndarray[Any, Any], depth: int, view: View | None = None
    ) -> None:
        asked_by = rows if view is None else np.arange(len(rows))
        self._place = {int(row): i for i, row in enumerate(asked_by)}
        self._kept: dict[int, np.ndarray[Any, Any]] = {}
        backbone, prepared = job.backbone, job.data.prepared
        inputs = prepared if view is None else ViewInputs(prepared, view)
        places, lengths = np.arange(len(rows)), prepared.lengths()[rows]
        with torch.no_grad():
            for chosen in cached_batches(backbone, places, lengths, "cpu"):
                batch = backbone.preprocess.collate(inputs.gather(rows[chosen]))
                hidden = backbone.split_hidden(backbone.hidden(batch, depth=depth), batch)
                self._kept |= zip(chosen.tolist(), hidden, strict=True)

    def __len__(self) -> int:
        return len(self._kept)

    def gather(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        return [self._kept[self._place[int(row)]] for row in rows]

    def lengths(self) -> np.ndarray[Any, Any]:
        return np.array([self._kept[i].size for i in range(len(self._kept))])


def _held(job: Job, lengths: np.ndarray[Any, Any]) -> list[float]:
    """Return what each batch of an epoch holds: its items times the longest of them."""
    data = job.data
    train = data.folds[0].train if data.folds else np.arange(len(data.labels))
    own = lengths[data.rows]
    batches = epoch_batches(
        train,
        size=int(job.protocol["fit"]["batch_size"]),
        seed=job.seed,
        draw=("fit", 0),
        lengths=own if len(own) and own.min() < own.max() else None,
    )
    return [float(len(rows) * own[rows].max()) for rows in batches]


def _validated(job: Job, lengths: np.ndarray[Any, Any]) -> float:
    """Return how much is validated after an epoch: the lengths of the items."""
    if not job.data.folds:
        return 0.0
    return float(lengths[job.data.rows[job.data.folds[0].validation]].sum())
