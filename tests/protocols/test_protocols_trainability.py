from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from regraft.config.protocol import (
    ProtocolSpec,
    depth_index,
    load_ladder,
    load_protocol,
    resolve_protocol,
    templates,
)
from regraft.config.registry import kind_spec, load
from regraft.errors import ConfigError
from regraft.protocols.trainability import Trainability, trainability

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone


def work_out(
    backbone: Backbone, **settings: Any
) -> tuple[Trainability, Backbone, dict[str, nn.Parameter]]:
    """Return what a protocol trains, on which adapted copy, and all parameters by state name."""
    protocol = resolve_protocol(ProtocolSpec.model_validate({"name": "x", **settings}))
    return of_protocol(backbone, protocol)


def of_protocol(
    backbone: Backbone, protocol: dict[str, Any]
) -> tuple[Trainability, Backbone, dict[str, nn.Parameter]]:
    backbone = backbone.copy()
    depth = depth_index(protocol["train"]["from_depth"], backbone.n_blocks)
    insert_from = depth if depth < backbone.n_blocks else 0
    inserted = [
        load("module", value["kind"]).insert(
            kind_spec("module", value, where="modules"), backbone, from_depth=insert_from, seed=0
        )
        for value in protocol["modules"]
    ]
    head = nn.Linear(backbone.width, 3)
    new = {name for part in inserted for name in part.parameter_names}
    named = {f"head.{name}": p for name, p in head.named_parameters()}
    for name, parameter in backbone.module.named_parameters():
        named[f"{'module' if name in new else 'backbone'}.{name}"] = parameter
    return trainability(protocol, backbone, inserted, head), backbone, named


def factors(trains: Trainability) -> dict[str, float]:
    return {name: group.rate_factor for group in trains.groups for name in group.names}


def test_without_blocks_only_the_head_trains(backbones: dict[str, Backbone]) -> None:
    trains, _, _ = work_out(backbones["bert"])
    assert trains.names == {"head.weight", "head.bias"}
    assert trains.lowest_depth == 3
    assert not trains.backbone


def test_upper_blocks_and_what_follows_them_train(backbones: dict[str, Backbone]) -> None:
    trains, backbone, named = work_out(backbones["convnext"], train={"from_depth": 1})
    own = {n.removeprefix("backbone.") for n in trains.names if n.startswith("backbone.")}
    assert {backbone.depth_of(name) for name in own} == {1, 2, 3}
    assert own == {
        name for name, _ in backbone.module.named_parameters() if backbone.depth_of(name) >= 1
    }
    assert trains.lowest_depth == 1
    assert trains.names < set(named)


def test_the_stem_trains_only_when_asked(backbones: dict[str, Backbone]) -> None:
    every = {"train": {"from_depth": 0}}
    without, _, named = work_out(backbones["bert"], **every)
    with_stem, _, _ = work_out(backbones["bert"], train={"from_depth": 0, "stem": True})
    assert with_stem.names == set(named)
    stem = with_stem.names - without.names
    assert stem
    assert all(name.startswith("backbone.embeddings.") for name in stem)
    assert without.lowest_depth == with_stem.lowest_depth == 0


def test_modules_train_on_a_frozen_backbone(backbones: dict[str, Backbone]) -> None:
    trains, _, named = work_out(backbones["bert"], modules=["lora", "bottleneck"])
    assert trains.names == {n for n in named if not n.startswith("backbone.")}
    assert any("lora_A" in name for name in trains.names)
    assert trains.lowest_depth == 0
    assert not trains.backbone


def test_rates_fall_by_depth_as_in_the_paper(backbones: dict[str, Backbone]) -> None:
    trains, backbone, _ = work_out(
        backbones["bert"],
        train={"from_depth": 0, "stem": True},
        rate={"kind": "slanted_triangular", "peak": 0.01, "head_factor": 4},
    )
    rates = {
        backbone.depth_of(name.removeprefix("backbone.")): 0.01 * factor
        for name, factor in factors(trains).items()
        if name.startswith("backbone.")
    }
    # top 0.01, each lower 1/2.6 of it (Howard & Ruder, ACL 2018, § 3.2), then the stem
    expected = {2: 0.01, 1: 0.0038462, 0: 0.0014793, -1: 0.00056896}
    assert rates == pytest.approx(expected, rel=1e-4)
    assert factors(trains)["head.weight"] == 4.0


def test_what_follows_the_blocks_has_the_rate_of_the_top_block(
    backbones: dict[str, Backbone],
) -> None:
    trains, backbone, _ = work_out(
        backbones["convnext"], train={"from_depth": 1}, rate={"kind": "slanted_triangular"}
    )
    after = {
        factor
        for name, factor in factors(trains).items()
        if name.startswith("backbone.") and backbone.depth_of(name.partition(".")[2]) == 3
    }
    assert after == {1.0}


def test_only_matrices_decay(backbones: dict[str, Backbone]) -> None:
    trains, _, named = work_out(
        backbones["bert"], train={"from_depth": 0, "stem": True}, modules=["bottleneck"]
    )
    for group in trains.groups:
        assert {named[name].ndim > 1 for name in group.names} == {group.weight_decay}


def test_a_stem_that_trains_without_the_lowest_block_is_an_error(
    backbones: dict[str, Backbone],
) -> None:
    with pytest.raises(ConfigError, match=r"train.stem: the stem trains but blocks below 2 do not"):
        work_out(backbones["bert"], train={"from_depth": 0.5, "stem": True})


@given(
    from_depth=st.sampled_from(["none", 0, 1, 0.5, 1.0]),
    modules=st.lists(st.sampled_from(["lora", "bottleneck"]), unique=True),
    decay=st.floats(1.0, 3.0),
)
def test_groups_share_out_what_trains(
    backbones: dict[str, Backbone], from_depth: Any, modules: list[str], decay: float
) -> None:
    trains, backbone, named = work_out(
        backbones["tokens"],
        train={"from_depth": from_depth},
        modules=sorted(modules, reverse=True),
        rate={"kind": "cosine", "decay_per_depth": decay},
    )
    listed = [name for group in trains.groups for name in group.names]
    assert sorted(listed) == sorted(trains.names)
    assert trains.names <= set(named)
    depths = [
        backbone.depth_of(name.partition(".")[2]) for name in listed if not name.startswith("head.")
    ]
    assert trains.lowest_depth == min([backbone.n_blocks, *depths])


def test_every_template_of_the_ladders_resolves_and_fits_every_backbone(
    backbones: dict[str, Backbone],
) -> None:
    for name in templates():
        protocol = resolve_protocol(load_protocol(name))
        assert load_protocol(name).name == name
        assert load_protocol(name).title
        for backbone in backbones.values():
            if protocol["predictor"] is None:
                trains, _, named = of_protocol(backbone, protocol)
                assert {"head.weight", "head.bias"} <= trains.names <= set(named)


@pytest.mark.parametrize("ladder", ["default", "quick"])
def test_a_ladder_has_its_controls_first_and_equal_effort(ladder: str) -> None:
    rungs = load_ladder(ladder)
    names = [rung.protocol for rung in rungs]
    assert len(set(names)) == len(names)
    assert set(names) <= set(templates())
    is_candidate = [rung.role == "candidate" for rung in rungs]
    assert is_candidate == sorted(is_candidate)
    assert {rung.role for rung in rungs} == {
        "control_without_transfer",
        "control_without_fine_tuning",
        "candidate",
    }
    for rung in rungs:
        protocol = resolve_protocol(load_protocol(rung.protocol))
        is_trained = protocol["predictor"] is None and (
            protocol["train"]["from_depth"] != "none" or protocol["modules"]
        )
        assert rung.rates == ((0.3, 1.0, 3.0) if is_trained else (1.0,))


def test_the_default_ladder_holds_every_template() -> None:
    assert {rung.protocol for rung in load_ladder("default")} == set(templates())
