"""Measures against independent libraries and brute force, and what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from scipy.special import log_softmax
from scipy.stats import false_discovery_control, studentized_range, ttest_1samp
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from made_features import Rows, items
from regraft.measure.calibration import ece, fit_temperature, reliability_bins
from regraft.measure.comparison import benjamini_hochberg, holm
from regraft.measure.contest import compare_items, compare_scores
from regraft.measure.label_savings import area_under_log_n, data_saving_ratio
from regraft.measure.limits import rank_correlation
from regraft.measure.metrics import softmax
from regraft.measure.moments import covariance, frechet_gaussians
from regraft.measure.rankings import nemenyi
from regraft.measure.robustness import corruption_errors
from regraft.measure.significance import nadeau_bengio
from regraft.measure.slices import error_slices, ranked_confusions
from regraft.measure.transport import otdd, sliced_wasserstein

SEEDS = st.integers(0, 1000)
FAMILY = st.lists(st.floats(0, 1), min_size=1, max_size=9)


def two(seed: int, n: int = 30, m: int = 20, d: int = 4) -> tuple[Rows, Rows]:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)), 1.5 * random.normal(size=(m, d)) + 0.5


# POT


@pytest.mark.parametrize("p", [1, 2])
def test_the_sliced_distance_is_that_of_pot_within_its_error(p: int) -> None:
    ot = pytest.importorskip("ot")
    x, y = two(0)
    known = ot.sliced_wasserstein_distance(x, y, n_projections=4000, p=p, seed=0)
    assert sliced_wasserstein(x, y, p=p, projections=4000) == pytest.approx(known, rel=0.02)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_distance_of_gaussians_is_pots(seed: int) -> None:
    ot = pytest.importorskip("ot")
    x, y = two(seed)
    moments = x.mean(axis=0), covariance(x), y.mean(axis=0), covariance(y)
    known = ot.gaussian.bures_wasserstein_distance(moments[0], moments[2], moments[1], moments[3])
    assert frechet_gaussians(*moments) == pytest.approx(float(known) ** 2, rel=1e-8)


def test_otdd_of_unequal_data_sets_is_built_from_pots_parts() -> None:
    ot = pytest.importorskip("ot")
    (x, a), (y, b) = items(0, n=21, d=3), items(1, n=16, d=3, classes=2)
    apart = np.zeros((3, 2))
    for i, j in np.ndindex(3, 2):
        one, other = x[a == i], y[b == j]
        apart[i, j] = ot.gaussian.bures_wasserstein_distance(
            one.mean(axis=0), other.mean(axis=0), np.cov(one.T), np.cov(other.T)
        )
    cost = cdist(x, y, "sqeuclidean") + apart[np.ix_(a, b)] ** 2
    known = np.sqrt(ot.emd2(np.full(21, 1 / 21), np.full(16, 1 / 16), cost))
    assert otdd(x, a, y, b) == pytest.approx(known, rel=1e-7)


# calibration


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_reliability_and_its_error_are_those_of_sklearns_curve(seed: int) -> None:
    random = np.random.default_rng(seed)
    p = softmax(2.0 * random.normal(size=(300, 3)))
    labels = random.integers(0, 3, 300)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    accuracy, mean = calibration_curve(right, confidence, n_bins=15, strategy="uniform")
    filled = [one for one in reliability_bins(p, labels) if one.n]
    assert [one.accuracy for one in filled] == pytest.approx(accuracy)
    assert [one.confidence for one in filled] == pytest.approx(mean)
    shares = np.array([one.n for one in filled]) / 300
    assert ece(p, labels) == pytest.approx((shares * np.abs(accuracy - mean)).sum(), abs=1e-12)


@settings(max_examples=20)
@given(SEEDS)
def test_the_temperature_is_that_of_a_plain_search(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = 3.0 * random.normal(size=(80, 4))
    shares = softmax(logits / 2.0).cumsum(axis=1)
    labels = (random.uniform(size=(80, 1)) > shares).sum(axis=1).clip(max=3)

    def loss(inverse: float) -> float:
        return -float(log_softmax(inverse * logits, axis=1)[np.arange(80), labels].mean())

    known = minimize_scalar(loss, bounds=(0.01, 10.0), method="bounded", options={"xatol": 1e-9})
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(1 / known.x, rel=1e-3)
    order, classes = random.permutation(80), random.permutation(4)
    again = fit_temperature(logits[order][:, classes], np.argsort(classes)[labels][order])
    assert again == pytest.approx(found, rel=1e-4)
    assert fit_temperature(logits + random.normal(size=(80, 1)), labels) == pytest.approx(
        found, rel=1e-4
    )


# significance


@given(FAMILY)
def test_the_false_discovery_rate_is_controlled_as_by_scipy(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(list(false_discovery_control(p)))


@given(FAMILY, SEEDS)
def test_holm_is_its_steps_and_both_corrections_follow_the_order_given(
    p: list[float], seed: int
) -> None:
    order = sorted(range(len(p)), key=lambda i: p[i])
    known, running = [0.0] * len(p), 0.0
    for step, i in enumerate(order):
        running = max(running, min(1.0, (len(p) - step) * p[i]))
        known[i] = running
    assert holm(p) == pytest.approx(known)
    shuffled = [int(i) for i in np.random.default_rng(seed).permutation(len(p))]
    for correct in (holm, benjamini_hochberg):
        plain = correct(p)
        assert correct([p[i] for i in shuffled]) == pytest.approx([plain[i] for i in shuffled])


@given(SEEDS, st.integers(2, 12), st.floats(0.01, 2.0))
def test_the_corrected_t_is_the_plain_one_shrunk_and_ignores_order_and_units(
    seed: int, k: int, ratio: float
) -> None:
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, k))
    n_test = round(100 * ratio)
    found = nadeau_bengio(a, b, n_train=100, n_test=n_test)
    plain = ttest_1samp(a - b, 0).statistic
    assert found.statistic == pytest.approx(plain / np.sqrt(1 + k * n_test / 100))
    order = random.permutation(k)
    other = nadeau_bengio(3.0 * a[order] + 1, 3.0 * b[order] + 1, n_train=100, n_test=n_test)
    assert (other.statistic, other.p) == pytest.approx((found.statistic, found.p))


@settings(max_examples=10)
@given(SEEDS)
def test_pairs_of_systems_have_the_p_of_the_studentised_range_in_any_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random.normal(size=(9, 4)) + np.array([0.8, 0.4, 0.0, 0.0])
    found = nemenyi(table)
    spread = np.sqrt(4 * 5 / (12 * 9))
    for i, j in ((0, 1), (0, 3), (2, 1)):
        gap = abs(found.mean_ranks[i] - found.mean_ranks[j])
        assert found.p[i][j] == pytest.approx(studentized_range.sf(gap / spread, 4, np.inf))
    order = random.permutation(4)
    other = nemenyi(np.exp(table[::-1][:, order]))
    np.testing.assert_allclose(other.p, np.array(found.p)[np.ix_(order, order)])


@settings(max_examples=20)
@given(SEEDS)
def test_a_contest_turned_round_turns_its_differences_and_keeps_its_p(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, 40)
    right = [random.random(40) < share for share in (0.9, 0.6)]
    p = [np.eye(2)[np.where(one, labels, 1 - labels)][None] for one in right]
    order = random.permutation(40)
    (one,) = compare_items("accuracy", {"a": p[0], "b": p[1]}, labels).pairs
    (other,) = compare_items(
        "accuracy", {"b": p[1][:, order], "a": p[0][:, order]}, labels[order]
    ).pairs
    a, b = random.normal(size=(2, 1, 8))
    (third,) = compare_scores({"a": a, "b": b}).pairs
    (fourth,) = compare_scores({"b": b[:, ::-1], "a": a[:, ::-1]}).pairs
    for first, second in ((one, other), (third, fourth)):
        assert first.low is not None
        assert first.high is not None
        assert (second.difference, second.low, second.high) == pytest.approx(
            (-first.difference, -first.high, -first.low)
        )
        assert second.p == pytest.approx(first.p)
        assert second.winner == first.winner


@settings(max_examples=20)
@given(SEEDS)
def test_rank_correlations_know_no_sides_and_no_order_of_cells(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 6, size=(2, 6)).astype(float)
    order = random.permutation(6)
    for kind in ("spearman", "kendall"):
        known = rank_correlation(a, b, kind, resamples=2)
        for other in (
            rank_correlation(b, a, kind, resamples=2),
            rank_correlation(a[order], b[order], kind, resamples=2),
        ):
            assert other.value == pytest.approx(known.value, nan_ok=True)
            assert other.p == pytest.approx(known.p)


# labels, corruption, slices


@given(SEEDS, st.floats(0.01, 100.0))
def test_savings_ignore_the_unit_of_labels_and_any_affine_unit_of_the_metric(
    seed: int, unit: float
) -> None:
    random = np.random.default_rng(seed)
    n = np.array([10.0, 30.0, 100.0, 300.0])
    a, b = np.sort(random.random((2, 4)), axis=1)
    known = data_saving_ratio(n, a, n, b, target=0.5)
    other = data_saving_ratio(unit * n, 3 * a + 1, unit * n, 3 * b + 1, target=2.5)
    assert other.bound == known.bound
    assert other.ratio == (None if known.ratio is None else pytest.approx(known.ratio))
    assert area_under_log_n(unit * n, a) == pytest.approx(area_under_log_n(n, a))
    known_area = np.trapezoid(a, np.log(n)) / np.log(n[-1] / n[0])
    assert area_under_log_n(n, a) == pytest.approx(known_area)


@given(SEEDS)
def test_corruption_errors_are_their_sums_in_any_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    ours, theirs = random.uniform(0.2, 0.6, (2, 3, 5)) + np.array([0.0, 0.1])[:, None, None]
    names = ["fog", "jpeg", "snow"]
    found = corruption_errors(
        dict(zip(names, ours.tolist(), strict=True)),
        dict(zip(names, theirs.tolist(), strict=True)),
        clean=0.1,
        clean_reference=0.15,
    )
    each = ours.sum(axis=1) / theirs.sum(axis=1)
    relative = (ours - 0.1).sum(axis=1) / (theirs - 0.15).sum(axis=1)
    assert list(found.each.values()) == pytest.approx(each)
    assert (found.mean, found.relative) == pytest.approx((each.mean(), relative.mean()))
    order, severities = random.permutation(3), random.permutation(5)
    other = corruption_errors(
        {names[i]: ours[i][severities].tolist() for i in order},
        {names[i]: theirs[i][severities].tolist() for i in order},
        clean=0.1,
        clean_reference=0.15,
    )
    assert other.each == pytest.approx(found.each)
    assert (other.mean, other.relative) == pytest.approx((found.mean, found.relative))


@settings(max_examples=30)
@given(SEEDS)
def test_confusions_are_those_of_sklearns_matrix_and_slices_ignore_the_order_of_items(
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    labels, taken = random.integers(0, 4, size=(2, 50))
    table = confusion_matrix(labels, taken, labels=range(4))
    found = ranked_confusions(taken, labels)
    assert {(one.label, one.prediction): one.n for one in found} == {
        (i, j): table[i, j] for i, j in np.ndindex(4, 4) if i != j and table[i, j]
    }
    assert [one.n for one in found] == sorted((one.n for one in found), reverse=True)
    order = random.permutation(50)
    assert ranked_confusions(taken[order], labels[order]) == found
    wrong = taken != labels
    candidates = {f"class {c}": labels == c for c in range(4)} | {"odd": labels % 2 == 1}
    shuffled = {name: rows[order] for name, rows in reversed(candidates.items())}
    assert error_slices(wrong[order], shuffled, fewest=2) == error_slices(
        wrong, candidates, fewest=2
    )
