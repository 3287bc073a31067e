"""Which prefixes the runs of a study will read, so that one pass over the items keeps them all."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from regraft.config.protocol import depth_index
from regraft.config.registry import kind_spec, load
from regraft.search.advisor import SCRATCH_SHARE, order
from regraft.search.arms import lowest_trained_depth, with_fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.search.advisor import Purse
    from regraft.search.arms import Arm
    from regraft.search.bench import Bench
    from regraft.search.costs import CostModel


def foresee_prefixes(
    arms: Sequence[Arm],
    costs: Mapping[str, CostModel],
    purse: Purse,
    benches: Sequence[Bench],
    *,
    remaining: float,
) -> None:
    """Tell each bench the depths that its candidates will ask for, as far as the budget goes.

    Candidates are admitted on trial, with what the controls are expected to leave. No decision
    hangs on it: a prefix that was not foreseen is computed when a run asks for it.

    Args:
        arms: All arms of the study.
        costs: Their cost models, by key.
        purse: The study's purse; it stays as it is.
        benches: The backbones with all labelled items.
        remaining: Seconds left before the first control.
    """
    purse = deepcopy(purse)
    left = remaining - _controls(arms, costs, purse.budget)
    for arm in order(arms, costs):
        if arm.role != "candidate" or not arm.is_trained:
            continue
        terms = purse.terms(arm, costs[arm.key], remaining=left)
        purse.take(arm, terms, costs[arm.key])
        if terms.admitted:
            bench = benches[arm.backbone or 0]
            protocol = with_fit(arm.candidates[0], epochs=terms.epochs)
            bench.expect(prefix_depths(protocol, bench.backbone, kind=bench.items.kind))


def prefix_depths(protocol: Mapping[str, Any], backbone: Backbone, *, kind: str) -> tuple[int, ...]:
    """Return the depths whose kept prefixes a run reads, the deepest first.

    Args:
        protocol: A resolved protocol.
        backbone: What it adapts.
        kind: Kind of the items.
    """
    augments = kind == "image" and protocol["data"]["augment"]["kind"] != "none"
    if augments or protocol["backbone"] != "pretrained" or not backbone.can_cut:
        return ()
    n_blocks = backbone.n_blocks
    lowest = _lowest_with_parameters(backbone, lowest_trained_depth(protocol, n_blocks))
    depths = {lowest}
    if protocol["unfreeze"] is not None:
        spec = kind_spec("unfreeze", protocol["unfreeze"], where="unfreeze")
        opened = load("unfreeze", spec.kind).lowest_open
        from_depth = depth_index(protocol["train"]["from_depth"], n_blocks)
        depths |= {
            max(lowest, opened(spec, epoch=epoch, from_depth=from_depth, n_blocks=n_blocks))
            for epoch in range(int(protocol["fit"]["epochs"]))
        }
    return tuple(depth for depth in sorted(depths, reverse=True) if 0 < depth < n_blocks)


def _lowest_with_parameters(backbone: Backbone, from_depth: int) -> int:
    """Return the lowest block from a depth on that has something to train."""
    depths = {backbone.depth_of(name) for name, _ in backbone.module.named_parameters()}
    return min((depth for depth in depths if depth >= from_depth), default=backbone.n_blocks)


def _controls(arms: Sequence[Arm], costs: Mapping[str, CostModel], budget: float) -> float:
    """Return the seconds that the controls are expected to take, the passes for features too."""
    passes: dict[int, float] = {}
    seconds = 0.0
    for arm in arms:
        cost = costs[arm.key]
        if arm.backbone is not None:
            passes[arm.backbone] = cost.feature_pass
        if arm.role != "candidate":
            runs = sum(cost.run(candidate) for candidate in arm.candidates)
            seconds += min(runs, SCRATCH_SHARE * budget) if arm.is_from_scratch else runs
    return seconds + sum(passes.values())
