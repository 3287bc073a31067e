"""Tables of scores, compared from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Regraft

SEEDS = "seed,lora,full\n" + "".join(
    f"{seed},0.{90 + seed},0.{80 - 2 * seed}\n" for seed in range(6)
)


def table(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_six_seeds_are_enough_and_five_are_not(regraft: Regraft) -> None:
    shown = regraft("compare", table("six.csv", SEEDS), "--json")
    found = json.loads(shown.out)
    (one,) = found["comparisons"]
    assert (shown.code, found["test"], found["n"], found["part"]) == (0, "wilcoxon", 6, "seeds")
    assert (one["p"], one["winner"]) == (0.03125, "lora")
    five = regraft("compare", table("five.csv", SEEDS.rpartition("5,")[0]))
    assert five.code == 0
    assert five.out.startswith("lora − full: score +0.")
    assert "test: none; 5 seeds cannot tell systems apart at 0.05" in five.out
    assert "conclusion" not in five.out


def test_options_say_what_the_table_does_not(regraft: Regraft) -> None:
    name = table("six.csv", SEEDS)
    lower = json.loads(regraft("compare", name, "--lower-is-better", "--json").out)
    assert lower["comparisons"][0]["winner"] == "full"
    splits = json.loads(regraft("compare", name, "--splits", "90,10", "--json").out)
    assert splits["test"] == "nadeau_bengio"
    unpaired = regraft("compare", name, "--unpaired").out
    assert "test: aso" in unpaired
    assert "p =" not in unpaired


def test_many_systems_on_many_data_sets_are_ranked(regraft: Regraft) -> None:
    rows = "".join(f"d{i},0.9{i},0.8{i},0.7{i}\n" for i in range(6))
    found = json.loads(regraft("compare", table("r.csv", f"dataset,a,b,c\n{rows}"), "--json").out)
    assert (found["test"], found["part"]) == ("friedman", "data sets")
    assert found["mean_ranks"] == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert "a is better than c" in found["conclusion"]
    text = regraft("compare", "r.csv").out
    assert "critical difference 1.35" in text


@pytest.mark.parametrize(
    ("arguments", "text", "says"),
    [
        (["t.csv"], None, r"t.csv: cannot be read as CSV"),
        (["t.csv"], "seed,a\n0,1\n", r"has 1 systems and 1 rows"),
        (["t.csv"], "a,b\n1,x\n", r"column 'b' does not hold numbers only"),
        (["t.csv"], "seed,a,b\n0,1,2\n0,1,2\n", r"row 3: says a second time"),
        (["t.csv"], "dataset,a,b\nx,1,2\ny,1,\n", r"column 'b' has no score on a data set"),
        (["t.csv", "--splits", "9"], SEEDS, r"'9' is not a pair of sizes such as 900,100"),
        (["t.csv", "--metric", "ece"], SEEDS, r"a table of scores has no metric"),
        (["abc"], None, r"name two runs, studies or grafts, or one CSV file"),
        (["abc", "def", "--unpaired"], None, r"speak of a CSV file"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(
    regraft: Regraft, arguments: list[str], text: str | None, says: str
) -> None:
    if text is not None:
        table("t.csv", text)
    shown = regraft("compare", *arguments)
    assert shown.code == 2
    assert says in shown.err
    assert shown.out == ""
