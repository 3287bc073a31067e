"""Events: what a run says of itself while it goes on. Plain records, no torch.

A run is a generator of events. Whoever drives it writes them down; not asking for the next one
pauses the run. Every event but `Checkpoint` and `Done` is plain JSON; those two carry tensors in
`state` and arrays in `arrays`, which the driver stores as artefacts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Started:
    """The run begins (or begins again from a checkpoint)."""

    run: str
    resumed_at_step: int
    parameters_trained: int
    parameters_total: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preflight:
    """The checks before training; `problems` empty means that all of them held.

    `warnings` do not end the run.
    """

    run: str
    lines: tuple[str, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step. `rate` is the highest learning rate of the step."""

    run: str
    step: int
    total_steps: int
    loss: float
    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training items ended; `train_loss` is the mean over its items."""

    run: str
    stage: str
    epoch: int
    step: int
    train_loss: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics on the validation items, after `step` steps."""

    run: str
    stage: str
    epoch: int
    step: int
    metrics: dict[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Glimpse:
    """Metrics on validation items in passing, asked for by the driver; the run is as before.

    `total_steps` are those of the whole fit, `seconds` those of the run so far, `n_items` how many
    items were looked at.
    """

    run: str
    stage: str
    step: int
    total_steps: int
    metrics: dict[str, float]
    seconds: float
    n_items: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that is needed to go on from here to the identical result."""

    run: str
    step: int
    progress: dict[str, Any]
    state: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A decision taken because of a measurement (batch halved for memory, stop at the budget)."""

    run: str
    key: str
    value: dict[str, Any]
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The run ended without a result; the study goes on."""

    run: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """The run ended with a result.

    `summary` is plain JSON (validation metrics, steps, seconds, peak memory, examples seen);
    `state` the tensors that predict; `arrays` the out-of-sample logits and their items.
    """

    run: str
    summary: dict[str, Any]
    state: Mapping[str, Any] = field(repr=False)
    arrays: Mapping[str, Any] = field(repr=False)


Event = (
    Started
    | Preflight
    | Step
    | Epoch
    | Evaluation
    | Glimpse
    | Checkpoint
    | Adjusted
    | Failed
    | Done
)

_HEAVY = {"state", "arrays"}


def event_json(event: Event) -> dict[str, Any]:
    """Return the plain part of an event, its kind (the class name in lower case) included."""
    plain = {f.name: getattr(event, f.name) for f in fields(event) if f.name not in _HEAVY}
    return {"kind": type(event).__name__.lower(), **plain}
