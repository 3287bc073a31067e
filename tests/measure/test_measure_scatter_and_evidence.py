from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from made_features import Labels, Rows, items
from regraft.errors import ShapeError
from regraft.measure.transferability.log_evidence import log_evidence, logme
from regraft.measure.transferability.scatter import h_score, h_score_shrunk
from regraft.measure.transferability.source_head import leep, n_leep, nce

# H-score


def slow_h_score(x: Rows, labels: Labels) -> float:
    means = np.stack([x[labels == one].mean(axis=0) for one in labels])
    between, whole = np.cov(means.T, bias=True), np.cov(x.T, bias=True)
    return float(np.trace(np.linalg.pinv(np.atleast_2d(whole)) @ np.atleast_2d(between)))


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_h_score_of_one_hot_features_is_the_number_of_classes_less_one(classes: int) -> None:
    labels = np.arange(28) % classes
    assert h_score(np.eye(classes)[labels], labels) == pytest.approx(classes - 1)


def test_the_h_score_is_its_trace() -> None:
    x, labels = items(3)
    assert h_score(x, labels) == pytest.approx(slow_h_score(x, labels))


def test_the_h_score_saturates_where_items_are_fewer_than_features() -> None:
    x, labels = items(0, n=12, d=30, signal=0.0)
    assert h_score(x, labels) == pytest.approx(2.0)
    assert h_score_shrunk(x, labels) < 1.0


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_the_h_score_ignores_any_invertible_map_and_stays_within_its_bounds(seed: int) -> None:
    x, labels = items(seed, n=30, d=5)
    mapped = x @ (np.random.default_rng(seed).normal(size=(5, 5)) + 3 * np.eye(5)) + 7.0
    assert h_score(mapped, labels) == pytest.approx(h_score(x, labels), rel=1e-6)
    assert 0.0 <= h_score(x, labels) <= 2.0 + 1e-9
    assert 0.0 <= h_score_shrunk(x, labels) <= 2.0 + 1e-9


@pytest.mark.parametrize(("n", "d"), [(60, 8), (12, 30), (300, 40)])
def test_the_shrunk_h_score_is_that_of_sklearns_ledoit_wolf(n: int, d: int) -> None:
    x, labels = items(2, n=n, d=d)
    fitted = LedoitWolf().fit(x)
    means = np.stack([x[labels == one].mean(axis=0) for one in labels])
    between = (1 - fitted.shrinkage_) * np.cov(means.T, bias=True)
    known = np.trace(np.linalg.pinv(fitted.covariance_) @ between)
    assert h_score_shrunk(x, labels) == pytest.approx(known)
    assert h_score_shrunk(100 * x, labels) == pytest.approx(known)


# NCE, LEEP, N-LEEP


def test_a_source_that_knows_the_target_has_no_entropy_left() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert nce(labels + 5, labels) == 0.0
    assert leep(np.eye(4)[labels], labels) == 0.0


def test_a_source_that_says_nothing_leaves_the_entropy_of_the_labels() -> None:
    labels = np.array([0, 0, 0, 1])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert nce(np.zeros(4), labels) == pytest.approx(-entropy)
    assert leep(np.full((4, 5), 0.2), labels) == pytest.approx(-entropy)


def test_nce_is_the_negative_conditional_entropy() -> None:
    # z = 0 holds y = 0, 0, 1; z = 1 holds y = 1, 2
    source, labels = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 2])
    within = 2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)
    assert nce(source, labels) == pytest.approx(3 / 5 * within + 2 / 5 * np.log(1 / 2))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=4, max_size=40))
def test_leep_of_a_certain_source_is_nce(pairs: list[tuple[int, int]]) -> None:
    source, labels = (np.array(one) for one in zip(*pairs, strict=True))
    if len(np.unique(labels)) < 2:
        return
    assert leep(np.eye(4)[source], labels) == pytest.approx(nce(source, labels), abs=1e-12)


def test_leep_is_its_sum() -> None:
    random = np.random.default_rng(0)
    theta, labels = random.dirichlet(np.ones(4), size=20), np.arange(20) % 3
    total = 0.0
    for i in range(20):
        expected = 0.0
        for z in range(4):
            joint = theta[labels == labels[i], z].sum() / 20
            expected += joint / (theta[:, z].sum() / 20) * theta[i, z]
        total += np.log(expected) / 20
    assert leep(theta, labels) == pytest.approx(total)


def test_source_heads_that_do_not_fit_are_refused() -> None:
    labels = np.array([0, 1, 0])
    with pytest.raises(ShapeError, match="sum to 1"):
        leep(np.ones((3, 2)), labels)
    with pytest.raises(ShapeError, match=r"\(2, 2\) do not fit 3 labels"):
        leep(np.full((2, 2), 0.5), labels)
    with pytest.raises(ShapeError, match="differ in shape"):
        nce(np.zeros(2), labels)
    with pytest.raises(ShapeError, match="one class"):
        nce(np.zeros(3), np.zeros(3))


def test_clusters_that_are_the_classes_leave_no_entropy() -> None:
    labels = np.arange(90) % 3
    x = 50.0 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(90, 3))
    assert n_leep(x, labels) == pytest.approx(0.0, abs=1e-6)
    assert n_leep(1000 * x, labels) == pytest.approx(0.0, abs=1e-6)
    assert n_leep(x, labels, seed=1) <= 0.0


@pytest.mark.parametrize(
    ("n", "classes", "components"),
    [(120, 3, 15), (20, 3, 10), (300, 100, 100), (1000, 99, 495)],
    ids=["five a class", "half the items", "one of many classes", "five of fewer"],
)
def test_clusters_are_those_of_a_mixture_on_the_axes_that_hold_most_variance(
    n: int, classes: int, components: int
) -> None:
    x, labels = items(0, n=n, d=10, classes=classes, signal=1.0)
    axes = PCA(0.8).fit_transform(x)
    axes /= axes[:, 0].std()
    mixture = GaussianMixture(components, covariance_type="diag", random_state=0).fit(axes)
    assert 1 < axes.shape[1] < 10
    known = leep(mixture.predict_proba(axes), labels)
    assert n_leep(x, labels) == pytest.approx(known, abs=1e-4)


# LogME


def brute_evidence(x: Rows, y: Rows, alpha: float, beta: float) -> float:
    """Return log N(y; 0, I/β + F Fᵀ/α)."""
    covariance = np.eye(len(x)) / beta + x @ x.T / alpha
    determinant = np.linalg.slogdet(2 * np.pi * covariance)[1]
    return -0.5 * float(determinant + y @ np.linalg.solve(covariance, y))


@pytest.mark.parametrize(("n", "d"), [(12, 30), (30, 5), (10, 10)])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.3, 7.0), (25.0, 0.5)])
def test_the_evidence_is_the_density_of_the_target(
    n: int, d: int, alpha: float, beta: float
) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(n, d)), random.normal(size=n)
    found = log_evidence(x, y, weight_precision=alpha, noise_precision=beta)
    assert found == pytest.approx(brute_evidence(x, y, alpha, beta), rel=1e-10)


def test_the_evidence_keeps_as_many_terms_of_the_prior_as_there_are_singular_values() -> None:
    # With d terms of ½ ln α instead of k = 12 it would be too low (α < 1) by ½ (d − k) ln α.
    random = np.random.default_rng(0)
    n, d, alpha, beta = 12, 30, 0.4, 3.0
    x, y = random.normal(size=(n, d)), random.normal(size=n)
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    mean = (left.T @ y) * beta * values / (alpha + beta * values**2)
    truncated = (
        d / 2 * np.log(alpha)
        + n / 2 * np.log(beta)
        - 0.5 * np.log(alpha + beta * values**2).sum()
        - beta / 2 * ((y - left @ (values * mean)) ** 2).sum()
        - alpha / 2 * (mean**2).sum()
        - n / 2 * np.log(2 * np.pi)
    )
    exact = log_evidence(x, y, weight_precision=alpha, noise_precision=beta)
    assert exact - truncated == pytest.approx(-(d - n) / 2 * np.log(alpha))
    assert exact == pytest.approx(brute_evidence(x, y, alpha, beta))


@pytest.mark.parametrize(("n", "d", "signal"), [(12, 30, 1.0), (30, 4, 1.0), (24, 6, 0.0)])
def test_logme_is_the_largest_evidence_that_a_search_finds(n: int, d: int, signal: float) -> None:
    x, labels = items(1, n=n, d=d, signal=signal)
    best = []
    for one in range(3):
        y = (labels == one).astype(float)
        found = [
            minimize(
                lambda p, y=y: -brute_evidence(x, y, np.exp(p[0]), np.exp(p[1])),
                start,
                method="Nelder-Mead",
                bounds=[(-12, 25), (-12, 25)],
                options={"xatol": 1e-5, "fatol": 1e-8, "maxiter": 400},
            )
            for start in ([2.0, 2.0], [2.0, 15.0], [18.0, 1.0])
        ]
        best.append(-min(one.fun for one in found) / n)
    assert logme(x, labels) == pytest.approx(np.mean(best), abs=1e-6)


def fixed_point(x: Rows, y: Rows) -> float:
    """Return the evidence per item at LogME's own fixed point, iterated to its end."""
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    z, sigma, alpha, beta = left.T @ y, values**2, 1.0, 1.0
    for _ in range(2000):
        t = alpha / beta
        gamma = (sigma / (sigma + t)).sum()
        alpha = gamma / (sigma * z**2 / (t + sigma) ** 2).sum()
        beta = (len(y) - gamma) / ((z**2 / (1 + sigma / t) ** 2).sum() + y @ y - z @ z)
    return log_evidence(x, y, weight_precision=alpha, noise_precision=beta) / len(y)


def test_logme_is_the_evidence_at_the_papers_fixed_point() -> None:
    x, labels = items(5, n=40, d=6)
    known = np.mean([fixed_point(x, (labels == one).astype(float)) for one in range(3)])
    assert logme(x, labels) == pytest.approx(known, abs=1e-8)


def test_logme_ignores_the_scale_and_stays_finite_where_features_say_all() -> None:
    x, labels = items(0)
    assert logme(1000 * x, labels) == pytest.approx(logme(x, labels))
    perfect = logme(np.eye(3)[labels], labels)
    assert logme(x, labels) < perfect < np.inf
    # Zero features leave y ~ N(0, 1/β) with 1/β = mean y² = 1/3.
    nothing = -0.5 * (np.log(2 * np.pi / 3) + 1)
    assert logme(np.zeros_like(x), labels) == pytest.approx(nothing)


def test_the_evidence_refuses_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match="must be above 0"):
        log_evidence(np.ones((3, 1)), np.ones(3), weight_precision=0.0, noise_precision=1.0)
    with pytest.raises(ShapeError, match="do not fit"):
        log_evidence(np.ones((3, 1)), np.ones(2), weight_precision=1.0, noise_precision=1.0)
