"""What holds of a run whatever the backbone: its id, its numbers, its graft."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.backbones.loading import load_backbone
from regraft.config.protocol import load_protocol, resolve_protocol
from regraft.deploy.predictor import GraftPredictor
from regraft.engine.run import execute
from regraft.events import Done, Failed
from regraft.features.store import Cache
from regraft.ledger.grafts import Graft, read_graft, write_graft
from regraft.ledger.ledger import Ledger
from regraft.measure.metrics import softmax
from regraft.search.arms import with_fit, with_rate
from regraft.search.bench import Bench
from regraft.search.clock import Clock
from regraft.search.ladder import Ladder
from regraft.search.surroundings import Surroundings
from regraft.tasks.task import Task
from small_backbones import save_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.backbones.backbone import Backbone

FAMILIES = ("bert", "vit", "dinov2", "resnet", "convnext", "plain")
TEMPLATES = ("linear-probe", "lp-ft-upper", "gradual", "lora", "bottleneck", "full", "scratch")
GOOD, BAD = ("good", "very", "one"), ("bad", "two", "ten")


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    saved = save_all(tmp_path_factory.mktemp("families"))
    return {family: load_backbone(reference) for family, reference in saved.items()}


def some_task(kind: str, seed: int) -> Task:
    """Return 44 items of two classes that differ in one word or one colour."""
    rng = np.random.default_rng(seed)
    labels = [("yes", "no")[i % 2] for i in range(44)]
    inputs: list[Any]
    if kind == "text":
        words = [(GOOD if label == "yes" else BAD) for label in labels]
        inputs = [f"{rng.choice(w)} film was {rng.choice(w)} and {i}" for i, w in enumerate(words)]
    else:
        inputs = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in labels]
        for image, label in zip(inputs, labels, strict=True):
            image[..., 0] //= 2 if label == "yes" else 1
    return Task.read((inputs, labels), metric="accuracy", seed=seed)


def protocol_named(name: str, rate_factor: float = 1.0) -> dict[str, Any]:
    resolved = resolve_protocol(load_protocol(name))
    return with_rate(with_fit(resolved, epochs=2), rate_factor)


def finished(job: Any) -> Done:
    ended = list(execute(job))[-1]
    assert not isinstance(ended, Failed), ended.reason
    assert isinstance(ended, Done)
    return ended


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15)
@given(
    name=st.sampled_from(TEMPLATES),
    rate=st.floats(0.1, 10.0),
    seed=st.integers(0, 2**40),
    data_seed=st.integers(0, 3),
)
def test_a_run_id_depends_on_what_its_numbers_depend_on_and_on_nothing_else(
    backbones: dict[str, Backbone],
    tmp_path_factory: pytest.TempPathFactory,
    family: str,
    name: str,
    rate: float,
    seed: int,
    data_seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    ledger = Ledger.open(folder)
    kind = backbones[family].preprocess.kind

    def run_id(protocol: dict[str, Any], run_seed: int, task: Task, **around: Any) -> str:
        bench = Bench(task.development, backbones[family], Cache(folder / "cache"))
        clock = Clock(ledger, "any", 1.0)
        shared = Surroundings(ledger, "any", [bench], clock, 0, "fp32", "cpu")
        ladder = Ladder(dataclasses.replace(shared, **around), task)
        return ladder.run_id(protocol, 0, run_seed)

    task, protocol = some_task(kind, data_seed), protocol_named(name, rate)
    ids = [run_id(protocol, seed, task), run_id(protocol, seed, some_task(kind, data_seed))]
    assert ids[0] == ids[1]
    others = [
        run_id(protocol, seed + 1, task),
        run_id(with_rate(protocol, 1.5), seed, task),
        run_id(protocol, seed, some_task(kind, data_seed + 1)),
        run_id(protocol, seed, task, precision="bf16"),
        run_id(protocol, seed, task, device="cuda:0"),
    ]
    assert len({ids[0], *others}) == 1 + len(others)
    assert run_id(protocol, seed, task, study="another", checkpoint_seconds=3.0) == ids[0]


def assert_equal_states(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert one.keys() == other.keys()
    assert all(np.array_equal(np.asarray(one[key]), np.asarray(other[key])) for key in one)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=7)
@given(name=st.sampled_from(TEMPLATES), seed=st.integers(0, 2**30))
def test_the_same_run_twice_gives_identical_numbers_and_its_graft_predicts_them(
    backbones: dict[str, Backbone],
    tmp_path_factory: pytest.TempPathFactory,
    family: str,
    name: str,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("run")
    backbone = backbones[family]
    task = some_task(backbone.preprocess.kind, 0)
    bench = Bench(task.development, backbone, Cache(folder / "cache"))
    ledger = Ledger.open(folder / "home")
    clock = Clock(ledger, "any", 1e6)
    ladder = Ladder(Surroundings(ledger, "any", [bench], clock, 0, "fp32", "cpu"), task)
    digest = backbone.digest
    protocol = protocol_named(name)
    first, second = (finished(ladder.job("run", protocol, place=0, seed=seed)) for _ in range(2))
    assert np.array_equal(first.arrays["logits"], second.arrays["logits"])
    assert_equal_states(first.state, second.state)
    assert load_backbone(backbone.reference).digest == digest

    graft = Graft(
        backbone=backbone.reference,
        backbone_digest=digest,
        kind=task.kind,
        classes=task.classes,
        preprocess=backbone.preprocess.spec,
        protocol=protocol,
        state=first.state,
        temperature=2.0,
    )
    read = read_graft(write_graft(folder / "graft", graft))
    assert read.protocol == protocol
    assert_equal_states(read.state, first.state)
    predictor = GraftPredictor(read, load_backbone(backbone.reference))
    rows = first.arrays["rows"]
    logits = predictor.logits(task.development.subset(rows))
    scale = max(1.0, float(np.abs(first.arrays["logits"]).max()))
    # Batches of other items and lengths: 1e-5, not bit for bit.
    assert float(np.abs(logits - first.arrays["logits"]).max()) <= 1e-5 * scale
    probabilities = predictor.predict_proba(task.development.subset(rows))
    assert np.allclose(probabilities, softmax(logits / 2.0))
