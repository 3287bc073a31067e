"""What a bench keeps of the frozen blocks goes by what its cache may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from regraft.backbones.loading import load_backbone
from regraft.config.protocol import ProtocolSpec, resolve_protocol
from regraft.engine.job import Job
from regraft.engine.run import execute
from regraft.events import Done
from regraft.features.store import Cache
from regraft.search.bench import Bench
from regraft.search.costs import measure_forward
from regraft.search.precision import measure_precision
from regraft.study import Sitting
from regraft.tasks.task import Task
from small_backbones import save_plain
from small_search import around, small_study

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.backbones.backbone import Backbone

DEPTH = 2
TOO_LARGE = ": what it would keep is too large"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone(save_plain(tmp_path_factory.mktemp("plain")))


@pytest.fixture(scope="module")
def task() -> Task:
    images = list(np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8))
    return Task.read((images, ["a", "b"] * 20), metric="accuracy", seed=0)


def upper_half(n_views: int) -> dict[str, Any]:
    """Return a protocol that trains what follows `DEPTH`, on so many views of each image."""
    said: dict[str, Any] = {
        "name": "upper-half",
        "train": {"from_depth": DEPTH},
        "head": {"kind": "linear", "start": "random"},
        "fit": {"epochs": 2, "batch_size": 8, "least_steps": 1},
    }
    if n_views:
        said["data"] = {"augment": {"kind": "light"}, "views": n_views}
    return resolve_protocol(ProtocolSpec.model_validate(said))


def run_on(cache: Cache, task: Task, backbone: Backbone, n_views: int) -> Done:
    data = Bench(task.development, backbone, cache).run_data(task)
    *_, ended = execute(Job("run", upper_half(n_views), backbone, data, 0))
    assert isinstance(ended, Done)
    return ended


@pytest.mark.parametrize(
    ("n_views", "cached", "computed"),
    [(0, "cached", "computed"), (2, "cached views (2)", "computed views (2)")],
)
def test_a_run_computes_at_each_step_what_takes_more_than_a_quarter_of_the_cache(
    backbone: Backbone, task: Task, tmp_path: Path, n_views: int, cached: str, computed: str
) -> None:
    prefix = Bench(task.development, backbone, Cache(tmp_path / "whole")).prefix(DEPTH)
    assert prefix is not None
    together = max(n_views, 1) * int(prefix.lengths().sum()) * 4
    large, small = (Cache(tmp_path / f"{less}", most_bytes=4 * together - less) for less in (0, 1))
    kept, whole = (run_on(cache, task, backbone, n_views) for cache in (large, small))
    assert kept.summary["activations"] == cached
    assert whole.summary["activations"] == computed + TOO_LARGE
    assert np.allclose(kept.arrays["logits"], whole.arrays["logits"], rtol=0, atol=1e-5)


def test_a_later_sitting_keeps_what_the_first_one_kept(tmp_path: Path) -> None:
    study = small_study(tmp_path, ["linear-probe"])
    for cache_bytes in (1000, None):
        study._sitting = Sitting(cache_bytes=cache_bytes)
        (bench,) = around(study).benches
        assert bench.prefix(DEPTH) is None
    alone = Bench(bench.items, bench.backbone, Cache(tmp_path / "cache"))
    assert alone.prefix(DEPTH) is not None


def test_what_fits_is_told_by_the_budget_as_it_was_when_the_cache_was_first_asked(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    bench = Bench(task.development, backbone, cache)
    assert bench.prefix(DEPTH) is not None
    monkeypatch.setattr("regraft.features.store.share_of_disk", lambda _: 0)
    assert bench.at("bf16").prefix(DEPTH) is not None
    assert Bench(task.development, backbone, Cache(tmp_path)).prefix(DEPTH + 1) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_features_and_prefixes_pass_where_the_study_computes(
    backbone: Backbone, task: Task, tmp_path: Path
) -> None:
    here = Bench(task.development, backbone, Cache(tmp_path / "cache"))
    there = Bench(task.development, backbone, Cache(tmp_path / "cache"), device="cuda")
    np.testing.assert_allclose(there.features, here.features, atol=1e-2)
    rows = np.arange(len(task.development))
    kept = [bench.run_data(task).prefix(DEPTH) for bench in (here, there)]
    assert all(one is not None for one in kept)
    for one, other in zip(*(store.gather(rows) for store in kept if store), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-2)
    assert measure_forward(there) > 0
    decided = measure_precision(backbone, there.run_data(task), device="cuda")
    assert "natively; accuracy of a linear probe" in decided["reason"]
    assert {p.device.type for p in backbone.module.parameters()} == {"cpu"}
