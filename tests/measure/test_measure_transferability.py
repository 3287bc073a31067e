from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, spearmanr
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.mixture import GaussianMixture

import regraft as rg
from regraft.errors import ShapeError
from regraft.measure.transferability.discriminant import etran, etran_parts, ped, repelled, sfda
from regraft.measure.transferability.log_evidence import log_evidence, logme
from regraft.measure.transferability.neighbours import (
    knn_transfer,
    linear_probe,
    parc,
    stratified,
)
from regraft.measure.transferability.scatter import h_score, h_score_shrunk
from regraft.measure.transferability.separation import gbc, transrate
from regraft.measure.transferability.source_head import leep, n_leep, nce

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]
Estimator = Callable[[Rows, Labels], float]

ESTIMATORS: list[Estimator] = [
    h_score,
    h_score_shrunk,
    n_leep,
    logme,
    sfda,
    ped,
    transrate,
    gbc,
    parc,
    knn_transfer,
    linear_probe,
]
ROTATION_INVARIANT = [h_score, h_score_shrunk, logme, sfda, transrate, gbc, knn_transfer]
ROTATION_INVARIANT += [linear_probe]


def items(
    seed: int, *, n: int = 60, d: int = 8, classes: int = 3, signal: float = 1.5
) -> tuple[Rows, Labels]:
    """Return Gaussian classes of equal size around random means."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    means = random.normal(size=(classes, d))
    return signal * means[labels] + random.normal(size=(n, d)), labels


def rotation(seed: int, d: int) -> Rows:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


# what holds for all


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_informative_features_score_above_noise(estimator: Estimator) -> None:
    x, labels = items(0, n=120, d=6)
    noise = np.random.default_rng(1).normal(size=x.shape) * x.std(axis=0)
    assert estimator(x, labels) > estimator(noise, labels)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_score_is_a_repeatable_number_and_leaves_the_features_alone(estimator: Estimator) -> None:
    x, labels = items(0)
    before = x.copy()
    score = estimator(x.astype(np.float32), labels)
    assert isinstance(score, float)
    assert np.isfinite(score)
    assert estimator(x.astype(np.float32), labels) == score
    estimator(x, labels)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fewer_items_than_features_are_scored(estimator: Estimator) -> None:
    x, labels = items(0, n=12, d=30)
    assert np.isfinite(estimator(x, labels))


@pytest.mark.parametrize("estimator", [e for e in ESTIMATORS if e is not n_leep])
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_and_the_names_of_classes_do_not_matter(
    estimator: Estimator, seed: int
) -> None:
    x, labels = items(seed, n=30, d=5)
    order = np.random.default_rng(seed).permutation(len(x))
    names = np.array(["wasp", "ant", "bee"])
    known = estimator(x, labels)
    assert estimator(x[order], labels[order]) == pytest.approx(known, rel=1e-6, abs=1e-8)
    assert estimator(x, names[labels]) == pytest.approx(known, rel=1e-6, abs=1e-8)


def test_the_names_of_classes_do_not_matter_to_clusters() -> None:
    x, labels = items(0)
    assert n_leep(x, np.array(["c", "a", "b"])[labels]) == pytest.approx(n_leep(x, labels))


@pytest.mark.parametrize("estimator", ROTATION_INVARIANT)
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_a_rotation_does_not_matter(estimator: Estimator, seed: int) -> None:
    x, labels = items(seed, n=30, d=5)
    turned = x @ rotation(seed + 1, 5)
    assert estimator(turned, labels) == pytest.approx(estimator(x, labels), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_features_that_never_vary_are_no_better_than_noise(estimator: Estimator) -> None:
    x, labels = items(0)
    score = estimator(np.ones_like(x), labels)
    assert np.isfinite(score)
    assert score <= estimator(x, labels)


@pytest.mark.parametrize("estimator", [*ESTIMATORS, etran_parts])
def test_one_class_one_item_and_wrong_shapes_are_refused(estimator: Estimator) -> None:
    x, labels = items(0)
    with pytest.raises(ShapeError, match="all labels are of one class"):
        estimator(x, np.zeros_like(labels))
    with pytest.raises(ShapeError, match="n ≥ 2"):
        estimator(x[:1], labels[:1])
    with pytest.raises(ShapeError, match=r"features \(59, 8\) do not fit 60 labels"):
        estimator(x[1:], labels)
    with pytest.raises(ShapeError, match="not finite"):
        estimator(np.where(x > 2, np.nan, x), labels)


def test_every_name_of_the_room_leads_to_what_it_says() -> None:
    others = (nce, leep, etran, etran_parts, repelled, log_evidence)
    for estimator in (*ESTIMATORS, *others):
        assert getattr(rg.measure, estimator.__name__) is estimator
    with pytest.raises(AttributeError, match="no attribute 'lgme'"):
        _ = rg.measure.lgme


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


# SFDA, ETran, PED


def slow_sfda(x: Rows, labels: Labels) -> float:
    """Return SFDA by sklearn's discriminant, written from the paper's two steps."""
    n, d = x.shape

    def within(rows: Rows) -> Rows:
        return sum(
            np.cov(rows[labels == one].T, bias=True) * (labels == one).mean() for one in range(3)
        )

    shrinkage = max(np.exp(-5 * np.linalg.eigvalsh(within(x))[-1]), 1e-10)

    def posterior(rows: Rows) -> Rows:
        w = within(rows)
        w = (1 - shrinkage) * w + shrinkage * np.trace(w) / d * np.eye(d)
        means = np.stack([rows[labels == one].mean(axis=0) for one in range(3)])
        logits = np.stack(
            [
                multivariate_normal(means[one], w).logpdf(rows) + np.log((labels == one).mean())
                for one in range(3)
            ],
            axis=1,
        )
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    p = np.exp(posterior(x))
    p /= p.sum(axis=1, keepdims=True)
    means = np.stack([x[labels == one].mean(axis=0) for one in range(3)])
    moved = x.copy()
    for i in range(n):
        others = np.mean([means[one] for one in range(3) if one != labels[i]], axis=0)
        q = p[i, labels[i]]
        moved[i] = q * x[i] + (1 - q) * others
    return float(posterior(moved)[np.arange(n), labels].mean())


@pytest.mark.parametrize("scale", [0.2, 1.0])
def test_sfda_is_its_two_steps(scale: float) -> None:
    x, labels = items(0, d=4, signal=0.7)
    assert sfda(scale * x, labels) == pytest.approx(slow_sfda(scale * x, labels), rel=1e-6)


def test_etrans_parts_are_energies_and_a_discriminant() -> None:
    x, labels = items(0, n=600, d=4, signal=0.7)
    parts = etran_parts(x, labels)
    energies = np.sort(np.log(np.exp(x).sum(axis=1)))
    assert parts.energy == pytest.approx(energies[:3].mean())  # the lowest 0.5 % of 600
    # λ_max of the within-class scatter is about 1, so a is about exp(−5): a little shrunk only.
    peer = LinearDiscriminantAnalysis().fit(x, labels).predict_proba(x)
    own = peer[np.arange(600), labels].mean()
    assert parts.classification == pytest.approx(own, abs=2e-3)


def test_etran_adds_its_parts_on_one_scale_over_the_models() -> None:
    _, labels = items(0)
    models = [items(seed, signal=signal)[0] for seed, signal in ((0, 0.1), (1, 0.6), (2, 3.0))]
    parts = [etran_parts(one, labels) for one in models]
    energy, right = (
        np.array([getattr(one, name) for one in parts]) for name in ("energy", "classification")
    )
    known = sum((v - v.min()) / (v.max() - v.min()) for v in (energy, right))
    np.testing.assert_allclose(etran(models, labels), known)
    np.testing.assert_array_equal(etran([models[0]] * 2, labels), [0.0, 0.0])
    with pytest.raises(ShapeError, match="1 models cannot be ranked by ETran"):
        etran(models[:1], labels)


def test_etran_ranks_informative_features_above_noise() -> None:
    x, labels = items(0, n=120)
    noise = np.random.default_rng(1).normal(size=x.shape)
    scores = etran([noise, x + 5.0], labels)
    assert scores[1] > scores[0]


def test_classes_that_overlap_push_each_other_apart_along_their_line() -> None:
    # Two classes at ±1 of standard deviation ½ each: standardised, the distance is 2 s and R is
    # s / 2 with s = 1/√1.25, so at reach 10 the overlap is 10 s − 2 s = 8 s.
    x = np.array([[-1.5], [-0.5], [0.5], [1.5]])
    labels = np.array([0, 0, 1, 1])
    s = 1 / np.sqrt(1.25)
    distance = 2 * s
    for step in range(6):
        overlap = 10 * s - distance
        move = 0.005 * overlap
        if step and 2 * move <= 0.5 * 2 * 0.005 * 8 * s:
            break
        distance += 2 * move
    moved = repelled(x, labels, reach=10.0)
    assert moved[2:].mean() - moved[:2].mean() == pytest.approx(distance / s)
    np.testing.assert_allclose(np.diff(moved[:2], axis=0), np.diff(x[:2], axis=0))


def slow_repelled(x: Rows, labels: Labels, reach: float) -> tuple[Rows, int]:
    """Return the moved features and the steps made, pair by pair."""
    deviation, mean = x.std(axis=0), x.mean(axis=0)
    moved, first, steps = (x - mean) / deviation, None, 0
    n_classes = int(labels.max()) + 1
    for _ in range(6):
        means = [moved[labels == one].mean(axis=0) for one in range(n_classes)]
        radii = [np.sqrt(moved[labels == one].var(axis=0).sum()) for one in range(n_classes)]
        moves = np.zeros((n_classes, x.shape[1]))
        for i in range(n_classes):
            for j in range(n_classes):
                if i != j:
                    line = means[i] - means[j]
                    overlap = max(0, reach * (radii[i] + radii[j]) - np.linalg.norm(line))
                    moves[i] += line / np.linalg.norm(line) * min(0.005 * overlap, overlap)
        total = np.abs(moves).sum()
        if first is not None and total <= 0.5 * first:
            break
        first = total if first is None else first
        moved, steps = moved + moves[labels], steps + 1
    return moved * deviation + mean, steps


@pytest.mark.parametrize(("classes", "steps"), [(3, 6), (60, 2)])
def test_the_push_equals_the_slow_one_and_ends_when_it_has_halved(classes: int, steps: int) -> None:
    # Of means at right angles a step takes about 0.005 C of the overlap: of 60, 1, 0.7, 0.49.
    labels = np.arange(2 * classes) % classes
    noise = np.random.default_rng(0).normal(size=(2 * classes, classes))
    x = np.eye(classes)[labels] + noise
    known, made = slow_repelled(x, labels, 3.0)
    assert made == steps
    np.testing.assert_allclose(repelled(x, labels, reach=3.0), known)


def test_classes_out_of_reach_stay_and_ped_is_then_sfda() -> None:
    labels = np.arange(60) % 3
    x = 50.0 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(60, 3))
    np.testing.assert_array_equal(repelled(x, labels), x)
    assert ped(x, labels) == sfda(x, labels)


# TransRate, GBC


def test_transrate_is_its_determinants() -> None:
    x, labels = items(0)
    centred = x - x.mean(axis=0)

    def rate(rows: Rows) -> float:
        return 0.5 * np.linalg.slogdet(np.eye(8) + rows.T @ rows / (len(rows) * 1e-4))[1]

    known = rate(centred) - np.mean([rate(centred[labels == one]) for one in range(3)])
    assert transrate(x, labels) == pytest.approx(known)


def test_transrate_of_few_items_is_its_determinants_too() -> None:
    x, labels = items(0, n=12, d=30)
    centred = x - x.mean(axis=0)

    def rate(rows: Rows) -> float:
        return 0.5 * np.linalg.slogdet(np.eye(30) + rows.T @ rows / (len(rows) * 1e-4))[1]

    known = rate(centred) - np.mean([rate(centred[labels == one]) for one in range(3)])
    assert transrate(x, labels) == pytest.approx(known)


def test_gbc_of_two_unit_classes_four_apart() -> None:
    x = np.array([[-3.0], [-1.0], [1.0], [3.0]])
    labels = np.array([0, 0, 1, 1])
    assert gbc(x, labels) == pytest.approx(-0.270671, abs=5e-7)  # −2 exp(−4²/8)
    assert gbc(x, labels, covariance="diagonal") == pytest.approx(-0.270671, abs=5e-7)


def test_gbc_of_one_and_the_same_class_is_minus_the_pairs() -> None:
    half = items(0, n=20, d=3)[0]
    assert gbc(np.tile(half, (2, 1)), np.repeat([0, 1], 20)) == pytest.approx(-2.0)


@pytest.mark.parametrize("covariance", ["spherical", "diagonal"])
def test_gbc_is_its_sum_over_pairs(covariance: str) -> None:
    x, labels = items(0, n=90, d=4, signal=0.8)
    centred = x - x.mean(axis=0)
    axes = centred @ np.linalg.svd(centred)[2].T
    total = 0.0
    for i in range(3):
        for j in range(3):
            if i == j:
                continue
            a, b = (axes[labels == one] for one in (i, j))
            s, t = (np.diag(one.var(axis=0)) for one in (a, b))
            if covariance == "spherical":
                s, t = (np.eye(4) * np.trace(one) / 4 for one in (s, t))
            m, delta = (s + t) / 2, a.mean(axis=0) - b.mean(axis=0)
            determinants = np.linalg.det(m) / np.sqrt(np.linalg.det(s) * np.linalg.det(t))
            distance = delta @ np.linalg.inv(m) @ delta / 8 + 0.5 * np.log(determinants)
            total += np.exp(-distance)
    assert gbc(x, labels, covariance=covariance) == pytest.approx(-total)  # type: ignore[arg-type]


# PARC, neighbours, probe


def test_parc_is_spearmans_correlation_of_the_two_distances() -> None:
    x, labels = items(0, n=40)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    upper = np.triu_indices(40, 1)
    of_features = (1 - np.corrcoef(scaled))[upper]
    of_labels = (1 - np.corrcoef(np.eye(3)[labels]))[upper]
    known = 100 * spearmanr(of_features, np.round(of_labels, 9)).statistic
    assert parc(x, labels) == pytest.approx(known)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_parc_ignores_the_scale_and_origin_of_each_feature(seed: int) -> None:
    x, labels = items(seed, n=30, d=5)
    random = np.random.default_rng(seed)
    scaled = x * random.uniform(0.1, 10.0, size=5) + random.normal(size=5)
    assert parc(scaled, labels) == pytest.approx(parc(x, labels), abs=1e-6)


def test_parc_of_principal_axes_ignores_rotation_and_needs_two_features() -> None:
    x, labels = items(0, n=40, d=50)
    turned = x @ rotation(1, 50)
    assert parc(turned, labels, reduce=True) == pytest.approx(parc(x, labels, reduce=True))
    assert parc(x, labels, reduce=True) != parc(x, labels)
    with pytest.raises(ShapeError, match="d ≥ 2"):
        parc(x[:, :1], labels)


def test_parc_of_many_items_is_that_of_a_stratified_draw() -> None:
    x, labels = items(0, n=90)
    rows = stratified(labels.astype(np.intp), 30, np.random.default_rng(2))
    assert parc(x, labels, most_items=30, seed=2) == parc(x[rows], labels[rows])


@pytest.mark.parametrize("k", [1, 4])
def test_leave_one_out_neighbours_equal_the_slow_count(k: int) -> None:
    x, labels = items(0, n=45, signal=0.6)
    centred = x - x.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    right = 0
    for i in range(45):
        others = sorted((j for j in range(45) if j != i), key=lambda j: -unit[i] @ unit[j])[:k]
        votes = [sum(max(unit[i] @ unit[j], 0) for j in others if labels[j] == c) for c in range(3)]
        right += int(np.argmax(votes) == labels[i])
    assert knn_transfer(x, labels, k=k) == pytest.approx(right / 45)


def test_more_neighbours_than_items_are_all_of_them_and_none_are_refused() -> None:
    x, labels = items(0, n=9)
    assert knn_transfer(x, labels, k=100) == knn_transfer(x, labels, k=8)
    with pytest.raises(ShapeError, match="k = 0"):
        knn_transfer(x, labels, k=0)


def test_the_probe_leaves_each_item_really_out() -> None:
    x, labels = items(0, n=40, d=6, signal=0.5)
    targets = np.eye(3)[labels]
    largest = np.linalg.svd(x - x.mean(axis=0))[1][0] ** 2
    losses, shares = [], []
    for strength in np.logspace(-8, 2, 41):
        predicted, choices = np.zeros((40, 3)), np.zeros((40, 3))
        for i in range(40):
            rest = np.arange(40) != i
            mean, height = x[rest].mean(axis=0), targets[rest].mean(axis=0)
            centred = x[rest] - mean
            penalised = centred.T @ centred + strength * largest * np.eye(6)
            slope = np.linalg.solve(penalised, centred.T @ (targets[rest] - height))
            predicted[i] = (x[i] - mean) @ slope + height
            choices[i] = (x[i] - mean) @ slope + targets.mean(axis=0)
        losses.append(((targets - predicted) ** 2).sum())
        shares.append((choices.argmax(axis=1) == labels).mean())
    assert linear_probe(x, labels) == pytest.approx(shares[int(np.argmin(losses))])


def test_features_that_say_nothing_are_right_by_chance_and_not_never() -> None:
    shares = [linear_probe(*items(seed, signal=0.0)) for seed in range(30)]
    assert np.mean(shares) == pytest.approx(1 / 3, abs=0.05)


def test_a_stratified_draw_keeps_each_classs_share_and_every_class() -> None:
    classes = np.repeat([0, 1, 2], [600, 300, 2])
    rows = stratified(classes, 90, np.random.default_rng(0))
    assert np.bincount(classes[rows]).tolist() == [60, 30, 1]
    assert len(np.unique(rows)) == len(rows)
    np.testing.assert_array_equal(stratified(classes, 1000, np.random.default_rng(0)), range(902))
