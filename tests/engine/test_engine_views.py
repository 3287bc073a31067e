"""Augmented views: kept or computed, resumed or rebuilt, a run ends with the same numbers."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from regraft.engine.run import execute
from regraft.events import Adjusted, Epoch, Step
from regraft.features.store import Cache
from regraft.features.views import View, ViewInputs
from regraft.search.bench import Bench
from regraft.search.foresight import prefix_depths
from regraft.search.trial import trial
from regraft.tasks.unsealed import unsealed_task
from small_jobs import assert_same, done, events_of, family_task, job, resolved

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from regraft.backbones.backbone import Backbone
    from regraft.engine.job import Job
    from regraft.events import Done, Event
    from regraft.tasks.task import Task

LIGHT = {"kind": "light", "flip": True, "shift": 0.2, "brightness": 0.2}
RECIPES: dict[str, dict[str, Any]] = {
    "upper": {"train": {"from_depth": 2}, "head": {"kind": "linear", "start": "random"}},
    "gradual": {
        "train": {"from_depth": 1},
        "unfreeze": {"kind": "gradual"},
        "rate": {"kind": "slanted_triangular", "peak": 1e-3},
    },
}
FULL = "the cache could not be written"


def views_job(
    folder: Path, backbone: Backbone, *, views: int = 2, name: str = "upper", **settings: Any
) -> Job:
    """Return a job on views, of four epochs."""
    protocol = resolved(
        name,
        epochs=4,
        **RECIPES[name],
        data={"augment": dict(LIGHT), "views": views},
        fit={"batch_size": 6, "patience": 9, "least_steps": 1},
    )
    return job(folder, family_task("image"), backbone, protocol, **settings)


def uncached(one: Job) -> Job:
    """Return the job with nothing kept."""
    data = replace(one.data, prefix=lambda _: None, view_prefix=lambda *_: None)
    return replace(one, data=data)


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step)]


def activations(ended: Done) -> str:
    return str(ended.summary["activations"])


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("vit", "gradual"),
        ("dinov2", "upper"),
        ("resnet", "upper"),
        ("convnext", "gradual"),
        ("plain", "gradual"),
    ],
)
def test_kept_views_train_as_computed_ones(
    families: dict[str, Backbone], tmp_path: Path, family: str, name: str
) -> None:
    one = views_job(tmp_path, families[family], name=name)
    kept, whole = events_of(one), events_of(uncached(one))
    assert losses(kept) == pytest.approx(losses(whole), abs=1e-5)
    ours, theirs = (done(events).arrays["logits"] for events in (kept, whole))
    assert np.allclose(ours, theirs, rtol=0, atol=1e-5)
    assert activations(done(kept)) == "cached views (2)"
    assert activations(done(whole)) == "computed views (2): what it would keep is too large"


def test_one_view_trains_as_the_augmented_copy_of_the_data(
    families: dict[str, Backbone], tmp_path: Path
) -> None:
    backbone, small = families["plain"], family_task("image")
    store = Bench(small.development, backbone, Cache(tmp_path)).prepared
    (fold,) = small.folds
    sized = store.gather(range(len(store)))  # at the backbone's size: nothing is resized again
    shown = ViewInputs(store, View(LIGHT, 0, 1)).gather(range(len(store)))
    copied = [shown[i] if i in fold.train else sized[i] for i in range(len(store))]
    assert not any(np.array_equal(copied[i], sized[i]) for i in fold.train[:4])

    def task_of(images: list[np.ndarray[Any, Any]]) -> Task:
        inputs = [image.transpose(1, 2, 0) for image in images]
        items = replace(
            small.development, inputs=inputs, digests=tuple(map(str, range(len(store))))
        )
        return unsealed_task(items, ["a", "b"], metric="accuracy", validation=0.25, seed=0)

    viewed = views_job(tmp_path / "viewed", backbone, views=1)
    plain = {**viewed.protocol, "data": {**viewed.protocol["data"], "augment": {"kind": "none"}}}
    del plain["data"]["views"]
    ours = job(tmp_path / "viewed", task_of(sized), backbone, dict(viewed.protocol))
    theirs = job(tmp_path / "copy", task_of(copied), backbone, plain)
    assert np.array_equal(ours.data.folds[0].train, fold.train)
    on_views, on_copy = events_of(ours), events_of(theirs)
    assert losses(on_views) == losses(on_copy)
    assert_same(*(without_source(done(events)) for events in (on_views, on_copy)))
    assert losses(on_views) != losses(events_of(replace(ours, protocol=plain)))


def without_source(ended: Done) -> Done:
    """Return a result without the words that say where its batches came from."""
    stages = [
        {k: v for k, v in stage.items() if k not in ("kept_steps", "computed_because")}
        for stage in ended.summary["stages"]
    ]
    return replace(ended, summary={**ended.summary, "activations": None, "stages": stages})


def test_every_view_has_its_turn_and_all_runs_share_them(
    families: dict[str, Backbone], tmp_path: Path
) -> None:
    one = views_job(tmp_path, families["plain"], views=3)
    asked: list[int] = []

    def view_prefix(depth: int, view: View) -> Any:
        if not asked or asked[-1] != view.index:
            asked.append(view.index)
        return one.data.view_prefix(depth, view)

    noted = replace(one, data=replace(one.data, view_prefix=view_prefix))
    first = done(events_of(noted))
    assert asked == [0, 1, 2, 0]
    entries = set(tmp_path.rglob("*.arrays"))
    assert_same(done(events_of(views_job(tmp_path, families["plain"], views=3))), first)
    other = losses(events_of(views_job(tmp_path, families["plain"], views=3, seed=4)))
    more = losses(events_of(views_job(tmp_path, families["plain"], views=4, seed=4)))
    assert more[:9] == other[:9]  # three epochs on the same three views
    assert more[9:] != other[9:]
    assert len(set(tmp_path.rglob("*.arrays")) - entries) == 1  # the fourth view alone


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train": {"from_depth": 0}}, "computed views (2): the lowest block trains"),
        ({"data": {"augment": "light"}}, "computed: augmented afresh each epoch"),
        ({"data": {}}, "cached"),
        ({"train": {"from_depth": "none"}}, "cached views (2)"),
        ({"train": {"from_depth": "none"}, "data": {}}, "cached"),
        (
            {"unfreeze": "gradual", "train": {"from_depth": 0}},
            "cached views (2) in 12 of 15 steps, else computed: the lowest block trains",
        ),
    ],
)
def test_a_run_says_where_its_batches_came_from(
    families: dict[str, Backbone], tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    data = {"data": {"augment": "light", "views": 2}, **changes}
    fit = {"batch_size": 6, "patience": 9, "least_steps": 1}
    protocol = resolved("said", epochs=5, **{**RECIPES["upper"], **data, "fit": fit})
    ended = done(events_of(job(tmp_path, family_task("image"), families["plain"], protocol)))
    assert activations(ended).startswith(expected)


def test_texts_have_no_views(families: dict[str, Backbone], tmp_path: Path) -> None:
    data = {"augment": "light", "views": 2}
    texts = [
        job(tmp_path, family_task("text"), families["bert"], resolved("text", train=half, **more))
        for half in ({"from_depth": 2},)
        for more in ({"data": data}, {})
    ]
    viewed, plain = (done(events_of(one)) for one in texts)
    assert_same(viewed, plain)
    assert activations(viewed) == "cached"


def test_a_trial_holds_the_views_of_its_few_items(
    families: dict[str, Backbone], tmp_path: Path
) -> None:
    one = views_job(tmp_path, families["plain"])
    assert trial(one).epoch_seconds > 0
    before = set(tmp_path.rglob("*.arrays"))
    events_of(one)
    assert len(set(tmp_path.rglob("*.arrays")) - before) == 3  # validation's, and two views'


def delete(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("damage", [delete, cut, flip_a_bit])
def test_a_cache_that_is_lost_or_damaged_is_built_again_and_changes_nothing(
    families: dict[str, Backbone], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    whole = done(events_of(views_job(tmp_path, families["plain"], name="gradual")))
    for path in sorted(tmp_path.rglob("*.arrays")):
        damage(path)
    again = views_job(tmp_path, families["plain"], name="gradual")
    assert_same(done(events_of(again)), whole)


@pytest.mark.parametrize("views", [0, 2])
def test_on_a_full_disk_a_run_goes_on_computing_and_says_so(
    families: dict[str, Backbone],
    tmp_path: Path,
    full_disk: Any,
    caplog: pytest.LogCaptureFixture,
    views: int,
) -> None:
    one = views_job(tmp_path, families["plain"], views=views)
    if not views:
        none = {"data": {"augment": {"kind": "none"}, "rebalance": {"kind": "none"}}}
        one = replace(one, protocol={**one.protocol, **none})
    with full_disk(2048):
        events = events_of(one)
    (adjusted,) = [event for event in events if isinstance(event, Adjusted)]
    assert (adjusted.key, adjusted.value["from_step"]) == ("activations/fit", 0)
    assert "the cache cannot be written (File too large)" in adjusted.reason
    assert "is computed at each step" in caplog.text
    said = "computed views (2)" if views else "computed"
    assert activations(done(events)) == f"{said}: {FULL}"
    whole = done(events_of(uncached(one)))
    assert_same(without_source(done(events)), without_source(whole))
    assert not list(tmp_path.rglob("*.part"))


def test_where_prefixes_do_not_fit_the_features_do_and_the_head_reads_them(
    families: dict[str, Backbone], tmp_path: Path, full_disk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backbone, task = families["plain"], family_task("image")
    none = {"augment": {"kind": "none"}}
    fit = {"batch_size": 6, "patience": 9, "least_steps": 1}
    protocol = resolved("gradual", epochs=3, **RECIPES["gradual"], data=none, fit=fit)
    one = job(tmp_path / "whole", task, backbone, protocol)
    bench = Bench(task.development, backbone, Cache(tmp_path / "full"))
    bench.expect(prefix_depths(protocol, backbone, kind="image"))
    cramped = replace(one, data=bench.run_data(task))
    with full_disk(4096):
        assert np.array_equal(bench.features, one.data.features())
        assert "prefixes are computed at each step" in caplog.text
        events = events_of(cramped)
    assert len(list((tmp_path / "full").iterdir())) == 2  # prepared inputs, features
    (adjusted,) = [event for event in events if isinstance(event, Adjusted)]
    assert adjusted.value["from_step"] == 3
    assert activations(done(events)) == f"cached in 3 of 9 steps, else computed: {FULL}"
    logits, expected = (done(those).arrays["logits"] for those in (events, events_of(one)))
    assert np.allclose(logits, expected, rtol=0, atol=1e-5)


def test_a_disk_that_fills_up_on_the_way_is_replayed_at_its_step(
    families: dict[str, Backbone], tmp_path: Path, full_disk: Any
) -> None:
    one = views_job(tmp_path, families["plain"])
    events, seen = execute(one), []
    while not seen or not isinstance(seen[-1], Epoch):
        seen.append(next(events))
    with full_disk(2048):
        seen += list(events)
    (adjusted,) = [event for event in seen if isinstance(event, Adjusted)]
    assert adjusted.value["from_step"] == 3
    ended = done(seen)
    assert activations(ended) == f"cached views (2) in 3 of 12 steps, else computed: {FULL}"
    replayed = views_job(tmp_path, families["plain"], adjustments={adjusted.key: adjusted.value})
    again = events_of(replayed)
    assert not any(isinstance(event, Adjusted) for event in again)
    assert_same(done(again), ended)
