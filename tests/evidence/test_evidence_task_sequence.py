"""Transfer and forgetting over tasks learnt one after another, with intervals."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.errors import ShapeError
from regraft.evidence.task_sequence import TaskSequence, task_sequence
from regraft.measure.continual import continual_scores

LABELS = [np.repeat([0, 1], 40), np.repeat([0, 1, 1], 20), np.repeat([0, 1], 50)]


def answers(shares: list[list[float]]) -> list[list[np.ndarray]]:
    """Return which items are right, such that each share of them is."""
    return [
        [
            np.arange(len(one)) < round(share * len(one))
            for share, one in zip(row, LABELS, strict=True)
        ]
        for row in shares
    ]


def found(shares: list[list[float]], seed: int = 0) -> TaskSequence:
    return task_sequence(answers(shares), LABELS, names=("a", "b", "c"), seed=seed)


SHARES = [[0.9, 0.6, 0.5], [0.85, 0.9, 0.56], [0.8, 0.8, 0.86]]


def test_summaries_are_those_of_the_matrix_and_lie_in_their_intervals() -> None:
    sequence = found(SHARES)
    known = continual_scores(np.array(SHARES), baseline=np.array([0.5, 2 / 3, 0.5]))
    assert sequence.chance == pytest.approx((0.5, 2 / 3, 0.5))
    for key, one in sequence.summaries.items():
        assert one.value == pytest.approx(getattr(known, key))
        assert one.low < one.value < one.high
        assert one.warning is None
    shown = np.array([[one.value for one in row] for row in sequence.scores])
    assert shown == pytest.approx(np.array(SHARES))
    assert sequence.to_json()["tasks"] == ["a", "b", "c"]


def test_a_learner_that_never_changes_forgets_nothing() -> None:
    sequence = found([[0.7, 0.6, 0.5]] * 3)
    for key in ("backward", "forgetting"):
        one = sequence.summaries[key]
        assert (one.value, one.low, one.high) == (0.0, 0.0, 0.0)


def test_the_spread_of_a_mean_accuracy_is_that_of_its_items() -> None:
    one = found(SHARES).summaries["accuracy"]
    last = np.array(SHARES[-1])
    n = np.array([len(labels) for labels in LABELS])
    deviation = np.sqrt((last * (1 - last) / n).sum()) / 3
    assert one.high - one.low == pytest.approx(2 * 1.96 * deviation, rel=0.08)
    assert found(SHARES).summaries == found(SHARES).summaries
    assert found(SHARES, seed=1).summaries["accuracy"] != one


def test_few_items_carry_a_warning_and_what_does_not_fit_is_refused() -> None:
    few = [np.array([0, 1] * 5), np.array([0, 1] * 20)]
    rights = [[one == 0 for one in few]] * 2
    sequence = task_sequence(rights, few, names=("a", "b"), seed=0)
    assert sequence.summaries["forgetting"].warning == "n = 10 in a task"
    for wrong in ([], rights[:1], [rights[0], [few[0] == 0, few[0] == 0]]):
        with pytest.raises(ShapeError, match="two or more tasks"):
            task_sequence(wrong, few, names=("a", "b"), seed=0)
    with pytest.raises(ShapeError, match="two or more tasks"):
        task_sequence([[few[0] == 0]], few[:1], names=("a",), seed=0)
