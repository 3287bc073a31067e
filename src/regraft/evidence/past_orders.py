"""What a ledger's finished studies say of an order of backbones: baselines, and regret."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.measure.metrics import METRICS
from regraft.measure.transferability.judging import regret, static_order, weighted_tau

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from regraft.evidence.ranking import Ranking
    from regraft.ledger.ledger import Ledger

BASELINE = "linear_probe"
_WITHOUT_TRANSFER = "control_without_transfer"


@dataclass(frozen=True, slots=True)
class Judged:
    """An order held against what the backbones reached on this very task.

    Attributes:
        name: Who ordered.
        regret: Best less what the first of the order reached, in the metric.
        weighted_tau: Weighted Kendall's τ; None for chance, or where it is undefined.
    """

    name: str
    regret: float
    weighted_tau: float | None


@dataclass(frozen=True, slots=True)
class Past:
    """What the past knows of some backbones.

    Attributes:
        n_tasks: Other data of the ledger on which all of them were studied by one metric.
        static_order: Their mean rank on those, by backbone, 1 the best; None without such a task.
        judged: The ranking and three baselines by regret, least first; empty where this task has
            not been studied with all of them.
        sentence: The same in words.
    """

    n_tasks: int
    static_order: Mapping[str, float] | None
    judged: tuple[Judged, ...]
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return the plain record."""
        return asdict(self)


def past_of(ledger: Ledger, ranking: Ranking, references: Mapping[str, str], data: str) -> Past:
    """Return the baselines that a ranking has to beat, and its regret where that is known.

    A backbone reached on a task what its best arm that transfers did on validation. The static
    order is the mean rank over other tasks: it looks at no data. Data are one task, whatever the
    metric: they stand by what was studied of them last. Chance is the mean over all orders.

    Args:
        ledger: Where studies are recorded.
        ranking: Of the backbones.
        references: By the ranking's name of a backbone, its reference as a study records it.
        data: The task's data as a study records it.
    """
    names = [place.name for place in ranking.places]
    reached = _reached(ledger)
    whole = {  # of two metrics on the same data the one studied last stays
        there: np.array([values[references[name]] for name in names])
        for (there, _), values in reached.items()
        if all(references[name] in values for name in names)
    }
    others = [values for there, values in whole.items() if there != data]
    order = static_order(np.stack(others)) if others else None
    judged = _judged(ranking, names, order, whole[data]) if data in whole else ()
    return Past(
        n_tasks=len(others),
        static_order=None
        if order is None
        else {name: float(-value) for name, value in zip(names, order, strict=True)},
        judged=judged,
        sentence=_sentence(names, order, len(others), judged),
    )


def _reached(ledger: Ledger) -> dict[tuple[str, str], dict[str, float]]:
    """Return by (data, metric) what each backbone reached, more is better; newest study last."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for study in sorted(ledger.studies.all(), key=lambda one: one.created):
        record = ledger.studies.record(study.id)
        if record is None:
            continue
        about = record["study"]
        key = (about["data"], about["metric"])
        values = found.pop(key, {})  # put back behind the others
        found[key] = values | _of_record(record, about["backbones"], about["metric"])
    return found


def _of_record(
    record: Mapping[str, Any], backbones: Sequence[str], metric: str
) -> dict[str, float]:
    found: dict[str, float] = {}
    for arm in record["arms"]:
        score = (arm["validation"] or {}).get(metric)
        if arm["role"] == _WITHOUT_TRANSFER or score is None or score["value"] is None:
            continue
        # The key of an arm names its backbone where the study has several.
        backbone = arm["key"].partition("@")[2] if len(backbones) > 1 else backbones[0]
        value = METRICS[metric].sign * float(score["value"])
        found[backbone] = max(value, found.get(backbone, -np.inf))
    return found


def _judged(
    ranking: Ranking,
    names: Sequence[str],
    order: NDArray[np.float64] | None,
    reached: NDArray[np.float64],
) -> tuple[Judged, ...]:
    means = {place.name: -place.mean_rank for place in ranking.places}
    probe = next(view.scores for view in ranking.estimators if view.name == BASELINE)
    given = {
        "this ranking": np.array([means[name] for name in names]),
        "linear probe": np.array([probe[name] for name in names]),
    }
    if order is not None:
        given["static order"] = order
    found = [
        Judged(name, regret(scores, reached), _defined(weighted_tau(scores, reached)))
        for name, scores in given.items()
    ]
    found.append(Judged("chance", float(reached.max() - reached.mean()), None))
    return tuple(sorted(found, key=lambda one: one.regret))


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value


def _sentence(
    names: Sequence[str],
    order: NDArray[np.float64] | None,
    n_tasks: int,
    judged: Sequence[Judged],
) -> str:
    if order is None:
        first = (
            "The ledger has no other task with all of these backbones, so there is no static order "
            "to beat."
        )
    else:
        best = names[int(order.argmax())]
        tasks = "1 other task" if n_tasks == 1 else f"{n_tasks} other tasks"
        first = f"The static order of {tasks} in the ledger puts {best} first."
    if not judged:
        return f"{first} What they reach on these data is not known yet: no regret."
    each = "; ".join(f"{one.name} {one.regret:.3f}" for one in judged)
    return f"{first} Regret on these data, as studied before (0 is best): {each}."
