"""A target of groups and latency, from the command line to the exit code and the report."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from regraft.ledger.ledger import Ledger
from short_scratch import asked_of_run, with_few_epochs_from_scratch

if TYPE_CHECKING:
    from conftest import Regraft

N = 200
PROTOCOL = "name: tiny\ntrain: {from_depth: none}\nfit: {epochs: 1, least_steps: 1}\n"
MET = "accuracy>=0.3 and worst_group(ink).accuracy>=0.2 and latency_ms<=600000"
UNDECIDED = "recall(odd)>=0.1 and accuracy>=0.3 and gap(ink).accuracy<=0.05"


@dataclass(frozen=True)
class Given:
    """Photos of digits in a table that says which have much ink, and a ledger's folder."""

    table: Path
    protocol: Path
    home: Path

    def arguments(self, target: str) -> list[object]:
        return [
            *("run", self.table, "--backbone", "zoo:glyphs", "--protocol", self.protocol),
            *("--metric", "accuracy", "--seeds", "1", "--budget", "100m", "--home", self.home),
            *("--report-by", "ink", "--quiet", "--target", target),
        ]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp("targets")
    pixels, digits = load_digits(return_X_y=True)
    ink = pixels[:N].sum(axis=1)
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "ink"])
        for i in range(N):
            image = (pixels[i].reshape(8, 8) * 15.9).astype(np.uint8)
            Image.fromarray(image).save(folder / f"{i}.png")
            label = "odd" if digits[i] % 2 else "even"
            table.writerow([f"{i}.png", label, "much" if ink[i] > np.median(ink) else "little"])
    (folder / "tiny.yaml").write_text(PROTOCOL, encoding="utf-8")
    found = Given(folder / "items.csv", folder / "tiny.yaml", folder / "home")
    for target in (MET, UNDECIDED):
        with_few_epochs_from_scratch(asked_of_run(*found.arguments(target)[1:]))
    return found


def json_of(out: str) -> Any:
    (line,) = out.splitlines()
    return json.loads(line)


@pytest.mark.parametrize(
    ("target", "code", "status"),
    [(MET, 0, "met"), (UNDECIDED, 4, "undecided")],
)
def test_the_exit_code_is_that_of_the_target(
    target: str, code: int, status: str, given: Given, regraft: Regraft
) -> None:
    # the first study trains; the others differ in their target alone and take its runs
    shown = regraft(*given.arguments(target), "--json")
    assert shown.code == code, shown.err
    found = json_of(shown.out)["target"]
    assert found["status"] == status
    for clause in found["clauses"]:
        assert clause["n"] > 0
        assert clause["estimator"]
        assert clause["low"] <= clause["value"] <= clause["high"]


def test_a_person_reads_each_clause_and_how_many_labels_would_decide(
    given: Given, regraft: Regraft
) -> None:
    shown = regraft(*given.arguments(UNDECIDED), "--report", "card.md")
    assert shown.code == 4
    _, met, undecided = [one for one in shown.out.splitlines() if one.startswith("target: ")]
    assert re.fullmatch(r"target: accuracy>=0\.3: \S+ \[\S+, \S+\].*, met", met)
    words = r"undecided: about [\d,]+ more test labels would decide it"
    assert re.fullmatch(rf"target: gap\(ink\)\.accuracy<=0\.05: .*, {words}", undecided)
    card = Path("card.md").read_text(encoding="utf-8")
    assert "## Is the target met?" in card
    assert re.search(rf"\| gap\(ink\)\.accuracy<=0\.05 \| .* \| {words} \|", card)
    assert "### For whom?" in card
    assert "ink = much, n = " in card
    assert "gap by ink against " in card
    page = regraft(*given.arguments(UNDECIDED), "--report", "page.html")
    assert page.code == 4
    text = Path("page.html").read_text(encoding="utf-8")
    assert 'data-figure="groups"' in text
    assert "Is the target met?" in text


def test_the_latency_is_written_down_and_stays(given: Given, regraft: Regraft) -> None:
    first, again = (json_of(regraft(*given.arguments(MET), "--json").out) for _ in range(2))
    assert first["target"] == again["target"]
    ledger = Ledger.open(given.home)
    decided = {one.key: one.value for one in ledger.decisions.all(str(first["study"]))}
    other = json_of(regraft(*given.arguments(UNDECIDED), "--json").out)["study"]
    assert "latency" not in {one.key for one in ledger.decisions.all(str(other))}
    ledger.close()
    (clause,) = [one for one in first["target"]["clauses"] if "latency" in one["text"]]
    assert decided["latency"]["interval"]["value"] == clause["value"]
    assert decided["latency"]["reason"].startswith("an item takes ")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("worst_group(ik).accuracy>=0.5", "results are not reported by 'ik'. Did you mean 'ink'?"),
        ("recall(od)>=0.5", "there is no class 'od'. Did you mean 'odd'?"),
        ("accuracy=>0.5", "'accuracy=>0.5' is not a criterion."),
    ],
)
def test_a_target_that_cannot_be_judged_is_refused_before_anything_runs(
    target: str, message: str, given: Given, regraft: Regraft, tmp_path: Path
) -> None:
    elsewhere = Given(given.table, given.protocol, tmp_path / "none")
    shown = regraft(*elsewhere.arguments(target))
    assert shown.code == 2
    assert shown.err.startswith(f"regraft: target: {message}")
    assert not elsewhere.home.exists()
