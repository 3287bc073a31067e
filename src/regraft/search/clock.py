"""The wall time of a study, earlier sittings included."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from regraft.ledger.ledger import Ledger


@final
class Clock:
    """Counts on from what the ledger holds; `save` writes it down."""

    def __init__(self, ledger: Ledger, study: str, budget: float) -> None:
        self._ledger, self.study = ledger, study
        self.budget = budget
        self._earlier = ledger.studies.elapsed(study)
        self._saved = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall seconds of the study so far."""
        return self._earlier + time.monotonic() - self._started

    @property
    def remaining(self) -> float:
        """Seconds left of the budget; negative when it is spent."""
        return self.budget - self.seconds

    def save(self) -> None:
        """Add the seconds since the last saving to the ledger."""
        now = time.monotonic() - self._started
        self._ledger.studies.add_seconds(self.study, now - self._saved)
        self._saved = now
