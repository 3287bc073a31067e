"""Arms: the controls always, then what a study names, each with the same number of rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from regraft.backbones.loading import load_backbone
from regraft.config.protocol import load_ladder
from regraft.errors import BackboneError, ConfigError
from regraft.search.arms import (
    check_depths,
    check_kinds,
    lowest_trained_depth,
    study_arms,
    with_enough_steps,
    with_rate,
)
from regraft.search.grafting import describe

if TYPE_CHECKING:
    from pathlib import Path

CONTROLS = {one.protocol for one in load_ladder("default") if one.role != "candidate"}


def write(folder: Path, text: str, *, name: str = "mine") -> str:
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\n{text}\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("protocols", [["ladder"], ["ladder:quick"], ["lora"], ["lora", "full"]])
def test_the_controls_are_in_every_study(protocols: list[str]) -> None:
    arms = study_arms(protocols, ["one"], n_train=100)
    assert {arm.key for arm in arms} >= CONTROLS
    assert {arm.key for arm in arms if arm.role != "candidate"} == CONTROLS


def test_every_trained_arm_has_as_many_rates(tmp_path: Path) -> None:
    mine = write(tmp_path, "modules: [{kind: lora, rank: 2}]\nrate: {kind: cosine, peak: 2e-3}")
    arms = study_arms(["ladder", mine], ["one"], n_train=100)
    trained = [arm for arm in arms if arm.is_trained]
    assert {len(arm.candidates) for arm in trained} == {3}
    assert {len(arm.candidates) for arm in arms if not arm.is_trained} == {1}
    (own,) = [arm for arm in arms if arm.key == "mine"]
    assert own.role == "candidate"
    assert [one["rate"]["peak"] for one in own.candidates] == [6e-4, 2e-3, 6e-3]
    others = [{**one, "rate": None} for one in own.candidates]
    assert others[0] == others[1] == others[2]


def test_a_protocol_named_twice_is_one_arm() -> None:
    arms = study_arms(["lora", "ladder", "lora"], ["one"], n_train=100)
    assert len({arm.key for arm in arms}) == len(arms)


def test_on_several_backbones_controls_without_transfer_run_once() -> None:
    arms = study_arms(["lora"], ["one", "two"], n_train=100)
    keys = [arm.key for arm in arms]
    assert {"majority", "raw-logistic", "knn@one", "knn@two", "lora@one", "lora@two"} <= set(keys)
    assert len(set(keys)) == len(keys)
    assert {arm.backbone for arm in arms if arm.protocol == "majority"} == {None}
    assert [arm.backbone for arm in arms if arm.protocol == "lora"] == [0, 1]


def test_rates_are_round_numbers() -> None:
    protocol = {"rate": {"kind": "cosine", "peak": 1e-3}}
    assert with_rate(protocol, 0.3)["rate"]["peak"] == 3e-4
    assert protocol["rate"]["peak"] == 1e-3


@pytest.mark.parametrize(
    ("n_train", "epochs", "patience"), [(10, 200, 60), (100, 50, 15), (64, 100, 30), (5000, 10, 3)]
)
def test_few_items_are_passed_over_more_often(n_train: int, epochs: int, patience: int) -> None:
    fit = {"epochs": 10, "patience": 3, "batch_size": 32, "least_steps": 200}
    found = with_enough_steps({"fit": fit}, n_train)["fit"]
    assert (found["epochs"], found["patience"]) == (epochs, patience)


def test_a_depth_beyond_the_backbone_names_protocol_and_depth(tmp_path: Path) -> None:
    backbone = load_backbone("zoo:glyphs")
    arms = study_arms([write(tmp_path, "train: {from_depth: 99}")], ["zoo:glyphs"], n_train=100)
    with pytest.raises(ConfigError, match=r"protocol mine: train\.from_depth: depth 99 is beyond"):
        check_depths(arms, [backbone])
    check_depths(study_arms(["ladder"], ["zoo:glyphs"], n_train=100), [backbone])


def test_a_backbone_for_other_inputs_is_named() -> None:
    backbone = load_backbone("zoo:glyphs")
    check_kinds("image", [backbone])
    with pytest.raises(BackboneError, match=r"zoo:glyphs: it takes 'image' inputs, the data are"):
        check_kinds("text", [backbone])


@pytest.mark.parametrize(
    ("depth", "modules", "lowest"),
    [("none", [], 4), ("none", ["lora"], 0), (0, [], 0), (0.5, [], 2)],
)
def test_inserted_modules_need_the_whole_depth(
    depth: str | float, modules: list[str], lowest: int
) -> None:
    protocol = {"train": {"from_depth": depth}, "modules": modules}
    assert lowest_trained_depth(protocol, 4) == lowest


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{}", {}),
        ("{augment: light}", {"augment": "light", "views": "afresh each epoch"}),
        ("{augment: light, views: 3}", {"augment": "light", "views": 3}),
    ],
)
def test_what_augments_is_among_the_settings_of_a_report(
    tmp_path: Path, data: str, expected: dict[str, Any]
) -> None:
    path = write(tmp_path, f"train: {{from_depth: 0.5}}\ndata: {data}")
    (arm,) = [one for one in study_arms([path], ["one"], n_train=50) if one.key == "mine"]
    settings = describe(arm.candidates[0])
    assert {k: v for k, v in settings.items() if k in ("augment", "views")} == expected


SMOOTH = "train: {from_depth: 0.5}\nfit: {label_smoothing: 0.1}"
BOTH = "train: {from_depth: 0.5}\nfit: {label_smoothing: 0.1}\ndata: {augment: light, views: 2}"


def test_the_arm_without_its_ingredient_is_added_with_the_same_rates(tmp_path: Path) -> None:
    plain = study_arms(["ladder"], ["one"], n_train=100)
    arms = study_arms(["ladder", write(tmp_path, SMOOTH)], ["one"], n_train=100)
    assert arms[: len(plain)] == plain
    on, off = arms[len(plain) :]
    assert [(one.ingredient, one.off) for one in on.switches] == [
        ("label smoothing 0.1", "mine-without-label-smoothing")
    ]
    assert (off.key, off.title, off.role, off.switches) == (
        "mine-without-label-smoothing",
        "mine without label smoothing 0.1",
        "candidate",
        (),
    )
    assert [one["fit"]["label_smoothing"] for one in on.candidates] == [0.1] * 3
    assert [
        {**one, "fit": {**one["fit"], "label_smoothing": 0.1}} for one in off.candidates
    ] == list(on.candidates)


def test_an_arm_that_is_there_already_is_the_off_switch(tmp_path: Path) -> None:
    bare = write(tmp_path, "train: {from_depth: 0.5}", name="bare")
    for protocols in ([write(tmp_path, SMOOTH), bare], [bare, write(tmp_path, SMOOTH)]):
        arms = study_arms(protocols, ["one"], n_train=100)
        assert {arm.key for arm in arms} == {*CONTROLS, "mine", "bare"}
        (on,) = [arm for arm in arms if arm.key == "mine"]
        assert [one.off for one in on.switches] == ["bare"]


def test_two_arms_share_an_off_switch(tmp_path: Path) -> None:
    stronger = write(tmp_path, SMOOTH.replace("0.1", "0.2"), name="more")
    arms = study_arms([write(tmp_path, SMOOTH), stronger], ["one"], n_train=100)
    found = {arm.key: arm for arm in arms if arm.role == "candidate"}
    assert set(found) == {"mine", "more", "mine-without-label-smoothing"}
    assert found["mine"].switches[0].off == found["more"].switches[0].off


def test_of_two_ingredients_each_has_its_off_switch_and_what_is_left_has_one(
    tmp_path: Path,
) -> None:
    arms = study_arms([write(tmp_path, BOTH)], ["one"], n_train=100)
    switches = {
        arm.key: [(one.ingredient, one.off) for one in arm.switches]
        for arm in arms
        if arm.role == "candidate"
    }
    augment, smooth = "light augmentation", "label smoothing 0.1"
    assert switches == {
        "mine": [
            (augment, "mine-without-augment"),
            (smooth, "mine-without-label-smoothing"),
        ],
        "mine-without-augment": [(smooth, "mine-without-augment-label-smoothing")],
        "mine-without-label-smoothing": [(augment, "mine-without-augment-label-smoothing")],
        "mine-without-augment-label-smoothing": [],
    }


def test_three_ingredients_are_four_arms_more(tmp_path: Path) -> None:
    text = BOTH.replace("views: 2", "views: 2, rebalance: balanced")
    arms = study_arms([write(tmp_path, text)], ["one"], n_train=100)
    found = {arm.key: arm for arm in arms if arm.role == "candidate"}
    assert len(found) == 5
    bare = "mine-without-augment-rebalance-label-smoothing"
    assert found[bare].title.endswith(
        "without light augmentation, balanced class weights and label smoothing 0.1"
    )
    (joint,) = found["mine-without-augment"].switches
    assert (joint.ingredient, joint.off) == (
        "balanced class weights and label smoothing 0.1",
        bare,
    )


def test_each_backbone_has_its_own_off_switch(tmp_path: Path) -> None:
    arms = study_arms([write(tmp_path, SMOOTH)], ["one", "two"], n_train=100)
    offs = {arm.key: [one.off for one in arm.switches] for arm in arms if arm.protocol == "mine"}
    assert offs == {f"mine@{b}": [f"mine-without-label-smoothing@{b}"] for b in ("one", "two")}
    assert {off for (off,) in offs.values()} <= {arm.key for arm in arms}


def test_the_name_of_an_off_switch_that_is_taken_is_an_error(tmp_path: Path) -> None:
    taken = write(tmp_path, "train: {from_depth: 0.25}", name="mine-without-label-smoothing")
    with pytest.raises(
        ConfigError,
        match=r"the name 'mine-without-label-smoothing' is that of the off-switch of 'mine', and "
        r"another protocol has it\. Rename yours",
    ):
        study_arms([write(tmp_path, SMOOTH), taken], ["one"], n_train=100)


def test_what_takes_no_gradient_is_held_against_nothing(tmp_path: Path) -> None:
    for text in ("fit: {label_smoothing: 0.1}", "predictor: knn\ndata: {rebalance: balanced}"):
        arms = study_arms([write(tmp_path, text)], ["one"], n_train=100)
        assert {arm.key for arm in arms} == {*CONTROLS, "mine"}


def test_controls_are_held_against_nothing() -> None:
    assert all(arm.switches == () for arm in study_arms(["ladder"], ["one"], n_train=100))
