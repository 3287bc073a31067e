"""A stack: runs of one shape whose gradients are computed together, by batched products."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import torch
from torch import nn
from torch.func import functional_call, vmap

from regraft.engine.device import stacked_pass
from regraft.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from regraft.engine.adapted import Adapted
    from regraft.engine.batches import Batch
    from regraft.engine.job import Job
    from regraft.engine.meter import Meter
    from regraft.engine.objective import Objective


@final
class Stack:
    """Runs that take their gradients together: one forward and one backward pass for all.

    Each run keeps its parameters, optimiser, progress and events. Who asks first at a step has the
    gradients of all that stand there computed; theirs are kept until they ask. Every run has its
    slot, and one that does not stand there is stood in for, so that the numbers of a run depend on
    how many take part, which is on record, and not on who came first or was resumed.

    Attributes:
        runs: Ids of the runs, by slot.
        ends: After how many steps a run took no further part, by id; all others go on.
        apart: Whether each has its own batches, as of another seed; else all share them. Texts are
            never apart: they differ in length, and their masks steer how encoders compute.
    """

    def __init__(
        self, runs: Sequence[str], ends: Mapping[str, int] | None = None, *, apart: bool = False
    ) -> None:
        self.runs = tuple(runs)
        self.ends = dict(ends or {})
        self.apart = apart
        self._members: dict[str, Member] = {}
        self._kept: dict[str, _Gradient] = {}

    def end(self, run: str, step: int) -> None:
        """Let a run take no part after a step; the others go on without it."""
        self.ends[run] = step

    def seated(self, step: int) -> list[str]:
        """Return the runs that take part in a step (0 is the first), by slot.

        Example:
            >>> Stack(["a", "b", "c"], {"b": 4}).seated(5)
            ['a', 'c']
        """
        return [run for run in self.runs if self.ends.get(run, math.inf) >= step]

    def record(self) -> dict[str, Any]:
        """Return the plain form from which `Stack` can be made again."""
        found = {"runs": list(self.runs), "ends": dict(self.ends)}
        return {**found, "apart": True} if self.apart else found

    def join(self, member: Member) -> None:
        """Take a run in where it stands now.

        Raises:
            ShapeError: It has no slot here, differs from the others in more than its rate (and its
                seed, where batches are apart), or is of texts where batches are apart.
        """
        run = member.job.run
        if run not in self.runs:
            raise ShapeError(f"run {run} has no slot in the stack of {', '.join(self.runs)}.")
        if self.apart and member.job.data.kind == "text":
            raise ShapeError(f"run {run}: texts of other seeds differ in length. Train it alone.")
        if any(self._shape(one.job) != self._shape(member.job) for one in self._members.values()):
            raise ShapeError(
                f"run {run} differs in more than its rate or, where batches are apart, its seed. "
                "Train it alone."
            )
        self._members[run] = member
        self._kept.pop(run, None)

    def leave(self, member: Member) -> None:
        """Let go of a run that is paused for good, or ends."""
        run = member.job.run
        if self._members.get(run) is member:
            del self._members[run]
            self._kept.pop(run, None)

    def gradient(self, member: Member, depth: int) -> torch.Tensor:
        """Put the gradient of a member's next step into its parameters; return the loss."""
        run, step = member.job.run, member.step()
        kept = self._kept.pop(run, None)
        if kept is None or kept.step != step:
            self._compute(member, step, depth)
            kept = self._kept.pop(run)
        for name, gradient in kept.by_name.items():
            parameter = member.parameters[name]
            if gradient.stride() != parameter.stride():  # fused AdamW reads them side by side
                gradient = torch.empty_like(parameter).copy_(gradient)
            parameter.grad = gradient
        return kept.loss

    def _compute(self, asking: Member, step: int, depth: int) -> None:
        """Compute the gradients of all members that stand at a step, and keep them."""
        slots, batches = self._slots(asking, step, depth)
        mine = self.seated(step).index(asking.job.run)
        others = [one for one in slots if one is not asking]
        opened = [name for name, p in asking.parameters.items() if p.requires_grad]
        with asking.meter.shared_with([one.meter for one in others]):
            stacked = {
                name: torch.stack([one.parameters[name].detach() for one in slots])
                for name in opened
            }
            losses, gradients = joint_gradients(asking, stacked, batches, apart=self.apart)
        for slot, member in enumerate(slots):
            if member is not asking or slot == mine:
                own = {name: g[slot] for name, g in gradients.items()}
                self._kept[member.job.run] = _Gradient(step, losses[slot], own)

    def _slots(self, asking: Member, step: int, depth: int) -> tuple[list[Member], list[Batch]]:
        """Return who sits in each slot, and on which batch: the member who asks, if nobody else."""
        batch, slots, batches = asking.batch(step, depth), [], []
        for run in self.seated(step):
            member = self._members.get(run, asking)
            own = batch
            if (member.stage, member.step()) != (asking.stage, step):
                member = asking
            elif member.job.seed != asking.job.seed:
                own = member.batch(step, depth)
            slots.append(member)
            batches.append(own)
        return slots, batches

    def _shape(self, job: Job) -> tuple[Any, ...]:
        """Return what the runs have in common; with it, that their batches have one shape."""
        protocol = {key: value for key, value in job.protocol.items() if key != "rate"}
        seed = None if self.apart else job.seed
        return protocol, id(job.data), id(job.backbone), job.precision, job.device, seed


@final
@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A run in a stack, for as long as it is entered.

    Attributes:
        job: The run; its stack is the one that it enters.
        stage: The fit's name.
        model: What it trains.
        meter: What it costs.
        objective: Its loss.
        step: Returns how many steps it has taken.
        batch: Returns the training batch of a step, at a kept depth.
        parameters: Its trained parameters by name.
    """

    job: Job
    stage: str
    model: Adapted
    meter: Meter
    objective: Objective
    step: Callable[[], int]
    batch: Callable[[int, int], Batch]
    parameters: Mapping[str, nn.Parameter]

    def __enter__(self) -> None:
        """Join the stack."""
        self._stack.join(self)

    def __exit__(self, *_: object) -> None:
        """Leave it."""
        self._stack.leave(self)

    @property
    def _stack(self) -> Stack:
        if self.job.stack is None:
            raise AssertionError("a member has a stack")
        return self.job.stack

    def is_joint(self, step: int) -> bool:
        """Whether more than this run take part in a step."""
        seated = self._stack.seated(step)
        return len(seated) > 1 and self.job.run in seated

    def take_gradient(self, depth: int) -> torch.Tensor:
        """Put the gradient of the next step in place; return the loss."""
        return self._stack.gradient(self, depth)


def joint_gradients(
    member: Member,
    stacked: Mapping[str, torch.Tensor],
    batches: Sequence[Batch],
    *,
    apart: bool = False,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the losses (S,) of S models and the gradients of each, by name and stacked alike.

    Args:
        member: One of them; frozen weights and buffers are its own.
        stacked: The open parameters of all, each (S, ...).
        batches: What each trains on.
        apart: Whether the batches differ; else the first is all, and is not copied.

    Raises:
        RuntimeError: The forward pass draws random numbers, or has no batching rule.
    """
    job, first = member.job, batches[0]
    leaves = {name: value.requires_grad_() for name, value in stacked.items()}
    whole = _Whole(member.model)
    data = _stacked([_tensors(one) for one in batches]) if apart else _tensors(first)

    def loss(parameters: dict[str, torch.Tensor], data: dict[str, torch.Tensor]) -> torch.Tensor:
        inputs = {name: data[f"inputs/{name}"] for name in first.inputs}
        arguments = (inputs, data.get("hidden"), first.depth)
        logits = functional_call(whole, parameters, arguments).float()
        return member.objective.loss(logits, data["labels"])

    with stacked_pass(job.precision, job.device):
        by_place = {_Whole.place(name): leaf for name, leaf in leaves.items()}
        in_dims = (0, 0 if apart else None)
        losses = vmap(loss, in_dims=in_dims, randomness="error")(by_place, data)
    found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
    gradients = {n: g for n, g in zip(leaves, found, strict=True) if g is not None}
    return losses.detach(), gradients


def stacking(job: Job) -> dict[str, Any]:
    """Return what a run's summary says: ``stacked`` of how many, and ``stack``, to run it again."""
    if job.stack is None:
        return {"stacked": 1}
    return {"stacked": len(job.stack.seated(0)), "stack": job.stack.record()}


@dataclass(frozen=True, slots=True, eq=False)
class _Gradient:
    """The loss and gradients of a run's next step; parameters off the forward path have none."""

    step: int
    loss: torch.Tensor
    by_name: dict[str, torch.Tensor]


class _Whole(nn.Module):
    """Backbone and head as one module, whose parameters `functional_call` can replace."""

    def __init__(self, model: Adapted) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone.module, model.head
        object.__setattr__(self, "_model", model)

    @staticmethod
    def place(name: str) -> str:
        """Return where a parameter lies, from the name that it has in a run's state."""
        part, _, inner = name.partition(".")
        return name if part == "head" else f"backbone.{inner}"

    def forward(
        self, inputs: dict[str, torch.Tensor], hidden: torch.Tensor | None, depth: int
    ) -> torch.Tensor:
        """Return logits (B, C)."""
        model: Adapted = self.__dict__["_model"]
        logits: torch.Tensor = model.head(model.features(inputs, hidden, depth))
        return logits


def _tensors(batch: Batch) -> dict[str, torch.Tensor]:
    found = {f"inputs/{name}": value for name, value in batch.inputs.items()}
    found["labels"] = batch.labels
    return found if batch.hidden is None else {**found, "hidden": batch.hidden}


def _stacked(batches: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([one[name] for one in batches]) for name in batches[0]}
