"""Latency: so many calls of one item each, and a median that holds."""

from __future__ import annotations

import pytest

from made_grafts import digits, encoder, made
from regraft.deploy.latency import CALLS, call_times
from regraft.deploy.predictor import GraftPredictor
from regraft.measure.medians import median_interval


@pytest.mark.parametrize("name", ["probe", "raw-logistic"])
def test_single_items_are_timed_one_call_each(name: str) -> None:
    predictor = GraftPredictor(made(name, digits(), "zoo:glyphs")[0], encoder("zoo:glyphs"))
    times = call_times(predictor, digits().development.subset([0, 1, 2]))
    assert len(times) == CALLS
    assert min(times) > 0
    found = median_interval(times)
    assert found.low <= found.value <= found.high
