"""Nothing before the final evaluation sees a label of the sealed test part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from regraft.events import event_json
from regraft.study import Study, StudyOptions
from regraft.tasks.intake.embedded import digits
from regraft.tasks.task import Task
from short_scratch import with_few_epochs_from_scratch
from small_study import AMPLE, write_protocols
from undisturbed import MEASURED_KEYS, decide, decisions_of

if TYPE_CHECKING:
    from pathlib import Path

MEASURED = {"seconds", "device_seconds", "peak_memory_bytes", "joules"}
MEASURED |= {"estimated_seconds", "reason", "seconds_per_item", "start_seconds", "epoch_seconds"}
MEASURED |= {"seconds_alone", "seconds_together"}
N_TRAIN, N_TEST = 120, 200


def task(*, corrupted: bool) -> Task:
    """Return a task on some digits, perhaps with every test label wrong; names are kept."""
    parts = digits()
    (x, y), (test_x, test_y) = parts["train"], parts["test"]
    test_y = test_y[:N_TEST]
    if corrupted:
        test_y = [str((int(label) + 1) % 10) for label in test_y]
    data = {"train": (x[:N_TRAIN], y[:N_TRAIN]), "test": (test_x[:N_TEST], test_y)}
    return Task.read(data, metric="accuracy")


def without_measurements(value: Any) -> Any:
    """Return plain JSON without what depends on time."""
    if isinstance(value, dict):
        return {k: without_measurements(v) for k, v in value.items() if k not in MEASURED}
    return [without_measurements(one) for one in value] if isinstance(value, list) else value


def run_study(
    home: Path, protocols: list[str], *, corrupted: bool, like: Study | None = None
) -> tuple[Study, list[Any]]:
    """Run a study; what is measured of the machine is taken from another, where one is given."""
    study = Study(
        task(corrupted=corrupted),
        backbones=["zoo:glyphs"],
        protocols=protocols,
        budget=AMPLE,
        seeds=1,
        options=StudyOptions(precision="fp32"),
        home=home,
    )
    with_few_epochs_from_scratch(study)
    if like is not None:
        decide(study, [one for one in decisions_of(like) if one[0].startswith(MEASURED_KEYS)])
    return study, [without_measurements(event_json(event)) for event in study.events()]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Study, list[Any]]]:
    protocols = write_protocols(tmp_path_factory.mktemp("protocols"))[:1]
    true = run_study(tmp_path_factory.mktemp("true"), protocols, corrupted=False)
    home = tmp_path_factory.mktemp("corrupted")
    return [true, run_study(home, protocols, corrupted=True, like=true[0])]


def test_corrupting_every_test_label_changes_nothing_before_the_opening(
    studies: list[tuple[Study, list[Any]]],
) -> None:
    (true, true_events), (corrupted, corrupted_events) = studies
    assert true.id == corrupted.id
    assert true_events == corrupted_events
    assert [one.id for one in true.ledger.runs.of(true.id)] == [
        one.id for one in corrupted.ledger.runs.of(corrupted.id)
    ]
    plain = [
        [
            (key, without_measurements(value))
            for key, value in decisions_of(study)
            if not key.startswith(MEASURED_KEYS)
        ]
        for study in (true, corrupted)
    ]
    assert plain[0] == plain[1]
    records = [study.result().record for study in (true, corrupted)]
    for key in ("kind", "reasons"):
        assert records[0]["verdict"][key] == records[1]["verdict"][key]
    assert records[0]["best"]["run"] == records[1]["best"]["run"]


def test_the_final_evaluation_does_see_them(studies: list[tuple[Study, list[Any]]]) -> None:
    accuracy = [
        next(arm for arm in study.result().record["arms"] if arm["winner"])["test"]["accuracy"]
        for study, _ in studies
    ]
    assert accuracy[0]["value"] > 0.7
    assert accuracy[1]["value"] < 0.2


def test_sealed_items_carry_no_label_until_opened() -> None:
    sealed = task(corrupted=False).sealed
    assert np.all(sealed.inputs.labels < 0)
    assert np.all(sealed.open().labels >= 0)
