"""The success criterion as it is written: clauses joined by ``and``, each a bound on a quantity.

    criterion = clause {"and" clause} | number
    clause    = quantity (">=" | "<=" | ">" | "<") number
    quantity  = measure | ("worst_group" | "gap") "(" column ")" "." measure
              | ("demographic_parity" | "equalized_odds") "(" column ")" | "latency_ms"
    measure   = a metric's name | rate ["(" class ")"]
    rate      = "recall" | "precision" | "selection_rate" | "false_positive_rate"

A number alone bounds the study's metric. Columns and classes that hold parentheses or quotes are
put between quotes. White space is free.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from regraft.errors import ConfigError, did_you_mean
from regraft.measure.metrics import METRICS, metric_named
from regraft.measure.rates import RATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.measure.intervals import Interval
    from regraft.tasks.task import Task

Status = Literal["met", "not_met", "undecided"]

LATENCY = "latency_ms"
OF_GROUPS = ("worst_group", "gap")
DIFFERENCES = ("demographic_parity", "equalized_odds")
_MEASURES = (*METRICS, *RATES, LATENCY)
_WHERE = "target"
_EXAMPLE = "Write for example 'macro_f1>=0.9 and ece<=0.05'."

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_CALL = r"""([A-Za-z_0-9]+)(?:\s*\(\s*('[^']*'|"[^"]*"|[^()'"]*?)\s*\))?"""
_CLAUSE = re.compile(
    rf"\s*{_CALL}(?:\s*\.\s*{_CALL})?\s*(>=|<=|>|<)\s*({_NUMBER})(?![\w.])\s*", re.IGNORECASE
)
_AND = re.compile(r"and\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a clause bounds.

    Attributes:
        measure: A metric, a rate, ``latency_ms``, or "" where `over` is a difference by itself.
        label: The class of a rate; None stands for the second of two classes.
        over: ``worst_group``, ``gap``, ``demographic_parity``, ``equalized_odds``, or "".
        column: The column that says the groups, or None.
    """

    measure: str
    label: str | None = None
    over: str = ""
    column: str | None = None

    def __str__(self) -> str:
        """Return it as it is written."""
        measure = self.measure + (f"({_quoted(self.label)})" if self.label is not None else "")
        if not self.over:
            return measure
        whose = f"{self.over}({_quoted(self.column or '')})"
        return f"{whose}.{measure}" if measure else whose


@dataclass(frozen=True, slots=True)
class Clause:
    """A quantity, a sign and a bound: ``macro_f1 >= 0.9``."""

    quantity: Quantity
    sign: str
    bound: float

    @property
    def at_least(self) -> bool:
        """Whether the bound is a lower one."""
        return self.sign.startswith(">")

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.quantity}{self.sign}{self.bound:.15g}"

    def status(self, found: Interval) -> Status:
        """Return met where the whole interval is on the right side, not met where none of it is."""
        flip = 1.0 if self.at_least else -1.0
        worst, best = sorted((flip * found.low, flip * found.high))
        bound, is_strict = flip * self.bound, len(self.sign) == 1
        if worst > bound or (worst == bound and not is_strict):
            return "met"
        if best < bound or (best == bound and is_strict):
            return "not_met"
        return "undecided"


def criterion_of(task: Task) -> tuple[Clause, ...]:
    """Return the clauses of a task's target, each checked against its classes and columns.

    Raises:
        ConfigError: It is no criterion, or names what the data does not have.
    """
    if task.target is None:
        return ()
    clauses = parse_target(task.target, metric=task.metric)
    for clause in clauses:
        check_quantity(clause.quantity, task.classes, tuple(task.development.subgroups))
    return clauses


def parse_target(text: str, *, metric: str) -> tuple[Clause, ...]:
    """Parse ``"macro_f1>=0.9 and ece<=0.05"``; a bare number bounds the study's metric.

    Raises:
        ConfigError: It is no such criterion, or a name in it is unknown.

    Example:
        >>> [str(one) for one in parse_target("0.9", metric="accuracy")]
        ['accuracy>=0.9']
        >>> (clause,) = parse_target("worst_group(sex) . recall >= .8", metric="accuracy")
        >>> clause.quantity
        Quantity(measure='recall', label=None, over='worst_group', column='sex')
    """
    if re.fullmatch(_NUMBER, text.strip(), re.IGNORECASE):
        sign = ">=" if metric_named(metric).higher_is_better else "<="
        return (Clause(Quantity(metric), sign, float(text)),)
    clauses, place = [], 0
    while True:
        match = _CLAUSE.match(text, place)
        if match is None:
            raise _no_criterion(text, place)
        clauses.append(_clause(match))
        if match.end() == len(text):
            return tuple(clauses)
        joined = _AND.match(text, match.end())
        if joined is None:
            raise _no_criterion(text, place)
        place = joined.end()


def check_quantity(quantity: Quantity, classes: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse a quantity of a class or column that the data does not have.

    Raises:
        ConfigError: It is one.
    """
    if quantity.column is not None and quantity.column not in columns:
        raise ConfigError(
            f"results are not reported by {quantity.column!r}."
            f"{did_you_mean(quantity.column, columns)} Name the column with report_by "
            "(--report-by).",
            where=_WHERE,
        )
    if quantity.label is not None and quantity.label not in classes:
        raise ConfigError(
            f"there is no class {quantity.label!r}.{did_you_mean(quantity.label, classes)}",
            where=_WHERE,
        )
    if quantity.measure in RATES and quantity.label is None and len(classes) != 2:
        raise ConfigError(
            f"{quantity.measure} is of one class, and there are {len(classes)}. Write "
            f"{quantity.measure}(CLASS).",
            where=_WHERE,
        )


def _clause(match: re.Match[str]) -> Clause:
    first, first_argument, second, second_argument, sign, bound = match.groups()
    if second is None and first not in (*OF_GROUPS, *DIFFERENCES):
        quantity = Quantity(first, _unquoted(first_argument))
    else:
        quantity = Quantity(
            second or "", _unquoted(second_argument), over=first, column=_unquoted(first_argument)
        )
    _check_names(quantity)
    return Clause(quantity, sign, float(bound))


def _check_names(quantity: Quantity) -> None:
    over, measure = quantity.over, quantity.measure
    if over and over not in (*OF_GROUPS, *DIFFERENCES):
        near = did_you_mean(over, (*OF_GROUPS, *DIFFERENCES))
        raise ConfigError(f"unknown {over!r} before a point.{near}", where=_WHERE)
    if over and not quantity.column:
        raise ConfigError(f"{over} is over a column. Write {over}(COLUMN).", where=_WHERE)
    if over in OF_GROUPS and not measure:
        raise ConfigError(
            f"{over} is of a measure. Write {over}({quantity.column}).accuracy.", where=_WHERE
        )
    if over in DIFFERENCES and measure:
        raise ConfigError(
            f"{over} is a measure by itself. Write {over}({quantity.column}).", where=_WHERE
        )
    if measure and measure not in _MEASURES:
        known = (*_MEASURES, *DIFFERENCES)
        raise ConfigError(
            f"unknown metric {measure!r}.{did_you_mean(measure, known)}", where=_WHERE
        )
    if quantity.label is not None and measure not in RATES:
        raise ConfigError(
            f"{measure} is not of one class. Write {measure} alone, or recall(CLASS).",
            where=_WHERE,
        )
    if over and measure == LATENCY:
        raise ConfigError(f"{LATENCY} is not of groups. Write {LATENCY} alone.", where=_WHERE)


def _no_criterion(text: str, place: int) -> ConfigError:
    """Return the error for what stands at a place, up to the next ``and``."""
    part = re.split(r"\band\b", text[place:], maxsplit=1, flags=re.IGNORECASE)[0].strip()
    return ConfigError(f"{part!r} is not a criterion. {_EXAMPLE}", where=_WHERE)


def _unquoted(argument: str | None) -> str | None:
    if argument is None:
        return None
    return argument[1:-1] if argument[:1] in ("'", '"') else argument


def _quoted(name: str) -> str:
    if name and name == name.strip() and not re.search(r"[()'\"]", name):
        return name
    return f'"{name}"' if "'" in name else f"'{name}'"
