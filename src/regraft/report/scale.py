"""The stretch of an axis on which arms are compared."""

from __future__ import annotations

from math import ceil, floor
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REACH = 4.0
_LEAST_SPAN = 0.02
_MARGIN = 0.04


class Scale(NamedTuple):
    """The shown range of a metric; what lies beyond it is drawn at its edge, with an arrow."""

    low: float
    high: float

    @classmethod
    def of(
        cls,
        scores: Sequence[Mapping[str, float | None]],
        *,
        higher_is_better: bool,
        kept: Sequence[float] = (),
    ) -> Self:
        """Return a range that holds the good arms with their intervals.

        A majority baseline far off would press all others into a corner: the range reaches, on the
        bad side, four times as far from the best value as the median is.

        Args:
            scores: Each with ``value``, ``low`` and ``high``; None where unknown.
            higher_is_better: The metric's direction.
            kept: Values that must lie inside, however bad.
        """
        sign = 1.0 if higher_is_better else -1.0
        known = [one for one in scores if one["value"] is not None]
        if not known:
            return cls(0.0, 1.0)
        values = [sign * float(one["value"] or 0.0) for one in known]
        ends = [
            sign * float(end)
            for one in known
            for end in (one["low"], one["high"])
            if end is not None
        ] or values
        best = max(values)
        reach = max(
            _REACH * (best - median(values)), _LEAST_SPAN, *(best - sign * one for one in kept)
        )
        low, high = max(min(*ends, *values), best - reach), max(*ends, *values)
        margin = _MARGIN * max(high - low, _LEAST_SPAN)
        low, high = low - margin, high + margin
        return cls(low, high) if higher_is_better else cls(-high, -low)

    def share(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one, kept inside."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def holds(self, value: float) -> bool:
        """Return whether a value lies inside."""
        return self.low <= value <= self.high

    def ticks(self, most: int = 4) -> list[float]:
        """Return round numbers inside the range, at most `most`."""
        for step in (s * 10.0**e for e in range(-4, 4) for s in (1, 2, 5)):
            first, last = ceil(self.low / step), floor(self.high / step)
            if last - first < most:
                return [round(i * step, 10) for i in range(first, last + 1)]
        return []
