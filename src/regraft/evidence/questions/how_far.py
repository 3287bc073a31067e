"""How far is the data from the source? Features of both by the pretrained backbone, held apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.errors import DataError
from regraft.evidence.draws import drawn
from regraft.evidence.questions.asked import Answered, point
from regraft.evidence.words import number
from regraft.measure.comparison import ALPHA
from regraft.measure.mmd import mmd2_test
from regraft.measure.moments import frechet
from regraft.measure.two_sample import proxy_a_distance
from regraft.seeds import numpy_generator

if TYPE_CHECKING:
    from regraft.evidence.questions.asked import Answer, Asked

    Array = np.ndarray[Any, Any]

KEY, QUESTION = "far", "How far is the data from the source?"

MOST = 1000
"""Rows of each side that are looked at; kernel and classifier then take a second or two."""
_FEWEST = 8
_FOLD_SEEDS = 2**32
"""scikit-learn takes no larger seed; those of a study have 63 bits."""
_TESTED = "it is tested against 0 by permutation; no interval of it has been measured to hold"
_NO_INTERVAL = "no interval of this estimate has been measured to hold"
_BIASED = "it lies above 0 for one law too; that value stands beside it"


def answered(asked: Asked) -> Answered:
    """Answer for the backbone whose features of the sealed items are kept: the winner's."""
    evidence = asked.evidence
    data = evidence.test_features
    if evidence.source is None or data is None:
        return Answered([])
    place = asked.winner.backbone or 0
    named = f"features of {evidence.study['backbones'][place]}"
    return Answered(how_far(evidence.source.before[place], data, named=named, seed=asked.test.seed))


def how_far(source: Array, data: Array, *, named: str, seed: int) -> list[Answer]:
    """Return MMD² with its p, proxy A-distance and Fréchet distance of source and data.

    Args:
        source: Pooled features of source items, shape (m, d).
        data: Those of the sealed items by the same backbone, shape (n, d).
        named: Whose features they are.
        seed: Of draws, permutations and folds.
    """
    x, y = (
        one[drawn(len(one), MOST, seed=seed, name=name)]
        for one, name in ((source, "far-source"), (data, "far-data"))
    )
    m, n = len(x), len(y)
    if min(m, n) < _FEWEST:
        return [_unmeasured(named, n, m, f"either side needs {_FEWEST} items or more")]
    sides = {"n": n, "n_source": m, "seeds": 0}
    of_both = f"pretrained features of n = {n} sealed items and m = {m} of the source"
    try:
        found = [
            _kernel(x, y, of_both, seed=seed),
            _classifier(x, y, of_both, seed=seed),
            _moments(x, y, of_both, seed=seed),
        ]
    except DataError as error:  # features that are no numbers, or all the same
        return [_unmeasured(named, n, m, str(error))]
    return [{**one, "name": f"{one['name']}, {named}", **sides} for one in found]


def _kernel(x: Array, y: Array, of_both: str, *, seed: int) -> Answer:
    tested = mmd2_test(x, y, seed=seed)
    how = f"{tested.estimator}: p = {number(tested.p)}; {of_both}"
    apart = tested.p < ALPHA
    said = "told apart from the source" if apart else "not told apart from the source"
    return {
        "name": "MMD²",
        **point(tested.statistic, n=len(y), seeds=0, estimator=how, why=_TESTED),
        "p_apart": tested.p,
        "verdict": "told apart" if apart else "not told apart",
        "text": f"{number(tested.statistic)}: {said}, p = {number(tested.p)}",
    }


def _classifier(x: Array, y: Array, of_both: str, *, seed: int) -> Answer:
    value = proxy_a_distance(x, y, seed=seed % _FOLD_SEEDS)
    how = f"2 (1 − 2 ε), ε the error of logistic regression over 5 folds, sides alike; {of_both}"
    return {
        "name": "proxy A-distance",
        **point(value, n=len(y), seeds=0, estimator=how, why=_NO_INTERVAL),
        "text": f"{number(value)} (0: not told apart, 2: always)",
    }


def _moments(x: Array, y: Array, of_both: str, *, seed: int) -> Answer:
    """Return the Fréchet distance beside that of one random split of all rows: one law shows it."""
    rows = np.concatenate([x, y])
    rows = rows[numpy_generator(seed, "one law").permutation(len(rows))]
    value, one_law = frechet(x, y), frechet(rows[: len(x)], rows[len(x) :])
    how = f"squared Fréchet distance of fitted Gaussians; {of_both}"
    mixed = f"the same of one random split of both together; {of_both}"
    return {
        "name": "Fréchet distance",
        **point(value, n=len(y), seeds=0, estimator=how, why=_BIASED),
        "one_law": one_law,
        "behind": {"one_law": point(one_law, n=len(y), seeds=0, estimator=mixed, why=_NO_INTERVAL)},
        "text": number(value),
        "beside": f"{number(one_law)} were both of one law",
    }


def _unmeasured(named: str, n: int, m: int, why: str) -> Answer:
    return {
        "name": f"distance from the source, {named}",
        "n": n,
        "n_source": m,
        "estimator": "not measured",
        "text": why,
    }
