"""Jobs small enough to be run many times: two or three blocks, width 8 to 16, a few dozen items."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from regraft.backbones.backbone import Backbone
from regraft.backbones.blocks import find_blocks
from regraft.backbones.preprocess import ArrayPreprocess
from regraft.config.protocol import ProtocolSpec, load_protocol, resolve_protocol
from regraft.engine.fit import CHECKPOINT
from regraft.engine.job import Job
from regraft.engine.run import execute
from regraft.events import Checkpoint, Done, Step
from regraft.features.store import Cache
from regraft.ledger.tensors import pack, unpack
from regraft.search.arms import with_fit
from regraft.search.bench import Bench
from regraft.tasks.items import items_from
from regraft.tasks.unsealed import unsealed_task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from regraft.events import Event
    from regraft.tasks.task import Task

WIDTH = 6
FAMILIES = ("bert", "vit", "dinov2", "resnet", "convnext", "plain")
WHOLE = {"train": {"from_depth": 0, "stem": True}, "rate": {"kind": "cosine", "peak": 1e-2}}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "dropout": WHOLE,
    "gradual": {
        "train": {"from_depth": 0},
        "unfreeze": {"kind": "gradual"},
        "rate": {"kind": "slanted_triangular", "peak": 1e-2},
    },
    "scratch": {
        "backbone": "random",
        "head": {"kind": "linear", "start": "random"},
        "train": {"from_depth": 0, "stem": True},
    },
}
_TIMES = {"seconds", "device_seconds", "peak_memory_bytes", "joules"}


class Net(nn.Module):
    """Three blocks on rows of six numbers, with dropout and batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(WIDTH, 8)
        self.blocks_ = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
            for _ in range(3)
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 8)."""
        hidden = self.stem(values)
        for block in self.blocks_:
            hidden = block(hidden)
        return hidden


def net_backbone(make: Callable[[], nn.Module] = Net) -> Backbone:
    """Return a module as a backbone of arrays."""
    torch.manual_seed(0)
    module = make()
    backbone = Backbone(
        reference="test",
        module=module,
        preprocess=ArrayPreprocess({"shape": [WIDTH]}, where="test"),
        blocks=find_blocks(module),
        roles={},
        pooling="output",
        by_keyword=False,
        fresh=make,
    )
    rows = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(0))
    backbone.set_probe({"values": rows})
    return backbone


def rows_task(n: int = 44, *, seed: int = 0, n_classes: int = 2, metric: str = "accuracy") -> Task:
    """Return rows whose class shifts their first number."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    values = rng.normal(size=(n, WIDTH)).astype(np.float32)
    values[:, 0] += 1.5 * labels
    items = items_from(list(values), "array")
    items = type(items)(items.kind, items.inputs, labels.astype(np.int64), items.ids, items.digests)
    classes = [str(i) for i in range(n_classes)]
    return unsealed_task(items, classes, metric=metric, validation=0.2, seed=seed)


def family_task(kind: str, n: int = 24) -> Task:
    """Return two classes of texts or images."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    inputs: list[Any]
    if kind == "text":
        inputs = [f"one film was {('good', 'bad')[i % 2]} and {i}" for i in range(n)]
    else:
        inputs = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in labels]
    items = items_from(inputs, kind)
    items = type(items)(items.kind, items.inputs, labels, items.ids, items.digests)
    return unsealed_task(items, ["a", "b"], metric="accuracy", validation=0.25, seed=0)


def resolved(name: str, *, epochs: int = 2, **changes: Any) -> dict[str, Any]:
    """Return a template, or a protocol of the changes alone where the name is no template's."""
    if changes:
        spec = ProtocolSpec.model_validate({"name": name, **changes})
    else:
        spec = load_protocol(name)
    return with_fit(resolve_protocol(spec), epochs=epochs)


def job(
    folder: Path, task: Task, backbone: Backbone, protocol: dict[str, Any], **settings: Any
) -> Job:
    """Return a job on a task."""
    bench = Bench(task.development, backbone, Cache(folder / "cache"))
    given = {"seed": 3, "checkpoint_seconds": 1e9, **settings}
    return Job(run="run", protocol=protocol, backbone=backbone, data=bench.run_data(task), **given)


def events_of(one: Job, **settings: Any) -> list[Event]:
    """Return all events of a run."""
    return list(execute(one, **settings))


def done(events: list[Event]) -> Done:
    """Return how a run ended, which must be with a result."""
    assert isinstance(events[-1], Done), events[-1]
    return events[-1]


def timeless(value: Any) -> Any:
    """Return plain data without what depends on time."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in _TIMES}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def assert_same(one: Done, other: Done) -> None:
    """Compare two results bit by bit, times left out."""
    assert timeless(one.summary) == timeless(other.summary)
    for ours, theirs in ((one.state, other.state), (one.arrays, other.arrays)):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(np.asarray(ours[k]), np.asarray(theirs[k])) for k in ours)


def stored(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint as it comes back from the ledger."""
    progress = json.loads(json.dumps(checkpoint.progress, allow_nan=False))
    return Checkpoint(checkpoint.run, checkpoint.step, progress, unpack(pack(checkpoint.state)))


def driven(one: Job, *, resume: Checkpoint | None = None) -> list[Event]:
    """Return all events of a run that is asked for a checkpoint after every step."""
    events, seen = execute(one, resume=resume), []
    answer: str | None = None
    while True:
        try:
            seen.append(events.send(answer))
        except StopIteration:
            return seen
        answer = CHECKPOINT if isinstance(seen[-1], Step) else None
