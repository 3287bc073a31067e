"""Ordering backbones for a task by what they make of its labelled items; nothing is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regraft.backbones.loading import load_backbone
from regraft.errors import ConfigError
from regraft.evidence.ranking import HALVES, MOST_ITEMS, Candidate, Ranking, rank, rows_to_rank
from regraft.features.store import Cache
from regraft.ledger.ledger import Ledger
from regraft.search.arms import check_kinds
from regraft.search.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from regraft.tasks.task import Task


def rank_backbones(
    task: Task,
    references: Sequence[str],
    *,
    home: Path | None = None,
    most_items: int = MOST_ITEMS,
    half_samples: int = HALVES,
    seed: int = 0,
    trust_remote_code: bool = False,
) -> Ranking:
    """Order backbones by their pooled features of the task's labelled items, best first.

    Of the sealed part neither inputs nor labels are looked at: features and scores are those of
    the items that train and validate. Features come through the cache, so a study on all items
    that follows by the same seed does not compute them again. LEEP and NCE score the backbones
    that bring their source head.

    Args:
        task: The task.
        references: Two backbones or more, each once.
        home: The ledger's folder, which holds the cache.
        most_items: Above so many labelled items a stratified draw of them is looked at.
        half_samples: Draws of half of them, for the spread.
        seed: Of both draws.
        trust_remote_code: Whether a hub model may bring code that is then run.

    Raises:
        BackboneError: A backbone cannot be loaded, or takes another kind of input.
        ConfigError: There are fewer than two backbones, or one is named twice; a number is below
            its least.
        ShapeError: The labelled items are of one class, or a backbone's features cannot be scored.
    """
    _check(references, most_items=most_items, half_samples=half_samples)
    backbones = [load_backbone(one, trust_remote_code=trust_remote_code) for one in references]
    check_kinds(task.kind, backbones)
    items = task.development
    items = items.subset(rows_to_rank(items.labels, most=most_items, seed=seed))
    cache = Cache(Ledger.open(home).home / "cache")
    benches = [Bench(items, backbone, cache) for backbone in backbones]
    candidates = [
        Candidate(reference, bench.features, bench.source)
        for reference, bench in zip(references, benches, strict=True)
    ]
    return rank(candidates, items.labels, half_samples=half_samples, seed=seed)


def _check(references: Sequence[str], *, most_items: int, half_samples: int) -> None:
    repeated = {one for one in references if references.count(one) > 1}
    if repeated:
        raise ConfigError(
            f"{min(repeated)!r} is named more than once. Name each backbone once.",
            where="--backbones",
        )
    if len(references) < 2:
        raise ConfigError(
            f"{len(references)} backbone gives no order. Name two or more, with commas between.",
            where="--backbones",
        )
    for option, number, least in (("--items", most_items, 4), ("--halves", half_samples, 1)):
        if number < least:
            raise ConfigError(f"{number} is too few. Give {least} or more.", where=option)
