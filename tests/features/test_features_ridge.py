from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from made_clusters import clusters
from regraft.errors import ShapeError
from regraft.features.logistic import STRENGTHS
from regraft.features.ridge import ridge_head


@pytest.mark.parametrize(("n", "width"), [(60, 6), (20, 45)])
def test_ridge_leaves_each_row_out_as_solving_without_it_does(n: int, width: int) -> None:
    x, y = clusters(3, n=n, width=width, apart=0.6)
    standard = StandardScaler().fit_transform(x)
    ridge = ridge_head(x, y, 3, strengths=np.array([0.3]))
    targets = np.eye(3)[y]
    whole = Ridge(alpha=0.3 * n).fit(standard, targets)
    np.testing.assert_allclose(x @ ridge.weight.T + ridge.bias, whole.predict(standard), atol=2e-4)
    for row in range(0, n, 7):
        rest = np.arange(n) != row
        # The penalty stays λn while a row is out; the weights then equal the leverage formula's.
        without = Ridge(alpha=0.3 * n).fit(standard[rest], targets[rest])
        known = without.predict(standard[row : row + 1])[0]
        np.testing.assert_allclose(ridge.left_out[row], known, atol=1e-5)
    squared = ((targets - ridge.left_out) ** 2).sum(axis=1).mean()
    assert ridge.error == pytest.approx(squared)


@pytest.mark.parametrize(("n", "width"), [(60, 6), (20, 45)])
def test_ridge_reaches_the_least_objective_at_every_strength(n: int, width: int) -> None:
    x, y = clusters(7, n=n, width=width, apart=0.6)
    standard, targets = StandardScaler().fit_transform(x), np.eye(3)[y]

    def objective(fitted: NDArray[Any], weight: NDArray[Any], strength: float) -> float:
        error = ((targets - fitted) ** 2).sum(axis=1).mean()
        return float(error + strength * (weight**2).sum()) / 2

    for strength in STRENGTHS:
        known = Ridge(alpha=strength * n).fit(standard, targets)
        least = objective(known.predict(standard), known.coef_, strength)
        ours = ridge_head(x, y, 3, strengths=np.array([strength]))
        fitted = x @ ours.weight.T.astype(np.float64) + ours.bias
        found = objective(fitted, ours.weight * x.std(axis=0), strength)
        assert found == pytest.approx(least, rel=1e-5, abs=0), strength


def test_ridge_takes_the_strength_of_the_least_leave_one_out_error() -> None:
    x, y = clusters(4, n=60, width=30, apart=0.4)
    errors = [ridge_head(x, y, 3, strengths=np.array([s])).error for s in STRENGTHS]
    assert ridge_head(x, y, 3).strength == STRENGTHS[int(np.argmin(errors))]
    with pytest.raises(ShapeError, match="no strength"):
        ridge_head(x, y, 3, strengths=np.empty(0))


def test_ridge_by_blocks_is_ridge_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clusters(5, n=300, width=12, apart=0.4)
    whole = ridge_head(x, y, 3)
    monkeypatch.setattr("regraft.features.standard.BLOCK_NUMBERS", 900)
    parts = ridge_head(x, y, 3)
    assert parts.strength == whole.strength
    assert parts.error == pytest.approx(whole.error, abs=1e-9)
    np.testing.assert_allclose(parts.weight, whole.weight, atol=1e-6)
    np.testing.assert_allclose(parts.bias, whole.bias, atol=1e-6)
    np.testing.assert_allclose(parts.left_out, whole.left_out[parts.rows], atol=1e-9)


def test_of_very_many_rows_some_are_shown_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clusters(6, n=300, width=12, apart=0.4)
    whole = ridge_head(x, y, 3)
    monkeypatch.setattr("regraft.features.standard.BLOCK_NUMBERS", 600)
    some = ridge_head(x, y, 3)
    assert len(some.rows) == 50  # as many as one block of 12 numbers each holds
    assert (some.rows[0], some.rows[-1]) == (0, 299)
    np.testing.assert_allclose(some.left_out, whole.left_out[some.rows], atol=1e-9)
