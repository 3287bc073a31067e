"""For whom? The metric of each group, the worst group, and whether transfer widened the gap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.arm import interval_json
from regraft.evidence.criterion import Quantity
from regraft.evidence.questions.asked import Answered
from regraft.evidence.target import families_of, scored
from regraft.evidence.verdict import WITHOUT_TRANSFER
from regraft.evidence.words import number, signed
from regraft.measure.group_gaps import gap_change, gap_interval, pair_level, sidak, worst_interval
from regraft.measure.groups import worst_group
from regraft.measure.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.questions.asked import Answer, Asked
    from regraft.evidence.target import Scored
    from regraft.measure.intervals import Interval

KEY, QUESTION = "groups", "For whom?"

_GAPS = {
    "gap": "gap of {metric} between the groups of {column}",
    "demographic_parity": "demographic-parity difference by {column}",
    "equalized_odds": "equalised-odds difference by {column}",
}


def answered(asked: Asked) -> Answered:
    """Answer for the arm that stands for transfer, by every column that results are reported by."""
    answers: list[Answer] = []
    columns: list[dict[str, Any]] = []
    for column in asked.evidence.test_items.subgroups:
        found = _by_column(asked, column)
        answers += found.answers
        columns += [dict(found.figure)] if found.figure else []
    figure = {"metric": asked.metric, "columns": columns}
    return Answered(answers, figure if columns else None)


def _by_column(asked: Asked, column: str) -> Answered:
    """Return the answers of one column, and the bars of its picture."""
    ours, metric = scored(asked.evidence, asked.ours), asked.metric
    quantity = Quantity(metric, over="worst_group", column=column)
    each = ours.of_groups(quantity, _alone)
    if sum(not np.isnan(one.value) for one in each.values()) < 2:
        return Answered([])
    together = ours.of_groups(quantity, lambda n: sidak(0.95, n))
    controls = [
        (one, scored(asked.evidence, one))
        for one in asked.evidence.arms
        if one.role == WITHOUT_TRANSFER and one.test_logits is not None
    ]
    alone = [
        *(_group(column, name, one) for name, one in each.items()),
        _worst(metric, column, together),
        *(_gap(quantity, over, ours) for over in _GAPS),
    ]
    answers = [
        *(_of_seeds(one, asked.ours) for one in alone),
        *(
            _of_seeds(_change(quantity, ours, system, one.title), asked.ours, one)
            for one, system in controls
        ),
    ]
    arms = [
        (asked.ours, each),
        *((one, system.of_groups(quantity, _alone)) for one, system in controls),
    ]
    return Answered(answers, {"column": column, "arms": [_bars(*one) for one in arms]})


def _group(column: str, name: str, one: Interval) -> Answer:
    text = "no test item defines it" if np.isnan(one.value) else number(one.value)
    return {"name": f"{column} = {name}, n = {one.n}", **interval_json(one), "text": text}


def _worst(metric: str, column: str, groups: Mapping[str, Interval]) -> Answer:
    name, _ = worst_group(metric, groups)
    found = worst_interval(groups, higher_is_better=METRICS[metric].higher_is_better)
    return {
        "name": f"worst group of {column}: {name}",
        **interval_json(found),
        "group": name,
        "text": number(found.value),
    }


def _gap(quantity: Quantity, over: str, ours: Scored) -> Answer:
    """Return the largest difference between groups: of the metric, or of a rate of a class."""
    found = _gap_interval(quantity, over, ours)
    title = METRICS[quantity.measure].title
    name = _GAPS[over].format(metric=title, column=quantity.column)
    if over != "gap" and len(ours.classes) == 2:
        name += f" ({ours.classes[1]})"
    text = "no test item defines it" if np.isnan(found.value) else number(found.value)
    return {"name": name, **interval_json(found), "text": text}


def _gap_interval(quantity: Quantity, over: str, system: Scored) -> Interval:
    measure = quantity.measure if over == "gap" else ""
    families = families_of(Quantity(measure, over=over, column=quantity.column), system.classes)
    return gap_interval(
        [system.of_groups(one, lambda n: pair_level(0.95, n, len(families))) for one in families]
    )


def _of_seeds(answer: Answer, *arms: ArmEvidence) -> Answer:
    """Return an answer with the repetitions that it rests on."""
    counts = [0 if one.test_logits is None else len(one.test_logits) for one in arms]
    return {**answer, "seeds": counts[0] if len(counts) == 1 else counts}


def _change(quantity: Quantity, ours: Scored, control: Scored, title: str) -> Answer:
    """Return by how much the metric's gap is wider than a control's without transfer."""
    found = gap_change(*(_gap_interval(quantity, "gap", one) for one in (ours, control)))
    verdict = "undecided"
    if found.low > 0 or found.high < 0:
        verdict = "widened" if found.low > 0 else "narrowed"
    return {
        "name": f"gap by {quantity.column} against {title}",
        **interval_json(found),
        "verdict": verdict,
        "text": f"{verdict}, {signed(found.value)}",
    }


def _bars(arm: ArmEvidence, groups: Mapping[str, Interval]) -> dict[str, Any]:
    return {
        "protocol": arm.key,
        "title": arm.title,
        "role": arm.role,
        "groups": [
            _of_seeds({"group": name, **interval_json(one)}, arm) for name, one in groups.items()
        ],
    }


def _alone(n: int) -> float:
    """Return the level of an interval that is read by itself, however many groups there are."""
    del n
    return 0.95
