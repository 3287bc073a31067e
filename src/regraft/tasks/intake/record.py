"""What intake found, for the task card."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Intake:
    """The plain record of how the data was read.

    Attributes:
        source: Where the data comes from.
        n_development: Items that train and validate; `n_test` items are sealed.
        skipped: Why items were left out (some of them); `n_skipped` is their number.
        converted: How often each conversion was needed.
        duplicates_within: Items that repeat another of the same part.
        duplicates_across: Items that repeat one of another part.
        duplicates_removed: Of these, how many were taken out of training or validation.
        leakage: What else was found to leak, in sentences.
        split: How the parts were made.
        width: Least, median and greatest width in pixels, or None; `height` alike.
        words: Least, median and greatest number of words of a text, or None.
        notes: What was guessed or assumed.
    """

    source: str
    n_development: int
    n_test: int
    skipped: tuple[str, ...]
    n_skipped: int
    converted: dict[str, int]
    duplicates_within: int
    duplicates_across: int
    duplicates_removed: int
    leakage: tuple[str, ...]
    split: str
    width: tuple[int, int, int] | None
    height: tuple[int, int, int] | None
    words: tuple[int, int, int] | None
    notes: tuple[str, ...]

    @property
    def largest_side(self) -> int | None:
        """The greatest width or height, or None for other kinds."""
        if self.width is None or self.height is None:
            return None
        return max(self.width[2], self.height[2])

    def to_json(self) -> dict[str, Any]:
        """Return the plain form."""
        return asdict(self)
