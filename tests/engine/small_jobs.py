"""Jobs small enough to be run many times: two or three blocks, width 8 to 16, a few dozen items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from regraft.backbones.backbone import Backbone
from regraft.backbones.blocks import find_blocks
from regraft.backbones.preprocess import ArrayPreprocess
from regraft.config.protocol import ProtocolSpec, load_protocol, resolve_protocol
from regraft.engine.job import Job
from regraft.engine.run import execute
from regraft.features.store import Cache
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
