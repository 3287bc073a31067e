"""What moved at each depth: the frozen is exactly still, weights are those of the graft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from regraft.engine.depths import adapted_with, depth_features, looked_at_depths, weight_changes
from regraft.engine.job import Job
from regraft.evidence.movement import depth_movement, movement
from regraft.search.depths import MOST_ITEMS, drawn_rows, moved_depths
from regraft.search.outcomes import ArmOutcome
from small_search import run_whole, small_study, with_a_short_scratch

if TYPE_CHECKING:
    from regraft.study import Study

UPPER = """\
name: small-upper
title: Upper half
head: {kind: linear, start: probe}
train: {from_depth: 3}
rate: {kind: cosine, peak: 3e-2}
fit: {epochs: 6, patience: 6, least_steps: 1, batch_size: 16}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("depths")
    (folder / "small-upper.yaml").write_text(UPPER, encoding="utf-8")
    asked = small_study(folder / "home", [str(folder / "small-upper.yaml")])
    run_whole(with_a_short_scratch(asked))
    return asked


@pytest.fixture(scope="module")
def found(study: Study) -> dict[str, Any]:
    """Return the arm's job and its depths, looked at again."""
    run = next(
        one
        for one in study.ledger.runs.of(study.id)
        if one.protocol == "small-upper" and one.status == "done"
    )
    bench = study._benches(study.pool.development, "cpu")[0]
    job = Job(
        run=run.id,
        protocol=run.configuration["protocol"],
        backbone=bench.backbone,
        data=bench.run_data(study.task),
        seed=int(run.configuration["seed"]),
        precision="fp32",
        device="cpu",
    )
    result = study.ledger.runs.result(run.id)
    assert result is not None
    return {"job": job, "rows": result.arrays["rows"]}


def trained_state(job: Job, *, by: float) -> dict[str, torch.Tensor]:
    """Return a state in which every trained weight of the backbone is (1 + by) times its own."""
    own = dict(job.backbone.module.named_parameters())
    names = [n for n in own if job.backbone.depth_of(n) >= 3]
    return {f"backbone.{name}": (1 + by) * own[name].detach() for name in names}


@pytest.mark.parametrize("by", [0.0, 0.25])
def test_frozen_depths_do_not_move_and_weights_move_by_what_was_done(
    found: dict[str, Any], by: float
) -> None:
    job, rows = found["job"], found["rows"]
    depths = looked_at_depths(job.backbone)
    assert depths == tuple(range(job.backbone.n_blocks + 1))
    model = adapted_with(job, trained_state(job, by=by))
    weights = weight_changes(job.backbone, model, depths)
    before, after = (
        depth_features(job, one, rows, depths) for one in (job.backbone, model.backbone)
    )
    moved = depth_movement(before, after, weights, n_blocks=job.backbone.n_blocks, seed=0)
    for one in moved:
        if one["depth"] <= 3 or by == 0.0:
            assert (one["mmd2"], one["drift"]["value"], one["p"]) == (0.0, 0.0, 1.0)
            assert one["weights"] in (0.0, None)
            assert one["cka"] == pytest.approx(1.0, abs=1e-9)
        else:
            assert one["mmd2"] > 0.0
            assert one["low"] < one["mmd2"] < one["high"]
            assert one["weights"] == pytest.approx(by, rel=1e-5)
    assert moved[-1]["name"] == "pooled features"


def test_pooled_features_are_those_that_the_head_sees(found: dict[str, Any]) -> None:
    job, rows = found["job"], found["rows"][:20]
    last = job.backbone.n_blocks
    seen = depth_features(job, job.backbone, rows, (last,))[last]
    known = job.data.features()[job.data.rows][rows]
    np.testing.assert_allclose(seen, known, atol=1e-5)


def test_lora_counts_as_what_it_adds_to_the_weight_beside_it(found: dict[str, Any]) -> None:
    plain = found["job"]
    lora = {**plain.protocol, "modules": [{"kind": "lora", "rank": 2, "alpha": 4.0, "on": "auto"}]}
    job = Job(
        run="lora",
        protocol={**lora, "train": {**lora["train"], "from_depth": "none"}},
        backbone=plain.backbone,
        data=plain.data,
        seed=0,
        precision="fp32",
        device="cpu",
    )
    depths = looked_at_depths(job.backbone)
    still = adapted_with(job, {})
    assert set(weight_changes(job.backbone, still, depths).values()) <= {0.0, None}
    ones = {n: torch.ones_like(p) for n, p in still.named_parameters() if "lora_" in n}
    (first,) = [n for n in ones if n.endswith("lora_A.default.weight")][:1]
    name = first.removeprefix("module.").removesuffix(".lora_A.default.weight")
    base = job.backbone.module.get_submodule(name).weight
    weights = weight_changes(job.backbone, adapted_with(job, ones), depths)
    place = min(d for d in depths if d > job.backbone.depth_of(name))
    # With A = B = 1 every entry of a kernel grows by (alpha / rank) · rank = 4 in a 1 × 1 layer.
    assert weights[place] is not None
    assert weights[place] > 0.0
    assert base.numel() > 0


def test_a_study_keeps_the_depths_of_its_finalists(study: Study) -> None:
    record = study.result().record
    question = next(one for one in record["questions"] if one["key"] == "moved")
    adapted = next(arm for arm in record["arms"] if arm["protocol"] == "small-upper")
    assert adapted["movement"]["low"] <= adapted["movement"]["mmd2"]
    for row in question["figure"]["depths"]:
        frozen = [one for one in row["depths"] if one["depth"] <= 3]
        assert all(one["mmd2"] == 0.0 and one["weights"] in (0.0, None) for one in frozen)
    assert [one["arm"] for one in question["figure"]["cells"]] == ["small-upper"]
    assert question["figure"]["gain"]["verdict"] == "undecidable"
    assert any("undecidable: 1 cell" in one["text"] for one in question["answers"])


def test_items_are_drawn_by_the_seed_alone_and_bounded() -> None:
    rows = np.arange(5000) * 2
    one = drawn_rows(rows, seed=3)
    assert len(one) == MOST_ITEMS
    assert (np.diff(one) > 0).all()
    assert set(one) <= set(rows)
    assert np.array_equal(one, drawn_rows(rows, seed=3))
    assert np.array_equal(drawn_rows(rows[:50], seed=1), rows[:50])


def test_movement_grows_with_what_was_done() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 5)).astype(np.float32)
    step = random.normal(size=(200, 5)).astype(np.float32)
    found = [movement(x, x + by * step + by, seed=0) for by in (0.0, 0.1, 0.5, 1.0)]
    for name in ("mmd2", "cka"):
        values = [one[name] for one in found if one is not None]
        assert values == sorted(values, reverse=name == "cka")
    drifts = [one["drift"]["value"] for one in found if one is not None]
    assert drifts == sorted(drifts)
    assert drifts[0] == 0.0
    assert movement(x[:7], x[:7], seed=0) is None
    assert movement(x, np.zeros_like(x), seed=0) is None  # the arm died: nothing is defined


def test_untrained_arms_have_no_depths(study: Study) -> None:
    arms = [one for one in study.arms if not one.is_trained or one.is_from_scratch]
    outcomes = [ArmOutcome(one, None) for one in arms]  # type: ignore[arg-type]
    benches = study._benches(study.pool.development, "cpu")
    assert moved_depths(study.ledger, outcomes, benches, study.task, seed=0) == {}
