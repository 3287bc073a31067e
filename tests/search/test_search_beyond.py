"""Beyond the sealed part, in real studies: digits under corruption, the source domain again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from regraft.config.loading import validate_data
from regraft.config.study import StudySpec
from regraft.errors import DataError
from regraft.evidence.verdict import WITHOUT_FINE_TUNING, WITHOUT_TRANSFER
from regraft.search.beyond import Beyond, predict_beyond
from regraft.search.final import finalists, weights_of_finalists
from regraft.search.holding_up import GIVEN
from regraft.search.ladder import Ladder
from regraft.study import Study, StudyOptions
from regraft.tasks.intake.embedded import digits
from regraft.tasks.task import Task
from small_search import AMPLE, SPENT, around, with_a_short_scratch, write_lora
from traced import untraced

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.evidence.gathered import HeldUp

N_TRAIN, N_VALIDATION, N_TEST, N_ITEMS = 100, 60, 60, 24
SEVERITIES = [1, 5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a protocol, outliers of one colour, and labelled source items."""
    folder = tmp_path_factory.mktemp("beyond")
    write_lora(folder)
    (folder / "outliers").mkdir()
    for i in range(12):
        Image.new("RGB", (9, 9), (20 * i, 0, 255 - 20 * i)).save(folder / f"outliers/{i}.png")
    images, labels = digits()["train"]
    for image, label in list(zip(images, labels, strict=True))[500:560]:
        place = folder / "source" / label
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image, np.uint8)).save(
            place / f"{len(list(place.iterdir()))}.png"
        )
    return folder


def study_of(home: Path, folder: Path, *, corrupted: bool = False, **asked: Any) -> Study:
    """Return a study on some digits, perhaps with every sealed label wrong."""
    (x, y), (test_x, test_y) = digits()["train"], digits()["test"]
    test_y = test_y[:N_TEST]
    if corrupted:
        test_y = [str((int(label) + 1) % 10) for label in test_y]
    last = N_TRAIN + N_VALIDATION
    data = {
        "train": (x[:N_TRAIN], y[:N_TRAIN]),
        "validation": (x[N_TRAIN:last], y[N_TRAIN:last]),
        "test": (test_x[:N_TEST], test_y),
    }
    robustness = {
        "severities": SEVERITIES,
        "items": N_ITEMS,
        "outliers": str(folder / "outliers"),
    }
    chosen = {"robustness": robustness, "source": str(folder / "source"), **asked}
    study = Study(
        Task.read(data, metric="accuracy"),
        backbones=["zoo:glyphs"],
        protocols=[str(folder / "small-lora.yaml")],
        budget=AMPLE,
        seeds=1,
        options=StudyOptions(precision="fp32", **chosen),
        home=home,
    )
    return with_a_short_scratch(study)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> tuple[Study, dict[str, Any]]:
    study = study_of(tmp_path_factory.mktemp("home"), folder)
    for _ in study.events():
        pass
    return study, study.result().record


def predicted(study: Study, *, budget: float = AMPLE) -> Beyond:
    """Predict again what a study that has ended predicted, as one that was killed would."""
    shared = around(study, budget=budget, checkpoint_seconds=10.0)
    ladder = Ladder(shared, study.task)
    events = ladder.events(study.arms, seeds=1)
    while True:
        try:
            next(events)
        except StopIteration as ended:
            verdict = ended.value
            break
    list(weights_of_finalists(ladder, verdict, study.ledger))
    outcomes = finalists(ladder.outcomes, verdict)
    inputs = study.pool.sealed.inputs
    return predict_beyond(shared, study.asides, study.task, inputs, outcomes, verdict)


@pytest.fixture(scope="module")
def beyond(whole: tuple[Study, dict[str, Any]]) -> Beyond:
    return predicted(whole[0])


def held(beyond: Beyond) -> HeldUp:
    assert beyond.held_up is not None
    return beyond.held_up


def test_every_number_of_it_can_be_traced(whole: tuple[Study, dict[str, Any]]) -> None:
    assert untraced(question(whole[1], "hold_up")) == []
    assert untraced(question(whole[1], "forgotten")) == []
    assert untraced(question(whole[1], "far")) == []


def question(record: dict[str, Any], key: str) -> dict[str, Any]:
    return next(one for one in record["questions"] if one["key"] == key)


def assert_same(first: Beyond, second: Beyond) -> None:
    one, other = held(first), held(second)
    assert np.array_equal(one.rows, other.rows)
    for name in one.corrupted:
        for key, said in one.corrupted[name].items():
            assert np.array_equal(said.logits, other.corrupted[name][key].logits)
    for name, arms in one.outliers.items():
        for key, said in arms.items():
            assert np.array_equal(said.logits, other.outliers[name][key].logits)


def test_a_study_says_whether_it_holds_up(whole: tuple[Study, dict[str, Any]]) -> None:
    _, record = whole
    asked = question(record, "hold_up")
    figure = asked["figure"]
    assert len(figure["corruptions"]) == 15
    cells = [one for row in figure["corruptions"] for one in row["severities"]]
    assert [one["severity"] for one in cells] == SEVERITIES * 15
    assert all(one["n"] == N_ITEMS for one in cells)
    at = {s: np.mean([one["value"] for one in cells if one["severity"] == s]) for s in SEVERITIES}
    assert figure["clean"]["value"] >= at[1] > at[5]
    names = [one["name"] for one in asked["answers"]]
    for outliers in ("uniform noise", "shuffled patches", GIVEN):
        assert sum(name.startswith(f"{outliers}: ") for name in names) >= 2
    (decision,) = [one for one in record["decisions"] if one["key"] == "robustness"]
    assert decision["text"].startswith(f"{N_ITEMS} sealed items, corrupted, need about ")


def test_a_study_says_what_was_forgotten(whole: tuple[Study, dict[str, Any]]) -> None:
    study, record = whole
    rows = question(record, "forgotten")["answers"]
    assert rows
    assert study.asides.source is not None
    for one in rows:
        assert one["n"] == len(study.asides.source) == 60
        assert one["difference"] == pytest.approx(one["after"] - one["before"])


def test_a_study_says_how_far_its_data_is_from_the_source(
    whole: tuple[Study, dict[str, Any]],
) -> None:
    study, record = whole
    rows = question(record, "far")["answers"]
    names = [f"{one}, features of zoo:glyphs" for one in ("MMD²", "proxy A-distance")]
    assert [one["name"] for one in rows[:2]] == names
    assert study.asides.source is not None
    assert {(one["n"], one["n_source"]) for one in rows} == {(N_TEST, len(study.asides.source))}
    assert rows[0]["p_apart"] > 0.01  # both are digits of one set, though few
    assert rows[1]["value"] < 1


def test_the_best_controls_are_looked_at_beside_the_winner(
    whole: tuple[Study, dict[str, Any]], beyond: Beyond
) -> None:
    _, record = whole
    roles = {one["key"]: one["role"] for one in record["arms"]}
    arms = list(held(beyond).clean)
    assert arms[0] == next(one["key"] for one in record["arms"] if one["winner"])
    assert {WITHOUT_FINE_TUNING, WITHOUT_TRANSFER} <= {roles[key] for key in arms}
    assert len(arms) <= 3


def test_what_is_not_corrupted_is_predicted_as_in_the_final_evaluation(
    whole: tuple[Study, dict[str, Any]], beyond: Beyond
) -> None:
    study, record = whole
    labels = study.pool.sealed.open().labels[held(beyond).rows]
    winner = next(one for one in record["arms"] if one["winner"])
    clean = held(beyond).clean[winner["key"]].logits[0]
    figure = question(record, "hold_up")["figure"]
    if figure["arm"] == winner["title"]:
        assert figure["clean"]["value"] == pytest.approx((clean.argmax(1) == labels).mean())
    assert abs((clean.argmax(1) == labels).mean() - winner["test"]["accuracy"]["value"]) < 0.3


def test_predicted_again_it_is_the_same_even_when_the_budget_is_spent(
    whole: tuple[Study, dict[str, Any]], beyond: Beyond
) -> None:
    # How many items the budget held was decided once; a later sitting replays it.
    assert_same(predicted(whole[0], budget=SPENT), beyond)


def test_no_sealed_label_is_seen(
    beyond: Beyond, folder: Path, whole: tuple[Study, dict[str, Any]]
) -> None:
    wrong = study_of(whole[0].ledger.home, folder, corrupted=True)
    assert wrong.id == whole[0].id
    right, swapped = (one.pool.sealed.open().labels for one in (whole[0], wrong))
    assert not np.any(right == swapped)
    assert_same(predicted(wrong), beyond)


def test_a_spent_budget_predicts_nothing_and_says_so(
    whole: tuple[Study, dict[str, Any]], folder: Path
) -> None:
    first = whole[0]
    study = study_of(first.ledger.home, folder, source=None, robustness={"items": 30})
    assert study.id != first.id
    for one in first.ledger.decisions.all(first.id):
        if one.key != "robustness":
            study.ledger.decisions.decide(study.id, one.key, lambda value=one.value: value)
    found = held(predicted(study, budget=SPENT))
    assert len(found.rows) == 0
    assert "the budget still holds fewer than 8" in found.reason


def test_what_is_off_changes_no_study(folder: Path, tmp_path: Path) -> None:
    plain = study_of(tmp_path, folder, robustness=False, source=None)
    assert plain.asides.identity == {}
    stored = plain.ledger.studies.get(plain.id).configuration
    assert not {"robustness", "source"} & set(stored)
    ids = {
        plain.id,
        study_of(tmp_path, folder, source=None).id,
        study_of(tmp_path, folder, robustness=False).id,
        study_of(tmp_path, folder, robustness=True, source=None).id,
    }
    assert len(ids) == 4


def test_a_source_that_holds_sealed_items_is_refused(tmp_path: Path) -> None:
    asked = {"task": {"data": "zoo:digits"}, "backbones": ["zoo:glyphs"], "source": "zoo:digits"}
    spec = validate_data(StudySpec, asked, where="study")
    with pytest.raises(DataError, match=r"zoo:digits: .* lie in the sealed test part"):
        Study.from_spec(spec, home=tmp_path)


def test_outliers_that_are_not_there_are_refused_before_anything_is_written(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="nowhere: there is no such file"):
        study_of(tmp_path / "home", folder, robustness={"outliers": str(tmp_path / "nowhere")})
    assert not (tmp_path / "home").exists()
