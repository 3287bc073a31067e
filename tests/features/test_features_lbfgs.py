from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from regraft.features.lbfgs import Descent, lbfgs

Point = NDArray[np.float64]


def quadratic(seed: int, width: int) -> tuple[Point, Point, Callable[[Point], tuple[float, Point]]]:
    """Return Hessian, least point, and value with gradient of a quadratic."""
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.normal(size=(width, width)))[0]
    hessian = axes @ np.diag(np.geomspace(1e-2, 10, width)) @ axes.T
    least = random.normal(size=width)

    def value(point: Point) -> tuple[float, Point]:
        away = point - least
        return 0.5 * float(away @ hessian @ away), hessian @ away

    return hessian, least, value


def drive(descent: Descent, value: Callable[[Point], tuple[float, Point]]) -> tuple[Point, int]:
    """Return the last point and how many points were evaluated."""
    point, evaluated = next(descent), 0
    while True:
        evaluated += 1
        try:
            point = descent.send(value(point))
        except StopIteration as stop:
            return stop.value, evaluated


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_ends_within_the_tolerance_of_the_least_value(seed: int) -> None:
    _, _, value = quadratic(seed, 12)
    descent = lbfgs(np.zeros(12), precondition=lambda v: v, curvature=1e-2, tolerance=1e-8)
    end, _ = drive(descent, value)
    assert value(end)[0] < 1e-7


def test_the_inverse_hessian_as_preconditioner_needs_one_step() -> None:
    hessian, least, value = quadratic(3, 12)
    inverse = np.linalg.inv(hessian)
    descent = lbfgs(
        np.zeros(12), precondition=lambda v: inverse @ v, curvature=1e-2, tolerance=1e-10
    )
    end, evaluated = drive(descent, value)
    np.testing.assert_allclose(end, least, atol=1e-6)
    assert evaluated == 2


def test_steps_that_are_too_long_are_cut() -> None:
    _, least, value = quadratic(4, 6)
    descent = lbfgs(np.zeros(6), precondition=lambda v: 1e3 * v, curvature=1e-2, tolerance=1e-10)
    end, _ = drive(descent, value)
    np.testing.assert_allclose(end, least, atol=1e-2)
