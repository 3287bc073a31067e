"""The success criterion: is the target met, with the interval to say so."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from regraft.errors import ConfigError, did_you_mean
from regraft.measure.metrics import METRICS, metric_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.measure.intervals import Interval

Status = Literal["met", "not_met", "undecided"]
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_CLAUSE = re.compile(rf"\s*([a-z_0-9]+)\s*(>=|<=)\s*({_NUMBER})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Clause:
    """``metric >= bound`` or ``metric <= bound``."""

    metric: str
    at_least: bool
    bound: float


@dataclass(frozen=True, slots=True)
class ClauseJudgement:
    """A clause held against an interval."""

    text: str
    value: float
    low: float
    high: float
    status: Status


@dataclass(frozen=True, slots=True)
class Judgement:
    """The whole criterion: met when every clause is, not met when one is not, else undecided."""

    text: str
    status: Status
    clauses: tuple[ClauseJudgement, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plain form."""
        return {
            "text": self.text,
            "status": self.status,
            "clauses": [asdict(one) for one in self.clauses],
        }


def parse_target(text: str, *, metric: str) -> tuple[Clause, ...]:
    """Parse ``"macro_f1>=0.9 and ece<=0.05"``; a bare number bounds the study's metric.

    Raises:
        ConfigError: It is no such criterion, or a metric is unknown.

    Example:
        >>> parse_target("0.9", metric="accuracy")
        (Clause(metric='accuracy', at_least=True, bound=0.9),)
    """
    if re.fullmatch(_NUMBER, text.strip(), re.IGNORECASE):
        return (Clause(metric, metric_named(metric).higher_is_better, float(text)),)
    clauses = []
    for part in re.split(r"\band\b", text, flags=re.IGNORECASE):
        match = _CLAUSE.fullmatch(part)
        if match is None:
            raise ConfigError(
                f"{part.strip()!r} is not a criterion. Write for example 'macro_f1>=0.9 and "
                "ece<=0.05'.",
                where="target",
            )
        name, sign, bound = match.groups()
        if name not in METRICS:
            raise ConfigError(
                f"unknown metric {name!r}.{did_you_mean(name, METRICS)}", where="target"
            )
        clauses.append(Clause(name, sign == ">=", float(bound)))
    return tuple(clauses)


def judge(clauses: tuple[Clause, ...], scores: Mapping[str, Interval]) -> Judgement:
    """Hold a criterion against scores: met when the whole interval is on the right side.

    Raises:
        ConfigError: A clause names a metric that was not measured (``mean_cost`` without costs).
    """
    for clause in clauses:
        if clause.metric not in scores:
            raise ConfigError(
                f"metric {clause.metric!r} was not measured.{did_you_mean(clause.metric, scores)}",
                where="target",
            )
    found = tuple(_judge_clause(clause, scores[clause.metric]) for clause in clauses)
    statuses = {one.status for one in found}
    status: Status = "undecided"
    if statuses == {"met"}:
        status = "met"
    elif "not_met" in statuses:
        status = "not_met"
    return Judgement(" and ".join(one.text for one in found), status, found)


def _judge_clause(clause: Clause, score: Interval) -> ClauseJudgement:
    sign = ">=" if clause.at_least else "<="
    status: Status = "undecided"
    worst, best = (score.low, score.high) if clause.at_least else (-score.high, -score.low)
    bound = clause.bound if clause.at_least else -clause.bound
    if worst >= bound:
        status = "met"
    elif best < bound:
        status = "not_met"
    return ClauseJudgement(
        f"{clause.metric}{sign}{clause.bound:g}", score.value, score.low, score.high, status
    )
