"""Checks on a copy, before a run trains: does what is declared to learn learn, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.backbones.precision import autocast
from regraft.engine.adapted import Adapted, build
from regraft.engine.batches import Loader
from regraft.engine.job import Checked
from regraft.engine.optimiser import Optimiser
from regraft.engine.randomness import random_state, set_random_state
from regraft.hashing import digest_json
from regraft.objectives.supervised import cross_entropy

if TYPE_CHECKING:
    from regraft.engine.job import Job, Stage

_STEPS = 3  # a zero-initialised factor (LoRA's B) hides its partner's gradient for one step
_ITEMS = 8
_FEWEST_ITEMS = 2  # batch statistics need two
_RATE = {"kind": "constant", "peak": 1e-3, "decay_per_depth": 1.0, "head_factor": 1.0}
_NAMED = 3
_LEAST_COVERED = 0.5
_SOLVED = ("probe", "centroid")
_SAME_FEATURES = 1e-3  # of the largest; batches differ, and so do the last digits
_SAME_FEATURES_ROUGHLY = {"fp32": 1e-2, "bf16": 0.1}  # where convolutions may round to 10 bits


def checked(job: Job) -> Checked | None:
    """Return what pre-flight found for a run that differs in its rates or its seed alone."""
    return job.data.checked.get(_looked_at(job))


def preflight(job: Job, stage: Stage, model: Adapted) -> Checked:
    """Train a fresh copy for three steps and compare every tensor before and after.

    The steps are taken by the run's own optimiser. Before them, what training reads must give the
    features on which a solved head was solved. What is found is kept for other runs of the protocol
    with these data, unless it forbids them. The copy is built from the seed a second time, so that
    it also proves that the seed was set before every initialisation. All depths are open, the rate
    is constant, and nothing decays. Only parameters on the forward path are judged: those that
    received a gradient at all. The run draws its random numbers as if there had been no pre-flight,
    however many items fitted in memory.

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
    warnings = _other_features(job, stage.train[:n_items], copy) + _sparse_modules(copy)
    before = {n: t.detach().clone() for n, t in _tensors(copy).items()}
    gradients = _train(job, stage, stage.train[:n_items], copy)
    after = _tensors(copy)
    moved = {n for n in after if not torch.equal(before[n], after[n])}
    declared = copy.trains.names
    on_path = {n for n in declared if n in gradients}
    dead = sorted(n for n in on_path if not gradients[n] or n not in moved)
    head = {n for n in declared if n.startswith("head.")}
    if not head & on_path or any(not gradients[n] for n in head & on_path):
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
    lines = _lines(copy, on_path, after)
    return Checked(lines, tuple(problems), trained, total, tuple(warnings))


def _tensors(model: Adapted) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = dict(model.named_parameters())
    return tensors | dict(model.named_buffers())


def _differences(model: Adapted, copy: Adapted) -> list[str]:
    ours, theirs = _tensors(model), _tensors(copy)
    unlike = sorted(n for n in ours if n not in theirs or not torch.equal(ours[n], theirs[n]))
    if not unlike:
        return []
    return [f"built twice from one seed, these differ: {_some(unlike)}"]


def _other_features(job: Job, rows: np.ndarray[Any, Any], copy: Adapted) -> list[str]:
    """Compare what an untrained copy makes of some items with what their head was solved on.

    They differ where items of a batch leak into each other (padding that is not masked), where a
    frozen part is not at rest, where modules are not the identity at the start, or where what is
    kept is of other weights.
    """
    if job.protocol["backbone"] != "pretrained" or job.protocol["head"]["start"] not in _SOLVED:
        return []
    loader = Loader(job)
    copy.evaluate()
    batch = loader.plain(rows, depth=_depth(loader, copy, epoch=None))
    with torch.no_grad(), autocast(job.precision, job.device):
        features = copy.features(batch.inputs, batch.hidden, batch.depth)
    theirs = job.data.features()[job.data.rows[rows]].astype(np.float64)
    gap = np.abs(features.float().cpu().numpy().astype(np.float64) - theirs).max()
    share = float(gap / max(np.abs(theirs).max(), np.finfo(np.float32).tiny))
    is_exact = job.device == "cpu" and job.precision == "fp32"
    most = _SAME_FEATURES if is_exact else _SAME_FEATURES_ROUGHLY[job.precision]
    if share <= most or not np.isfinite(theirs).all():
        return []
    return [
        f"what training reads gives other features than the head was solved on (they differ by "
        f"{share:.1%} of the largest), so that an item's features depend on its batch, on chance, "
        "or on weights that have changed: look for padding that is not masked, normalisation or "
        "dropout that evaluation does not switch off, and clean what is kept (regraft clean)"
    ]


def _depth(loader: Loader, copy: Adapted, *, epoch: int | None) -> int:
    """Return the block whose kept input is read; 0 where a run reads the features themselves.

    These are what a head is solved on, and would agree with themselves whatever the backbone does.
    """
    depth = loader.source(copy.trains.lowest_depth, epoch=epoch).depth
    return depth if depth < copy.backbone.n_blocks else 0


def _train(job: Job, stage: Stage, rows: np.ndarray[Any, Any], copy: Adapted) -> dict[str, bool]:
    """Take the steps; return for each parameter with a gradient whether it was ever non-zero."""
    trained = copy.trained()
    optimiser = _steady_optimiser(job, stage, copy)
    loader = Loader(job)
    depth = _depth(loader, copy, epoch=0)
    gradients: dict[str, bool] = {}
    for step in range(_STEPS):
        copy.set_modes(copy.trains.lowest_depth)
        batch = loader.training(rows, depth=depth, draw=("preflight", 0, step))
        with autocast(job.precision, job.device):
            logits = copy.head(copy.features(batch.inputs, batch.hidden, batch.depth))
        # Labels are wrong on purpose: on its own rows a solved head may leave nothing to learn.
        wrong = (batch.labels + 1) % job.data.n_classes
        loss = cross_entropy(logits.float(), wrong, class_weights=None, label_smoothing=0.0)
        if not loss.requires_grad:
            return gradients  # nothing that is declared to train is on the forward path
        loss.backward()
        for name, parameter in trained.items():
            if parameter.grad is not None:
                gradients[name] = gradients.get(name, False) or _is_any(parameter.grad)
        optimiser.step(step)
    return gradients


def _steady_optimiser(job: Job, stage: Stage, copy: Adapted) -> Optimiser:
    """Return the run's optimiser at one constant rate for all depths, without decay."""
    groups = tuple(replace(group, rate_factor=1.0) for group in copy.trains.groups)
    model = replace(copy, trains=replace(copy.trains, groups=groups))
    fit = {**job.protocol["fit"], "weight_decay": 0.0}
    protocol = {**job.protocol, "fit": fit, "rate": _RATE}
    return Optimiser(replace(job, protocol=protocol), stage, model, _STEPS)


def _is_any(gradient: torch.Tensor) -> bool:
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return bool(values.any())


def _unused_modules(copy: Adapted, on_path: set[str]) -> list[str]:
    problems = []
    for inserted in copy.inserted:
        off = sorted(n for n in inserted.parameter_names if f"module.{n}" not in on_path)
        if off:
            problems.append(f"inserted but not on the forward path: {_some(off)}")
    if copy.trains.backbone and not any(n.startswith("backbone.") for n in on_path):
        problems.append("no parameter of the backbone received a gradient")
    return problems


def _sparse_modules(copy: Adapted) -> list[str]:
    """Say of each module that sits in fewer than half of the blocks where it may."""
    return [
        f"{one.kind} sits in {len(one.depths_hit)} of {len(one.depths_named)} blocks "
        f"({len(one.depths_hit) / len(one.depths_named):.0%}), so that most of the backbone cannot "
        "adapt: name roles that more blocks have (on:), or the layers themselves (layers:)"
        for one in copy.inserted
        if len(one.depths_hit) < _LEAST_COVERED * len(one.depths_named)
    ]


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
