"""Small grafts, made as a study makes them: a protocol is executed, its state is kept."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.backbones.loading import load_backbone
from regraft.config.loading import validate_data
from regraft.config.protocol import ProtocolSpec, resolve_protocol
from regraft.engine.job import Job
from regraft.engine.predict import predict_logits
from regraft.engine.run import execute
from regraft.events import Done
from regraft.features.store import Cache
from regraft.ledger.grafts import Graft
from regraft.search.bench import Bench
from regraft.tasks.task import Task

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone
    from regraft.tasks.items import Items

_CACHE = TemporaryDirectory(prefix="regraft-test-")  # gone with the process
FIT = {"epochs": 2, "least_steps": 1, "batch_size": 16}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "lora": {"modules": [{"kind": "lora", "rank": 2}], "fit": FIT},
    "upper": {"train": {"from_depth": 0.5}, "fit": FIT},
    "full": {"train": {"from_depth": 0, "stem": True}, "head": {"start": "random"}, "fit": FIT},
    "probe": {"fit": FIT},
    "raw-logistic": {"predictor": "raw_logistic"},
    "knn": {"predictor": "knn"},
    "centroid": {"predictor": "centroid"},
    "majority": {"predictor": "majority"},
}


@cache
def encoder(reference: str) -> Backbone:
    return load_backbone(reference)


@cache
def digits() -> Task:
    """Return eight labels a class of real digits."""
    return Task.read("zoo:digits", metric="accuracy").with_label_budget(8, seed=0)


@cache
def films() -> Task:
    """Return texts in two classes, as arrays from Python."""
    words = ["film", "one", "two", "three", "four", "five"]
    draws = np.random.default_rng(0)
    labels = ["pos" if i % 2 else "neg" for i in range(60)]
    texts = [
        " ".join([*draws.permutation(words), "very", "good" if one == "pos" else "bad", "a" * i])
        for i, one in enumerate(labels)
    ]
    return Task.read((texts, labels), metric="accuracy")


def protocol(name: str) -> dict[str, Any]:
    data = {"name": name, **PROTOCOLS[name]}
    if data.get("head") == {"start": "random"}:
        data["head"] = {"kind": "linear", "start": "random"}
    return resolve_protocol(validate_data(ProtocolSpec, data, where=name))


def made(
    name: str, task: Task, reference: str, **changes: Any
) -> tuple[Graft, np.ndarray[Any, Any]]:
    """Execute a protocol; return its graft, and its run's logits on the test items."""
    backbone, cache_ = encoder(reference), Cache(Path(_CACHE.name))
    job = Job(
        run="run",
        protocol=protocol(name),
        backbone=backbone,
        data=Bench(task.development, backbone, cache_).run_data(task),
        seed=1,
    )
    (done,) = [one for one in execute(job) if isinstance(one, Done)]
    bench = Bench(sealed_items(task), backbone, cache_)
    on_test = Job(
        run="run",
        protocol=job.protocol,
        backbone=backbone,
        data=bench.plain_data(len(task.classes), task.metric),
        seed=1,
    )
    values: dict[str, Any] = {
        "backbone": reference,
        "backbone_digest": backbone.digest,
        "kind": task.kind,
        "classes": task.classes,
        "preprocess": backbone.preprocess.spec,
        "protocol": job.protocol,
        "state": done.state,
    }
    return Graft(**{**values, **changes}), predict_logits(on_test, done.state)


def sealed_items(task: Task) -> Items:
    """Return some items of the sealed part, without labels."""
    return task.sealed.inputs.subset(np.arange(min(12, len(task.sealed.inputs))))
