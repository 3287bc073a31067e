"""Ordering backbones from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from regraft.ledger.ledger import Ledger
from small_backbones import save_plain, save_vision

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Regraft

FEW = ("--items", "120", "--halves", "2")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return two tiny random backbones, as the option takes them."""
    folder = tmp_path_factory.mktemp("backbones")
    return f"{save_vision(folder / 'vit', 'vit')}, {save_plain(folder / 'plain')}"


def test_a_pretrained_backbone_comes_before_random_ones(
    two: str, regraft: Regraft, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shown = regraft(
        "rank", "zoo:digits", "--backbones", f"{two},zoo:glyphs", *FEW, "--home", home, "--json"
    )
    assert (shown.code, shown.err) == (0, "")
    (line,) = shown.out.splitlines()
    told = json.loads(line)
    assert list(told) == [
        "places",
        "estimators",
        "concordance",
        "trust",
        "sentence",
        "n_items",
        "n_classes",
        "half_samples",
        "past",
    ]
    assert told["past"]["static_order"] is None
    assert told["past"]["judged"] == []
    assert told["places"][0]["name"] == "zoo:glyphs"
    assert {place["name"] for place in told["places"]} == {*two.split(", "), "zoo:glyphs"}
    assert told["n_classes"] == 10
    assert told["half_samples"] == 2
    assert 0.0 <= told["concordance"] <= 1.0
    notes = {view["name"]: view["note"] for view in told["estimators"]}
    assert {name for name, note in notes.items() if note} == {"leep", "nce"}
    ledger = Ledger.open(home)
    assert ledger.studies.all() == []
    ledger.close()


def test_a_person_reads_the_order_the_scores_and_how_far_to_trust_them(
    two: str, regraft: Regraft
) -> None:
    first, _ = two.split(", ")
    shown = regraft("rank", "zoo:digits", "--backbones", f"{first},zoo:glyphs", *FEW)
    assert shown.code == 0
    assert shown.out.index("zoo:glyphs") < shown.out.index("Score (rank)")
    assert "logme" in shown.out
    assert "no source" in shown.out
    assert "zoo:glyphs comes first in 100% of the half-samples" in shown.out
    assert "10 classes, 2 half-samples" in shown.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbones", "zoo:glyphs"], "--backbones: 1 backbone gives no order."),
        (["--backbones", "zoo:glyphs,zoo:glyphs"], "'zoo:glyphs' is named more than once"),
        (["--backbones", "a,b", "--items", "3"], "--items: 3 is too few. Give 4 or more."),
        (["--backbones", "a,b", "--halves", "0"], "--halves: 0 is too few. Give 1 or more."),
        ([], "Missing option '--backbones'"),
    ],
)
def test_what_gives_no_order_is_refused(
    arguments: list[str], message: str, regraft: Regraft
) -> None:
    shown = regraft("rank", "zoo:digits", *arguments)
    assert shown.code == 2
    assert message in shown.err
    assert shown.out == ""


def test_a_backbone_for_other_inputs_is_refused(two: str, regraft: Regraft, tmp_path: Path) -> None:
    rows = "\n".join(f"film number {i},{i % 2}" for i in range(30))
    (tmp_path / "films.csv").write_text(f"text,label\n{rows}\n", encoding="utf-8")
    shown = regraft("rank", tmp_path / "films.csv", "--backbones", f"zoo:glyphs,{two}")
    assert shown.code == 2
    assert "takes 'image' inputs, the data are of kind 'text'" in shown.err
