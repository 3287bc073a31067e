"""Limited-memory BFGS as a generator, so that many problems can share each pass over the data."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator

import numpy as np
from numpy.typing import NDArray

Point = NDArray[np.float64]
Descent = Generator[Point, tuple[float, Point], Point]
"""Yields points, is sent value and gradient there, returns the last point."""

_MEMORY = 20
_MOST_STEPS = 1000
_SUFFICIENT = 1e-4
_LEAST_SIZE = 1e-4
_LEAST_CURVATURE = 1e-12
_WINDOW = 5
_ROUNDING = 1e-9


def lbfgs(
    start: Point,
    *,
    precondition: Callable[[Point], Point],
    curvature: float,
    tolerance: float,
) -> Descent:
    """Minimise a smooth convex function; whoever drives it evaluates the points it yields.

    It ends where the gradient g proves the value to be within the tolerance of the least one,
    ‖g‖² / (2 curvature) ≤ tolerance, or where five steps together gain less than the tolerance.

    Args:
        start: Where to begin, shape (p,).
        precondition: What a vector times an estimate of the inverse Hessian is. The better the
            estimate, the fewer the steps.
        curvature: A lower bound of the Hessian's eigenvalues, > 0.
        tolerance: How far from the least value the end may be.

    Reference:
        Liu & Nocedal, On the limited memory BFGS method, Mathematical Programming 45 (1989).
    """
    point = start
    value, gradient = yield point
    steps: deque[tuple[Point, Point, float]] = deque(maxlen=_MEMORY)
    values = deque([value], maxlen=_WINDOW + 1)
    for _ in range(_MOST_STEPS):
        is_slow = len(values) > _WINDOW and values[0] - value < tolerance
        if is_slow or float(gradient @ gradient) <= 2 * curvature * tolerance:
            break
        direction = _direction(gradient, steps, precondition)
        slope = float(direction @ gradient)
        size, allowed = 1.0, _ROUNDING * max(1.0, abs(value))
        while True:
            new, new_gradient = yield point + size * direction
            if new <= value + _SUFFICIENT * size * slope + allowed:
                break
            if size < _LEAST_SIZE:  # rounding hides what is left
                return point
            # The least of the parabola through both values and the slope, kept within bounds.
            best = -0.5 * slope * size**2 / (new - value - size * slope)
            size = min(max(best, 0.1 * size), 0.5 * size)
        moved, turned = size * direction, new_gradient - gradient
        along = float(moved @ turned)
        if along > _LEAST_CURVATURE * float(turned @ turned):
            steps.append((moved, turned, along))
        point, value, gradient = point + moved, new, new_gradient
        values.append(value)
    return point


def _direction(
    gradient: Point,
    steps: deque[tuple[Point, Point, float]],
    precondition: Callable[[Point], Point],
) -> Point:
    """Return minus the inverse Hessian's estimate times the gradient (two-loop recursion)."""
    direction = -gradient
    shares = []
    for moved, turned, along in reversed(steps):
        share = float(moved @ direction) / along
        direction = direction - share * turned
        shares.append(share)
    direction = precondition(direction)
    for (moved, turned, along), share in zip(steps, reversed(shares), strict=True):
        direction = direction + (share - float(turned @ direction) / along) * moved
    return direction
