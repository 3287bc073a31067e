"""What every run of a study shares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.backbones.precision import Precision
    from regraft.ledger.ledger import Ledger
    from regraft.search.bench import Bench
    from regraft.search.clock import Clock


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What every run of a study shares.

    Attributes:
        ledger: Where all is written.
        study: The study's id.
        benches: The backbones with all labelled items.
        clock: Counts the budget down.
        seed: The study's seed.
        precision: Of every run.
        device: Of every run, as torch names it.
        checkpoint_seconds: Least time between two checkpoints of a run.
        memory_bytes: What the process may hold: above it candidates that wait are put on disk and
            batches are taken in parts; rows of features are kept only below it.
    """

    ledger: Ledger
    study: str
    benches: Sequence[Bench]
    clock: Clock
    seed: int
    precision: Precision
    device: str
    checkpoint_seconds: float = 10.0
    memory_bytes: float = math.inf
