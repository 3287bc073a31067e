"""A trial takes a few steps of a run and leaves no trace of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from regraft.backbones.loading import load_backbone
from regraft.config.protocol import load_protocol, resolve_protocol
from regraft.engine.job import Job
from regraft.features.store import Cache
from regraft.search.bench import Bench
from regraft.search.ladder import Ladder
from regraft.search.opening import opening_shares, typical_depth
from regraft.search.trial import Trial, _held, _Sample, _Size, small_job, trial
from regraft.tasks.task import Task
from small_backbones import WORDS, save_all
from small_search import around, small_study, write_lora

if TYPE_CHECKING:
    from pathlib import Path

UNFIT = "name: unfit\nmodules: [{kind: lora, rank: 2, on: [attention_in]}]\n"


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """Return a job of each arm of a small study."""
    folder = tmp_path_factory.mktemp("trial")
    (folder / "unfit.yaml").write_text(UNFIT, encoding="utf-8")
    protocols = ["ladder", write_lora(folder), str(folder / "unfit.yaml")]
    study = small_study(folder / "home", protocols)
    ladder = Ladder(around(study), study.task)
    return {
        arm.key: ladder.job("run", arm.candidates[0], place=0, seed=1)
        for arm in study.arms
        if arm.is_trained
    }


@pytest.mark.parametrize("key", ["lp-ft-upper", "gradual", "full", "small-lora", "scratch"])
def test_a_trial_measures_and_leaves_no_trace(key: str, jobs: dict[str, Job]) -> None:
    job = jobs[key]
    before = {n: t.clone() for n, t in job.backbone.module.state_dict().items()}
    state, labels = torch.get_rng_state(), job.data.labels.copy()
    found = trial(job)
    assert min(found.start_seconds, found.epoch_seconds, found.peak_memory_bytes) > 0
    total = sum(p.numel() for p in job.backbone.module.parameters())
    assert 4 * total < found.waiting_bytes < 4 * 3.2 * total
    # what looks at the start of the head is left to the arm's first run
    is_left = job.protocol["head"]["start"] in ("probe", "centroid")
    assert (found.preflight_seconds > 0) is is_left
    assert Trial(**found.to_json()) == found
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(job.data.labels, labels)
    assert not job.data.solved
    after: dict[str, Any] = job.backbone.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_cannot_run_costs_nothing_and_fails_in_the_study(jobs: dict[str, Job]) -> None:
    assert trial(jobs["unfit"]) == Trial(0.0, 0.0, 0)


@pytest.mark.parametrize("depth", [1, 3])
def test_a_trial_reads_what_a_run_would_read_of_the_frozen_blocks(
    depth: int, tmp_path: Path
) -> None:
    backbone = load_backbone(save_all(tmp_path / "models")["bert"])
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, size)) for size in random.integers(1, 20, 40)]
    task = Task.read((texts, ["yes", "no"] * 20), metric="accuracy", seed=0)
    bench = Bench(task.development, backbone, Cache(tmp_path / "cache"))
    protocol = resolve_protocol(load_protocol("lp-ft-upper"))
    data = bench.run_data(task)
    small = small_job(Job("run", protocol, backbone, data, 0)).data
    whole, few = data.prefix(depth), small.prefix(depth)
    assert whole is not None
    assert few is not None
    rows = random.permutation(small.rows)
    for one, other in zip(few.gather(rows), whole.gather(rows), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.array_equal(few.lengths(), [one.size for one in whole.gather(small.rows)])


def test_more_items_cost_more(jobs: dict[str, Job], monkeypatch: pytest.MonkeyPatch) -> None:
    # a clock that every reading moves on by a millisecond: what is scaled is then known
    ticks = iter(range(10**9))
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks) * 1e-3)
    monkeypatch.setattr("time.monotonic", lambda: next(ticks) * 1e-3)
    job = jobs["small-lora"]
    batches = -(-len(job.data.folds[0].train) // int(job.protocol["fit"]["batch_size"]))
    once, again = trial(job), trial(job)
    assert once.epoch_seconds == pytest.approx(again.epoch_seconds)
    per_batch = once.epoch_seconds / batches
    assert 1e-3 <= per_batch < 50e-3


def test_a_trial_takes_batches_of_the_run_from_the_thinnest_to_the_fullest(
    tmp_path: Path,
) -> None:
    backbone = load_backbone(save_all(tmp_path / "models")["bert"])
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, size)) for size in random.integers(1, 30, 400)]
    task = Task.read((texts, ["yes", "no"] * 200), metric="accuracy", seed=0)
    bench = Bench(task.development, backbone, Cache(tmp_path / "cache"))
    protocol = resolve_protocol(load_protocol("full"))
    job = Job(
        "run",
        {**protocol, "fit": {**protocol["fit"], "batch_size": 8}},
        backbone,
        bench.run_data(task),
        0,
    )
    small = small_job(job, _Size(6, 40))
    lengths = job.data.prepared.lengths()
    whole = np.array(_held(job, lengths))
    some = np.array(_held(small, lengths))
    assert len(some) == 6
    assert set(some.tolist()) <= set(whole.tolist())
    assert abs(some.mean() / whole.mean() - 1) < 0.1
    validated = lengths[small.data.rows[small.data.folds[0].validation]]
    everything = lengths[job.data.rows[job.data.folds[0].validation]]
    assert len(validated) == 40
    assert abs(validated.mean() / everything.mean() - 1) < 0.1


def test_two_tries_count_by_what_they_held() -> None:
    def sample(**changes: float) -> _Sample:
        some: dict[str, Any] = {
            "steps": 3,
            "seconds": 3.0,
            "held": 30.0,
            "start_seconds": 1.0,
            "evaluation_seconds": 0.2,
            "evaluated": 10.0,
            "preflight_seconds": 0.5,
            "peak_bytes": 7,
            "waiting_bytes": 5,
            "checkpoint_bytes": 2,
        }
        return _Sample(**{**some, **changes})

    later = sample(
        steps=5, seconds=1.0, held=10.0, evaluated=30.0, evaluation_seconds=0.4, peak_bytes=9
    )
    both = sample().joined(later)
    assert (both.steps, both.rate, both.step_seconds) == (8, 4.0 / 40.0, 0.5)
    assert both.evaluation_seconds == pytest.approx((0.2 * 10 + 0.4 * 30) / 40)
    assert (both.peak_bytes, both.preflight_seconds) == (9, 0.5)
    assert sample().joined(None) == sample()
    timed = sample().in_time_of(later)
    assert (timed.rate, timed.peak_bytes) == (later.rate, 7)


@pytest.mark.parametrize(
    ("from_depth", "epochs", "depth"),
    [(0.25, 5, 2), (0, 9, 1), (0, 90, None), (0.75, 2, "none"), ("none", 5, None)],
)
def test_gradual_unfreezing_is_tried_with_what_is_open_in_the_mean(
    from_depth: float | str, epochs: int, depth: int | str | None
) -> None:
    protocol = {
        "unfreeze": {"kind": "gradual"},
        "train": {"from_depth": from_depth},
        "fit": {"epochs": epochs},
    }
    # of four blocks 4, 3, 2, 1, 1; 4, 3, 2, 1, 0, 0 …; 4, 3
    assert typical_depth(protocol, 4) == depth
    assert typical_depth({**protocol, "unfreeze": None}, 4) is None
    assert opening_shares({**protocol, "unfreeze": None}, 4) == ()


@pytest.mark.parametrize(
    ("from_depth", "epochs", "shares"),
    [
        (0.25, 5, (0.0, 0.5, 1.0, 1.5)),  # 0, 1, 2, 3, 3 blocks; two of them were timed
        (0, 90, (0.0, 0.25, 0.5, 0.75, 1.0)),  # nearly always all four
        (0.75, 2, ()),  # the mean epoch trains none
    ],
)
def test_epochs_before_all_is_open_count_by_what_they_train(
    from_depth: float, epochs: int, shares: tuple[float, ...]
) -> None:
    protocol = {
        "unfreeze": {"kind": "gradual"},
        "train": {"from_depth": from_depth},
        "fit": {"epochs": epochs},
    }
    assert opening_shares(protocol, 4) == shares
    tried = Trial(1.0, 10.0, 0, evaluation_seconds=2.0, n_validated=50, opening=shares)
    plain = Trial(1.0, 10.0, 0, evaluation_seconds=2.0, n_validated=50)
    per_epoch = {"steps_per_epoch": 10.0, "looked_at": 25}
    if not shares:
        assert tried.seconds_to(15, **per_epoch) == plain.seconds_to(15, **per_epoch)
        return
    # an epoch and a half: the first share, half of the second; one evaluation, half a look
    trained = 8.0 * (shares[0] + shares[1] / 2)
    assert tried.seconds_to(15, **per_epoch) == pytest.approx(1.0 + trained + 2.0 * 1.5)
    stage = {"n_train": 40, "epochs": 9, "history": [{"epoch": len(shares) + 2}]}
    expected = 1.0 + 10.0 * (sum(shares) + 2 * shares[-1])
    assert tried.seconds_of([stage]) == pytest.approx(expected)
