"""What became of the arms of a study."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.verdict import ArmResult
from regraft.measure.metrics import METRICS, softmax
from regraft.search.arms import with_fit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.search.advisor import Admission
    from regraft.search.arms import Arm
    from regraft.search.drive import Outcome
    from regraft.search.race import Dropped


@dataclass(slots=True, eq=False)
class ArmOutcome:
    """What became of an arm.

    Attributes:
        arm: The arm.
        admission: On what terms it ran, or why it did not.
        tuning: Outcome per learning rate, with the first seed.
        repetitions: Outcomes of the chosen learning rate: the first seed's, then the others'.
        chosen: Index of the chosen learning rate.
        dropped: Learning rates that dropped out of the race, by run.
    """

    arm: Arm
    admission: Admission
    tuning: list[Outcome] = field(default_factory=list)
    repetitions: list[Outcome] = field(default_factory=list)
    chosen: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether the arm has a result."""
        return bool(self.repetitions)

    @property
    def protocol(self) -> dict[str, Any]:
        """The resolved protocol as it ran, at the chosen rate."""
        return with_fit(self.arm.candidates[self.chosen], epochs=self.admission.epochs)

    @property
    def status(self) -> str:
        """``done``, ``skipped``, ``failed``, or ``eliminated`` where all rates dropped out."""
        if self.is_done:
            return "done"
        if self.dropped:
            return "eliminated"
        return "failed" if self.admission.admitted else "skipped"

    @property
    def reason(self) -> str:
        """Why the arm ran, was skipped, dropped out or failed."""
        if self.status == "eliminated":
            return max(self.dropped.values(), key=lambda one: one.rank).reason
        failed = [o.reason for o in self.tuning if o.status == "failed"]
        return failed[0] if self.status == "failed" and failed else self.admission.reason

    def admitted_candidates(self) -> list[dict[str, Any]]:
        """Return the learning rates that are tried, the arm's middle one first."""
        middle = len(self.arm.candidates) // 2
        rest = [c for i, c in enumerate(self.arm.candidates) if i != middle]
        return [self.arm.candidates[middle], *rest][: self.admission.n_rates]

    def note(self, candidate: Mapping[str, Any], ended: Outcome, metric: str) -> None:
        """Take in how a learning rate ended; the best on validation stands for the arm."""
        self.tuning.append(ended)
        if ended.status != "done":
            return
        sign = METRICS[metric].sign

        def rank(one: Outcome) -> tuple[float, float]:
            scores = one.summary["metrics"]
            return sign * scores[metric], -scores["log_loss"]

        if not self.repetitions or rank(ended) > rank(self.repetitions[0]):
            self.repetitions = [ended]
            self.chosen = [c["rate"] for c in self.arm.candidates].index(candidate["rate"])

    def probabilities(self) -> np.ndarray[Any, Any]:
        """Out-of-sample class probabilities, shape (seeds, validated rows, C)."""
        return np.stack([softmax(outcome.arrays["logits"]) for outcome in self.repetitions])


def arm_result(outcome: ArmOutcome, logits: np.ndarray[Any, Any] | None = None) -> ArmResult:
    """Return what the verdict needs of an arm: on validation, or on the items of other logits."""
    return ArmResult(
        protocol=outcome.arm.key,
        title=outcome.arm.title,
        role=outcome.arm.role,
        probabilities=outcome.probabilities() if logits is None else softmax(logits),
        cost_seconds=outcome.admission.estimated_seconds,
    )
