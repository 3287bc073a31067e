"""Which prefixes are kept of the pass for the features: those that the budget lets runs read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from regraft.backbones.loading import load_backbone
from regraft.config.protocol import load_protocol, resolve_protocol
from regraft.events import Done
from regraft.features.store import Cache
from regraft.search.advisor import purse_of
from regraft.search.arms import study_arms
from regraft.search.bench import Bench
from regraft.search.costs import CostModel
from regraft.search.foresight import foresee_prefixes, prefix_depths
from regraft.search.ladder import Ladder
from regraft.tasks.items import items_from
from small_backbones import bert_config, save_text
from small_search import around, small_study, with_a_short_scratch

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.backbones.backbone import Backbone

BLOCKS = 4
ARMS = study_arms(["ladder"], ["one"], n_train=100)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone(str(save_text(tmp_path_factory.mktemp("bert"), bert_config(BLOCKS))))


def cost(epoch_seconds: float) -> CostModel:
    return CostModel(
        feature_pass=1.0,
        start_seconds=0.0,
        epoch_seconds=epoch_seconds,
        peak_memory_bytes=1,
        n_train=100,
        n_folds=1,
        n_blocks=BLOCKS,
    )


def kept_depths(backbone: Backbone, home: Path, *, budget: float, epoch_seconds: float) -> set[int]:
    """Return the depths whose prefixes are in the cache after the features were asked for."""
    items = items_from([f"the film was good {'very ' * n}" for n in range(9)], "text")
    bench = Bench(items, backbone, Cache(home))
    costs = {arm.key: cost(epoch_seconds) for arm in ARMS}
    purse = purse_of(ARMS, budget=budget, raced=True, more_follows=False, seeds=3)
    before = repr(purse)
    foresee_prefixes(ARMS, costs, purse, [bench], remaining=budget)
    assert repr(purse) == before
    assert list(home.iterdir()) == []
    assert len(bench.features) == 9
    n_kept = len(list(home.glob("*.arrays"))) - 2  # the prepared items and the features
    found = {depth for depth in range(BLOCKS) if _is_kept(bench, home, depth)}
    assert len(found) == n_kept
    return found


def _is_kept(bench: Bench, home: Path, depth: int) -> bool:
    """Whether asking for a prefix adds no entry."""
    before = {path.name for path in home.glob("*.arrays")}
    bench.prefix(depth)
    new = {path.name for path in home.glob("*.arrays")} - before
    for name in new:
        (home / name).unlink()
    return not new


def test_an_ample_budget_foresees_what_all_candidates_read(
    backbone: Backbone, tmp_path: Path
) -> None:
    assert kept_depths(backbone, tmp_path, budget=1e6, epoch_seconds=1.0) == {1, 2, 3}


def test_a_budget_that_holds_no_candidate_keeps_the_features_alone(
    backbone: Backbone, tmp_path: Path
) -> None:
    assert kept_depths(backbone, tmp_path, budget=30.0, epoch_seconds=60.0) == set()


@pytest.mark.parametrize(
    ("name", "changes", "depths"),
    [
        ("lp-ft-upper", {}, (2,)),
        ("gradual", {}, (3, 2, 1)),
        ("gradual", {"fit": {"epochs": 2}}, (3, 1)),  # the check before the run reads the lowest
        ("full", {}, ()),
        ("lora", {}, ()),
        ("scratch", {}, ()),
    ],
)
def test_foreseen_depths_of_the_ladders_protocols(
    backbone: Backbone, name: str, changes: dict[str, Any], depths: tuple[int, ...]
) -> None:
    protocol = {**resolve_protocol(load_protocol(name)), **changes}
    assert prefix_depths(protocol, backbone, kind="text") == depths


def test_augmented_images_have_no_prefix(backbone: Backbone) -> None:
    protocol = resolve_protocol(load_protocol("lp-ft-upper"))
    protocol["data"] = {**protocol["data"], "augment": {"kind": "flip"}}
    assert prefix_depths(protocol, backbone, kind="image") == ()
    assert prefix_depths(protocol, backbone, kind="text") == (2,)


def test_a_backbone_that_cannot_be_cut_has_no_prefix(backbone: Backbone) -> None:
    uncut = backbone.copy()
    uncut.can_cut = False
    protocol = resolve_protocol(load_protocol("lp-ft-upper"))
    assert prefix_depths(protocol, uncut, kind="text") == ()


def test_a_study_keeps_its_candidates_prefix_before_the_candidate_runs(tmp_path: Path) -> None:
    study = with_a_short_scratch(small_study(tmp_path, ["lp-ft-upper"]))
    ladder = Ladder(around(study), study.task)
    entries = tmp_path / "cache"
    for event in ladder.events(study.arms, seeds=1):
        if isinstance(event, Done) and len(list(entries.glob("*.arrays"))) > 1:
            break
    assert {one.arm.role for one in ladder.outcomes} == {
        "control_without_transfer",
        "control_without_fine_tuning",
    }
    assert len(list(entries.glob("*.arrays"))) == 3  # prepared items, features, one prefix
