from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regraft.errors import ShapeError
from regraft.measure.continual import (
    average_accuracy,
    backward_transfer,
    continual_scores,
    forgetting,
    forward_transfer,
    upstream_retention,
)

R = np.array([[0.9, 0.3, 0.2], [0.7, 0.8, 0.5], [0.6, 0.85, 0.9]])


def matrix(seed: int, tasks: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random((tasks, tasks))


def test_a_worked_case() -> None:
    found = continual_scores(R, baseline=np.array([0.1, 0.25, 0.1]))
    assert found.accuracy == pytest.approx((0.6 + 0.85 + 0.9) / 3)
    assert found.backward == pytest.approx((-0.3 + 0.05) / 2)
    assert found.forward == pytest.approx((0.05 + 0.4) / 2)
    assert found.forgetting == pytest.approx((0.3 - 0.05) / 2)
    assert continual_scores(R).forward is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_a_learner_that_does_nothing_neither_gains_nor_forgets(scores: list[float]) -> None:
    constant = np.tile(scores, (len(scores), 1))
    found = continual_scores(constant, baseline=np.array(scores))
    assert (found.backward, found.forward, found.forgetting) == (0.0, 0.0, 0.0)
    assert found.accuracy == pytest.approx(np.mean(scores))


@given(st.integers(0, 1000), st.integers(2, 5))
def test_the_sums_equal_those_written_out(seed: int, tasks: int) -> None:
    r, baseline = matrix(seed, tasks), np.random.default_rng(seed + 1).random(tasks)
    last = tasks - 1
    backward = [r[last, j] - r[j, j] for j in range(last)]
    forward = [r[j - 1, j] - baseline[j] for j in range(1, tasks)]
    lost = [max(r[i, j] for i in range(last)) - r[last, j] for j in range(last)]
    assert backward_transfer(r) == pytest.approx(np.mean(backward))
    assert forward_transfer(r, baseline) == pytest.approx(np.mean(forward))
    assert forgetting(r) == pytest.approx(np.mean(lost))
    assert forgetting(r) >= -backward_transfer(r) - 1e-12  # the best before is at least R[j, j]


def test_one_task_has_an_accuracy_and_nothing_else() -> None:
    one = continual_scores(np.array([[0.8]]), baseline=np.array([0.1]))
    assert one.accuracy == 0.8
    assert one.forward is not None
    assert np.isnan([one.backward, one.forward, one.forgetting]).all()


def test_retention_is_the_share_left() -> None:
    assert upstream_retention(0.8, 0.8) == 1.0
    assert upstream_retention(0.8, 0.4) == 0.5
    with pytest.raises(ShapeError, match="0 before is no base"):
        upstream_retention(0, 0.4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"scores \(2, 3\) are no matrix of tasks by tasks"):
        average_accuracy(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"shape \(2,\) for 3 tasks"):
        forward_transfer(R, np.zeros(2))
