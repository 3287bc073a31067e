"""The record of intake, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regraft.tasks.intake.record import Intake

if TYPE_CHECKING:
    from regraft.tasks.intake.inspection import Inspection
    from regraft.tasks.intake.rows import Rows
    from regraft.tasks.parts import Parts


def summarise(rows: Rows, inspection: Inspection, parts: Parts, source: str) -> Intake:
    """Return the plain record of how the data was read, looked at and divided."""
    widths = [one.size[0] for one in inspection.seen if one.size]
    heights = [one.size[1] for one in inspection.seen if one.size]
    words = [one.words for one in inspection.seen if one.words is not None]
    return Intake(
        source=source,
        n_development=len(parts.development),
        n_test=len(parts.test),
        skipped=inspection.skipped,
        n_skipped=inspection.n_skipped,
        converted=inspection.converted,
        duplicates_within=parts.within,
        duplicates_across=parts.removed,
        duplicates_removed=parts.removed,
        leakage=parts.leakage,
        split=parts.split,
        width=_spread(widths),
        height=_spread(heights),
        words=_spread(words),
        notes=(*rows.notes, *parts.notes),
    )


def _spread(values: list[int]) -> tuple[int, int, int] | None:
    if not values:
        return None
    return min(values), int(np.median(values)), max(values)
