"""What optional ingredients ask of a study: that their off-switches run as far as they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regraft.evidence.gates import judge_gates
from regraft.evidence.verdict import Verdict, decide_verdict
from regraft.search.outcomes import ArmOutcome, arm_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.search.arms import Arm
    from regraft.tasks.task import Task


def verdict_of(
    outcomes: Sequence[ArmOutcome], task: Task, *, seed: int, gated: bool = True
) -> Verdict:
    """Decide on the validation items between the arms that have a result.

    Args:
        outcomes: What became of every arm.
        task: Labels, metric and costs.
        seed: Of the resampling.
        gated: Whether optional ingredients must have beaten their off-switches.
    """
    done = [arm_result(one) for one in outcomes if one.is_done]
    rows = next(one for one in outcomes if one.is_done).repetitions[0].arrays["rows"]
    labels = task.development.labels[rows]
    switches = [switch for one in outcomes for switch in one.arm.switches]
    gates = judge_gates(
        switches if gated else [],
        {one.protocol: one.probabilities for one in done},
        labels,
        titles={one.arm.key: one.arm.title for one in outcomes},
        statuses={one.arm.key: one.status for one in outcomes if not one.is_done},
        metric=task.metric,
        costs=task.costs,
        seed=seed,
    )
    return decide_verdict(
        done, labels, metric=task.metric, costs=task.costs, seed=seed, gates=gates
    )


def run_pairs(runs: Sequence[tuple[Arm, str]]) -> list[tuple[frozenset[str], frozenset[str]]]:
    """Return the runs of each arm with an ingredient, with those of its off-switch."""
    by_arm: dict[str, set[str]] = {}
    for arm, run in runs:
        by_arm.setdefault(arm.key, set()).add(run)
    arms = {arm.key: arm for arm, _ in runs}
    return [
        (frozenset(by_arm[arm.key]), frozenset(by_arm.get(switch.off, ())))
        for arm in arms.values()
        for switch in arm.switches
    ]


def with_trained_off_switches(chosen: Sequence[Arm], done: Sequence[Arm]) -> list[Arm]:
    """Return arms that are repeated, and with them what their ingredients are held against.

    Args:
        chosen: The arms.
        done: All that have a result.
    """
    by_key = {arm.key: arm for arm in done if arm.is_trained}
    found = {arm.key: arm for arm in chosen}
    waiting = list(chosen)
    while waiting:
        for switch in waiting.pop(0).switches:
            off = by_key.get(switch.off)
            if off is not None and off.key not in found:
                found[off.key] = off
                waiting.append(off)
    return list(found.values())
