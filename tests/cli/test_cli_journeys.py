"""What a person does with the command line, from a first study to clean disks."""

from __future__ import annotations

import csv
import io
import json
import math
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from regraft.events import Done, Evaluation, Failed, Preflight, Started, Step
from regraft.evidence.words import number
from regraft.ledger.ledger import Ledger
from regraft.tasks.task import Task
from regraft.terminal import Progress
from short_scratch import asked_of_run, with_few_epochs_from_scratch

if TYPE_CHECKING:
    from collections.abc import Generator

    from conftest import Regraft
    from regraft.events import Event

PROTOCOL = """\
name: small-lora
modules: [{kind: lora, rank: 2}]
fit: {epochs: 2, least_steps: 1, batch_size: 16}
"""
STUDY = """\
task: {{data: zoo:digits, metric: accuracy, target: "{target}"}}
backbones: [zoo:glyphs]
budget: 100m
protocols: [{protocols}/small-lora.yaml]
seeds: 1
label_budget: 12
name: digits
"""
MET, NOT_MET, UNDECIDED = "accuracy>=0.3", "accuracy>=0.999", "accuracy>=0.92"


@dataclass(frozen=True)
class Finished:
    """A study that was run to its end from the command line, and what the command printed."""

    home: Path
    study: Path
    printed: dict[str, Any]
    report: Path

    @property
    def id(self) -> str:
        return str(self.printed["study"])


def write_study(folder: Path, *, target: str = MET) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small-lora.yaml").write_text(PROTOCOL, encoding="utf-8")
    path = folder / "study.yaml"
    path.write_text(STUDY.format(target=target, protocols=folder), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Run a study in a process of its own, as a person does."""
    folder = tmp_path_factory.mktemp("journey")
    study, home, report = write_study(folder / "given"), folder / "home", folder / "card.html"
    known = with_few_epochs_from_scratch(asked_of_run(study, "--home", home)).id
    command = [sys.executable, "-m", "regraft", "run", str(study), "--home", str(home)]
    done = subprocess.run(
        [*command, "--json", "--report", str(report)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["study"] == known
    return Finished(home, study, printed, report)


def last_json(out: str) -> Any:
    (line,) = out.splitlines()
    return json.loads(line)


def test_run_prints_just_what_scripts_read(finished: Finished) -> None:
    printed = finished.printed
    assert list(printed) == ["study", "verdict", "target", "best", "runs", "test_openings"]
    assert set(printed["verdict"]) == {"kind", "confirmed", "sentence"}
    assert printed["verdict"]["kind"] in {"recommend", "do_not_fine_tune", "do_not_transfer"}
    assert set(printed["best"]) == {"run", "protocol", "backbone", "graft"}
    assert printed["test_openings"] == 1
    for run in printed["runs"]:
        assert list(run) == [
            "run",
            "protocol",
            "role",
            "status",
            "reason",
            "validation",
            "test",
            "seconds",
            "parameters_trained",
        ]
        assert run["role"] in {"control", "candidate"}
        assert run["status"] in {"done", "eliminated", "skipped", "failed"}
        assert run["reason"]
    done = [run for run in printed["runs"] if run["status"] == "done"]
    assert {"majority", "linear-probe", "scratch", "small-lora"} <= {
        run["protocol"] for run in done
    }
    for run in done:
        for value in run["validation"].values():
            assert set(value) == {"value", "low", "high"}
    assert "<html" in finished.report.read_text(encoding="utf-8")
    assert Path(printed["best"]["graft"]).is_dir()


def test_again_is_the_same_answer_at_once(finished: Finished, regraft: Regraft) -> None:
    ledger = Ledger.open(finished.home)
    before = ledger.studies.get(finished.id).seconds
    shown = regraft("run", finished.study, "--home", finished.home, "--json")
    assert (shown.code, last_json(shown.out)) == (0, finished.printed)
    assert ledger.studies.get(finished.id).seconds == before
    ledger.close()
    assert [path.name for path in Path.cwd().iterdir()] == [f"regraft-{finished.id[:8]}.html"]


def test_without_json_a_person_reads_the_verdict(finished: Finished, regraft: Regraft) -> None:
    shown = regraft("run", finished.study, "--home", finished.home, "--report", "card.md")
    verdict, target, *places = shown.out.splitlines()
    assert (shown.code, shown.err) == (0, "")
    assert verdict == finished.printed["verdict"]["sentence"]
    assert target.startswith(f"target: {MET}: ")
    assert target.endswith(", met")
    assert places == [
        f"study:  {finished.id}",
        "report: card.md",
        f"graft:  {finished.printed['best']['graft']}",
    ]
    assert Path("card.md").read_text(encoding="utf-8").startswith("#")


def test_what_the_command_line_says_goes_before_the_file(
    finished: Finished, regraft: Regraft
) -> None:
    shown = regraft("run", finished.study, "--home", finished.home, "--budget", "0.05s", "--json")
    assert shown.code == 2
    assert last_json(shown.out)["error"]["kind"] == "BudgetError"


@pytest.mark.parametrize(
    ("target", "code", "status"), [(NOT_MET, 3, "not_met"), (UNDECIDED, 4, "undecided")]
)
def test_the_exit_code_tells_whether_the_target_is_met(
    target: str, code: int, status: str, finished: Finished, regraft: Regraft
) -> None:
    # another target is another study; its runs are taken from the one before
    asked = (finished.study, "--target", target, "--home", finished.home)
    with_few_epochs_from_scratch(asked_of_run(*asked))
    shown = regraft("run", *asked, "--json", "--quiet")
    assert shown.code == code, shown.err
    assert last_json(shown.out)["target"]["status"] == status


def test_studies_and_runs_are_listed(finished: Finished, regraft: Regraft) -> None:
    listed = last_json(regraft("studies", "--home", finished.home, "--json").out)["studies"]
    (own,) = [one for one in listed if one["study"] == finished.id]
    assert (own["name"], own["status"]) == ("digits", "done")
    assert own["verdict"] == finished.printed["verdict"]["sentence"]
    assert own["seconds"] > 0
    table = regraft("studies", "--home", finished.home).out
    assert finished.id in table
    found = last_json(regraft("runs", finished.id, "--home", finished.home, "--json").out)
    assert found["study"] == finished.id
    runs = {one["run"]: one for one in found["runs"]}
    assert {one["run"] for one in finished.printed["runs"]} <= set(runs)
    rates = {one["protocol"]: one["learning_rate"] for one in found["runs"]}
    assert rates["linear-probe"] is None
    assert rates["small-lora"] > 0
    assert all(0 <= one["metrics"]["accuracy"] <= 1 for one in runs.values())
    text = regraft("runs", finished.id[:6], "--home", finished.home).out
    assert "│ Linear probe · 120 labels " in text
    assert "│ From scratch, rate 0.001 · " in text
    assert all(one[:12] in text for one in runs)


@pytest.mark.parametrize(
    ("name", "starts"), [("a.html", "<!doctype html>"), ("a.md", "# "), ("a.json", "{")]
)
def test_reports_are_written_in_three_forms(
    name: str, starts: str, finished: Finished, regraft: Regraft
) -> None:
    shown = regraft("report", finished.id, "-o", name, "--home", finished.home)
    assert (shown.code, shown.out) == (0, f"wrote {name}\n")
    text = Path(name).read_text(encoding="utf-8")
    assert text.lower().startswith(starts)
    assert "Linear probe" in text
    if name.endswith(".json"):
        assert json.loads(text)["study"]["id"] == finished.id


def test_two_runs_are_compared_paired(finished: Finished, regraft: Regraft) -> None:
    runs = {one["protocol"]: one["run"] for one in finished.printed["runs"]}
    pair = runs["linear-probe"], runs["majority"][:10]
    found = last_json(regraft("compare", *pair, "--home", finished.home, "--json").out)
    (one,) = found["comparisons"]
    assert (found["metric"], found["n"], found["test"]) == ("accuracy", 20, "mcnemar")
    assert (one["tie"], one["winner"]) == (False, "linear-probe")
    assert 0 < one["low"] <= one["difference"] <= one["high"]
    text = regraft("compare", *pair, "--home", finished.home).out
    assert text.startswith("linear-probe − majority: accuracy +0.")
    assert "not a tie" in text
    assert "conclusion: linear-probe is better than majority" in text


def test_a_study_and_its_graft_stand_for_their_winner(
    finished: Finished, regraft: Regraft, tmp_path: Path
) -> None:
    home = ("--home", finished.home)
    record = json.loads(json.dumps(Ledger.open(finished.home).studies.record(finished.id)))
    runs = {one["protocol"]: one["run"] for one in finished.printed["runs"]}
    # Which of them leads depends on what the budget held on this machine.
    first, second = [r for r in runs.values() if r != record["best"]["run"]][:2]
    found = last_json(regraft("compare", finished.id, first, second, *home, "--json").out)
    assert found["systems"][0]["run"] == record["best"]["run"]
    assert len(found["comparisons"]) == 3
    assert all(one["p_adjusted"] >= one["p"] for one in found["comparisons"])
    graft = record["best"]["graft"]
    again = regraft("compare", graft, first, *home, "--metric", "macro_f1", "--json")
    found = last_json(again.out)
    assert found["systems"][0]["run"] == record["best"]["run"]
    assert (found["metric"], found["test"]) == ("macro_f1", "paired_bootstrap")
    twice = regraft("compare", finished.id, graft, *home)
    assert twice.code == 2
    assert "given twice" in twice.err
    other = regraft("compare", graft, first, "--home", tmp_path / "elsewhere")
    assert (other.code, "no study of this ledger made this graft" in other.err) == (2, True)


def test_a_run_comes_out_identical(finished: Finished, regraft: Regraft) -> None:
    runs = {one["protocol"]: one["run"] for one in finished.printed["runs"]}
    for protocol in ("linear-probe", "small-lora"):
        shown = regraft("verify", runs[protocol], "--home", finished.home, "--json")
        assert (shown.code, shown.err) == (0, "")
        assert last_json(shown.out) == {"run": runs[protocol], "same": True, "difference": 0.0}
    text = regraft("verify", runs["linear-probe"], "--home", finished.home).out
    assert text == f"run {runs['linear-probe']}: identical\n"


def test_a_result_that_is_another_is_told(finished: Finished, regraft: Regraft) -> None:
    run = {one["protocol"]: one["run"] for one in finished.printed["runs"]}["centroid"]
    ledger = Ledger.open(finished.home)
    sound = ledger.runs.result(run)
    assert sound is not None
    other = {**sound.arrays, "logits": sound.arrays["logits"] + np.float32(0.25)}
    ledger.runs.save_result(Done(run, sound.summary, sound.load_state(), other))
    shown = regraft("verify", run, "--home", finished.home)
    assert (shown.code, shown.out) == (5, f"run {run}: differs by up to 0.25\n")
    ledger.runs.save_result(Done(run, sound.summary, sound.load_state(), sound.arrays))
    assert regraft("verify", run, "--home", finished.home, "--quiet").code == 0
    ledger.close()


def write_digits(folder: Path, n: int = 6) -> Path:
    folder.mkdir()
    task = Task.read("zoo:digits")
    for i, one in enumerate(task.sealed.inputs.inputs[:n]):
        Image.fromarray(one).save(folder / f"{i}.png")
    return folder


def test_predictions_are_a_table(finished: Finished, regraft: Regraft, tmp_path: Path) -> None:
    from regraft.study import Result

    graft, data = finished.printed["best"]["graft"], write_digits(tmp_path / "new")
    shown = regraft("predict", graft, data)
    assert (shown.code, shown.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    probabilities = [f"p({digit})" for digit in range(10)]
    assert list(rows[0]) == ["item", "label", *probabilities, "confidence"]
    assert [row["item"] for row in rows] == [f"{number}.png" for number in range(6)]
    for row in rows:
        values = {name: float(row[name]) for name in probabilities}
        assert math.isclose(sum(values.values()), 1.0, abs_tol=1e-5)
        assert max(values, key=values.__getitem__) == f"p({row['label']})"
        assert math.isclose(max(values.values()), float(row["confidence"]), abs_tol=1e-6)
    written = regraft("predict", graft, data, "-o", "out.csv")
    assert (written.code, written.out) == (0, "wrote out.csv\n")
    assert Path("out.csv").read_text(encoding="utf-8") == shown.out.replace("\r\n", "\n")
    plain = last_json(regraft("predict", graft, data, "--json").out)["predictions"]
    assert [one["label"] for one in plain] == [row["label"] for row in rows]
    ledger = Ledger.open(finished.home)
    record = ledger.studies.record(finished.id)
    assert record is not None
    paths = [str(path) for path in sorted(data.iterdir())]
    best = Result(finished.id, record, finished.home).best
    assert best.predict(paths) == [row["label"] for row in rows]
    ledger.close()


def test_a_plan_trains_nothing(finished: Finished, regraft: Regraft, tmp_path: Path) -> None:
    shown = regraft("plan", finished.study, "--home", tmp_path / "other", "--json")
    rows = last_json(shown.out)["plan"]
    assert shown.code == 0
    assert all(row["reason"] for row in rows)
    assert [row["role"] for row in rows][-1] == "candidate"
    assert {row["protocol"] for row in rows} >= {"majority", "scratch", "small-lora"}
    assert all(row["seconds"] > 0 for row in rows if row["runs"])
    assert {row["protocol"] for row in rows if row["peak_memory_bytes"]} >= {
        "scratch",
        "small-lora",
    }
    for row in rows:
        assert len(row["each"]) == row["learning_rates"]
        assert all(run["seconds"] > 0 for run in row["each"])
    first, *others = [row for row in rows if row["role"] == "control_without_fine_tuning"]
    assert first["each"][0]["seconds"] > others[0]["each"][0]["seconds"]  # the pass for features
    lora = next(row for row in rows if row["protocol"] == "small-lora")
    rates = [run["rate"] for run in lora["each"]]
    assert rates[1:] == sorted(rates[1:])  # the middle one runs first
    assert rates[1] < rates[0] < rates[2]
    assert len(rates) == 3
    peaks = [run["peak_memory_bytes"] for run in lora["each"]]
    assert peaks == sorted(peaks)  # who runs later meets those that wait
    assert 0 < peaks[0] < peaks[-1] == lora["peak_memory_bytes"]
    # two of three drop out after a third of their steps
    assert lora["seconds"] < sum(run["seconds"] for run in lora["each"])
    ledger = Ledger.open(tmp_path / "other")
    (study,) = ledger.studies.all()
    assert ledger.runs.of(study.id) == []
    ledger.close()
    shows = last_json(shown.out)["detectable"]
    assert (shows["n_seeds"], shows["power"]) == (1, 0.8)
    assert [one["accuracy"] for one in shows["differences"]] == [0.6, 0.75, 0.9]
    table = regraft("plan", finished.study, "--home", tmp_path / "other", "--budget", "2s").out
    assert "Plan" in table
    least = number(shows["differences"][0]["difference"])
    assert f"Least difference that shows: {least} at .600" in table
    assert "control: always" in table
    whole = regraft("plan", finished.study, "--home", tmp_path / "other").out
    runs = whole.partition("a run to its end")[2]
    assert all(f"{rate:g}" in runs for rate in rates)


def test_data_are_inspected_with_and_without_a_backbone(regraft: Regraft, tmp_path: Path) -> None:
    card = last_json(regraft("inspect", "zoo:digits", "--json").out)
    assert len(card["classes"]) == 10
    assert card["detectable"]["n_test"] == card["n_test"]
    assert "Least difference that shows" in regraft("inspect", "zoo:digits").out
    more = ("--backbone", "zoo:glyphs", "--home", tmp_path / "home", "--json")
    with_backbone = last_json(regraft("inspect", "zoo:digits", *more).out)
    known = {key for key, value in card.items() if value is not None}
    assert {key for key, value in with_backbone.items() if value is not None} > known
    assert "## Task card" in regraft("inspect", "zoo:digits").out


def test_a_metric_that_the_data_mock_is_warned_of(regraft: Regraft, tmp_path: Path) -> None:
    lines = ["text,label"] + [f"words {i},{'rare' if i < 8 else 'common'}" for i in range(100)]
    (tmp_path / "rare.csv").write_text("\n".join(lines), encoding="utf-8")
    said = regraft("inspect", tmp_path / "rare.csv", "--metric", "accuracy").out
    assert "Warning:" in said
    assert "Warning:" not in regraft("inspect", tmp_path / "rare.csv").out


def test_what_is_cleaned_comes_back(finished: Finished, regraft: Regraft, tmp_path: Path) -> None:
    data = write_digits(tmp_path / "new", 2)
    before = regraft("predict", finished.printed["best"]["graft"], data).out
    freed = last_json(regraft("clean", "--home", finished.home, "--json").out)
    assert freed["cache_bytes"] > 0
    assert regraft("clean", "--home", finished.home).out == "freed 0.0 MB\n"
    assert regraft("report", finished.id, "-o", "a.html", "--home", finished.home).code == 0
    assert regraft("predict", finished.printed["best"]["graft"], data).out == before
    run = finished.printed["best"]["run"]
    assert regraft("verify", run, "--home", finished.home).code == 0
    again = regraft("run", finished.study, "--home", finished.home, "--json")
    assert last_json(again.out) == finished.printed


def test_the_doctor_looks_at_the_installation(regraft: Regraft, tmp_path: Path) -> None:
    found = last_json(regraft("doctor", "--home", tmp_path / "home", "--json").out)
    assert found["ledger"] == str(tmp_path / "home")
    assert {"torch", "transformers", "free disk", "processor", "GPU"} <= set(found)
    assert "regraft doctor" in regraft("doctor", "--home", tmp_path / "home").out
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "ledger.db").write_bytes(b"no database" * 300)
    ill = regraft("doctor", "--home", tmp_path / "bad")
    assert ill.code == 0, ill.err
    assert "is damaged" in " ".join(ill.out.replace("│", " ").split())
    assert "look at this" in ill.out


@pytest.mark.parametrize("what", ["study", "protocol"])
def test_schemas_are_printed(what: str, regraft: Regraft) -> None:
    schema = last_json(regraft("schema", what).out)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    named = {
        "study": {"task", "backbones", "budget", "protocols"},
        "protocol": {"name", "head", "train", "modules", "rate", "fit"},
    }
    assert named[what] <= set(schema["properties"])
    for reference in references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]


def references(schema: Any) -> list[str]:
    """Return every reference of a schema to another of its parts."""
    if isinstance(schema, list):
        return [one for value in schema for one in references(value)]
    if not isinstance(schema, dict):
        return []
    inner = [one for value in schema.values() for one in references(value)]
    return [schema["$ref"], *inner] if isinstance(schema.get("$ref"), str) else inner


# Ctrl-C


def test_ctrl_c_stops_at_a_checkpoint_and_the_same_command_goes_on(
    finished: Finished, regraft: Regraft, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "regraft", "run", str(finished.study)]
    command += ["--home", str(home), "--json"]
    ledger = Ledger.open(home)
    measure_alike(ledger, finished)
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    wait_for_training(ledger, running)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate()
    assert running.returncode == 130, err
    assert err == "regraft: interrupted; the same command goes on from here\n"
    assert json.loads(out)["error"]["kind"] == "Interrupted"
    (study,) = ledger.studies.all()
    assert "open" in {one.status for one in ledger.runs.of(study.id)}
    assert study.verdict is None
    assert not (home / "grafts").exists()
    ledger.close()
    shown = regraft(*command[3:])
    assert shown.code == 0, shown.err
    keys = ("run", "protocol", "status", "validation", "test", "parameters_trained")
    numbers = [
        [{key: one[key] for key in keys} for one in printed["runs"]]
        for printed in (last_json(shown.out), finished.printed)
    ]
    assert numbers[0] == numbers[1]


def measure_alike(ledger: Ledger, finished: Finished) -> None:
    """Write down for a study to come what the finished one measured, and how it trained scratch.

    Precision and what trains together are decided by measurement, and each way differs from the
    other in the last bits: two studies on a busy machine may come to either.
    """
    first = Ledger.open(finished.home)
    study = first.studies.get(finished.id)
    ledger.studies.create(study.id, name=study.name, configuration=study.configuration)
    for one in first.decisions.all(study.id):
        if one.key.startswith(("precision/", "cost", "pace", "stack/", "compile/", "arm/scratch")):
            ledger.decisions.decide(study.id, one.key, lambda value=one.value: value)
    first.close()


def wait_for_training(ledger: Ledger, running: subprocess.Popen[str]) -> None:
    """Return when the study trains its first run from scratch."""
    while running.poll() is None:
        runs = [one for study in ledger.studies.all() for one in ledger.runs.of(study.id)]
        if any(one.protocol == "scratch" for one in runs):
            return
        # Looking without a pause would take from the study a core of the two.
        with suppress(subprocess.TimeoutExpired):
            running.wait(timeout=0.02)
    raise AssertionError(running.communicate())


# the live table


def events() -> Generator[Event, str | None, None]:
    summary = {"metrics": {"accuracy": 0.875, "log_loss": 0.1}, "seconds": 75.0}
    yield Started("aaa", 0, 1200, 90_000)
    yield Preflight("aaa", ("fine",), ())
    yield Step("aaa", 40, 200, 0.6931, 1e-3, 0.1)
    yield Evaluation("aaa", "fit", 1, 40, {"accuracy": 0.8125}, 1.0)
    yield Done("aaa", summary, {}, {})
    yield Started("bbb", 0, 0, 0)
    yield Done("bbb", {**summary, "seconds": 0.25}, {}, {})
    yield Started("ccc", 0, 5, 10)
    yield Failed("ccc", "diverged at step 3 [of 9]", 1.0)
    yield Started("ddd", 0, 5, 10)
    yield Step("ddd", 7, 120, 2.3026, 1e-3, 0.1)


TITLES = {
    "aaa": "LoRA, rate 0.001 · 120 labels",
    "bbb": "Linear probe · 120 labels",
    "ccc": "From scratch · 120 labels",
    "ddd": "Full fine-tuning, seed 2",
}


def test_the_live_table_shows_each_run_as_it_stands() -> None:
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system=None)
    progress = Progress(
        console, metric="accuracy", titles=TITLES.__getitem__, remaining=lambda: 615.0
    )
    assert progress.watch(events(), live=True)
    last = console.file.getvalue().rpartition("4 runs · ")[2]  # type: ignore[attr-defined]
    lines = [line.strip() for line in last.splitlines()]
    assert lines[0] == "10 min 15 s of the budget left"
    cells = [[one.strip() for one in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert cells == [
        [TITLES["aaa"], "40/200", "0.693", "0.875", "done, 1 min 15 s"],
        [TITLES["bbb"], "", "", "0.875", "done, 0.2 s"],
        [TITLES["ccc"], "", "", "", "failed: diverged at step 3 [of 9]"],
        [TITLES["ddd"], "7/120", "2.303", "", "training"],
    ]
