"""The ladder as a table with a forest plot: one row per arm, controls and candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regraft.evidence.words import number
from regraft.report import words
from regraft.report.costs import costs_of
from regraft.report.palette import ROLES
from regraft.report.reading import (
    arm_number,
    higher_is_better,
    kept_values,
    metric_of,
    score_of,
    scored_arms,
)
from regraft.report.scale import Scale
from regraft.report.words import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    Arm = Mapping[str, Any]

_ROLES = {
    "control_without_transfer": "control, no transfer",
    "control_without_fine_tuning": "control, no fine-tuning",
    "candidate": "candidate",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """An interval on the forest's track, in percent; `beyond` names the side it lies beyond."""

    low: float
    value: float
    high: float
    beyond: str


@dataclass(frozen=True, slots=True)
class Row:
    """An arm as the table shows it.

    Attributes:
        number: Its place on the ladder.
        symbol: Shape of its role in the forest and the scatter.
        status: ``done``, ``skipped``, ``failed`` or ``eliminated``; `reason` says why.
        ties: Whether it cannot be told apart from the best.
        marks: Validation and sealed test on the forest's track; None where not scored.
        lead: How far the winner is ahead on validation, with interval and p.
        details: Settings, runs and pre-flight, as (term, texts).
        dropped: Whether an optional ingredient of it did not beat its off-switch.
    """

    number: int
    title: str
    role: str
    symbol: str
    status: str
    reason: str
    winner: bool
    ties: bool
    marks: tuple[Mark | None, Mark | None]
    validation: Cell
    test: Cell
    lead: Cell
    took: Cell
    trained: Cell
    details: tuple[tuple[str, tuple[Cell, ...]], ...]
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class Ladder:
    """The ladder as a table.

    Attributes:
        metric: Its title.
        rows: One per arm.
        ticks: Of the forest, as (percent, text).
        has_test: Whether anything was scored on the sealed part.
        n_done: Arms that ended.
        cares: Why some of its intervals are to be taken with care, each reason once.
    """

    metric: str
    rows: tuple[Row, ...]
    ticks: tuple[tuple[float, str], ...]
    has_test: bool
    n_done: int
    cares: tuple[str, ...] = ()


def ladder_of(record: Mapping[str, Any]) -> Ladder:
    """Return the ladder's table."""
    metric = metric_of(record)
    done = scored_arms(record)
    scores = [arm["validation"][metric] for arm in done]
    scores += [one for arm in done if (one := score_of(arm, "test", metric))]
    scale = Scale.of(scores, higher_is_better=higher_is_better(record), kept=kept_values(record))
    rows = tuple(_row(record, arm, scale) for arm in record["arms"])
    return Ladder(
        metric=words.metric_title(metric),
        rows=rows,
        ticks=tuple((100 * scale.share(one), number(one)[:3]) for one in scale.ticks()),
        has_test=any(score_of(arm, "test", metric) for arm in done),
        n_done=len(done),
        cares=tuple(sorted({why for one in scores if (why := words.warning_of(one))})),
    )


def all_scores(record: Mapping[str, Any]) -> Table:
    """Return every measured score of every arm on validation."""
    arms = scored_arms(record)
    names = list(dict.fromkeys(name for arm in arms for name in arm["validation"]))
    rows = tuple(
        (Cell(arm["title"]), *(words.score_cell(arm["validation"].get(name)) for name in names))
        for arm in arms
    )
    heads = ("Arm", *(words.metric_title(name) for name in names))
    return Table(heads, rows, frozenset(range(1, len(heads))))


def ingredients(record: Mapping[str, Any]) -> Table | None:
    """Return every optional ingredient with its lead over its off-switch and what became of it."""
    gates = record.get("gates")
    if not gates:
        return None
    titles = {arm["key"]: arm["title"] for arm in record["arms"]}
    rows = tuple(
        (
            Cell(one["ingredient"]),
            Cell(titles[one["protocol"]]),
            Cell(titles[one["off"]]),
            Cell(words.comparison_text(one), words.comparison_title(one)),
            Cell(_adjusted(one["p_adjusted"])),
            Cell(one["text"].partition(":")[0], one["text"]),
        )
        for one in gates
    )
    heads = ("Ingredient", "Arm", "Its off-switch", "Lead over it", "Corrected p", "Outcome")
    return Table(heads, rows, frozenset({3, 4}))


def _not_passed(record: Mapping[str, Any]) -> set[str]:
    return {one["protocol"] for one in record.get("gates") or () if not one["passed"]}


def _adjusted(p: float | None) -> str:
    return words.MISSING if p is None else words.probability(p)


def _row(record: Mapping[str, Any], arm: Arm, scale: Scale) -> Row:
    metric = metric_of(record)
    validation, test = score_of(arm, "validation", metric), score_of(arm, "test", metric)
    versus = arm.get("versus_best")
    return Row(
        number=arm_number(record, arm),
        title=arm["title"],
        role=_ROLES[arm["role"]],
        symbol=ROLES[arm["role"]][2],
        status=arm["status"],
        reason=arm.get("reason") or "",
        winner=bool(arm["winner"]),
        ties=bool(versus and versus["tie"]),
        marks=(_mark(validation, scale), _mark(test, scale)),
        validation=_scored(validation, arm),
        test=_scored(test, arm),
        lead=Cell(words.MISSING)
        if not versus
        else Cell(words.comparison_text(versus), words.comparison_title(versus)),
        took=_took(arm),
        trained=_trained(arm),
        details=tuple(_details(arm)),
        dropped=arm["status"] == "done" and arm["key"] in _not_passed(record),
    )


def _mark(score: Mapping[str, Any] | None, scale: Scale) -> Mark | None:
    if score is None:
        return None
    value = float(score["value"])
    low, high = (value if score[end] is None else float(score[end]) for end in ("low", "high"))
    beyond = "" if scale.holds(value) else "left" if value < scale.low else "right"
    left, middle, right = (round(100 * scale.share(one), 2) for one in (low, value, high))
    return Mark(left, middle, right, beyond)


def _scored(score: Mapping[str, Any] | None, arm: Arm) -> Cell:
    """Return the score's cell; older records say the number of seeds only with the arm."""
    if score is None:
        return words.score_cell(score)
    return words.score_cell({"seeds": arm.get("n_seeds"), **score})


def _took(arm: Arm) -> Cell:
    parts = []
    if arm.get("seconds_total"):
        parts.append(f"{words.seconds_text(arm['seconds_total'])} with tuning and repetitions")
    if arm.get("estimated_seconds"):
        parts.append(f"estimated {words.seconds_text(arm['estimated_seconds'])}")
    costs = [one for one in costs_of(arm) if one.run in ("", arm.get("run"))][:1]
    parts += [f"predicted for its epochs {words.seconds_text(one.seconds[0])}" for one in costs]
    if (arm.get("stacked") or 1) > 1:
        parts.append(f"its part of {arm['stacked']} runs that trained together")
    if arm.get("test_seconds"):
        parts.append(f"scoring the sealed part {words.seconds_text(arm['test_seconds'])}")
    if arm.get("compiled"):
        parts.append("its training pass compiled")
    if arm.get("peak_memory_bytes"):
        parts.append(f"peak memory {words.size(arm['peak_memory_bytes'])}")
        parts += [f"predicted {words.size(one.memory[0])}" for one in costs if one.memory]
    if arm.get("joules"):
        parts.append(f"{words.short_count(arm['joules'])} J")
    return Cell(words.seconds_text(arm.get("seconds")), "; ".join(parts))


def _trained(arm: Arm) -> Cell:
    trained, total = arm.get("parameters_trained"), arm.get("parameters_total")
    if trained is None:
        return Cell(words.MISSING)
    share = f"{words.percent(trained / total)} of {words.count(total)}" if total else ""
    return Cell(
        words.short_count(trained), f"{words.count(trained)} parameters; {share}".rstrip("; ")
    )


def _details(arm: Arm) -> list[tuple[str, tuple[Cell, ...]]]:
    """Return (term, texts) of what the row has no room for."""
    found: list[tuple[str, tuple[Cell, ...]]] = []
    if arm.get("settings"):
        found.append(("Settings", (Cell(settings_text(arm["settings"])),)))
    convergence = arm.get("convergence")
    if convergence:
        text = f"95 % of its gain after {words.count(convergence['step'])}"
        if convergence.get("of_steps"):
            text += f" of {words.count(convergence['of_steps'])} steps"
        text += f", {words.seconds_text(convergence['seconds'])}"
        found.append(("Convergence", (Cell(text, words.score_title(convergence)),)))
    if arm.get("activations"):
        found.append(("Activations", (Cell(arm["activations"]),)))
    if arm.get("preflight"):
        found.append(("Pre-flight", tuple(map(Cell, arm["preflight"]))))
    if arm.get("runs"):
        found.append(("Runs", (Cell(", ".join(arm["runs"])),)))
    if arm.get("tuning_runs"):
        found.append(("Tuning runs", (Cell(", ".join(arm["tuning_runs"])),)))
    return found


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings in one line.

    Example:
        >>> settings_text({"learning_rate": 3e-4, "lora": {"rank": 8}, "augment": None})
        'learning rate 0.0003, lora (rank 8), augment none'
    """
    parts = []
    for name, value in settings.items():
        plain = name.replace("_", " ")
        if isinstance(value, dict):
            parts.append(f"{plain} ({settings_text(value)})" if value else plain)
        elif isinstance(value, float):
            parts.append(f"{plain} {value:g}")
        else:
            parts.append(f"{plain} {'none' if value is None else value}")
    return ", ".join(parts)
