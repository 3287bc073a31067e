from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, spearmanr
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from made_features import Labels, Rows, items, rotation
from regraft.errors import ShapeError
from regraft.measure.transferability.discriminant import etran, etran_parts, ped, repelled, sfda
from regraft.measure.transferability.neighbours import (
    knn_transfer,
    linear_probe,
    parc,
    stratified,
)
from regraft.measure.transferability.separation import gbc, transrate

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
