"""A study with an optional ingredient: it meets its off-switch, and the record says how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from regraft.report.card import card_markdown
from regraft.report.page import page_html
from regraft.search.arms import Arm, study_arms
from regraft.search.gating import run_pairs, with_trained_off_switches
from small_search import run_whole, small_study, with_a_short_scratch
from traced import untraced

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.study import Study

SMOOTHED = """\
name: smoothed
modules: [{kind: lora, rank: 2}]
fit: {epochs: 3, least_steps: 1, batch_size: 16, label_smoothing: 0.2}
"""
OFF = "smoothed-without-label-smoothing"


def a_study(folder: Path) -> Study:
    folder.mkdir(exist_ok=True)
    path = folder / "smoothed.yaml"
    path.write_text(SMOOTHED, encoding="utf-8")
    asked = {"seeds": 2, "label_budgets": [1]}
    return with_a_short_scratch(small_study(folder / "home", [str(path)], **asked))


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, dict[str, Any]]:
    study = a_study(tmp_path_factory.mktemp("gated"))
    return study, run_whole(study)


def test_the_record_tells_of_the_gate(studied: tuple[Study, dict[str, Any]]) -> None:
    study, record = studied
    arms = {arm["key"]: arm for arm in record["arms"]}
    assert arms[OFF]["role"] == "candidate"
    (gate,) = record["gates"]
    assert (gate["protocol"], gate["ingredient"], gate["off"]) == (
        "smoothed",
        "label smoothing 0.2",
        OFF,
    )
    decided = {one.key: one.value for one in study.ledger.decisions.all(study.id)}
    assert decided["gate/smoothed/label smoothing 0.2"] == {
        "passed": gate["passed"],
        "reason": gate["text"],
    }
    assert any(one["text"] == gate["text"] for one in record["decisions"])
    assert untraced(record) == []
    seeds = min(arms[key]["n_seeds"] for key in ("smoothed", OFF))
    if gate["difference"] is not None:
        assert gate["seeds"] == [seeds, seeds]


def test_what_did_not_beat_its_off_switch_is_dropped_everywhere(
    studied: tuple[Study, dict[str, Any]],
) -> None:
    _, record = studied
    (gate,) = record["gates"]
    arms = {arm["key"]: arm for arm in record["arms"]}
    assert not gate["passed"]  # three epochs on 96 digits tell nobody that smoothing helps
    assert not arms["smoothed"]["winner"]
    assert record["verdict"]["kind"] in ("recommend", "do_not_fine_tune", "do_not_transfer")
    curves = {arm["protocol"] for arm in record["label_efficiency"]["arms"]}
    assert "smoothed" not in curves
    if arms["smoothed"]["status"] == "done":
        assert gate["text"] in record["verdict"]["reasons"]
        assert arms[OFF]["status"] == "done"
        assert arms[OFF]["n_seeds"] >= arms["smoothed"]["n_seeds"]
        assert arms["smoothed"]["test"] is None


def test_an_ingredient_that_goes_on_in_the_race_takes_its_off_switch_along(
    studied: tuple[Study, dict[str, Any]],
) -> None:
    study, record = studied
    runs = {arm["key"]: set(arm["runs"]) | set(arm["tuning_runs"]) for arm in record["arms"]}
    rungs = [d.value for d in study.ledger.decisions.all(study.id) if d.key.startswith("rung/")]
    assert rungs
    for rung in rungs:
        going = set(rung["promoted"])
        assert len(going & runs[OFF]) >= len(going & runs["smoothed"])


def test_report_and_card_show_the_ingredient(studied: tuple[Study, dict[str, Any]]) -> None:
    _, record = studied
    for text in (card_markdown(record), page_html(record)):
        assert "Ingredients" in text
        assert "label smoothing 0.2" in text


def arms_of(folder: Path) -> dict[str, Arm]:
    path = folder / "both.yaml"
    path.write_text(
        "name: both\ntrain: {from_depth: 0}\ndata: {augment: light}\nfit: {label_smoothing: 0.1}\n",
        encoding="utf-8",
    )
    return {arm.key: arm for arm in study_arms([str(path)], ["one"], n_train=9)}


def test_what_is_repeated_takes_all_its_off_switches_along(tmp_path: Path) -> None:
    arms = arms_of(tmp_path)
    family = [key for key in arms if key.startswith("both")]
    found = with_trained_off_switches([arms["both"]], list(arms.values()))
    assert {arm.key for arm in found} == set(family)
    assert found[0].key == "both"
    assert with_trained_off_switches([arms["scratch"]], list(arms.values())) == [arms["scratch"]]
    assert with_trained_off_switches([arms["both"]], [arms["both"]]) == [arms["both"]]


def test_the_runs_of_an_arm_are_paired_with_those_of_its_off_switches(tmp_path: Path) -> None:
    arms = arms_of(tmp_path)
    runs = [(arms[key], f"{key}/{i}") for key in arms if key.startswith("both") for i in (0, 1)]
    found = run_pairs(runs)
    assert len(found) == 4
    both = frozenset({"both/0", "both/1"})
    bare = frozenset(f"both-without-augment-label-smoothing/{i}" for i in (0, 1))
    assert [one for one, _ in found].count(both) == 2
    assert [off for _, off in found].count(bare) == 2
    assert run_pairs(runs[:2]) == [(both, frozenset())] * 2
