"""Cells of movement and gain: known gains, known correlations, and what few cells cannot say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from regraft.errors import ConfigError
from regraft.evidence.arm import ArmEvidence, Part
from regraft.evidence.cells import Cell, cells_of, correlation_json, limits_json
from regraft.evidence.ledger_cells import limits_of_ledger
from regraft.evidence.movement import depth_movement
from regraft.evidence.questions.what_moved import depths_moved, features_moved
from regraft.evidence.verdict import CANDIDATE, WITHOUT_TRANSFER
from regraft.ledger.ledger import Ledger
from regraft.report.figures import movement_gain
from regraft.report.words import CARE

if TYPE_CHECKING:
    from pathlib import Path

N = 200
LABELS = np.random.default_rng(0).integers(0, 2, N)
MOVED = {
    "mmd2": 0.2,
    "low": 0.1,
    "high": 0.3,
    "p": 0.01,
    "cka": 0.8,
    "drift": {"value": 0.1, "low": 0.08, "high": 0.12, "n": N, "seeds": 1, "estimator": "mean"},
    "n": N,
}


def arm(key: str, role: str, right: int, *, backbone: int | None, moved: Any = None) -> ArmEvidence:
    """Return an arm that gets the first `right` items right."""
    said = np.where(np.arange(N) < right, LABELS, 1 - LABELS)
    return ArmEvidence(
        key=key,
        protocol=key,
        title=key.title(),
        role=role,
        status="done",
        reason="",
        settings={},
        estimated_seconds=1.0,
        runs=(key,),
        summaries=({"convergence": {"step": 30, "seconds": 1.0, "of_steps": 120}},),
        logits=4.0 * np.eye(2)[said][None] - 2.0,
        movement=moved,
        backbone=backbone,
    )


def evidence(arms: list[ArmEvidence]) -> Any:
    return SimpleNamespace(
        arms=arms,
        task=SimpleNamespace(metric="accuracy"),
        validation=Part(LABELS, None, 0),
        study={"id": "s", "data": "photos/", "backbones": ["one", "two"]},
    )


def test_a_cell_gains_over_from_scratch_on_its_own_backbone() -> None:
    arms = [
        arm("raw", WITHOUT_TRANSFER, 150, backbone=None),
        arm("scratch-1", WITHOUT_TRANSFER, 100, backbone=0),
        arm("lora-1", CANDIDATE, 180, backbone=0, moved=MOVED),
        arm("lora-2", CANDIDATE, 180, backbone=1, moved=MOVED),
        arm("probe", CANDIDATE, 180, backbone=0),
    ]
    first, second = cells_of(evidence(arms))
    assert (first.over, first.gain) == ("Scratch-1", pytest.approx(80.0))
    assert (second.over, second.gain) == ("Raw", pytest.approx(20.0))
    assert first.gain_low < first.gain < first.gain_high
    assert (first.backbone, second.backbone) == ("one", "two")
    assert (first.steps, first.mmd2, first.n) == (0.25, 0.2, N)
    assert cells_of(evidence(arms[2:4])) == []


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(5, 9))
def test_the_correlation_is_spearmans_and_survives_monotone_changes(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(2, n))
    found = correlation_json(x, y, seed=0)
    assert found["spearman"]["value"] == pytest.approx(spearmanr(x, y).statistic)
    again = correlation_json(np.exp(x), y**3, seed=0)
    assert again["spearman"]["value"] == pytest.approx(found["spearman"]["value"])
    assert again["spearman"]["p"] == found["spearman"]["p"]
    assert found["verdict"] in ("shown", "not shown")
    assert correlation_json(x, -x, seed=0)["verdict"] == "shown"


def test_few_cells_are_undecidable_whatever_they_look_like() -> None:
    for n in range(5):
        line = [float(i) for i in range(n)]
        found = correlation_json(line, line, seed=0)
        assert found["verdict"] == "undecidable"
        assert found["text"].startswith("undecidable: ")
    assert correlation_json([1.0] * 6, [1.0, 2, 3, 4, 5, 6], seed=0)["verdict"] == "undecidable"
    five = correlation_json([1.0, 2, 3, 4, 5], [5.0, 4, 3, 2, 1], seed=0)
    assert (five["verdict"], five["critical"]) == ("shown", 1.0)
    assert "p = .017" in five["text"]
    assert "5 cells show |ρ| ≥ 1.000 only" in five["text"]


def test_rows_say_how_far_and_how_deep() -> None:
    moved = arm("lora", CANDIDATE, 180, backbone=0, moved=MOVED)
    mmd2, cka, drift = features_moved(moved)
    assert (mmd2["low"], mmd2["value"], mmd2["high"]) == (0.1, 0.2, 0.3)
    assert (cka["value"], drift["value"]) == (0.8, 0.1)
    assert features_moved(arm("probe", CANDIDATE, 9, backbone=0)) == []
    random = np.random.default_rng(0)
    before = {depth: random.normal(size=(50, 4)) for depth in range(4)}
    after = {d: x if d < 2 else x + d for d, x in before.items()}
    weights = {0: None, 1: 0.0, 2: 0.3, 3: 0.1}
    found = depth_movement(before, after, weights, n_blocks=3, seed=0)
    deep, heavy = depths_moved("LoRA", found)
    assert deep["text"].startswith("nothing up to after block 0; most at pooled features, MMD²")
    assert heavy["text"] == ".300 of their norm".join(["at most ", ", below after block 1"])
    still = depth_movement(before, before, dict.fromkeys(before, 0.0), n_blocks=3, seed=0)
    assert [one["text"] for one in depths_moved("Probe", still)] == [
        "nothing moved at any depth",
        "none of the backbone's own changed",
    ]


def test_a_gain_on_few_items_that_differ_is_warned_of_and_drawn_so() -> None:
    arms = [
        arm("raw", WITHOUT_TRANSFER, 150, backbone=None),
        arm("lora", CANDIDATE, 153, backbone=0, moved=MOVED),
        arm("full", CANDIDATE, 180, backbone=0, moved=MOVED),
    ]
    few, enough = cells_of(evidence(arms))
    assert few.warning == "the two differ on 3 items: the interval is rough"
    assert enough.warning is None
    drawn = movement_gain.drawn_cells(limits_json([few, enough], seed=0), named_by="title")
    marked = [row[4].text.endswith(CARE) for row in drawn.table.rows]
    assert sorted(marked) == [False, True]


CELL = Cell(
    study="",
    data="",
    backbone="",
    arm="lora",
    title="LoRA",
    mmd2=0.1,
    low=0.0,
    high=0.2,
    gain=10.0,
    gain_low=5.0,
    gain_high=15.0,
    over="From scratch",
    steps=0.5,
    n=100,
    seeds=1,
)


def record(ledger: Ledger, name: str, cells: list[Cell] | None) -> str:
    """Write a finished study with such cells; None leaves it unfinished."""
    study = f"{name:0<16}"
    task = {"metric": "accuracy"}
    ledger.studies.create(study, name=name, configuration={"task": task})
    if cells is not None:
        figure = limits_json([replace(one, study=study) for one in cells], seed=0)
        questions = [{"key": "moved", "figure": figure}] if cells else []
        ledger.studies.save_record(study, {"verdict": {"sentence": "x"}, "questions": questions})
    return study


def test_a_ledgers_cells_are_the_best_arm_of_each_backbone_on_each_task(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    for i in range(6):
        data = f"set-{i}/"
        record(
            ledger,
            f"a{i}",
            [
                replace(CELL, data=data, backbone="one", mmd2=0.1 * i, gain=30.0 - i),
                replace(CELL, data=data, backbone="one", mmd2=9.0, gain=1.0),
            ],
        )
    newest = record(
        ledger, "b", [replace(CELL, data="set-0/", backbone="one", mmd2=0.0, gain=50.0)]
    )
    old = record(ledger, "c", [])
    opened = record(ledger, "d", None)
    found = limits_of_ledger(ledger)
    assert found["gain"]["n"] == 6
    assert found["gain"]["spearman"]["value"] == pytest.approx(-1.0)
    assert found["gain"]["verdict"] == "shown"
    assert {one["gain"] for one in found["cells"]} == {50.0, 29.0, 28.0, 27.0, 26.0, 25.0}
    assert newest in {one["study"] for one in found["cells"]}
    reasons = {one["study"]: one["reason"] for one in found["left_out"]}
    assert "before cells were kept" in reasons[old]
    assert reasons[opened] == "it has not finished"
    assert "newer study" in reasons["a0".ljust(16, "0")]
    named = limits_of_ledger(ledger, ["a1", "a2", "a3"])
    assert (named["gain"]["n"], named["gain"]["verdict"]) == (3, "undecidable")
    with pytest.raises(ConfigError, match="has not finished"):
        limits_of_ledger(ledger, ["d"])
