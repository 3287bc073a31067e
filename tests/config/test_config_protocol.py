"""Protocols: what a file says, what it means, and when two are the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.config.loading import parse_yaml, validate
from regraft.config.protocol import (
    ProtocolSpec,
    depth_index,
    ladders,
    load_ladder,
    load_protocol,
    protocol_digest,
    resolve_protocol,
    templates,
)
from regraft.config.spec import resolved
from regraft.errors import ConfigError
from regraft.hashing import canonical_json

if TYPE_CHECKING:
    from pathlib import Path

GRADUAL_LORA = """\
name: gradual-lora
head: {kind: linear, start: probe}
backbone: pretrained
train: {from_depth: 0.5}
modules: [{kind: lora, rank: 8, on: auto}]
unfreeze: {kind: gradual}
rate: {kind: slanted_triangular, peak: 3.0e-4, decay_per_depth: 2.6}
data: {augment: light, rebalance: effective_number}
fit: {epochs: 10, batch_size: 32, weight_decay: 0.05}
"""

fractions = st.floats(0.0, 1.0)
rates = st.fixed_dictionaries(
    {"kind": st.sampled_from(["constant", "cosine", "linear", "slanted_triangular"])},
    optional={"peak": st.floats(1e-8, 1.0), "decay_per_depth": st.floats(1.0, 5.0)},
)
modules = st.fixed_dictionaries(
    {"kind": st.just("lora")},
    optional={"rank": st.integers(1, 64), "alpha": st.floats(0.5, 64.0), "on": st.just("auto")},
) | st.sampled_from(["lora", "bottleneck"])
protocols = st.fixed_dictionaries(
    {"name": st.text("abcdefgh-é ", min_size=1, max_size=20)},
    optional={
        "title": st.text(max_size=20).filter(str.isprintable),
        "head": st.sampled_from(["linear", {"kind": "linear", "start": "centroid"}]),
        "train": st.fixed_dictionaries({"from_depth": st.integers(0, 40) | fractions}),
        "modules": st.lists(modules, max_size=3),
        "rate": rates,
        "data": st.fixed_dictionaries({}, optional={"augment": st.sampled_from(["none", "light"])}),
        "fit": st.fixed_dictionaries(
            {},
            optional={"epochs": st.integers(1, 99), "weight_decay": st.floats(0.0, 1.0)},
        ),
    },
)


def spec_of(text: str) -> ProtocolSpec:
    return validate(ProtocolSpec, parse_yaml(text, where="p.yaml"))


@given(protocols)
def test_yaml_to_spec_to_resolved_json_to_spec_is_the_identity(data: dict[str, Any]) -> None:
    spec = spec_of(json.dumps(data, ensure_ascii=False))
    assert ProtocolSpec.model_validate(json.loads(canonical_json(resolved(spec)))) == spec
    plain = resolve_protocol(spec)
    again = spec_of(json.dumps({"name": spec.name, **json.loads(canonical_json(plain))}))
    assert resolve_protocol(again) == plain
    assert protocol_digest(resolve_protocol(again)) == protocol_digest(plain)


@given(protocols, st.text("xyz", min_size=1), st.randoms(use_true_random=False))
def test_name_title_and_order_of_keys_are_not_part_of_the_identity(
    data: dict[str, Any], name: str, random: Any
) -> None:
    items = [(key, value) for key, value in data.items() if key not in ("name", "title")]
    random.shuffle(items)
    first = resolve_protocol(ProtocolSpec.model_validate(data))
    second = resolve_protocol(ProtocolSpec.model_validate(dict([("name", name), *items])))
    assert protocol_digest(first) == protocol_digest(second)


def test_stating_a_default_changes_nothing() -> None:
    bare = resolve_protocol(spec_of("name: a\ntrain: {from_depth: 0}\n"))
    stated = resolve_protocol(
        spec_of(
            "name: b\nbackbone: pretrained\nhead: linear\nmodules: []\nunfreeze: null\n"
            "train: {from_depth: 0.0, stem: false}\nrate: {kind: cosine, peak: 1e-3}\n"
            "data: {augment: {kind: none}, views: 0, rebalance: none}\nfit: {epochs: 10}\n"
        )
    )
    assert protocol_digest(bare) == protocol_digest(stated)


def test_without_views_a_protocol_is_what_it_was_before_there_were_any() -> None:
    fresh = resolve_protocol(spec_of(GRADUAL_LORA))
    assert set(fresh["data"]) == {"augment", "rebalance"}
    kept = resolve_protocol(
        spec_of(GRADUAL_LORA.replace("augment: light", "augment: light, views: 4"))
    )
    assert kept == {**fresh, "data": {**fresh["data"], "views": 4}}


def test_any_setting_changes_the_identity() -> None:
    texts = [
        GRADUAL_LORA,
        GRADUAL_LORA.replace("rank: 8", "rank: 4"),
        GRADUAL_LORA.replace("3.0e-4", "3.1e-4"),
        GRADUAL_LORA.replace("from_depth: 0.5", "from_depth: 5"),
        GRADUAL_LORA.replace("start: probe", "start: zero"),
        GRADUAL_LORA.replace("unfreeze: {kind: gradual}\n", ""),
        GRADUAL_LORA.replace("augment: light", "augment: none"),
        GRADUAL_LORA.replace("epochs: 10", "epochs: 11"),
        GRADUAL_LORA.replace("augment: light", "augment: light, views: 4"),
        GRADUAL_LORA.replace("augment: light", "augment: light, views: 5"),
    ]
    digests = {protocol_digest(resolve_protocol(spec_of(text))) for text in texts}
    assert len(digests) == len(texts)


def test_a_full_protocol_file_resolves_with_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GRADUAL_LORA)
    plain = resolve_protocol(load_protocol(str(path)))
    assert json.loads(json.dumps(plain)) == plain
    assert "name" not in plain
    assert "title" not in plain
    assert plain["rate"]["peak"] == 3e-4
    assert plain["modules"][0] == {**plain["modules"][0], "kind": "lora", "rank": 8, "on": "auto"}
    assert plain["data"]["augment"] == {"kind": "light"} | plain["data"]["augment"]
    assert plain["fit"]["patience"] == 3
    assert plain["predictor"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nmodules:\n  - kind: loar\n", r"mine\.yaml, line 3: unknown module 'loar'"),
        ("name: x\nmodules:\n  - loar\n", r"line 3: unknown module 'loar'\. Did you mean 'lora'"),
        ("name: x\nmodules:\n  - kind: lora\n    rnk: 8\n", r"line 4: unknown key 'rnk'"),
        (
            "name: x\ndata:\n  augment: ligt\n",
            r"line 3: unknown augment 'ligt'\. Did you .* 'light'",
        ),
        ("name: x\nrate: {kind: cosine,\n  peek: 1}\n", r"line 3: unknown key 'peek'\. .*'peak'"),
        (
            "name: x\ntrain: {depth: 0}\n",
            r"line 2: unknown key 'depth'\. Did you mean 'from_depth'",
        ),
        ("name: x\ntrain: {from_depth: 1.5}\n", r"from_depth should be .*less than or equal to 1"),
        (
            "name: x\ntrain: {from_depth: -1}\n",
            r"from_depth should be .*greater than or equal to 0",
        ),
        ("name: x\ntrain: {from_depth: half}\n", r"should be 'none' or .* \(it is 'half'\)"),
        ("name: ''\n", r"line 1: name: string should have at least 1 character"),
        ("name: x\npredictor: knn\nmodules: [lora]\n", r"line 2: a predictor takes no gradient"),
        ("name: x\npredictor: {kind: knn, q: 1}\n", r"line 2: unknown key 'q'\. Known: k, kind"),
        (
            "name: x\ndata:\n  views: 4\n",
            r"line 3: 4 views .* data\.augment is 'none'.* remove views",
        ),
        ("name: x\ndata: {augment: {kind: none}, views: 1}\n", r"1 views of each item are asked"),
        ("name: x\ndata: {augment: light, views: -1}\n", r"views should be .*or equal to 0"),
        ("name: x\nunfreeze: gradual\n", r"line 2: unfreeze needs blocks to open"),
        ("name: x\nbackbone: random\n", r"line 2: a random backbone that does not train"),
        ("name: x\ntrain: {stem: true}\n", r"line 2: the stem trains only .* from_depth is 'none'"),
        ("name: x\nmodules: [3]\n", r"modules\.0 should be text or a mapping of names to values"),
    ],
)
def test_a_wrong_protocol_file_is_refused_with_its_line(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_protocol(str(path))


def test_a_wrong_protocol_from_python_is_named() -> None:
    spec = ProtocolSpec(name="mine", modules=["loar"])
    with pytest.raises(ConfigError, match=r"protocol 'mine', modules\.0\.kind: unknown module"):
        resolve_protocol(spec)


@pytest.mark.parametrize("name", templates())
def test_every_template_resolves_and_is_named_like_its_file(name: str) -> None:
    spec = load_protocol(name)
    assert spec.name == name
    assert spec.title
    assert resolve_protocol(spec)


def test_templates_differ_from_each_other() -> None:
    digests = {protocol_digest(resolve_protocol(load_protocol(name))) for name in templates()}
    assert len(digests) == len(templates())


@pytest.mark.parametrize("name", ladders())
def test_every_ladder_names_templates_once_and_has_both_controls(name: str) -> None:
    entries = load_ladder(name)
    names = [entry.protocol for entry in entries]
    assert len(set(names)) == len(names)
    assert set(names) <= set(templates())
    roles = {entry.role for entry in entries}
    assert {"control_without_transfer", "control_without_fine_tuning"} <= roles


@pytest.mark.parametrize("name", ladders())
def test_every_trained_rung_starts_with_equally_many_learning_rates(name: str) -> None:
    trained = [
        entry
        for entry in load_ladder(name)
        if load_protocol(entry.protocol).train.from_depth != "none"
        or load_protocol(entry.protocol).modules
    ]
    assert {len(entry.rates) for entry in trained} == {3}


def test_an_unknown_template_or_ladder_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown protocol 'lp-tf'\. Did you mean 'lp-ft'\?"):
        load_protocol("lp-tf")
    with pytest.raises(ConfigError, match=r"unknown ladder 'defult'\. Did you mean 'default'\?"):
        load_ladder("defult")
    with pytest.raises(ConfigError, match=r"absent\.yaml: there is no such file"):
        load_protocol("absent.yaml")


@given(fractions, st.integers(1, 64))
def test_a_fraction_names_a_block_of_the_backbone(fraction: float, n_blocks: int) -> None:
    depth = depth_index(fraction, n_blocks)
    assert 0 <= depth < n_blocks
    assert abs(depth - fraction * n_blocks) <= 0.5 or depth == n_blocks - 1


def test_none_is_after_the_last_block_and_a_block_is_itself() -> None:
    assert depth_index("none", 6) == 6
    assert [depth_index(block, 6) for block in range(6)] == list(range(6))


def test_a_depth_beyond_the_backbone_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"depth 9 is beyond the backbone's 6 blocks \(0 … 5\)\."):
        depth_index(9, 6)
