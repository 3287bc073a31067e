"""How far data and source lie apart, on features of known laws."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from made_evidence import logits_of, made_arm, made_evidence
from regraft.evidence.draws import drawn
from regraft.evidence.gathered import SourceFeatures
from regraft.evidence.questions.asked import Asked
from regraft.evidence.questions.asking import answers
from regraft.evidence.questions.how_far import MOST, answered, how_far
from regraft.evidence.verdict import CANDIDATE
from regraft.measure.mmd import mmd2_test
from regraft.measure.moments import frechet
from regraft.measure.two_sample import proxy_a_distance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.evidence.questions.asked import Answer

LABELS = np.arange(120) % 2


def normal(n: int, *, by: float = 0.0, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(n, 6)) + by


def asked(before: Mapping[int, np.ndarray[Any, Any]], data: np.ndarray[Any, Any] | None) -> Asked:
    """Return a study of two backbones, the winner on the second."""
    first, second = (made_arm(key, CANDIDATE, logits_of(LABELS)) for key in ("first", "second"))
    arms = [replace(second, backbone=1), replace(first, backbone=0)]
    evidence = replace(
        made_evidence(arms, LABELS, {}),
        study={"id": "made", "backbones": ["zoo:one", "zoo:two"]},
        source=SourceFeatures(np.zeros(90, np.int64), before, {}),
        test_features=data,
    )
    assert evidence.test is not None
    return Asked(evidence, arms[0], arms[0], evidence.test, None, {})


def found(source: np.ndarray[Any, Any], data: np.ndarray[Any, Any]) -> dict[str, Answer]:
    rows = how_far(source, data, named="features of it", seed=0)
    return {one["name"].partition(",")[0]: one for one in rows}


def test_what_is_of_one_law_is_told_apart_as_seldom_as_the_test_allows() -> None:
    each = [found(normal(60, seed=seed), normal(80, seed=seed + 100)) for seed in range(20)]
    verdicts = [one["MMD²"]["verdict"] for one in each]
    assert verdicts.count("told apart") <= 3  # of 20 at 0.05; more in 1.6 % of the draws
    assert "not told apart from the source, p = " in each[2]["MMD²"]["text"]
    assert np.mean([one["proxy A-distance"]["value"] for one in each]) < 0.3
    ratios = [one["Fréchet distance"]["value"] / one["Fréchet distance"]["one_law"] for one in each]
    assert np.median(ratios) == pytest.approx(1.0, abs=0.3)


def test_what_was_shifted_is_told_apart_by_the_measures_own_values() -> None:
    source, data = normal(200), normal(300, by=0.8, seed=1)
    rows = found(source, data)
    tested = mmd2_test(source, data, seed=0)
    assert (rows["MMD²"]["value"], rows["MMD²"]["p_apart"]) == (tested.statistic, tested.p)
    assert rows["MMD²"]["verdict"] == "told apart"
    assert "told apart from the source, p = .002" in rows["MMD²"]["text"]
    assert rows["proxy A-distance"]["value"] == proxy_a_distance(source, data, seed=0) > 1
    assert rows["Fréchet distance"]["value"] == frechet(source, data)
    assert rows["Fréchet distance"]["value"] > 5 * rows["Fréchet distance"]["one_law"]
    for one in rows.values():
        assert (one["n"], one["n_source"], one["seeds"]) == (300, 200, 0)
        assert one["no_interval"]
        assert "n = 300 sealed items and m = 200 of the source" in one["estimator"]


def test_of_many_rows_a_seeded_draw_is_looked_at() -> None:
    source, data = normal(MOST + 500), normal(40, by=1.0, seed=1)
    rows = found(source, data)
    chosen = drawn(len(source), MOST, seed=0, name="far-source")
    assert rows["MMD²"]["value"] == mmd2_test(source[chosen], data, seed=0).statistic
    assert rows["MMD²"]["n_source"] == MOST


def test_any_seed_of_a_study_will_do() -> None:
    first, second = (
        how_far(normal(60), normal(60, seed=1), named="it", seed=2**40 + i) for i in (0, 0)
    )
    assert first == second


def test_the_features_are_those_of_the_winners_backbone() -> None:
    near, away, data = normal(90), normal(90, by=3.0), normal(120, seed=1)
    rows = answered(asked({0: away, 1: near}, data)).answers
    assert rows[0]["name"] == "MMD², features of zoo:two"
    assert rows[0]["value"] == mmd2_test(near, data, seed=0).statistic


@pytest.mark.parametrize(
    ("before", "data", "why"),
    [
        ({1: normal(7)}, normal(120), "either side needs 8 items or more"),
        ({1: np.zeros((90, 6))}, np.zeros((120, 6)), "distance"),
        ({1: np.full((90, 6), np.nan)}, normal(120), "finite"),
    ],
)
def test_where_it_cannot_be_measured_it_is_said(
    before: Mapping[int, np.ndarray[Any, Any]], data: np.ndarray[Any, Any], why: str
) -> None:
    (row,) = answered(asked(before, data)).answers
    assert row["estimator"] == "not measured"
    assert why in row["text"]


def test_without_a_source_nothing_is_asked() -> None:
    one = asked({}, None)
    assert answered(one).answers == []
    bare = replace(one.evidence, source=None, test_features=normal(120))
    assert "far" not in [each["key"] for each in answers(bare, one.winner, None)]
