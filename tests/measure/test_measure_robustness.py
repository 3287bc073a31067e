from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.errors import ShapeError
from regraft.measure.robustness import corruption_errors

ERRORS = st.lists(st.floats(0.01, 1.0), min_size=5, max_size=5)


def test_a_worked_case() -> None:
    found = corruption_errors(
        {"fog": [0.2, 0.4], "jpeg": [0.1, 0.2]},
        {"fog": [0.4, 0.8], "jpeg": [0.3, 0.3]},
        clean=0.1,
        clean_reference=0.2,
    )
    assert found.each == pytest.approx({"fog": 0.5, "jpeg": 0.5})
    assert found.mean == pytest.approx(0.5)
    assert found.relative == pytest.approx((0.4 / 0.8 + 0.1 / 0.2) / 2)


@given(ERRORS, ERRORS)
def test_a_classifier_is_as_robust_as_itself(fog: list[float], snow: list[float]) -> None:
    errors = {"fog": fog, "snow": snow}
    found = corruption_errors(errors, errors, clean=0.005, clean_reference=0.005)
    assert found.mean == pytest.approx(1.0)
    assert found.relative == pytest.approx(1.0)


@given(ERRORS, ERRORS, st.floats(0.1, 1.0))
def test_the_error_is_linear_in_the_classifiers_own(
    fog: list[float], other: list[float], k: float
) -> None:
    scaled = corruption_errors(
        {"fog": [k * x for x in fog]}, {"fog": other}, clean=0, clean_reference=0
    )
    plain = corruption_errors({"fog": fog}, {"fog": other}, clean=0, clean_reference=0)
    assert scaled.mean == pytest.approx(k * plain.mean)


def test_a_reference_that_loses_nothing_leaves_the_relative_error_undefined() -> None:
    found = corruption_errors({"fog": [0.5]}, {"fog": [0.2]}, clean=0.1, clean_reference=0.2)
    assert found.mean == pytest.approx(2.5)
    assert found.relative is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\['fog'\] and \['snow'\] differ"):
        corruption_errors({"fog": [0.1]}, {"snow": [0.1]}, clean=0, clean_reference=0)
    with pytest.raises(ShapeError, match="hold nothing"):
        corruption_errors({}, {}, clean=0, clean_reference=0)
    with pytest.raises(ShapeError, match="no error under 'fog'"):
        corruption_errors({"fog": [0.1]}, {"fog": [0.0]}, clean=0, clean_reference=0)
