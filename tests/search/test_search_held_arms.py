"""Which arms robustness is measured of: those of which the evidence tells, by one rule."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.evidence.arm import ArmEvidence, Part
from regraft.evidence.questions.asked import transferred, validation_values
from regraft.search.advisor import Admission
from regraft.search.arms import Arm, Role
from regraft.search.drive import Outcome
from regraft.search.holding_up import held_arms
from regraft.search.outcomes import ArmOutcome

N = 40
LABELS = np.arange(N) % 2

RIGHT: dict[str, tuple[Role, tuple[int, ...]]] = {
    "raw": ("control_without_transfer", (38,)),
    "scratch": ("control_without_transfer", (20,)),
    "lora": ("candidate", (36, 20)),  # ahead by its first seed
    "lp-ft": ("candidate", (34, 34)),  # ahead over its seeds
    "knn": ("control_without_fine_tuning", (24,)),
    "probe": ("control_without_fine_tuning", (30,)),
}
"""Items that each seed gets right."""


def outcome(key: str, role: Role, rights: tuple[int, ...]) -> ArmOutcome:
    """Return an arm of which every seed gets so many items right."""
    arm = Arm(key, key, key.title(), role, 0, ({},))
    runs = []
    for i, right in enumerate(rights):
        said = np.where(np.arange(N) < right, LABELS, 1 - LABELS)
        arrays = {"logits": 4.0 * np.eye(2)[said], "rows": np.arange(N)}
        summary = {"metrics": {"accuracy": right / N}}
        runs.append(Outcome(f"{key}-{i}", "done", "", summary, arrays))
    return ArmOutcome(arm, Admission(True, ""), runs[:1], runs)


OUTCOMES = [outcome(key, role, rights) for key, (role, rights) in RIGHT.items()]
VALUES = validation_values(
    {one.arm.key: one.probabilities() for one in OUTCOMES}, Part(LABELS, None, 0), "accuracy"
)


def evidence_of(one: ArmOutcome) -> ArmEvidence:
    logits = np.stack([each.arrays["logits"] for each in one.repetitions])
    return ArmEvidence(
        key=one.arm.key, protocol=one.arm.key, title=one.arm.title, role=one.arm.role,
        status="done", reason="", settings={}, estimated_seconds=1.0, logits=logits,
        test_logits=logits,
    )  # fmt: skip


def test_validation_values_are_means_over_seeds() -> None:
    assert VALUES["lora"] == pytest.approx(28 / N)
    assert VALUES["lp-ft"] == pytest.approx(34 / N)


@pytest.mark.parametrize("winner", list(RIGHT))
def test_what_is_predicted_is_what_the_evidence_tells_of(winner: str) -> None:
    told = transferred([evidence_of(one) for one in OUTCOMES], winner, VALUES)
    assert told is not None
    held = [one.arm.key for one in held_arms(OUTCOMES, winner, VALUES)]
    assert held[0] == winner
    assert told.key in held
    assert len(set(held)) == len(held)
    assert {"probe", "raw"} <= set(held)


def test_where_the_winner_does_not_transfer_the_best_over_all_seeds_stands_for_it() -> None:
    held = [one.arm.key for one in held_arms(OUTCOMES, "raw", VALUES)]
    assert held == ["raw", "lp-ft", "probe"]
    assert [one.arm.key for one in held_arms(OUTCOMES[:2], "raw", VALUES)] == ["raw"]
