from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from regraft.config.protocol import ProtocolSpec, load_protocol, protocol_digest, resolve_protocol
from regraft.config.variants import MOST_VARIANTS, variants
from regraft.errors import ConfigError
from regraft.search.arms import study_arms

if TYPE_CHECKING:
    from pathlib import Path

FILE = """\
name: lora
title: LoRA
modules: [{kind: lora, rank: 8}]
train: {from_depth: 0.5}
vary: {modules.0.rank: [4, 16], train.from_depth: [0.5, 0.75], fit.batch_size: [8]}
"""


def write(folder: Path, text: str = FILE) -> str:
    path = folder / "lora.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_every_combination_is_the_protocol_that_one_would_write_by_hand(tmp_path: Path) -> None:
    found = variants(load_protocol(write(tmp_path)))
    assert len(found) == 4
    for one, (rank, depth) in zip(found, itertools.product([4, 16], [0.5, 0.75]), strict=True):
        by_hand = ProtocolSpec(
            name="by hand",
            modules=[{"kind": "lora", "rank": rank}],
            train={"from_depth": depth},
            fit={"batch_size": 8},
        )
        assert resolve_protocol(one) == resolve_protocol(by_hand)
        assert one.name == f"lora-rank={rank}-from_depth={depth}-batch_size=8"
        assert one.title == f"LoRA, rank {rank}, from_depth {depth}, batch_size 8"


def test_a_protocol_without_variants_is_itself() -> None:
    spec = load_protocol("lora")
    assert variants(spec) == [spec]
    assert "vary" not in resolve_protocol(spec)


def test_a_study_races_each_at_every_rate(tmp_path: Path) -> None:
    arms = study_arms([write(tmp_path)], ["one"], n_train=100)
    own = [arm for arm in arms if arm.key.startswith("lora-rank")]
    assert len(own) == 4
    assert {arm.role for arm in own} == {"candidate"}
    assert {len(arm.candidates) for arm in own} == {3}
    assert len({protocol_digest(one) for arm in own for one in arm.candidates}) == 12


def test_it_is_several_protocols_where_one_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"it varies modules\.0\.rank, train\.from_depth.*here"):
        resolve_protocol(load_protocol(write(tmp_path)))


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"modules.1.rank": [4]}, "'modules.1.rank' leads nowhere: '1' holds no settings"),
        ({"modules.0": [4]}, "'modules.0' names an entry of a list"),
        ({"rate.peak": [1e-3]}, "'rate.peak' leads nowhere: 'rate' holds no settings"),
        ({"fit.bach_size": [8]}, "bach_size.*batch_size"),
        ({"train.from_depth": ["top"]}, "from_depth"),
        ({"train.from_depth": [0.5, 0.5]}, "is the same protocol as"),
        ({"train.from_depth": [0, 0.0]}, "is the same protocol as"),
        ({"fit.epochs": list(range(1, MOST_VARIANTS + 2))}, "33 combinations of values"),
    ],
)
def test_what_cannot_vary_is_refused(vary: dict[str, Any], message: str) -> None:
    spec = ProtocolSpec(name="lora", modules=[{"kind": "lora"}], rate="cosine", vary=vary)
    with pytest.raises(ConfigError, match=message):
        variants(spec)


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 item"):
        ProtocolSpec(name="lora", vary={"fit.epochs": []})
