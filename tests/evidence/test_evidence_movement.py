"""Of many items a seeded draw is looked at: what lies behind the first thousand is seen too."""

from __future__ import annotations

import numpy as np

from regraft.evidence.draws import drawn
from regraft.evidence.movement import movement

N, MOST = 1600, 1000


def test_a_class_that_lies_behind_the_first_thousand_items_is_seen_to_move() -> None:
    random = np.random.default_rng(0)
    before = random.normal(size=(N, 4)).astype(np.float32)
    after = before.copy()
    after[MOST:] += 3  # folder data come class by class
    found = movement(before, after, seed=0)
    assert found is not None
    assert found["n"] == MOST
    assert 0 < found["low"] <= found["mmd2"] <= found["high"]
    assert found["p"] < 0.01
    assert found["drift"]["value"] > 0
    share = np.mean(drawn(N, MOST, seed=0, name="movement") >= MOST)
    assert abs(share - (N - MOST) / N) < 0.05
    assert movement(before, after, seed=0) == found


def test_a_draw_is_without_replacement_in_order_and_by_seed_and_name() -> None:
    one = drawn(N, MOST, seed=3, name="a")
    assert len(one) == MOST
    assert (np.diff(one) > 0).all()
    assert np.array_equal(one, drawn(N, MOST, seed=3, name="a"))
    assert not np.array_equal(one, drawn(N, MOST, seed=4, name="a"))
    assert not np.array_equal(one, drawn(N, MOST, seed=3, name="b"))
    assert drawn(5, MOST, seed=0, name="a").tolist() == [0, 1, 2, 3, 4]
    assert len(drawn(0, MOST, seed=0, name="a")) == 0
