"""One fit: epochs of steps with early stopping, as a generator of events."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from regraft.engine.adapted import lowest_open
from regraft.engine.batches import Loader, epoch_batches
from regraft.engine.memory import no_memory, recorded_sizes
from regraft.engine.objective import Objective
from regraft.engine.optimiser import Optimiser
from regraft.engine.outputs import Outputs, looked_at, outputs
from regraft.engine.randomness import random_state, set_random_state
from regraft.engine.sources import Sources
from regraft.engine.stack import Member
from regraft.events import Adjusted, Checkpoint, Epoch, Evaluation, Event, Glimpse, Step
from regraft.measure.metrics import METRICS, all_scores, softmax

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from regraft.engine.adapted import Adapted
    from regraft.engine.batches import Batch
    from regraft.engine.job import Job, Stage
    from regraft.engine.meter import Meter

FINISH = "finish"
"""What a driver sends in answer to a checkpoint to end the run with the best state so far."""


CHECKPOINT = "checkpoint"
"""What a driver sends in answer to a step or a glimpse to get a checkpoint right after it."""

GLIMPSE = "glimpse"
"""What a driver sends in answer to a step to get the validation metrics right after it."""


_CHECKPOINT_PAYS = 20
"""Training goes on for so many times what the last checkpoint took before the next is due, but not
for more than six times what was asked for: who answers the checkpoint may have been away."""


class DivergedError(ArithmeticError):
    """The loss or the gradient is no longer finite."""


@dataclass(slots=True)
class Progress:
    """Where a fit stands; plain numbers, stored in checkpoints."""

    epoch: int = 0
    position: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_items: int = 0
    examples_seen: int = 0
    best_metric: float | None = None
    best_log_loss: float | None = None
    best_epoch: int = 0
    best_step: int = 0
    stale_epochs: int = 0
    kept_steps: int = 0
    computed_because: list[str] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class FitResult:
    """What a fit leaves: its best state (the last, without validation) and where it stood then."""

    state: dict[str, torch.Tensor]
    logits: np.ndarray[Any, Any]  # (validation rows, C)
    features: np.ndarray[Any, Any]  # (validation rows, width)
    progress: Progress
    finished_early: bool


@final
class Fit:
    """Trains a model on one stage. `events` is the generator; it can start from a checkpoint."""

    def __init__(self, job: Job, stage: Stage, model: Adapted, meter: Meter) -> None:
        self._job, self._stage, self._model, self._meter = job, stage, model, meter
        fit = job.protocol["fit"]
        self._batch_size = int(fit["batch_size"])
        self._patience = int(fit["patience"])
        self._loader = Loader(job)
        self._sources = Sources(job, stage, self._loader)
        self._lengths = self._loader.lengths()
        self._per_epoch = len(self._batches(0))
        self._total = self._per_epoch * stage.epochs
        self._optimiser = Optimiser(job, stage, model, self._total)
        self._objective = Objective(job, stage, model)
        self._progress = Progress()
        self._best: dict[str, torch.Tensor] | None = None
        self._best_outputs: Outputs | None = None
        self._statistics = dict(model.named_buffers()) if model.learns_statistics else {}
        self._checkpoint_at = meter.seconds
        self._checkpoint_took = 0.0
        largest = self._batch_size + 1  # a last single item joins the batch before
        self._sizes = [(0, largest), *recorded_sizes(job, stage)]
        self._member: Member | None = None
        if job.stack is not None:
            self._member = Member(
                job,
                stage.name,
                model,
                meter,
                self._objective,
                step=lambda: self._progress.step,
                batch=self._batch_of,
                parameters=model.trained(),
            )
        self._alone_from = _recorded_leave(job, stage)

    def events(
        self, resume: tuple[Mapping[str, Any], Mapping[str, torch.Tensor]] | None
    ) -> Generator[Event, str | None, FitResult]:
        """Yield the events of the fit and return its result.

        Raises:
            DivergedError: The loss or the gradient is no longer finite.
        """
        if resume is not None:
            self._restore(*resume)
        with self._member or nullcontext():
            ended = yield from self._epochs()
        lowest = self._model.trains.lowest_depth
        if self._best is None and len(self._stage.validation):
            yield from self._evaluate(lowest)
        if self._best is None:
            self._best = self._model.state()
            if not all(bool(tensor.isfinite().all()) for tensor in self._best.values()):
                raise DivergedError(f"weights are not finite {self._where()}")
        self._model.load_state(self._best)
        depth = yield from self._kept_depth(lowest)
        found = self._best_outputs
        if found is None or found.depth != depth:
            found = self._outputs(self._stage.validation, depth)
        return FitResult(self._best, found.logits, found.features, self._progress, ended)

    def _epochs(self) -> Generator[Event, str | None, bool]:
        ended = self._was_finished()
        while not ended and self._progress.epoch < self._stage.epochs and not self._is_stale():
            ended = yield from self._epoch()
        return ended

    def _epoch(self) -> Generator[Event, str | None, bool]:
        progress, started = self._progress, self._meter.seconds
        lowest = lowest_open(self._job, self._model.trains, progress.epoch)
        self._open(lowest)
        batches = self._batches(progress.epoch)
        self._model.set_modes(lowest)
        asked = None
        while progress.position < len(batches):
            depth = yield from self._kept_depth(lowest, epoch=progress.epoch)
            asked = yield from self._step(batches[progress.position], depth)
            progress.position += 1
            if progress.position == len(batches):
                break  # what is due is taken after the evaluation
            if self._was_finished():
                return True
            if asked == GLIMPSE:
                some = looked_at(self._stage.validation, progress.examples_seen)
                scored_at = yield from self._kept_depth(lowest)
                metrics, _ = self._scores(self._outputs(some, scored_at), some)
                asked = yield self._glimpse(metrics, len(some))
                self._model.set_modes(lowest)
            due = asked == CHECKPOINT or self._is_checkpoint_due()
            if due and (yield from self._checkpoint()):
                return True
        loss = progress.loss_sum / progress.loss_items
        seconds = self._meter.seconds - started
        epoch = progress.epoch + 1
        yield Epoch(self._job.run, self._stage.name, epoch, progress.step, loss, seconds)
        progress.epoch, progress.position = epoch, 0
        progress.loss_sum, progress.loss_items = 0.0, 0
        if len(self._stage.validation):
            yield from self._evaluate(lowest, train_loss=loss)
            if asked == GLIMPSE:
                metrics = progress.history[-1]["metrics"]
                asked = yield self._glimpse(metrics, len(self._stage.validation))
        if self._was_finished():
            return True
        due = asked == CHECKPOINT or self._is_checkpoint_due()
        return due and (yield from self._checkpoint())

    def _kept_depth(
        self, lowest: int, *, epoch: int | None = None
    ) -> Generator[Event, str | None, int]:
        """Return the block whose kept input is read, or 0; without an epoch items are scored."""
        source = yield from self._sources.open(lowest, epoch=epoch, step=self._progress.step)
        reasons = self._progress.computed_because
        if epoch is not None and source.reason and source.reason not in reasons:
            reasons.append(source.reason)
        return source.depth

    def _is_checkpoint_due(self) -> bool:
        least = self._job.checkpoint_seconds
        if least > 0:
            least = max(least, min(_CHECKPOINT_PAYS * self._checkpoint_took, 6 * least))
        return self._meter.seconds - self._checkpoint_at >= least

    def _step(
        self, rows: np.ndarray[Any, Any], depth: int
    ) -> Generator[Event, str | None, str | None]:
        """Take one optimiser step; return what the driver answers to it."""
        progress, started = self._progress, time.monotonic()
        before = self._moved_by_a_pass()
        while True:
            try:
                losses = self._accumulate(rows, depth)
                break
            except torch.OutOfMemoryError as error:
                self._forget_pass(before)
                size = min(self._size(), len(rows))
                leaves = size == len(rows) and self._is_stacked()
                if size == 1 and not leaves:
                    raise no_memory(error) from error
            yield from self._leave() if leaves else self._halve(size, "out of memory")
        rate = self._optimiser.rate(progress.step)
        norm = self._optimiser.step(progress.step)
        *shares, length = torch.stack([*losses, norm]).tolist()  # the one wait for the device
        loss = sum(shares)
        progress.step += 1
        progress.kept_steps += depth > 0
        if not (math.isfinite(loss) and math.isfinite(length)):
            raise DivergedError(f"loss {loss:.4g}, gradient norm {length:.4g} {self._where()}")
        progress.loss_sum += loss * len(rows)
        progress.loss_items += len(rows)
        progress.examples_seen += len(rows)
        self._meter.sample()
        seconds = time.monotonic() - started
        answer = yield Step(self._job.run, progress.step, self._total, loss, rate, seconds)
        size = min(self._size(), len(rows))
        if size > 1 and self._meter.is_over(self._job.memory_bytes):
            yield from self._halve(size, "more memory than allowed")
        return answer

    def _accumulate(self, rows: np.ndarray[Any, Any], depth: int) -> list[torch.Tensor]:
        """Put the gradient of the mean loss over `rows` in place; return what adds up to it."""
        progress, size = self._progress, self._size()
        if self._member is not None and size >= len(rows) and self._is_stacked():
            return [self._member.take_gradient(depth)]
        batch = self._batch(rows, depth, progress.epoch, progress.position)
        return self._objective.accumulate(batch, size)

    def _is_stacked(self) -> bool:
        """Whether the next step's gradient comes from the stack, if the batch fits in memory."""
        step, member = self._progress.step, self._member
        return member is not None and step < self._alone_from and member.is_joint(step)

    def _batch(self, rows: np.ndarray[Any, Any], depth: int, epoch: int, position: int) -> Batch:
        return self._loader.training(rows, depth=depth, draw=(self._stage.name, epoch, position))

    def _batch_of(self, step: int, depth: int) -> Batch:
        """Return the training batch of a step."""
        epoch, position = divmod(step, self._per_epoch)
        return self._batch(self._batches(epoch)[position], depth, epoch, position)

    def _size(self) -> int:
        """Return how many items fit in memory at once, as known at this step."""
        return next(size for step, size in reversed(self._sizes) if step <= self._progress.step)

    def _halve(self, size: int, why: str) -> Generator[Event, str | None, None]:
        value = {"stage": self._stage.name, "from_step": self._progress.step, "size": size // 2}
        reason = f"{why} at {size} items; {size // 2} at a time, gradients added up"
        key = f"micro_batch/{self._stage.name}/{size // 2}"
        yield Adjusted(self._job.run, key, value, reason)
        self._sizes.append((self._progress.step, size // 2))

    def _leave(self) -> Generator[Event, str | None, None]:
        value = {"stage": self._stage.name, "from_step": self._progress.step}
        reason = "out of memory together with other runs; alone from here on"
        yield Adjusted(self._job.run, f"alone/{self._stage.name}", value, reason)
        self._alone_from = self._progress.step

    def _evaluate(
        self, lowest: int, train_loss: float | None = None
    ) -> Generator[Event, str | None, None]:
        progress, job = self._progress, self._job
        depth = yield from self._kept_depth(lowest)
        found = self._outputs(self._stage.validation, depth)
        metrics, value = self._scores(found, self._stage.validation)
        best, least = progress.best_metric, progress.best_log_loss
        log_loss = metrics["log_loss"]
        if best is None or least is None or value > best or (value == best and log_loss < least):
            progress.best_metric, progress.best_log_loss = value, log_loss
            progress.best_epoch, progress.best_step = progress.epoch, progress.step
            progress.stale_epochs = 0
            self._best, self._best_outputs = self._model.state(), found
        else:
            progress.stale_epochs += 1
        seconds = self._meter.seconds
        progress.history.append(
            {
                "step": progress.step,
                "epoch": progress.epoch,
                "seconds": seconds,
                "train_loss": train_loss,
                "metrics": metrics,
            }
        )
        epoch, step = progress.epoch, progress.step
        yield Evaluation(job.run, self._stage.name, epoch, step, metrics, seconds)

    def _scores(self, found: Outputs, rows: np.ndarray[Any, Any]) -> tuple[dict[str, float], float]:
        """Return the metrics on validation items, and the one that is watched, more = better.

        A metric that is not defined here (AUROC of one class) leaves the choice to the log loss.
        """
        data = self._job.data
        if not np.isfinite(found.logits).all():
            raise DivergedError(f"logits of validation items are not finite {self._where()}")
        metrics = all_scores(softmax(found.logits), data.labels[rows], data.costs)
        return metrics, METRICS[data.metric].sign * metrics.get(data.metric, 0.0)

    def _glimpse(self, metrics: dict[str, float], n_items: int) -> Glimpse:
        run, step, seconds = self._job.run, self._progress.step, self._meter.seconds
        return Glimpse(run, self._stage.name, step, self._total, metrics, seconds, n_items)

    def _outputs(self, rows: np.ndarray[Any, Any], depth: int) -> Outputs:
        return outputs(self._job, self._model, self._loader, rows, depth=depth)

    def _checkpoint(self) -> Generator[Event, str | None, bool]:
        """Yield a checkpoint; True when the driver answers that the run shall finish."""
        began = time.monotonic()
        state = {f"model/{n}": t for n, t in self._model.state().items()}
        state |= {f"best/{n}": t for n, t in (self._best or {}).items()}
        state |= {f"optimiser/{n}": t for n, t in self._optimiser.state().items()}
        state |= {f"random/{n}": t for n, t in random_state().items()}
        self._checkpoint_at = self._meter.seconds
        answer = yield Checkpoint(self._job.run, self._progress.step, asdict(self._progress), state)
        self._checkpoint_took = time.monotonic() - began
        return answer == FINISH

    def _restore(self, progress: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> None:
        self._progress = Progress(**progress)
        self._model.load_state(_under(state, "model/"))
        self._best = _under(state, "best/") or None
        self._optimiser.load_state(_under(state, "optimiser/"))
        set_random_state(_under(state, "random/"))

    def _batches(self, epoch: int) -> list[np.ndarray[Any, Any]]:
        job, stage = self._job, self._stage
        return epoch_batches(
            stage.train,
            size=self._batch_size,
            seed=job.seed,
            draw=(stage.name, epoch),
            lengths=self._lengths,
        )

    def _open(self, lowest: int) -> None:
        """Let gradients flow to the declared parameters from block `lowest` on."""
        for name, parameter in self._model.named_parameters():
            part, _, inner = name.partition(".")
            is_open = part == "head" or self._model.is_open(inner, lowest)
            parameter.requires_grad_(is_open and name in self._model.trains.names)

    def _was_finished(self) -> bool:
        """Whether it was decided in an earlier sitting that this fit ends where it stands now."""
        decided = self._job.adjustments.get(f"finish/{self._stage.name}")
        return decided is not None and int(decided["at_step"]) <= self._progress.step

    def _moved_by_a_pass(self) -> dict[str, torch.Tensor]:
        """Return copies of what a forward pass moves, so that one cut short leaves no trace."""
        kept = {f"random/{n}": t for n, t in random_state().items()}
        return kept | {f"model/{n}": t.clone() for n, t in self._statistics.items()}

    def _forget_pass(self, before: Mapping[str, torch.Tensor]) -> None:
        self._optimiser.forget_gradients()
        set_random_state(_under(before, "random/"))
        for name, value in _under(before, "model/").items():
            self._statistics[name].copy_(value)

    def _where(self) -> str:
        step = self._progress.step
        rate = self._optimiser.rate(max(step - 1, 0))
        return f"at step {step} of {self._total} (learning rate {rate:.3g})"

    def _is_stale(self) -> bool:
        return self._progress.stale_epochs >= self._patience


def _recorded_leave(job: Job, stage: Stage) -> float:
    """Return the step from which it was recorded that the run goes on without its stack."""
    left = job.adjustments.get(f"alone/{stage.name}")
    return math.inf if left is None else int(left["from_step"])


def _under(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
