"""What runs were predicted to cost beside what they cost: seconds and peak memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regraft.report import words
from regraft.report.words import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NEAR = 0.25
_HEADS = ("Arm", "Run", "Predicted time", "Time", "Predicted memory", "Peak memory")
_PREDICTED = {
    "seconds": "by a few measured steps of the arm, for the epochs that the run took",
    "memory_bytes": "peak memory of a few measured steps of the arm, with a checkpoint, and with "
    "what the process holds beside them in the race",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """A run's costs, (predicted, actual) each; None where one of the two is not known.

    Attributes:
        arm: Title of its arm.
        run: Its id; nothing in older records.
        dropped_at: Step at which it dropped out of the race, and of how many.
    """

    arm: str
    run: str
    seconds: tuple[float, float]
    memory: tuple[float, float | None] | None = None
    dropped_at: tuple[int, int] | None = None


def costs_of(arm: Mapping[str, Any]) -> list[Cost]:
    """Return what is known of an arm's runs; older records know pairs of seconds alone."""
    return [_cost(arm["title"], one) for one in arm.get("costs") or ()]


def _cost(title: str, one: Any) -> Cost:
    if not isinstance(one, dict):
        return Cost(title, "", (one[0], one[1]))
    return Cost(
        arm=title,
        run=one["run"],
        seconds=(one["predicted_seconds"], one["seconds"]),
        memory=(one["predicted_memory_bytes"], one["peak_memory_bytes"]),
        dropped_at=None if one["dropped_at"] is None else tuple(one["dropped_at"]),
    )


def cost_sentence(record: Mapping[str, Any]) -> str:
    """Return how many runs cost what was predicted, nothing where none is known.

    Example:
        >>> cost_sentence({"arms": [{"title": "LoRA", "costs": [[10, 11], [10, 15]]}]})
        '1 of 2 trained runs within 25 % of the predicted time'
    """
    parts: list[str] = []
    for pairs, what in ((_seconds(record), "time"), (_memories(record), "peak memory")):
        found = list(pairs)
        if found:
            near = sum(abs(predicted - actual) <= _NEAR * actual for predicted, actual in found)
            runs = " trained runs" if not parts else ""
            parts.append(
                f"{near} of {words.count(len(found))}{runs} within 25 % of the predicted {what}"
            )
    return ", ".join(parts)


def cost_table(record: Mapping[str, Any]) -> Table | None:
    """Return predicted and actual time and peak memory of each run, or None."""
    rows = tuple(_row(one) for arm in record["arms"] for one in costs_of(arm))
    return Table(_HEADS, rows, frozenset({2, 3, 4, 5})) if rows else None


def _row(one: Cost) -> tuple[Cell, ...]:
    predicted, took = one.seconds
    memory, peak = one.memory or (None, None)
    end = "measured, n = 1 run"
    if one.dropped_at is not None:
        step, total = (words.count(steps) for steps in one.dropped_at)
        end += f", which dropped out after {step} of {total} steps"
    return (
        Cell(one.arm),
        Cell(one.run or words.MISSING, "the run's id"),
        Cell(words.seconds_text(predicted), _PREDICTED["seconds"]),
        Cell(words.seconds_text(took), end),
        Cell(words.size(memory), _PREDICTED["memory_bytes"]),
        Cell(words.size(peak), end),
    )


def _seconds(record: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    return (one.seconds for arm in record["arms"] for one in costs_of(arm))


def _memories(record: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    for arm in record["arms"]:
        for one in costs_of(arm):
            if one.memory is not None and one.memory[1] is not None:
                yield one.memory[0], one.memory[1]
