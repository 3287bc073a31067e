"""Looking at data, planning and running are of one study: the same items sealed, the same id."""

from __future__ import annotations

import inspect as inspection
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from regraft.commands.asking import OF_STUDY, OF_TASK, study_of
from regraft.commands.studies import plan, run
from regraft.config.study import StudySpec
from regraft.evidence.task_card import detectable
from regraft.ledger.ledger import Ledger
from regraft.search.clock import Clock
from regraft.study import Study
from regraft.tasks.task import Task
from small_backbones import save_plain

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Regraft

PROTOCOL = """\
name: small-lora
modules: [{kind: lora, rank: 2}]
fit: {epochs: 1, least_steps: 1, batch_size: 16}
"""
COLUMNS = ("--input", "path", "--label", "size")
TOO_LITTLE = ("--budget", "0.01s")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of 220 small images without parts, and with groups."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    pixels, labels = load_digits(return_X_y=True)
    rows = ["path,size,sex"]
    for i in range(220):
        image = (pixels[i].reshape(8, 8) * 15.9).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{'large' if labels[i] > 4 else 'small'},{'fm'[i % 2]}")
    (folder / "digits.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "digits.csv"


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Return the tasks that are read from here on."""
    found: list[Task] = []
    read = Task.read

    def reading(*data: Any, **wishes: Any) -> Task:
        found.append(read(*data, **wishes))
        return found[-1]

    monkeypatch.setattr(Task, "read", reading)
    return found


def ids_in(home: Path) -> list[str]:
    ledger = Ledger.open(home)
    ids = [study.id for study in ledger.studies.all()]
    ledger.close()
    return ids


def decided(home: Path) -> dict[str, Any]:
    """Return all that was decided in the one study of a ledger."""
    ledger = Ledger.open(home)
    (study,) = ledger.studies.all()
    found = {one.key: (one.value, one.at) for one in ledger.decisions.all(study.id)}
    ledger.close()
    return found


def sealed(tasks: list[Task]) -> set[tuple[str, ...]]:
    """Return the sealed items of the tasks that were read, which are forgotten; each set once."""
    found = {task.sealed.inputs.ids for task in tasks}
    assert len({task.sealed.digest for task in tasks}) == len(found)
    tasks.clear()
    return found


def test_every_command_seals_the_same_items_by_the_same_seed(
    table: Path, tasks: list[Task], regraft: Regraft, tmp_path: Path
) -> None:
    two = f"zoo:glyphs,{save_plain(tmp_path / 'plain')}"
    home = ("--home", tmp_path / "home")
    looks: dict[str, tuple[object, ...]] = {
        "rank": ("--backbones", two, "--items", "40", "--halves", "1"),
        "inspect": (),
        "plan": ("--backbone", "zoo:glyphs", "--protocol", "linear-probe", *TOO_LITTLE),
        "run": ("--backbone", "zoo:glyphs", "--protocol", "linear-probe", *TOO_LITTLE),
    }
    by_command = {}
    for command, options in looks.items():
        shown = regraft(command, table, *COLUMNS, *options, "--seed", "5", *home)
        assert shown.code == (2 if command == "run" else 0), shown.err  # no budget to run by
        by_command[command] = sealed(tasks)
    (items,) = set.union(*by_command.values())
    assert len(items) == 44
    assert sealed([Task.read(table, input="path", label="size", seed=5)]) == {items}
    tasks.clear()
    assert regraft("inspect", table, *COLUMNS).code == 0
    unlike = sealed(tasks)
    assert unlike == sealed([Task.read(table, input="path", label="size")]) != {items}


def test_a_study_of_python_and_a_study_file_seal_them_too(
    table: Path, tasks: list[Task], regraft: Regraft, tmp_path: Path
) -> None:
    file = tmp_path / "study.yaml"
    wish = f"data: {table}, input: path, label: size, test: 0.3"
    file.write_text(f"task: {{{wish}}}\nbackbones: [zoo:glyphs]\nseed: 7\n", encoding="utf-8")
    card = json.loads(regraft("inspect", file, "--json").out)
    assert card["n_test"] == 66
    (items,) = sealed(tasks)
    task = Task.read(table, input="path", label="size", test=0.3, seed=7)
    study = Study(task, backbones=["zoo:glyphs"], seed=7, home=tmp_path / "home")
    assert study.pool.sealed.inputs.ids == items
    again = Study.from_spec(study.spec, home=tmp_path / "home")
    assert (again.id, again.pool.sealed.digest) == (study.id, task.sealed.digest)
    tasks.clear()
    regraft("inspect", file, "--seed", "0")
    assert sealed(tasks) != {items}


def test_planning_and_running_with_the_same_options_is_one_study(
    table: Path, regraft: Regraft, tmp_path: Path
) -> None:
    home, protocol = tmp_path / "home", tmp_path / "small-lora.yaml"
    protocol.write_text(PROTOCOL, encoding="utf-8")
    source = table.with_name("source")
    for i, name in enumerate("aabb"):
        (source / name).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(pixels).save(source / name / f"{i}.png")
    options = ["--backbone", "zoo:glyphs", "--protocol", protocol, "--metric", "accuracy"]
    options += ["--seed", "5", "--seeds", "2", "--target", "accuracy>=0.8", "--report-by", "sex"]
    options += ["--label-budget", "20", "--label-budgets", "2,5", "--class-weights", "balanced"]
    options += ["--source", source, "--robustness", "--name", "both", *TOO_LITTLE, "--home", home]
    planned = regraft("plan", table, *COLUMNS, *options)
    assert planned.code == 0, planned.err
    (study,), measured = ids_in(home), decided(home)
    assert any(key.startswith("cost") for key in measured), list(measured)
    assert "budget" in regraft("run", table, *COLUMNS, *options).err
    assert ids_in(home) == [study]
    assert decided(home).items() >= measured.items()
    regraft("plan", table, *COLUMNS, *options, "--seed", "6")
    assert len(ids_in(home)) == 2


def test_what_changes_a_study_can_be_said_of_a_plan_too() -> None:
    running, planning = (set(inspection.signature(one).parameters) for one in (run, plan))
    assert running - planning == {"report", "quiet"}
    assert planning <= running
    assert {*OF_TASK, *OF_STUDY} < planning
    assert set(OF_STUDY.values()) == {*StudySpec.model_fields} - {"task", "precision"}


def test_the_least_difference_that_shows_goes_by_the_seeds_asked_for(
    table: Path, regraft: Regraft
) -> None:
    for seeds, n_seeds in ((("--seeds", "1"), 1), ((), 3)):
        card = json.loads(regraft("inspect", table, *COLUMNS, *seeds, "--json").out)
        assert card["detectable"] == detectable(card["n_test"], n_seeds=n_seeds)
    refused = regraft("inspect", table, *COLUMNS, "--seeds", "0")
    assert (refused.code, "seeds" in refused.err) == (2, True)


def test_a_plan_is_of_the_same_study_in_little_memory_and_with_a_small_cache(
    table: Path, regraft: Regraft, tmp_path: Path
) -> None:
    asked = ("plan", table, *COLUMNS, "--backbone", "zoo:glyphs", "--protocol", "linear-probe")
    ample = regraft(*asked, "--home", tmp_path / "ample")
    scarce = regraft(*asked, "--home", tmp_path / "scarce", "--cache", "1K", "--memory", "1K")
    assert (ample.code, scarce.code) == (0, 0)
    assert ids_in(tmp_path / "ample") == ids_in(tmp_path / "scarce")


@pytest.mark.parametrize(("cache", "kept"), [(None, 2), ("1K", 1)])
def test_a_cache_takes_no_more_than_it_is_given(
    table: Path, tmp_path: Path, cache: str | None, kept: int
) -> None:
    given = {"data": table, "input_": "path", "label": "size", "backbone": ["zoo:glyphs"]}
    study = study_of({**given, "cache": cache, "home": tmp_path, "trust_remote_code": False})
    study.register()
    (bench,) = study.surroundings(Clock(study.ledger, study.id, 60.0)).benches
    assert bench.features.shape == (len(study.task.development), bench.backbone.width)
    # Inputs and features: the newest entry stays, whatever its size.
    assert len(list((tmp_path / "cache").iterdir())) == kept
