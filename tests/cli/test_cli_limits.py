"""The transfer limits of a ledger, and pages of comparisons, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Regraft

SETS = "dataset,lora,full,probe\n" + "".join(
    f"set-{i},0.{90 - i},0.{85 - i},0.{70 - i}\n" for i in range(8)
)


def test_an_empty_ledger_has_no_limits_to_tell(regraft: Regraft) -> None:
    shown = regraft("limits", "--home", "home")
    assert shown.code == 0
    assert "movement and gain: undecidable: 0 cells" in shown.out
    found = json.loads(regraft("limits", "--home", "home", "--json").out)
    assert (found["cells"], found["gain"]["verdict"]) == ([], "undecidable")
    refused = regraft("limits", "--home", "home", "--out", "limits.html")
    assert refused.code == 2
    assert not Path("limits.html").exists()


def test_a_comparison_over_data_sets_is_drawn(regraft: Regraft) -> None:
    Path("sets.csv").write_text(SETS, encoding="utf-8")
    shown = regraft("compare", "sets.csv", "--out", "found.html", "--json")
    found = json.loads(shown.out)
    assert (shown.code, found["test"]) == (0, "friedman")
    assert found["critical_difference"] > 1
    page = Path("found.html").read_text(encoding="utf-8")
    assert "Who can be told apart" in page
    assert "lora" in page
    assert regraft("compare", "sets.csv", "--out", "found.svg").code == 2
