"""What was forgotten, on features whose fate is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from made_evidence import logits_of, made_arm
from regraft.evidence.gathered import SourceFeatures
from regraft.evidence.questions.what_was_forgotten import what_was_forgotten
from regraft.evidence.verdict import CANDIDATE
from regraft.measure.transferability.neighbours import knn_transfer, linear_probe

LABELS = np.arange(90) % 3
RANDOM = np.random.default_rng(0)
GOOD = RANDOM.normal(size=(90, 6)) + 6 * np.eye(3, 6)[LABELS]
NOISE = RANDOM.normal(size=(90, 6))
ARMS = [
    replace(made_arm(key, CANDIDATE, logits_of(LABELS[:4], 3)), backbone=backbone)
    for key, backbone in (("kept", 0), ("lost", 0), ("won", 1), ("no", 0))
]


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, object]]:
    source = SourceFeatures(
        LABELS,
        before={0: GOOD, 1: NOISE},
        after={"kept": GOOD, "lost": NOISE, "won": GOOD},
    )
    return {one["name"]: one for one in what_was_forgotten(source, ARMS, seed=0)}


def test_each_arm_that_adapted_is_judged_twice(rows: dict[str, dict[str, object]]) -> None:
    judges = ("5 nearest neighbours", "a ridge probe")
    assert list(rows) == [
        f"{j} on features of {a}" for a in ("Kept", "Lost", "Won") for j in judges
    ]


@pytest.mark.parametrize("judge", ["5 nearest neighbours", "a ridge probe"])
def test_what_stayed_went_and_came_is_called_so(
    rows: dict[str, dict[str, object]], judge: str
) -> None:
    kept, lost, won = (rows[f"{judge} on features of {a}"] for a in ("Kept", "Lost", "Won"))
    assert (kept["difference"], kept["retention"]) == (0.0, 1.0)
    assert str(kept["text"]).endswith("100 % kept, undecided")
    assert str(lost["text"]).endswith("forgotten")
    assert float(str(lost["high"])) < 0
    assert str(won["text"]).endswith("gained")
    assert all(one["n"] == 90 for one in (kept, lost, won))
    assert float(str(lost["p_adjusted"])) >= float(str(lost["p"]))


def test_before_and_after_are_the_estimators_that_rank_backbones(
    rows: dict[str, dict[str, object]],
) -> None:
    knn, probe = (
        rows[f"{judge} on features of Lost"] for judge in ("5 nearest neighbours", "a ridge probe")
    )
    assert knn["before"] == pytest.approx(knn_transfer(GOOD, LABELS))
    assert knn["after"] == pytest.approx(knn_transfer(NOISE, LABELS))
    assert probe["before"] == pytest.approx(linear_probe(GOOD, LABELS))
    assert probe["after"] == pytest.approx(linear_probe(NOISE, LABELS))
    assert probe["retention"] == pytest.approx(
        linear_probe(NOISE, LABELS) / linear_probe(GOOD, LABELS)
    )


def test_what_stands_behind_each_accuracy_and_the_share_kept_is_told(
    rows: dict[str, dict[str, Any]],
) -> None:
    lost = rows["a ridge probe on features of Lost"]
    for key, seeds in (("before", 0), ("after", 1)):
        told = lost["behind"][key]
        assert told["value"] == pytest.approx(lost[key])
        assert told["low"] < lost[key] <= told["high"]
        assert (told["n"], told["seeds"]) == (90, seeds)
    assert lost["behind"]["retention"]["value"] == lost["retention"]
    assert lost["behind"]["retention"]["no_interval"]


def test_where_nothing_was_adapted_it_is_said() -> None:
    (row,) = what_was_forgotten(SourceFeatures(LABELS, {}, {}), ARMS, seed=0)
    assert row["n"] == 90
    assert "no arm of the final evaluation adapted" in row["text"]
