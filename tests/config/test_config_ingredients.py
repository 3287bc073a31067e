"""Optional ingredients: what is one, what it is called, and the protocol without it."""

from __future__ import annotations

from typing import Any

import pytest

from regraft.config.ingredients import INGREDIENTS, ingredients_of, without
from regraft.config.loading import validate_data
from regraft.config.protocol import ProtocolSpec, load_protocol, resolve_protocol, templates


def protocol(**said: Any) -> dict[str, Any]:
    data = {"name": "mine", "train": {"from_depth": 0.5}, **said}
    return resolve_protocol(validate_data(ProtocolSpec, data, where="protocol"))


ALL = {
    "data": {"augment": "light", "views": 3, "rebalance": "effective_number"},
    "fit": {"label_smoothing": 0.1, "weight_decay": 0.05},
    "modules": [{"kind": "lora", "dropout": 0.2}, {"kind": "bottleneck"}],
}


@pytest.mark.parametrize("name", templates())
def test_the_ways_of_adapting_that_come_with_regraft_have_none(name: str) -> None:
    assert ingredients_of(resolve_protocol(load_protocol(name))) == ()


def test_each_ingredient_is_found_and_named_with_what_is_said_of_it() -> None:
    found = ingredients_of(protocol(**ALL))
    assert found == INGREDIENTS
    assert [one.named(protocol(**ALL)) for one in found] == [
        "light augmentation",
        "effective number class weights",
        "label smoothing 0.1",
        "weight decay 0.05",
        "dropout 0.2",
    ]


@pytest.mark.parametrize(
    ("said", "n"),
    [
        ({}, 0),
        ({"fit": {"weight_decay": 0.0}}, 0),  # less than what all have adds nothing
        ({"fit": {"weight_decay": 0.02}}, 1),
        ({"data": {"augment": {"kind": "light", "flip": False}}}, 1),
        ({"rate": {"kind": "cosine", "decay_per_depth": 2.6}, "unfreeze": "gradual"}, 0),
        ({"modules": [{"kind": "lora", "dropout": 0.0}]}, 0),
        ({"modules": [{"kind": "lora", "dropout": d} for d in (0.1, 0.3)]}, 1),
    ],
)
def test_an_ingredient_is_on_where_it_says_more_than_its_off_switch(
    said: dict[str, Any], n: int
) -> None:
    assert len(ingredients_of(protocol(**said))) == n


def test_without_all_of_them_it_is_the_protocol_that_never_spoke_of_them() -> None:
    plain = {"modules": [{"kind": "lora"}, {"kind": "bottleneck"}]}
    given = protocol(**ALL)
    assert without(given, INGREDIENTS) == protocol(**plain)
    assert given == protocol(**ALL)


@pytest.mark.parametrize("one", INGREDIENTS, ids=lambda one: one.label)
def test_without_one_of_them_the_others_stay(one: Any) -> None:
    left = without(protocol(**ALL), [one])
    assert ingredients_of(left) == tuple(other for other in INGREDIENTS if other is not one)
    assert ("views" in left["data"]) == (one.label != "augment")
