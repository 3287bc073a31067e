"""Checks on a copy, before a run trains: does what is declared to learn learn, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from regraft.backbones.precision import autocast
from regraft.engine.adapted import Adapted, build
from regraft.engine.batches import Loader
from regraft.engine.job import Checked
from regraft.engine.randomness import random_state, set_random_state
from regraft.hashing import digest_json
from regraft.objectives.supervised import cross_entropy

if TYPE_CHECKING:
    import numpy as np

    from regraft.engine.job import Job, Stage

_STEPS = 3  # a zero-initialised factor (LoRA's B) hides its partner's gradient for one step
_ITEMS = 8
_FEWEST_ITEMS = 2  # batch statistics need two
_RATE = 1e-3
_NAMED = 3


def checked(job: Job) -> Checked | None:
    """Return what pre-flight found for a run that differs in its rates or its seed alone."""
    return job.data.checked.get(_looked_at(job))


def preflight(job: Job, stage: Stage, model: Adapted) -> Checked:
    """Train a fresh copy for three steps and compare every tensor before and after.

    What is found is kept for other runs of the protocol with these data, unless it forbids them.
    The copy is built from the seed a second time, so that it also proves that the seed was set
    before every initialisation. All depths are open, the rate is constant, and nothing decays. Only
    parameters on the forward path are judged: those that received a gradient at all. The run draws
    its random numbers as if there had been no pre-flight, however many items fitted in memory.

    Raises:
        torch.OutOfMemoryError: Not even two items fit in memory.
    """
    n_items = _ITEMS
    random = random_state()
    try:
        while True:
            try:
                found = _look(job, stage, model, n_items)
                break
            except torch.OutOfMemoryError:
                if n_items <= _FEWEST_ITEMS:
                    raise
                n_items //= 2
    finally:
        set_random_state(random)
    if not found.problems:
        job.data.checked[_looked_at(job)] = found
    return found


def _looked_at(job: Job) -> str:
    """Return a digest of what decides which tensors train; all depths are open in pre-flight."""
    left_out = ("rate", "fit", "unfreeze")
    protocol = {key: value for key, value in job.protocol.items() if key not in left_out}
    return digest_json([protocol, job.precision, job.device])


def _look(job: Job, stage: Stage, model: Adapted, n_items: int) -> Checked:
    copy = build(job, stage)
    problems = _differences(model, copy)
    before = {n: t.detach().clone() for n, t in _tensors(copy).items()}
    gradients = _train(job, stage.train[:n_items], copy)
    after = _tensors(copy)
    moved = {n for n in after if not torch.equal(before[n], after[n])}
    declared = copy.trains.names
    on_path = {n for n in declared if n in gradients}
    dead = sorted(n for n in on_path if not gradients[n] or n not in moved)
    head = {n for n in declared if n.startswith("head.")}
    if not head & on_path or any(n.startswith("head.") for n in dead):
        problems.append("the head received no gradient")
    if dead:
        problems.append(f"declared to train but did not move: {_some(dead)}")
    statistics = {n for n, _ in copy.named_buffers()} if copy.learns_statistics else set()
    strays = sorted(moved - declared - statistics)
    if strays:
        problems.append(f"frozen but moved: {_some(strays)}")
    problems += _unused_modules(copy, on_path)
    total = sum(p.numel() for _, p in model.named_parameters())
    trained = sum(p.numel() for p in model.trained().values())
    return Checked(_lines(copy, on_path, after), tuple(problems), trained, total)


def _tensors(model: Adapted) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = dict(model.named_parameters())
    return tensors | dict(model.named_buffers())


def _differences(model: Adapted, copy: Adapted) -> list[str]:
    ours, theirs = _tensors(model), _tensors(copy)
    unlike = sorted(n for n in ours if n not in theirs or not torch.equal(ours[n], theirs[n]))
    if not unlike:
        return []
    return [f"built twice from one seed, these differ: {_some(unlike)}"]


def _train(job: Job, rows: np.ndarray[Any, Any], copy: Adapted) -> dict[str, bool]:
    """Take the steps; return for each parameter with a gradient whether it was ever non-zero."""
    trained = copy.trained()
    optimiser = torch.optim.AdamW(trained.values(), lr=_RATE, weight_decay=0.0)
    loader = Loader(job)
    depth = loader.source(copy.trains.lowest_depth, epoch=0).depth
    gradients: dict[str, bool] = {}
    for step in range(_STEPS):
        copy.set_modes(copy.trains.lowest_depth)
        batch = loader.training(rows, depth=depth, draw=("preflight", 0, step))
        with autocast(job.precision, job.device):
            logits = copy.head(copy.features(batch.inputs, batch.hidden, batch.depth))
        # Labels are wrong on purpose: on its own rows a solved head may leave nothing to learn.
        wrong = (batch.labels + 1) % job.data.n_classes
        cross_entropy(logits.float(), wrong, class_weights=None, label_smoothing=0.0).backward()
        for name, parameter in trained.items():
            if parameter.grad is not None:
                gradients[name] = gradients.get(name, False) or bool(parameter.grad.any())
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return gradients


def _unused_modules(copy: Adapted, on_path: set[str]) -> list[str]:
    problems = []
    for inserted in copy.inserted:
        off = sorted(n for n in inserted.parameter_names if f"module.{n}" not in on_path)
        if off:
            problems.append(f"inserted but not on the forward path: {_some(off)}")
    if copy.trains.backbone and not any(n.startswith("backbone.") for n in on_path):
        problems.append("no parameter of the backbone received a gradient")
    return problems


def _lines(copy: Adapted, on_path: set[str], tensors: dict[str, torch.Tensor]) -> tuple[str, ...]:
    declared = copy.trains.names
    off = sorted(declared - on_path)
    parameters = sum(tensors[n].numel() for n in on_path)
    lines = [
        f"{len(on_path)} of {len(declared)} declared tensors are on the forward path, received "
        f"gradient and moved ({parameters:,} parameters)",
        f"{len(tensors) - len(declared)} other tensors stayed bit-identical",
        "the seed was set before every initialisation (built twice, identical)",
        f"batch normalisation: {'statistics are learnt' if copy.learns_statistics else 'frozen'}",
    ]
    if off:
        lines.append(f"not on the forward path, left out: {_some(off)}")
    for inserted in copy.inserted:
        hit, named = len(inserted.depths_hit), len(inserted.depths_named)
        lines.append(
            f"{inserted.kind}: {len(inserted.module_names)} modules, {hit} of {named} depths hit"
        )
    return tuple(lines)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
