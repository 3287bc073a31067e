from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regraft.errors import ShapeError
from regraft.measure.choice import choose_comparison
from regraft.measure.comparison import holm, paired_bootstrap
from regraft.measure.contest import compare_items, compare_scores
from regraft.measure.power import minimum_detectable_difference
from regraft.measure.rankings import friedman, nemenyi
from regraft.measure.significance import (
    mcnemar,
    nadeau_bengio,
    paired_share_ends,
    signed_rank_ends,
    wilcoxon,
)

# the choice


@pytest.mark.parametrize(
    ("given", "test", "why"),
    [
        ({"n_items": 300, "zero_one": True}, "mcnemar", "right or wrong"),
        ({"n_items": 300}, "paired_bootstrap", "the same 300 items"),
        ({"n_items": 300, "zero_one": True, "n_seeds": 3}, "paired_bootstrap", "3 seeds"),
        ({"n_seeds": 6}, "wilcoxon", "6 paired seeds"),
        ({"n_seeds": 10, "overlapping": True}, "nadeau_bengio", "overlap"),
        ({"n_seeds": 5, "paired": False}, "aso", "not pairs"),
        ({"n_datasets": 6}, "wilcoxon", "6 data sets"),
        ({"n_datasets": 5, "n_systems": 3}, "friedman", "Nemenyi"),
        ({"n_items": 5, "zero_one": True}, None, "least p that they can reach is 0.0625"),
        ({"n_seeds": 5}, None, "5 seeds cannot tell systems apart at 0.05"),
        ({"n_seeds": 1}, None, "one score of each says nothing of chance"),
        ({"n_seeds": 0}, None, "one score of each says nothing of chance"),
        ({"n_seeds": 2, "overlapping": True}, None, "2 splits cannot show"),
        ({"n_seeds": 4, "paired": False}, None, "4 unpaired seeds are too few"),
        ({"n_datasets": 5}, None, "5 data sets cannot tell systems apart"),
        ({"n_datasets": 4, "n_systems": 3}, None, "3 systems on 4 data sets: too few"),
    ],
)
def test_the_test_fits_what_is_given(given: dict[str, int], test: str | None, why: str) -> None:
    found = choose_comparison(**given)  # type: ignore[arg-type]
    assert found.test == test
    assert why in found.why


def test_one_system_cannot_be_compared() -> None:
    with pytest.raises(ShapeError, match=r"1 system\. Give at least 2"):
        choose_comparison(n_systems=1)


# what comes of it


def predictions(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.eye(2)[np.where(right, labels, 1 - labels)][None]


def test_right_and_wrong_answers_go_to_mcnemar_with_holm_over_pairs() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)
    rights = {name: random.random(200) < p for name, p in (("a", 0.9), ("b", 0.7), ("c", 0.68))}
    found = compare_items(
        "accuracy", {k: predictions(v, labels) for k, v in rights.items()}, labels
    )
    known = [mcnemar(rights[x], rights[y]) for x, y in ("ab", "ac", "bc")]
    assert [one.p for one in found.pairs] == [one.p for one in known]
    assert [one.p_adjusted for one in found.pairs] == pytest.approx(holm([one.p for one in known]))
    assert [one.winner for one in found.pairs] == ["a", "a", None]
    assert found.conclusion == (
        "a is better than b; a is better than c; b and c cannot be told apart"
    )
    for one in found.pairs:
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.difference <= one.high


def test_other_metrics_go_to_the_paired_bootstrap() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 80)
    a, b = (predictions(random.random(80) < p, labels) for p in (0.9, 0.6))
    (one,) = compare_items("macro_f1", {"a": a, "b": b}, labels, seed=4).pairs
    known = paired_bootstrap("macro_f1", a, b, labels, seed=4)
    assert (one.difference, one.p, one.winner) == (known.difference, known.p, "a")


def test_seeds_go_to_wilcoxon_and_lower_may_be_better() -> None:
    a = np.array([[0.1, 0.2, 0.15, 0.12, 0.11, 0.18, np.nan]])
    b = a + np.array([[0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.0]])
    (one,) = compare_scores({"a": a, "b": b}, higher_is_better=False).pairs
    assert (one.p, one.winner) == (0.03125, "a")
    assert (one.low, one.difference, one.high) == pytest.approx((0.01, 0.035, 0.06))
    (other,) = compare_scores({"a": a, "b": b}).pairs
    assert other.winner == "b"
    assert other.difference == pytest.approx(-0.035)


def test_too_few_seeds_end_in_a_sentence_and_not_in_a_p() -> None:
    a = np.array([[0.9, 0.91, 0.92, 0.93, 0.94]])
    found = compare_scores({"a": a, "b": a - 0.2})
    assert found.choice.test is None
    assert found.conclusion.startswith("nothing can be concluded: 5 seeds cannot tell")
    (one,) = found.pairs
    assert (one.p, one.low, one.winner) == (None, None, None)
    assert one.difference == pytest.approx(0.2)


def test_splits_go_to_the_corrected_t() -> None:
    a = np.array([[0.9, 0.8, 0.95, 0.9, 0.85]])
    b = np.array([[0.8, 0.75, 0.8, 0.7, 0.8]])
    (one,) = compare_scores({"a": a, "b": b}, splits=(80, 20)).pairs
    known = nadeau_bengio(a[0], b[0], n_train=80, n_test=20)
    assert one.p == known.p
    assert one.low is not None
    assert (one.low > 0) == (known.p < 0.05)


def test_unpaired_seeds_go_to_stochastic_order() -> None:
    a, b = np.linspace(0.8, 0.9, 5)[None], np.linspace(0.6, 0.7, 5)[None]
    found = compare_scores({"a": a, "b": b}, paired=False)
    assert (found.choice.test, found.pairs[0].winner, found.pairs[0].p) == ("aso", "a", None)
    turned = compare_scores({"b": b, "a": a}, paired=False)
    assert turned.pairs[0].winner == "a"


def test_many_systems_go_to_ranks_and_a_pair_is_no_surer_than_the_whole() -> None:
    random = np.random.default_rng(0)
    table = random.normal(size=(8, 4)) + np.array([2.0, 0.3, 0.0, 0.0])
    scores = {name: table[:, [i]] for i, name in enumerate("abcd")}
    found = compare_scores(scores)
    assert found.p_overall == friedman(table).p
    assert dict(found.mean_ranks) == dict(zip("abcd", friedman(table).mean_ranks, strict=True))
    after = nemenyi(table)
    assert found.pairs[2].p == after.p[0][3]
    assert found.pairs[2].p_adjusted == max(after.p[0][3], friedman(table).p)
    assert found.pairs[0].difference > 0
    assert "Friedman's p that all are alike is" in found.conclusion
    assert found.to_json()["mean_ranks"]["a"] == found.mean_ranks[0][1]


def test_data_sets_count_once_however_many_seeds_they_have() -> None:
    a = np.arange(12.0).reshape(6, 2)
    b = a - np.array([[1.0, 3.0]])
    a[:, 1], b[0, 1] = a[:, 0] + 0.0, np.nan
    found = compare_scores({"a": a, "b": b})
    known = wilcoxon(np.nanmean(a, axis=1), np.nanmean(b, axis=1))
    assert found.pairs[0].p == known.p
    with pytest.raises(ShapeError, match=r"b has no score on a data set"):
        compare_scores({"a": a, "b": np.where(np.arange(6)[:, None] == 2, np.nan, b)})


@given(st.lists(st.integers(-9, 9), min_size=6, max_size=9))
def test_the_ends_of_the_signed_ranks_leave_out_just_what_wilcoxon_rejects(gaps: list[int]) -> None:
    # no two of the moved differences tie, so that the test is the one that the ends invert
    values = np.array(gaps) + np.sqrt(2.0) ** -np.arange(1, len(gaps) + 1)
    low, middle, high = signed_rank_ends(values)
    assert low <= middle <= high
    for end, outward in ((low, -1e-6), (high, 1e-6)):
        inside, outside = (wilcoxon(values - end + by, 0 * values).p for by in (outward, -outward))
        assert inside > 0.05 or outside > 0.05
        assert min(inside, outside) <= 0.05


def test_shares_on_the_same_items_have_the_published_interval() -> None:
    a = np.array([1] * 8 + [0] * 2 + [1] * 10)  # A alone 8, B alone 2, n = 20
    b = np.array([0] * 8 + [1] * 2 + [1] * 10)
    ours, theirs = 9 / 22, 3 / 22
    half = 1.959964 * np.sqrt((ours + theirs - (ours - theirs) ** 2) / 22)
    assert paired_share_ends(a, b) == pytest.approx((ours - theirs - half, ours - theirs + half))
    low, high = paired_share_ends(b, a)
    assert (-high, -low) == pytest.approx(paired_share_ends(a, b))


# before anything is trained


def correlated(p: float, q: float, rho: float, n: int, random: np.random.Generator) -> NDArray:  # type: ignore[type-arg]
    """Return 0/1 answers (2, n) of shares p ≤ q whose correlation is rho."""
    both = p * q + rho * np.sqrt(p * (1 - p) * q * (1 - q))
    cells = random.choice(4, size=n, p=[both, p - both, q - both, 1 - p - q + both])
    return np.stack([cells <= 1, (cells == 0) | (cells == 2)])


@pytest.mark.parametrize(("n", "rate", "rho"), [(200, 0.75, 0.5), (500, 0.6, 0.0), (400, 0.9, 0.3)])
def test_the_detectable_difference_is_found_four_times_in_five(
    n: int, rate: float, rho: float
) -> None:
    gain = minimum_detectable_difference(n, rate, correlation=rho)
    assert gain is not None
    random = np.random.default_rng(0)
    found = 0
    for _ in range(600):
        a, b = correlated(rate, rate + gain, rho, n, random)
        found += mcnemar(a, b).p < 0.05
    assert 0.75 <= found / 600 <= 0.85


def test_several_seeds_detect_by_the_variance_of_their_means() -> None:
    n, rate, seeds = 300, 0.7, 3
    gain = minimum_detectable_difference(n, rate, seeds, correlation=0.4, seed_correlation=0.4)
    assert gain is not None
    # A share 0.4 of the items has one draw for all runs: every two answers correlate by 0.4.
    random = np.random.default_rng(1)
    found = 0
    for _ in range(600):
        common = random.random(n) < 0.4
        draws = np.where(common, random.random(n), random.random((2 * seeds, n)))
        a, b = (draws[:seeds] < rate).mean(axis=0), (draws[seeds:] < rate + gain).mean(axis=0)
        gaps = b - a
        found += abs(gaps.mean()) > 1.96 * gaps.std(ddof=1) / np.sqrt(n)
    assert 0.74 <= found / 600 <= 0.86


@given(st.integers(30, 2000), st.floats(0.2, 0.9), st.integers(1, 8))
def test_more_items_or_seeds_show_less_and_more_power_asks_more(
    n: int, rate: float, seeds: int
) -> None:
    def least(n: int, seeds: int, **of: float) -> float:
        found = minimum_detectable_difference(n, rate, seeds, **of)
        return 1.0 if found is None else found

    known = least(n, seeds)
    assert 0.0 < known <= 1.0
    assert least(2 * n, seeds) <= known
    assert least(n, seeds + 1) <= known
    assert least(n, seeds, power=0.9) >= known
    assert least(n, seeds, level=0.99) >= known
    assert least(n, seeds, correlation=0.2) >= known


def test_the_detectable_difference_without_correlation_has_its_closed_form() -> None:
    gain = minimum_detectable_difference(100, 0.5, correlation=0.0)
    assert gain is not None
    variance = 0.25 + (0.5 + gain) * (0.5 - gain)
    known = (1.959964 * np.sqrt(variance + gain**2) + 0.841621 * np.sqrt(variance)) / 10
    assert gain == pytest.approx(known, abs=1e-6)


def test_nothing_shows_on_a_handful_of_items_near_the_top() -> None:
    assert minimum_detectable_difference(10, 0.95) is None
    for wrong in product((0, 10), (0.0, 1.0)):
        with pytest.raises(ShapeError, match=r"Give at least 1 item"):
            minimum_detectable_difference(*wrong)
    with pytest.raises(ShapeError, match=r"correlations 0\.8 of systems and 0\.7"):
        minimum_detectable_difference(10, 0.5, correlation=0.8)
