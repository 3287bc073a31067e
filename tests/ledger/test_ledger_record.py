"""What is written into the ledger comes back, to the next process too."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable

from regraft.errors import ConfigError, LedgerError
from regraft.events import Checkpoint, Done, Step, event_json
from regraft.ledger.home import ledger_home
from regraft.ledger.ledger import Ledger
from regraft.ledger.schema import metadata

if TYPE_CHECKING:
    from pathlib import Path


def done(run: str = "run", value: float = 1.0) -> Done:
    return Done(
        run,
        {"metrics": {"accuracy": value, "auroc": math.nan}},
        {"head.weight": torch.full((2, 3), value), "head.bias": torch.zeros(2)},
        {"logits": np.full((4, 2), value, np.float32), "rows": np.arange(4)},
    )


def add(ledger: Ledger, study: str, *runs: str) -> None:
    ledger.studies.create(study, name=study, configuration={})
    for run in runs:
        ledger.runs.add(study, run, protocol=run, role="candidate", reason="", configuration={})


def test_a_study_is_found_by_id_prefix_and_name(ledger: Ledger) -> None:
    ledger.studies.create("style", name="ants", configuration={})
    assert ledger.studies.find("stud").id == "study"
    assert ledger.studies.find("bees").configuration == {"budget": 60.0}
    with pytest.raises(ConfigError, match=r"st: several studies fit: \w+, \w+\. Give more"):
        ledger.studies.find("st")
    with pytest.raises(ConfigError, match=r"wasps: there is no such study\. List them"):
        ledger.studies.find("wasps")
    with pytest.raises(ConfigError, match=r"stud: there is no such study"):
        ledger.studies.get("stud")


def test_a_study_is_made_once_and_keeps_its_seconds(ledger: Ledger) -> None:
    ledger.studies.add_seconds("study", 1.5)
    ledger.studies.create("study", name="other", configuration={})
    ledger.studies.add_seconds("study", 2.0)
    assert ledger.studies.get("study").name == "bees"
    assert ledger.studies.elapsed("study") == 3.5
    assert ledger.studies.elapsed("unknown") == 0.0


def test_the_record_replaces_the_one_before_and_frees_it(ledger: Ledger) -> None:
    assert ledger.studies.record("study") is None
    for sentence in ("first", "second", "second"):
        ledger.studies.save_record("study", {"verdict": {"sentence": sentence}})
    assert ledger.studies.record("study") == {"verdict": {"sentence": "second"}}
    assert ledger.studies.get("study").verdict == "second"
    assert ledger.artefacts.collect() == 0


def test_a_decision_is_computed_once_and_replayed(ledger: Ledger) -> None:
    asked: list[int] = []

    def compute() -> dict[str, Any]:
        asked.append(1)
        return {"rates": (1, math.inf)}

    first = ledger.decisions.decide("study", "arm/probe", compute)
    again = Ledger.open(ledger.home).decisions.decide("study", "arm/probe", compute)
    assert first == again == {"rates": [1, math.inf]}
    assert len(asked) == 1


def test_decisions_are_in_order_and_of_their_study(ledger: Ledger) -> None:
    add(ledger, "other")
    for study, key in (("study", "b"), ("other", "b"), ("study", "a")):
        ledger.decisions.decide(study, key, lambda study=study: {"of": study})
    assert [(one.key, one.value) for one in ledger.decisions.all("study")] == [
        ("b", {"of": "study"}),
        ("a", {"of": "study"}),
    ]


def test_a_decision_that_cannot_be_computed_is_not_noted(ledger: Ledger) -> None:
    def fails() -> dict[str, Any]:
        raise ValueError("no clock")

    with pytest.raises(ValueError, match="no clock"):
        ledger.decisions.decide("study", "key", fails)
    assert ledger.decisions.decide("study", "key", lambda: {"a": 1}) == {"a": 1}


def test_a_decision_may_be_made_while_another_is_computed(ledger: Ledger) -> None:
    def compute() -> dict[str, Any]:
        return {"from": ledger.decisions.decide("study", "inner", lambda: {"a": 1})}

    assert ledger.decisions.decide("study", "outer", compute) == {"from": {"a": 1}}
    assert [one.key for one in ledger.decisions.all("study")] == ["inner", "outer"]


def test_a_decision_of_no_study_is_a_mistake_of_the_caller(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError):
        ledger.decisions.decide("unknown", "key", lambda: {})


def test_openings_count_studies_not_calls(ledger: Ledger) -> None:
    add(ledger, "other")
    opened = [("a", "study"), ("a", "study"), ("a", "other"), ("b", "other")]
    assert [ledger.openings.record(*one) for one in opened] == [1, 1, 2, 1]


def test_runs_of_a_study_keep_their_order_and_their_place_in_each(ledger: Ledger) -> None:
    add(ledger, "other", "z", "run", "a", "z")
    assert [one.id for one in ledger.runs.of("other")] == ["z", "run", "a"]
    assert [one.protocol for one in ledger.runs.of("other")] == ["z", "run", "a"]
    assert ledger.runs.get("run").configuration == {"seed": 1}
    assert set(ledger.runs.studies_of("run")) == {"study", "other"}


def test_a_run_is_found_by_prefix(ledger: Ledger) -> None:
    add(ledger, "other", "run2", "a_b", "axb")
    assert ledger.runs.find("run").id == "run"
    assert ledger.runs.find("a_").id == "a_b"
    with pytest.raises(ConfigError, match=r"a: several runs fit: a_b, axb\. Give more of the id"):
        ledger.runs.find("a")
    with pytest.raises(ConfigError, match=r"q: there is no such run\. List them: regraft runs"):
        ledger.runs.find("q")


def test_a_result_comes_back_whole_and_its_checkpoint_goes(ledger: Ledger) -> None:
    ledger.journal.save_checkpoint(Checkpoint("run", 3, {}, {"a": torch.ones(9)}))
    assert ledger.runs.result("run") is None
    ledger.runs.save_result(done())
    result = Ledger.open(ledger.home).runs.result("run")
    assert result is not None
    assert result.summary["metrics"]["accuracy"] == 1.0
    assert math.isnan(result.summary["metrics"]["auroc"])
    assert result.arrays["rows"].tolist() == [0, 1, 2, 3]
    assert torch.equal(result.load_state()["head.weight"], torch.ones(2, 3))
    assert ledger.runs.get("run").status == "done"
    assert ledger.journal.checkpoint("run") is None
    assert ledger.artefacts.collect() == 0


@pytest.mark.parametrize(
    "value",
    [
        np.float32(2.5),
        np.zeros((0, 3), np.int64),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(10)[::3],
        torch.tensor(True),
        torch.arange(6).reshape(2, 3).T,
        torch.tensor([1.0, -torch.inf], dtype=torch.bfloat16),
    ],
)
def test_every_sort_of_tensor_comes_back(ledger: Ledger, value: Any) -> None:
    ledger.journal.save_checkpoint(Checkpoint("run", 1, {}, {"x": value}))
    checkpoint = ledger.journal.checkpoint("run")
    assert checkpoint is not None
    assert torch.equal(checkpoint.state["x"], torch.as_tensor(value))


def test_tensors_that_share_memory_are_kept_apart(ledger: Ledger) -> None:
    base = torch.arange(4.0)
    state = {"a": base, "b": base[1:], "c": np.ones(2)}
    ledger.journal.save_checkpoint(Checkpoint("run", 1, {}, state))
    checkpoint = ledger.journal.checkpoint("run")
    assert checkpoint is not None
    assert checkpoint.state["b"].tolist() == [1.0, 2.0, 3.0]


def test_a_failure_is_kept_with_the_events_before_it(ledger: Ledger) -> None:
    ledger.journal.append("run", {"kind": "started"})
    ledger.runs.save_failure("run", "diverged: loss is nan")
    assert ledger.runs.failure("run") == "diverged: loss is nan"
    assert ledger.runs.result("run") is None
    assert Ledger.open(ledger.home).journal.events("run") == [{"kind": "started"}]


def test_events_are_what_was_sent(ledger: Ledger) -> None:
    event = Step("run", 1, 10, math.nan, 1e-3, 0.25)
    ledger.journal.append("run", event_json(event))
    ledger.journal.flush()
    (found,) = ledger.journal.events("run")
    assert math.isnan(found.pop("loss"))
    assert found == {k: v for k, v in event_json(event).items() if k != "loss"}


def test_two_studies_that_drive_one_run_leave_its_events_once(ledger: Ledger) -> None:
    second = Ledger.open(ledger.home)
    for one in (ledger, second):
        one.journal.rewind("run", None)
    for step in range(100):
        for one in (ledger, second):
            one.journal.append("run", {"step": step})
    for one in (ledger, second):
        one.runs.save_result(done())
    assert [event["step"] for event in ledger.journal.events("run")] == list(range(100))


def test_weights_that_no_study_keeps_are_freed(ledger: Ledger) -> None:
    add(ledger, "other", "shared", "alone")
    ledger.runs.add("study", "shared", protocol="", role="", reason="", configuration={})
    for value, run in enumerate(("run", "shared", "alone")):
        ledger.runs.save_result(done(run, value + 1.0))
    ledger.runs.keep_states("study", set())
    kept = {run: ledger.runs.result(run) for run in ("run", "shared", "alone")}
    assert all(result is not None for result in kept.values())
    with pytest.raises(LedgerError, match=r"run run: its weights were freed: only the winner's"):
        kept["run"].load_state()  # type: ignore[union-attr]
    for run in ("shared", "alone"):
        assert "head.bias" in kept[run].load_state()  # type: ignore[union-attr]
    assert ledger.artefacts.collect() == 0


def test_equal_weights_of_two_runs_are_freed_with_the_second(ledger: Ledger) -> None:
    add(ledger, "other", "twin")
    for run in ("run", "twin"):
        ledger.runs.save_result(done(run))
    ledger.runs.keep_states("study", set())
    twin = ledger.runs.result("twin")
    assert twin is not None
    assert torch.equal(twin.load_state()["head.bias"], torch.zeros(2))


def test_a_result_whose_files_are_lost_is_no_result_and_can_be_saved_again(ledger: Ledger) -> None:
    ledger.runs.save_result(done())
    for path in (ledger.home / "artefacts").glob("*/*"):
        data = path.read_bytes()
        path.unlink()
        assert ledger.runs.result("run") is None
        path.write_bytes(data[:-1] + b"x")
        result = ledger.runs.result("run")
        if result is not None:  # the weights are looked at when they are asked for
            with pytest.raises(LedgerError, match=r"was damaged .* set aside\. Run the study"):
                result.load_state()
        assert ledger.runs.result("run") is None
        ledger.runs.save_result(done())
        assert ledger.runs.result("run") is not None


def test_a_checkpoint_whose_file_is_lost_is_no_checkpoint(ledger: Ledger) -> None:
    ledger.journal.append("run", {"kind": "started"})
    ledger.journal.save_checkpoint(Checkpoint("run", 1, {}, {"a": np.ones(2)}))
    for path in (ledger.home / "artefacts").glob("*/*"):
        path.unlink()
    checkpoint = ledger.journal.checkpoint("run")
    assert checkpoint is None
    ledger.journal.rewind("run", checkpoint)
    assert ledger.journal.events("run") == []


def test_a_record_whose_file_is_lost_is_no_record(ledger: Ledger) -> None:
    ledger.studies.save_record("study", {"verdict": {"sentence": "x"}})
    for path in (ledger.home / "artefacts").glob("*/*"):
        path.write_bytes(b"{}")
    assert ledger.studies.record("study") is None


OPERATIONS = st.lists(
    st.one_of(st.integers(1, 70), st.sampled_from(["checkpoint", "killed", "flush"])), max_size=12
)


@settings(max_examples=20)
@given(operations=OPERATIONS)
def test_a_resumed_journal_is_that_of_an_undisturbed_run(
    tmp_path_factory: pytest.TempPathFactory, operations: list[int | str]
) -> None:
    ledger = Ledger.open(tmp_path_factory.mktemp("home"))
    add(ledger, "study", "run")
    step = saved = 0
    for operation in operations:
        if isinstance(operation, int):
            for _ in range(operation):
                ledger.journal.append("run", {"step": step})
                step += 1
        elif operation == "checkpoint":
            saved = step
            ledger.journal.save_checkpoint(Checkpoint("run", step, {"step": step}, {}))
        elif operation == "flush":
            ledger.journal.flush()
            assert len(ledger.journal.events("run")) == step
        else:  # a new process: what was not flushed is gone
            ledger.close()
            ledger = Ledger.open(ledger.home)
            checkpoint = ledger.journal.checkpoint("run")
            ledger.journal.rewind("run", checkpoint)
            step = 0 if checkpoint is None else checkpoint.step
            assert step == saved
    ledger.runs.save_failure("run", "ends here")
    assert ledger.journal.events("run") == [{"step": i} for i in range(step)]
    ledger.close()


def test_home_is_what_is_given_then_what_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "set"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert ledger_home(tmp_path / "given") == tmp_path / "given"
    assert ledger_home(None) == tmp_path / "set"
    monkeypatch.delenv("REGRAFT_HOME")
    assert ledger_home(None) == tmp_path / ".local" / "share" / "regraft"
    with pytest.raises(LedgerError, match=r"the home folder is not known .*--home"):
        ledger_home(type(tmp_path)("~nobody-of-this-name/x"))


def test_every_table_can_be_made_in_postgresql() -> None:
    made = [
        CreateTable(table).compile(dialect=postgresql.dialect())
        for table in metadata.tables.values()
    ]
    assert len(made) == 6


def test_the_ledger_is_read_without_torch() -> None:
    code = "import sys, regraft.ledger.ledger, regraft.ledger.grafts; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
