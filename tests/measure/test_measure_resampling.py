"""Resamples that are kept are those that would be drawn."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.measure import resampling
from regraft.measure.resampling import resampled_scores


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss"])
@pytest.mark.parametrize("sizes", [(300, 200, 1), (2, 3, 4)])
def test_kept_resamples_are_those_that_would_be_drawn(
    metric: str, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(3)
    labels = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    first, second = generator.dirichlet(np.ones(3), size=(2, 2, len(labels)))
    asked = {"labels": labels, "resamples": 3000, "seed": 5}
    kept = resampled_scores(metric, [first], **asked)
    both = resampled_scores(metric, [first, second], **asked)
    other = resampled_scores(metric, [first], **{**asked, "seed": 6})
    monkeypatch.setattr(resampling, "_KEPT_DRAWS", 0)
    afresh = resampled_scores(metric, [first, second], **asked)
    assert np.array_equal(both, afresh, equal_nan=True)
    assert np.array_equal(kept, afresh[:1], equal_nan=True)
    assert not np.array_equal(other, kept, equal_nan=True)
