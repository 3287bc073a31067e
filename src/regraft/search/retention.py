"""What adapted backbones make of items of the source domain, beside what they made before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regraft.evidence.gathered import SourceFeatures
from regraft.search.arms import lowest_trained_depth
from regraft.search.predicting import AT_ONCE, Predictors, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.search.outcomes import ArmOutcome
    from regraft.search.surroundings import Surroundings
    from regraft.tasks.items import Items
    from regraft.tasks.task import Task


def source_features(
    around: Surroundings, source: Items, *, task: Task, outcomes: Sequence[ArmOutcome]
) -> SourceFeatures:
    """Return the features of source items by the arms' backbones, and by each that was adapted.

    An arm is represented by its first run; all are computed in fp32.
    """
    backbones = [bench.backbone for bench in around.benches]
    adapted = [o for o in outcomes if _is_adapted(o, backbones[o.arm.backbone or 0].n_blocks)]
    arms = Predictors(around.ledger, adapted, backbones, task).first_of_each()
    starts = range(0, len(source), AT_ONCE)
    parts = [source.subset(range(at, min(at + AT_ONCE, len(source)))) for at in starts]
    after = joined([arms.of(part) for part in parts])
    places = {one.arm.backbone or 0 for one in outcomes}
    before = {
        place: np.concatenate([arms.pretrained(part, place) for part in parts]) for place in places
    }
    return SourceFeatures(
        labels=source.labels,
        before=before,
        after={key: one.features for key, one in after.items() if one.features is not None},
    )


def _is_adapted(outcome: ArmOutcome, n_blocks: int) -> bool:
    """Whether an arm trained more than a head on a pretrained backbone."""
    if outcome.arm.is_from_scratch or not outcome.arm.is_trained:
        return False
    return lowest_trained_depth(outcome.protocol, n_blocks) < n_blocks
