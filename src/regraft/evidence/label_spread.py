"""Label curves with what other items and other draws of labels would have made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.measure.label_savings import DataSaving, data_saving_ratio, saving_ends
from regraft.measure.metrics import METRICS, softmax
from regraft.measure.power_law import PowerLaw, fitted_laws
from regraft.measure.resampling import mean_score, resampled_repetitions
from regraft.seeds import derive, numpy_generator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from regraft.evidence.arm import Part
    from regraft.evidence.gathered import BudgetPoint

RESAMPLES = 500
FEWEST_BUDGETS = 3
ENDS = (0.025, 0.975)


@dataclass(frozen=True, slots=True, eq=False)
class LabelCurve:
    """An arm's metric over numbers of labels.

    Attributes:
        n_labels: Ascending, shape (K,).
        values: The metric at each, mean over draws, shape (K,).
        resampled: The same on resamples of items and draws, shape (K, R).
        draws: Draws of labels at each, shape (K,).
    """

    n_labels: NDArray[np.float64]
    values: NDArray[np.float64]
    resampled: NDArray[np.float64]
    draws: NDArray[np.int64]


def label_curves(
    points: Sequence[BudgetPoint], test: Part, metric: str, *, resamples: int = RESAMPLES
) -> dict[str, LabelCurve]:
    """Return the curve of each arm, every arm and budget on the same resamples.

    Of D draws of labels a resample takes D − 1 with replacement, the same for all arms and budgets
    of so many draws: their mean then varies as that of D draws does. One draw alone has no spread;
    the resamples then hold that of the items only.
    """
    by_arm: dict[str, list[BudgetPoint]] = {}
    for one in sorted(points, key=lambda one: one.n_labels):
        by_arm.setdefault(one.arm, []).append(one)
    ordered = [one for arm in by_arm.values() for one in arm]
    scores = resampled_repetitions(
        metric,
        [softmax(one.logits) for one in ordered],
        test.labels,
        costs=test.costs,
        resamples=resamples,
        seed=test.seed,
    )
    means = iter([_redrawn(one, seed=test.seed) for one in scores])
    return {
        arm: LabelCurve(
            n_labels=np.array([one.n_labels for one in found], np.float64),
            values=np.array(
                [
                    mean_score(metric, softmax(one.logits), test.labels, costs=test.costs)
                    for one in found
                ]
            ),
            resampled=np.stack([next(means) for _ in found]),
            draws=np.array([len(one.logits) for one in found]),
        )
        for arm, found in by_arm.items()
    }


def _redrawn(scores: NDArray[np.float64], *, seed: int) -> NDArray[np.float64]:
    """Return the mean of D − 1 of the D draws of each resample, shape (R,)."""
    n_draws, resamples = scores.shape
    if n_draws == 1:
        return np.asarray(scores[0])
    generator = numpy_generator(derive(seed, "draws", n_draws), "labels")
    chosen = generator.integers(0, n_draws, size=(n_draws - 1, resamples))
    mean: NDArray[np.float64] = scores[chosen, np.arange(resamples)].mean(axis=0)
    return mean


def saved(
    slow: LabelCurve, fast: LabelCurve, metric: str
) -> tuple[DataSaving, tuple[float, float] | None]:
    """Return how many times fewer labels `fast` needs for the best of `slow`, and its 95 % ends.

    The ends are those of the ratio over resamples, each with its own best; None where resamples
    are undefined.
    """
    upward = METRICS[metric].higher_is_better

    def ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> DataSaving:
        return data_saving_ratio(slow.n_labels, a, fast.n_labels, b, higher_is_better=upward)

    found = ratio(slow.values, fast.values)
    columns = np.isfinite(slow.resampled).all(axis=0) & np.isfinite(fast.resampled).all(axis=0)
    each = [ratio(slow.resampled[:, i], fast.resampled[:, i]) for i in np.flatnonzero(columns)]
    return found, saving_ends(each) if each else None


@dataclass(frozen=True, slots=True, eq=False)
class FittedCurve:
    """The power law of an arm's errors and those of its resamples."""

    law: PowerLaw
    resampled: tuple[PowerLaw, ...]
    n_largest: float
    higher_is_better: bool

    def value_at(self, n: float) -> tuple[float, float, float]:
        """Return the metric that the law gives at n labels, with the 95 % ends of resamples."""
        errors = [self.law.error_at(n), *self._ends([one.error_at(n) for one in self.resampled])]
        value, low, high = (1 - one if self.higher_is_better else one for one in errors)
        return value, min(low, high), max(low, high)

    def labels_for(self, target: float) -> tuple[float, float, float]:
        """Return how many labels the law needs for a value of the metric, with its 95 % ends."""
        error = 1 - target if self.higher_is_better else target
        ends = self._ends([one.labels_for(error) for one in self.resampled])
        return self.law.labels_for(error), *ends

    def to_json(self) -> dict[str, Any]:
        """Return its parameters; intervals are those of the resamples."""

        def interval(name: str) -> list[float]:
            return list(self._ends([getattr(one, name) for one in self.resampled]))

        return {
            "floor": self.law.floor,
            "scale": self.law.scale,
            "exponent": self.law.exponent,
            "floor_interval": interval("floor"),
            "scale_interval": interval("scale"),
            "exponent_interval": interval("exponent"),
            "residual": self.law.residual,
            "note": self.law.note,
            "estimator": "least squares; 95 % ends over resamples of items and draws",
        }

    @staticmethod
    def _ends(values: Sequence[float]) -> tuple[float, float]:
        # Interpolating between two infinities would give no number.
        low = np.quantile(values, ENDS[0], method="lower")
        return float(low), float(np.quantile(values, ENDS[1], method="higher"))


def fitted(curve: LabelCurve, metric: str) -> FittedCurve | None:
    """Return the power law of a curve; None at fewer than 3 budgets or undefined resamples.

    The error of a metric of which more is better is 1 minus it, else the metric itself.
    """
    upward = METRICS[metric].higher_is_better
    defined = curve.resampled[:, np.isfinite(curve.resampled).all(axis=0)]
    if len(curve.n_labels) < FEWEST_BUDGETS or not defined.shape[1]:
        return None
    errors = np.concatenate([curve.values[:, None], defined], axis=1)
    law, *others = fitted_laws(curve.n_labels, 1 - errors if upward else errors)
    return FittedCurve(law, tuple(others), float(curve.n_labels[-1]), upward)


def drawn_law(
    one: FittedCurve, points: Sequence[Mapping[str, Any]], *, n_points: int = 25
) -> dict[str, Any]:
    """Return the law with its curve between the least and the most labels of its points."""
    labels = np.array([point["n_labels"] for point in points], np.float64)
    per_class = np.array([point["labels_per_class"] for point in points], np.float64)
    order = np.argsort(labels)
    across = np.geomspace(labels.min(), labels.max(), n_points)
    shown = np.exp(np.interp(np.log(across), np.log(labels[order]), np.log(per_class[order])))
    stands_behind = {
        "n": points[0].get("n"),
        "seeds": min(int(point.get("seeds", 1)) for point in points),
        "estimator": f"power law fitted to {len(points)} label budgets",
    }
    curve = [
        stands_behind
        | dict(zip(("labels_per_class", "value", "low", "high"), (float(x), *at), strict=True))
        for x, at in ((x, one.value_at(float(n))) for x, n in zip(shown, across, strict=True))
    ]
    return {**stands_behind, **one.to_json(), "curve": curve}
