"""The report as Markdown: what travels with a graft, and what a terminal shows of a task."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from regraft.evidence.words import number
from regraft.report import words
from regraft.report.costs import cost_sentence, cost_table
from regraft.report.facts import (
    badges,
    class_table,
    key_facts,
    question_tables,
    suspect_labels,
    task_facts,
    warnings,
)
from regraft.report.ladder import Row, ingredients, ladder_of
from regraft.report.target import target_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.report.facts import Fact
    from regraft.report.words import Table

    Record = Mapping[str, Any]

# Only what would be read as a mark where it stands: the card is also read as it is.
_MARKS = re.compile(
    r"([\\`*|]|<(?=[A-Za-z/!?])|(?<!\w)_|_(?!\w)|\](?=[(\[:])|~(?=~)|^[#>]|^[+-](?= ))"
)
_SPACES = re.compile(r"\s+")
_LISTED_MISTAKES = 8
_LISTED_CLASSES = 20
_LONGEST_TEXT = 160


def card_markdown(record: Record) -> str:
    """Return the card of a study: verdict, numbers, ladder, the winner looked at, the task."""
    study = record["study"]
    parts = [
        f"# {plain(record['verdict']['sentence'])}",
        " · ".join(f"**{plain(one.text)}**" for one in badges(record)),
        _bullets(f"{plain(one)}." for one in record["verdict"]["reasons"]),
        _warnings(warnings(record)),
        _origin(study),
        _facts(key_facts(record)),
        _target(record),
        _ladder(record),
        _questions(record),
        _winner(record),
        _efficiency(record),
        task_markdown({**record["task"], "warnings": ()}) if record.get("task") else "",
        _reproduction(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def task_markdown(task: Mapping[str, Any]) -> str:
    """Return the task card."""
    parts = ["## Task card", _warnings(task.get("warnings", ()))]
    parts.append(_facts(task_facts({"task": task})))
    for name in ("leakage", "notes"):
        if task.get(name):
            parts += [f"### {name.capitalize()}", _bullets(plain(one) for one in task[name])]
    classes = task["classes"]
    rows = [
        (plain(one["label"]), words.count(one["train"]), words.count(one["validation"]))
        for one in classes[:_LISTED_CLASSES]
    ]
    if rows:
        parts.append(_table(("Class", "Train", "Validation"), rows, len(classes)))
    suspects = suspect_labels({"task": task})
    if suspects:
        parts += ["### Labels to look at again", _cells(suspects)]
    return "\n\n".join(part for part in parts if part)


def plain(text: object) -> str:
    r"""Return text that Markdown shows as it is: on one line, its marks escaped.

    Example:
        >>> plain("a|b\n<script>")
        'a\\|b \\<script>'
    """
    return _MARKS.sub(r"\\\1", _SPACES.sub(" ", str(text)).strip())


def _warnings(found: Sequence[str]) -> str:
    return _bullets(f"{words.CARE} **Warning:** {plain(one)}." for one in found)


def _origin(study: Mapping[str, Any]) -> str:
    made = (study.get("created") or "")[:10]
    known = ", ".join(
        f"{name} {version}" for name, version in (study.get("versions") or {}).items()
    )
    return _bullets(
        f"{name}: {plain(value)}"
        for name, value in (
            ("Study", study["id"]),
            ("Data", study["data"]),
            ("Backbone", ", ".join(study.get("backbones", [study["backbone"]]))),
            ("Made", made),
            ("With", known),
        )
        if value
    )


def _facts(facts: Sequence[Fact]) -> str:
    return _bullets(
        f"{plain(one.name)}: **{plain(one.value)}**" + (f" ({plain(one.note)})" if one.note else "")
        for one in facts
    )


def _ladder(record: Record) -> str:
    ladder = ladder_of(record)
    heads = (
        "#",
        "Arm",
        "Role",
        ladder.metric,
        "Sealed test",
        "Winner's lead",
        "One run",
        "Trained",
    )
    rows = [_row(row) for row in ladder.rows]
    cares = "".join(f"\n\n{words.CARE} {plain(why)}" for why in ladder.cares)
    held = ingredients(record)
    gates = f"\n\n### Ingredients\n\n{_cells(held)}" if held else ""
    return f"## The ladder\n\n{_table(heads, rows, len(rows))}{cares}{gates}{_costs(record)}"


def _costs(record: Record) -> str:
    table = cost_table(record)
    if table is None:
        return ""
    said = plain(cost_sentence(record))
    return f"\n\n### Predicted and actual cost\n\n{said}.\n\n{_cells(table)}"


def _target(record: Record) -> str:
    table = target_table(record)
    return "" if table is None else f"## Is the target met?\n\n{_cells(table)}"


def _row(row: Row) -> tuple[str, ...]:
    name = f"**{plain(row.title)}** (winner)" if row.winner else plain(row.title)
    if row.ties and not row.winner:
        name += " (ties)"
    if row.dropped:
        name += " (dropped)"
    head = (str(row.number), name, row.role)
    if row.marks[0] is None:
        return (*head, f"{row.status}: {plain(row.reason)}", "", "", "", "")
    cells = (row.validation, row.test, row.lead, row.took, row.trained)
    return (*head, *(plain(one.text) for one in cells))


def _questions(record: Record) -> str:
    parts = [
        f"### {plain(question)}\n\n"
        + _bullets(f"{plain(name.text)}: {plain(answer.text)}" for name, answer in table.rows)
        for _, question, table in question_tables(record)
    ]
    return "\n\n".join(["## What transfer did", *parts]) if parts else ""


def _winner(record: Record) -> str:
    parts = []
    scores = class_table(record)
    if scores:
        parts += ["## Class by class", _cells(scores)]
    mistakes = ((record.get("best") or {}).get("mistakes") or [])[:_LISTED_MISTAKES]
    if mistakes:
        parts += ["## The most confident mistakes", _bullets(map(_mistake, mistakes))]
    return "\n\n".join(parts)


def _mistake(one: Mapping[str, Any]) -> str:
    text = f": “{plain(words.short(one['text'], _LONGEST_TEXT))}”" if one.get("text") else ""
    return (
        f"{plain(one['item'])}: {plain(one['predicted'])} ({number(one['confidence'])}), "
        f"labelled {plain(one['label'])}{text}"
    )


def _efficiency(record: Record) -> str:
    efficiency = record.get("label_efficiency")
    if not efficiency:
        return ""
    budgets = sorted(
        {point["labels_per_class"] for arm in efficiency["arms"] for point in arm["points"]}
    )
    rows = []
    for arm in efficiency["arms"]:
        found = {point["labels_per_class"]: words.score_text(point) for point in arm["points"]}
        rows.append((plain(arm["title"]), *(found.get(one, words.MISSING) for one in budgets)))
    heads = ("Labels per class", *(f"{one:g}" for one in budgets))
    note = plain(efficiency.get("note") or "")
    return f"## Label efficiency\n\n{_table(heads, rows, len(rows))}\n\n{note}".strip()


def _reproduction(record: Record) -> str:
    parts = ["## Reproduce"]
    if record.get("reproduce"):
        parts.append(_code("\n".join(record["reproduce"])))
    if record.get("configuration"):
        parts += ["### Configuration", _code(record["configuration"], "yaml")]
    if record.get("test_openings") is not None:
        parts.append(f"Test openings: {words.count(record['test_openings'])}")
    return "\n\n".join(parts)


def _code(text: str, language: str = "") -> str:
    """Return a fence longer than any run of backquotes in the text."""
    longest = max((len(one) for one in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _bullets(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _cells(table: Table) -> str:
    rows = [tuple(plain(one.text) for one in row) for row in table.rows[:_LISTED_CLASSES]]
    return _table(table.columns, rows, len(table.rows))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return text if total <= len(rows) else f"{text}\n\n… and {total - len(rows)} more"
