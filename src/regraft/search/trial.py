"""A trial: a few steps of a run on a few items, timed, to say what the whole will cost."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
import torch

from regraft.backbones.placing import placed
from regraft.engine.batches import Loader, epoch_batches
from regraft.engine.meter import used_bytes
from regraft.engine.run import execute
from regraft.events import Done, Epoch, Evaluation, Preflight, Started, Step
from regraft.features.passes import cached_batches
from regraft.features.views import ViewInputs
from regraft.search.arms import lowest_trained_depth, with_fit
from regraft.search.opening import opening_shares, typical_depth
from regraft.tasks.splits import Fold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.engine.job import Job
    from regraft.features.views import View


class _Size(NamedTuple):
    """Steps of a trial, of which the first only warms up, and items that are validated."""

    steps: int
    validated: int


_FEW = _Size(4, 32)
_TIMED_SECONDS = 0.8
"""Where steps are short more are timed for so long, but no more of them than `_MOST_STEPS`."""
_MOST_STEPS = 24
_SHORT_SECONDS = 0.05
"""Of a step: an evaluation is then as short, and timed on more items."""
_VALIDATED, _VALIDATED_IF_SHORT = 64, 256
_STRETCHES = 4
_VALUE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """What a run of one fit costs.

    Attributes:
        start_seconds: Of building it, and what its first step takes beyond another.
        epoch_seconds: One pass over the training items, one evaluation.
        peak_memory_bytes: Most memory of the process, or of the device.
        evaluation_seconds: Of an epoch, what its evaluation takes.
        n_validated: Items that an evaluation passes.
        preflight_seconds: Of the pre-flight that the arm's first run will make for all; 0 where the
            trial has made it.
        waiting_bytes: What a run holds while others are on: its model and the optimiser's moments.
        held_bytes: What the process, or the device, held before the trial.
        checkpoint_bytes: What a checkpoint holds, in main memory, while it is written.
        opening: Under gradual unfreezing, what an epoch trains as a share of the epoch that was
            timed: of the first, the second and so on, the last share of all that follow.
    """

    start_seconds: float
    epoch_seconds: float
    peak_memory_bytes: int
    evaluation_seconds: float = 0.0
    n_validated: int = 0
    preflight_seconds: float = 0.0
    waiting_bytes: int = 0
    held_bytes: int = 0
    checkpoint_bytes: int = 0
    opening: Sequence[float] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that the ledger keeps."""
        return asdict(self)

    def seconds_of(self, stages: Sequence[Mapping[str, Any]]) -> float:
        """Return the seconds that a run's fits take for the epochs that they ran."""
        first = stages[0]["n_train"]
        epochs = sum(
            self._timed_epochs(one["history"][-1]["epoch"] if one["history"] else one["epochs"])
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
        epochs = self._timed_epochs(step / steps_per_epoch)
        training = (self.epoch_seconds - self.evaluation_seconds) * epochs
        evaluations = step // steps_per_epoch + looked_at / max(self.n_validated, 1)
        return self.start_seconds + training + self.evaluation_seconds * evaluations

    def _timed_epochs(self, epochs: float) -> float:
        """Return how many epochs such as was timed so many of a run are."""
        if not self.opening:
            return epochs
        whole = int(epochs)
        shares = [self.opening[min(i, len(self.opening) - 1)] for i in range(whole + 1)]
        return sum(shares[:whole]) + shares[whole] * (epochs - whole)


def trial(job: Job) -> Trial:
    """Run a few steps and one evaluation of a job on a few of its items.

    The batches are some of the run's own, from its thinnest to its fullest; seconds are scaled to
    all by what a batch holds, padding included. Where steps are short more are taken: what else the
    machine does just then would else be most of it. Under gradual unfreezing the time is that of as
    many open blocks as an epoch has in the mean, the memory that of all. A run that fails here
    fails in the study too, with its reason: it costs nothing.
    """
    if _starts_solved(job):  # it is tried as what no run is: its pre-flight serves none
        job = replace(job, data=replace(job.data, checked={}))
    held = used_bytes(job.device)
    sample, sizes = _tried(job, _FEW), [_FEW]
    if sample is None:
        return Trial(0.0, 0.0, 0)
    step = max(sample.step_seconds, _TIMED_SECONDS / _MOST_STEPS)  # a clock may not tell it from 0
    if (steps := int(_TIMED_SECONDS / step)) > _FEW.steps:
        sizes.append(_Size(steps, _VALIDATED_IF_SHORT if step < _SHORT_SECONDS else _VALIDATED))
        sample = sample.joined(_tried(job, sizes[-1]))
    if depth := typical_depth(job.protocol, job.backbone.n_blocks):
        train = {**job.protocol["train"], "from_depth": depth, "stem": False}
        typical = _tried(replace(job, protocol={**job.protocol, "train": train}), sizes[-1])
        sample = sample.in_time_of(typical)
    return _scaled(job, sample, held)


def _scaled(job: Job, sample: _Sample, held_bytes: int) -> Trial:
    """Return what the whole run costs, given what a part of it took."""
    lengths = job.data.prepared.lengths()
    evaluation = sample.evaluation_seconds * _validated(job, lengths)
    return Trial(
        start_seconds=sample.start_seconds,
        epoch_seconds=sample.rate * sum(_held(job, lengths)) + evaluation,
        peak_memory_bytes=sample.peak_bytes,
        evaluation_seconds=evaluation,
        n_validated=len(job.data.folds[0].validation) if job.data.folds else 0,
        preflight_seconds=sample.preflight_seconds if _starts_solved(job) else 0.0,
        waiting_bytes=sample.waiting_bytes,
        held_bytes=held_bytes,
        checkpoint_bytes=sample.checkpoint_bytes,
        opening=opening_shares(job.protocol, job.backbone.n_blocks),
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    """What a part of a run took.

    Attributes:
        steps: Steps that were timed, the first of each try left out; `seconds` of them all.
        held: What their batches held.
        start_seconds: As in `Trial`, the mean of the tries.
        evaluation_seconds: By what was evaluated; `evaluated` is that.
        preflight_seconds, peak_bytes, waiting_bytes, checkpoint_bytes: As in `Trial`.
    """

    steps: int
    seconds: float
    held: float
    start_seconds: float
    evaluation_seconds: float
    evaluated: float
    preflight_seconds: float
    peak_bytes: int
    waiting_bytes: int
    checkpoint_bytes: int

    @property
    def rate(self) -> float:
        """Seconds of training by what batches hold."""
        return self.seconds / self.held

    @property
    def step_seconds(self) -> float:
        """Seconds of a step."""
        return self.seconds / self.steps

    def joined(self, other: _Sample | None) -> _Sample:
        """Return this try and a later one together: other work hardly slows both."""
        if other is None:
            return self
        evaluated = self.evaluated + other.evaluated
        evaluation = (
            self.evaluation_seconds * self.evaluated + other.evaluation_seconds * other.evaluated
        )
        return replace(
            self,
            steps=self.steps + other.steps,
            seconds=self.seconds + other.seconds,
            held=self.held + other.held,
            start_seconds=(self.start_seconds + other.start_seconds) / 2,
            evaluation_seconds=evaluation / max(evaluated, 1.0),
            evaluated=evaluated,
            peak_bytes=max(self.peak_bytes, other.peak_bytes),
        )

    def in_time_of(self, other: _Sample | None) -> _Sample:
        """Return this one with the seconds of another, of as many open blocks as is typical."""
        if other is None:
            return self
        timed = ("steps", "seconds", "held", "start_seconds", "evaluation_seconds", "evaluated")
        return replace(self, **{name: getattr(other, name) for name in timed})


def _tried(job: Job, size: _Size) -> _Sample | None:
    """Run a part of a job and return what it took; None where it cannot run."""
    small, seconds, evaluation = small_job(job, size), list[float](), 0.0
    lowest = lowest_trained_depth(small.protocol, job.backbone.n_blocks)
    Loader(small).source(lowest, epoch=0)  # the time of what is kept is not the run's
    start, preflight, peak, began = 0.0, 0.0, 0, time.perf_counter()
    trained = total = 0
    before = began
    for event in execute(small):
        now = time.perf_counter()
        if isinstance(event, Started):
            before = now
            trained, total = event.parameters_trained, event.parameters_total
        elif isinstance(event, Preflight):
            preflight, began = now - before, now  # one for all runs of an arm
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
        return None
    lengths = job.data.prepared.lengths()
    held, evaluated = _held(small, lengths), _validated(small, lengths)
    later = slice(1 if len(seconds) > 1 else 0, None)
    rate = sum(seconds[later]) / sum(held[later])
    return _Sample(
        steps=len(seconds[later]),
        seconds=sum(seconds[later]),
        held=sum(held[later]),
        # the first step's memory for what the optimiser keeps
        start_seconds=start + max(0.0, seconds[0] - rate * held[0]),
        evaluation_seconds=evaluation / max(evaluated, 1.0),
        evaluated=evaluated,
        preflight_seconds=preflight,
        peak_bytes=peak,
        waiting_bytes=_VALUE_BYTES * (total + 2 * trained),
        # weights, the best ones, two moments: in main memory, which is not what a GPU's peak is of
        checkpoint_bytes=0 if job.device.startswith("cuda") else 4 * _VALUE_BYTES * trained,
    )


def small_job(job: Job, size: _Size = _FEW) -> Job:
    """Return the job on a few of its items, its head not solved, its prefix of these alone."""
    data, lengths = job.data, job.data.prepared.lengths()[job.data.rows]
    batches = sorted(_batches(job, lengths), key=lambda rows: len(rows) * lengths[rows].max())
    train = np.concatenate([batches[i] for i in _spread(len(batches), size.steps)])
    validation = _stretches(data.folds[0].validation if data.folds else train[:0], lengths, size)
    chosen = np.concatenate([train, validation])
    fold = Fold(np.arange(len(train)), np.arange(len(train), len(chosen)))
    protocol = {**with_fit(job.protocol, epochs=1), "unfreeze": None}  # all that it will open
    if _starts_solved(job):
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


def _starts_solved(job: Job) -> bool:
    """Whether the head starts from one that is solved on all items, which a trial does not do."""
    return job.protocol["head"].get("start") in ("probe", "centroid")


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
        device = torch.device(job.device)
        with torch.no_grad(), placed(backbone, job.device):
            for chosen in cached_batches(backbone, places, lengths, device.type):
                batch = backbone.preprocess.collate(inputs.gather(rows[chosen]))
                batch = {name: tensor.to(device) for name, tensor in batch.items()}
                hidden = backbone.split_hidden(backbone.hidden(batch, depth=depth), batch)
                self._kept |= zip(chosen.tolist(), hidden, strict=True)

    def __len__(self) -> int:
        return len(self._kept)

    def gather(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        return [self._kept[self._place[int(row)]] for row in rows]

    def lengths(self) -> np.ndarray[Any, Any]:
        return np.array([self._kept[i].size for i in range(len(self._kept))])


def _batches(job: Job, lengths: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Return the batches of the first epoch, given the length of each item of the run."""
    data = job.data
    return epoch_batches(
        data.folds[0].train if data.folds else np.arange(len(data.labels)),
        size=int(job.protocol["fit"]["batch_size"]),
        seed=job.seed,
        draw=("fit", 0),
        lengths=lengths if len(lengths) and lengths.min() < lengths.max() else None,
    )


def _spread(n: int, k: int) -> list[int]:
    """Return k of n places, or all, evenly spread; the last place, the fullest, is one of them.

    Example:
        >>> _spread(9, 3), _spread(2, 4)
        ([1, 4, 8], [0, 1])
    """
    if k >= n:
        return list(range(n))
    return [*((2 * i + 1) * n // (2 * k) for i in range(k - 1)), n - 1]


def _stretches(
    rows: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any], size: _Size
) -> np.ndarray[Any, Any]:
    """Return some rows, in stretches of a like length, as evaluation batches them."""
    if len(rows) <= size.validated:
        return rows
    by_length = rows[np.argsort(lengths[rows], kind="stable")]
    each = size.validated // _STRETCHES
    parts = np.array_split(by_length, _STRETCHES)
    return np.concatenate([one[(len(one) - each) // 2 :][:each] for one in parts])


def _held(job: Job, lengths: np.ndarray[Any, Any]) -> list[float]:
    """Return what each batch of an epoch holds: its items times the longest of them."""
    own = lengths[job.data.rows]
    return [float(len(rows) * own[rows].max()) for rows in _batches(job, own)]


def _validated(job: Job, lengths: np.ndarray[Any, Any]) -> float:
    """Return how much is validated after an epoch: the lengths of the items."""
    if not job.data.folds:
        return 0.0
    return float(lengths[job.data.rows[job.data.folds[0].validation]].sum())
