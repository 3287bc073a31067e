"""How much of a classifier is left on corrupted inputs, beside a reference classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError
from regraft.measure.intervals import FEW_ITEMS, Interval
from regraft.measure.resampling import resample_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_RESAMPLES = 2000
_FEW_ERRORS = 10
"""Where the reference makes fewer errors under a corruption, a ratio to them is mostly chance."""


@dataclass(frozen=True, slots=True)
class CorruptionErrors:
    """Errors under corruption as multiples of a reference classifier's; below 1 is more robust.

    Attributes:
        each: Corruption → Σ E / Σ E_reference over its severities.
        mean: mCE, the mean of `each`.
        relative: Mean of Σ (E − clean) / Σ (E_reference − clean_reference): how much more is lost
            than by the reference, whatever the clean errors; None where the reference loses nothing
            to one of the corruptions.
    """

    each: Mapping[str, float]
    mean: float
    relative: float | None


def corruption_errors(
    errors: Mapping[str, Sequence[float]],
    reference: Mapping[str, Sequence[float]],
    *,
    clean: float,
    clean_reference: float,
) -> CorruptionErrors:
    """Return the corruption error of each kind, their mean, and the relative one.

    Args:
        errors: Corruption → error at each severity, in [0, 1].
        reference: The same of the classifier that is compared with (for example the linear probe,
            or the model from scratch); same corruptions and severities.
        clean: Error on the inputs as they are.
        clean_reference: The reference's.

    Raises:
        ShapeError: The two do not hold the same corruptions and severities, or the reference makes
            no error under one of them.

    Reference:
        Hendrycks & Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
        Perturbations, ICLR 2019, section 3.

    Example:
        >>> corruption_errors({"fog": [0.2]}, {"fog": [0.4]}, clean=0.1, clean_reference=0.2)
        CorruptionErrors(each={'fog': 0.5}, mean=0.5, relative=0.5)
    """
    if not errors or {k: len(v) for k, v in errors.items()} != {
        k: len(v) for k, v in reference.items()
    }:
        raise ShapeError(
            f"corruption_errors: {sorted(errors)} and {sorted(reference)} differ or hold nothing. "
            "Give the same corruptions and severities of both."
        )
    unfailing = [name for name, values in reference.items() if sum(values) <= 0]
    if unfailing:
        raise ShapeError(
            f"corruption_errors: the reference makes no error under {unfailing[0]!r}. "
            "Give a weaker reference, or compare errors as they are."
        )
    each = {name: sum(values) / sum(reference[name]) for name, values in errors.items()}
    lost = {
        name: sum(value - clean_reference for value in values) for name, values in reference.items()
    }
    relative = None
    if min(lost.values()) > 0:
        shares = [
            sum(value - clean for value in values) / lost[name] for name, values in errors.items()
        ]
        relative = sum(shares) / len(shares)
    return CorruptionErrors(each, sum(each.values()) / len(each), relative)


def corruption_error_intervals(
    wrong: Mapping[str, NDArray[np.floating]],
    reference: Mapping[str, NDArray[np.floating]],
    *,
    clean: NDArray[np.floating],
    clean_reference: NDArray[np.floating],
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Interval, Interval | None]:
    """Return mCE and the relative mCE of two classifiers on the same items, with intervals.

    Items are drawn anew together with all their corruptions, n − 1 of n. The ends are percentiles
    of the draws in which the reference errs under every corruption.

    Args:
        wrong: Corruption → how often each item is wrong at each severity, mean over seeds, shape
            (severities, n), in [0, 1].
        reference: The same of the reference.
        clean: The same on the items as they are, shape (n,).
        clean_reference: The reference's.
        level: Nominal coverage in (0, 1).
        seed: Of the resampling.

    Returns:
        mCE, and the relative one; None where that does not exist.

    Raises:
        ShapeError: As `corruption_errors`.
    """
    found = corruption_errors(
        {name: list(one.mean(axis=1)) for name, one in wrong.items()},
        {name: list(one.mean(axis=1)) for name, one in reference.items()},
        clean=float(clean.mean()),
        clean_reference=float(clean_reference.mean()),
    )
    n = len(clean)
    generator = np.random.default_rng(seed)
    weights = resample_weights([np.arange(n)], n_items=n, resamples=_RESAMPLES, generator=generator)
    ours, theirs = (
        np.stack([both[name].mean(axis=0) @ weights / n for name in wrong])
        for both in (wrong, reference)
    )  # (corruptions, resamples)
    plain = [one @ weights / n for one in (clean, clean_reference)]
    fewest = min(float(reference[name].mean(axis=0).sum()) for name in wrong)
    mce = _ratio(found.mean, ours, theirs, n=n, fewest=fewest, level=level)
    if found.relative is None:
        return mce, None
    lost, lost_reference = ours - plain[0], theirs - plain[1]
    least = min(float((reference[name].mean(axis=0) - clean_reference).sum()) for name in wrong)
    return mce, _ratio(found.relative, lost, lost_reference, n=n, fewest=least, level=level)


def _ratio(
    value: float,
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    *,
    n: int,
    fewest: float,
    level: float,
) -> Interval:
    """Return the mean of ratios with percentiles of its draws; `fewest` errors are below one."""
    defined = (theirs > 0).all(axis=0)
    draws = (ours[:, defined] / theirs[:, defined]).mean(axis=0)
    how = f"bootstrap of items with all their corruptions, {_RESAMPLES} resamples"
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail]) if len(draws) else (value, value)
    warning = None
    if n < FEW_ITEMS:
        warning = f"{n} items are few: the interval is rough"
    elif fewest < _FEW_ERRORS or not defined.all():
        warning = "the reference hardly errs under one of the corruptions: the ratio is rough"
    ends = (min(float(low), value), max(float(high), value))
    return Interval(value, *ends, n, how, level, warning)
