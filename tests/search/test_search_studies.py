"""Whole small studies: decisions replayed, results reused, label subsets nested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from regraft.errors import BudgetError, LedgerError
from regraft.measure.metrics import METRICS
from regraft.report.page import page_html
from regraft.search import costing
from regraft.search.advisor import MOST_CONTENDERS, Admission
from regraft.search.arms import study_arms
from regraft.search.label_efficiency import efficiency_arms
from regraft.search.ladder import Ladder
from regraft.search.space import check_space, needed_bytes
from small_search import (
    SPENT,
    around,
    run_whole,
    small_study,
    with_a_short_scratch,
    write_lora,
)
from traced import Cells, untraced

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.ledger.ledger import Ledger


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_lora(tmp_path_factory.mktemp("protocols"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


BUDGETS = {"label_budgets": [1, 3], "seeds": 1}


@pytest.fixture(scope="module")
def record(home: Path, lora: str) -> dict[str, Any]:
    return run_whole(with_a_short_scratch(small_study(home, [lora], **BUDGETS)))


def test_every_score_of_a_record_can_be_traced(record: dict[str, Any]) -> None:
    assert untraced(record) == []
    cut = {"value": 0.5, "n": 3, "estimator": "by hand", "low": None, "high": None}
    assert untraced({"here": [cut]}) == [
        "record.here[0]: no seeds",
        "record.here[0]: neither an interval nor why there is none",
    ]
    for curve in record["curves"]:
        assert {"n", "estimator", "seeds", "no_interval"} <= set(curve)
    for one in record["best"]["per_class"]:
        for name, score in one["intervals"].items():
            assert score["value"] == one[name]
    bins = record["best"]["reliability"]["bins"]
    assert all(one["right"]["n"] == one["n"] for one in bins if one["n"])


def test_every_number_in_a_table_of_the_report_tells_more_on_hovering(
    record: dict[str, Any],
) -> None:
    cells = Cells()
    cells.feed(page_html(record))
    assert cells.silent == []
    assert cells.n_told > 100


def test_the_study_says_where_its_winner_fails(record: dict[str, Any]) -> None:
    asked = {one["key"]: one for one in record["questions"]}
    failing, trusted = asked["fail"], asked["trust"]
    n = sum(map(sum, record["best"]["confusion"]))
    assert failing["figure"]["overall"]["n"] == n
    assert failing["figure"]["n_tested"] >= len(failing["figure"]["slices"]) > 0
    assert all(one["n"] < n for one in failing["figure"]["slices"])
    assert trusted["figure"]["risk_coverage"]["points"][-1]["n"] == n
    names = {one["name"] for one in failing["answers"]}
    assert {"hardest items", "labels likely wrong among the sealed items"} <= names


def decisions(ledger: Ledger, study: str) -> list[tuple[str, dict[str, Any]]]:
    return [(one.key, one.value) for one in ledger.decisions.all(study)]


def test_every_decision_of_a_study_has_a_reason(
    record: dict[str, Any], home: Path, lora: str
) -> None:
    study = small_study(home, [lora], **BUDGETS)
    found = decisions(study.ledger, study.id)
    admissions = {key: value for key, value in found if key.startswith(("arm/", "seed/", "label-"))}
    assert {f"arm/{arm.key}" for arm in study.arms} <= set(admissions)
    assert "label-efficiency/0" in admissions
    assert all(value["reason"] for value in admissions.values())
    assert all(arm["reason"] for arm in record["arms"])
    contending = dict(found)["contenders"]["arms"]
    assert len(contending) <= MOST_CONTENDERS


def test_every_trained_arm_says_where_its_batches_came_from(record: dict[str, Any]) -> None:
    said = {arm["key"]: arm["activations"] for arm in record["arms"] if arm["activations"]}
    assert said == {
        "small-lora": "computed: the lowest block trains",
        "scratch": "computed: the backbone starts from random weights",
    }


def test_controls_ran_before_any_candidate(record: dict[str, Any], home: Path, lora: str) -> None:
    study = small_study(home, [lora], **BUDGETS)
    assert record["verdict"]["sentence"]
    labels = len(study.task.development)
    roles = [
        one.role
        for one in study.ledger.runs.of(study.id)
        if one.configuration["labels"] == labels and one.configuration["repetition"] == 0
    ]
    first = roles.index("candidate")
    assert "candidate" not in roles[:first]
    assert set(roles[first:]) == {"candidate"}


def test_label_subsets_are_nested_and_of_the_planned_size(
    record: dict[str, Any], home: Path, lora: str
) -> None:
    assert record["label_efficiency"]
    study = small_study(home, [lora], **BUDGETS)
    small, large = (study.pool.with_label_budget(n, seed=5) for n in (1, 3))
    assert (len(small.development), len(large.development)) == (10, 30)
    assert set(small.development.ids) < set(large.development.ids)
    other = study.pool.with_label_budget(3, seed=6)
    assert set(other.development.ids) != set(large.development.ids)
    counts = {one.configuration["labels"] for one in study.ledger.runs.of(study.id)}
    assert counts == {10, 30, 120}


def test_a_study_of_another_name_takes_all_that_was_trained(
    record: dict[str, Any], home: Path, lora: str
) -> None:
    study = with_a_short_scratch(small_study(home, [lora], name="again", **BUDGETS))
    again = run_whole(study)
    assert again["study"]["id"] != record["study"]["id"]
    assert again["test_openings"] == 2
    for key in ("validation", "test"):
        assert [arm[key] for arm in again["arms"]] == [arm[key] for arm in record["arms"]]
    assert again["label_efficiency"] == record["label_efficiency"]
    assert again["best"]["run"] == record["best"]["run"]


def test_a_budget_that_is_spent_names_the_control(lora: str, tmp_path: Path) -> None:
    study = small_study(tmp_path, [lora])
    ladder = Ladder(around(study, budget=SPENT), study.task)
    with pytest.raises(BudgetError, match=r"budget: Majority class needs about .*Raise the budget"):
        next(ladder.events(study.arms, seeds=1))
    assert study.ledger.runs.of(study.id) == []
    assert [key for key, _ in decisions(study.ledger, study.id) if key.startswith("arm/")] == []


def test_an_admission_that_was_decided_is_replayed(lora: str, tmp_path: Path) -> None:
    study = with_a_short_scratch(small_study(tmp_path, [lora]))
    shared = around(study)
    left_out = Admission(False, "decided before")
    study.ledger.decisions.decide(study.id, "arm/small-lora", left_out.to_json)
    ladder = Ladder(shared, study.task)
    for _ in ladder.events(study.arms, seeds=1):
        pass
    outcomes = {one.arm.key: one for one in ladder.outcomes}
    assert (outcomes["small-lora"].status, outcomes["small-lora"].reason) == (
        "skipped",
        "decided before",
    )
    assert len(outcomes["scratch"].tuning) == 1
    assert outcomes["scratch"].protocol["fit"]["epochs"] == 2
    arms = efficiency_arms(ladder.outcomes, METRICS["accuracy"])
    roles = [one.arm.role for one in arms]
    assert len(arms) == 3
    assert roles.count("control_without_transfer") == 2
    assert sum(one.arm.is_from_scratch for one in arms) == 1


def test_once_trials_have_had_their_share_candidates_are_left_out_and_controls_run(
    lora: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = with_a_short_scratch(small_study(tmp_path, [lora]))
    for share in (0.0, costing.TRIAL_SHARE):  # as decided first, whatever the clock says later
        monkeypatch.setattr(costing, "TRIAL_SHARE", share)
        ladder = Ladder(around(study), study.task)
        for _ in ladder.events(study.arms, seeds=1):
            pass
        outcomes = {one.arm.key: one for one in ladder.outcomes}
        assert outcomes["small-lora"].status == "skipped"
        assert outcomes["small-lora"].reason.startswith("not tried: the trials of other arms took")
        assert {key for key, one in outcomes.items() if not one.is_done} == {"small-lora"}
        assert ladder.verdict().winner in outcomes


def test_a_disk_that_is_too_small_is_named_with_what_is_needed(lora: str, tmp_path: Path) -> None:
    study = small_study(tmp_path, [lora])
    check_space(tmp_path, study.arms, study.backbones)
    controls = study_arms(["linear-probe"], ["zoo:glyphs"], n_train=96)
    assert needed_bytes(controls, study.backbones) < needed_bytes(
        study_arms(["ladder"], ["zoo:glyphs"], n_train=96), study.backbones
    )
    huge = study.backbones[0].copy()
    huge.module = torch.nn.Linear(10**6, 10**6, device="meta")
    with pytest.raises(
        LedgerError,
        match=r"its disk has [\d.]+ GB free, and the weights of this study's runs take up to "
        r"[\d.]+ GB until its end\. Free some \(regraft clean\), or give --home on another disk",
    ):
        check_space(tmp_path, study.arms, [huge])
