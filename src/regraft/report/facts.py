"""The key numbers, the badges of the verdict, and the facts of the task card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from regraft.evidence.words import number
from regraft.measure.intervals import wilson
from regraft.report import words
from regraft.report.costs import cost_sentence
from regraft.report.reading import metric_of, score_of, winner_of
from regraft.report.words import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Record = Mapping[str, Any]

_CONTROLS = ("control_without_transfer", "control_without_fine_tuning")
_PARTS = {"test": "sealed test part", "validation": "validation"}


class Fact(NamedTuple):
    """A number with its name, what is said under it, and what it says on hovering."""

    name: str
    value: str
    note: str = ""
    title: str = ""


class Badge(NamedTuple):
    """A short verdict; `tone` is good, bad, unsure or plain, `sign` repeats it without colour."""

    text: str
    tone: str
    sign: str


_KINDS = {
    "recommend": Badge("Fine-tune", "plain", "→"),
    "do_not_fine_tune": Badge("Do not fine-tune", "plain", "■"),
    "do_not_transfer": Badge("Do not transfer", "plain", "■"),
}
_CONFIRMED = {
    True: Badge("Confirmed on the sealed test part", "good", "✓"),
    False: Badge("Not confirmed on the sealed test part", "bad", "✕"),
    None: Badge("The sealed test part leaves it undecided", "unsure", "?"),
}
_TARGET = {"met": ("met", "good", "✓"), "not_met": ("not met", "bad", "✕")}


def badges(record: Record) -> list[Badge]:
    """Return what the verdict is, whether it held, and whether the target was met."""
    verdict, target = record["verdict"], record.get("target")
    kind = _KINDS.get(verdict["kind"], Badge(verdict["kind"].replace("_", " "), "plain", "→"))
    found = [kind, _CONFIRMED[verdict["confirmed"]]]
    if target:
        word, tone, sign = _TARGET.get(target["status"], ("undecided", "unsure", "?"))
        found.append(Badge(f"Target {target['text']} {word}", tone, sign))
    return found


def warnings(record: Record) -> list[str]:
    """Return what is hardly meant, in the data and in the study; older records have none."""
    task = record.get("task") or {}
    return [*task.get("warnings", ()), *record.get("warnings", ())]


def key_facts(record: Record) -> list[Fact]:
    """Return the numbers that a reader wants first."""
    winner = winner_of(record)
    if winner is None:
        return []
    found = [_quality(record, winner), _lead(record), _cost(record, winner), _trained(winner)]
    found += [_labels(record), _calibration(record), _openings(record)]
    return [_told(one) for one in found if one is not None]


def _told(one: Fact) -> Fact:
    """Return a fact whose number says on hovering that it was counted, where nothing else is."""
    counts = not one.title and any(character.isdigit() for character in one.value)
    return one._replace(title="counted or read off, not estimated") if counts else one


def _quality(record: Record, winner: Mapping[str, Any]) -> Fact | None:
    metric = metric_of(record)
    for part, name in _PARTS.items():
        score = score_of(winner, part, metric)
        if score is not None:
            note = f"{words.interval_text(score)} on the {name}, n = {words.count(score.get('n'))}"
            note += f"; {words.CARE} {why}" if (why := words.warning_of(score)) else ""
            title = words.score_title({"seeds": winner.get("n_seeds"), **score})
            return Fact(words.metric_title(metric), number(score["value"]), note, title)
    return None


def _lead(record: Record) -> Fact | None:
    """Return the winner's lead over the control that came nearest on validation."""
    controls = [
        arm for arm in record["arms"] if arm["role"] in _CONTROLS and arm.get("versus_best")
    ]
    if not controls:
        return None
    nearest = min(controls, key=lambda arm: arm["versus_best"]["difference"] or 0.0)
    one = nearest.get("versus_best_test") or nearest["versus_best"]
    part = "sealed test" if nearest.get("versus_best_test") else "validation"
    text = words.comparison_text(one)
    value, _, interval = text.partition(" ")
    note = f"{interval} over {nearest['title']}, the nearest control ({part})".strip()
    return Fact("Lead over controls", value, note, words.comparison_title(one))


def _cost(record: Record, winner: Mapping[str, Any]) -> Fact:
    study = record["study"]
    note = f"the whole study took {words.seconds_text(study.get('seconds'))}"
    if study.get("budget_seconds"):
        note += f" of {words.seconds_text(study['budget_seconds'])}"
    if foreseen := cost_sentence(record):
        note += f"; {foreseen}"
    title = f"{study.get('device')}, {study.get('threads')} threads, {study.get('precision')}"
    return Fact("Time of a run", words.seconds_text(winner.get("seconds")), note, title)


def _trained(winner: Mapping[str, Any]) -> Fact | None:
    trained, total = winner.get("parameters_trained"), winner.get("parameters_total")
    if trained is None:
        return None
    note = f"{words.percent(trained / total)} of {words.short_count(total)}" if total else ""
    return Fact("Parameters trained", words.short_count(trained), note, words.count(trained))


def _labels(record: Record) -> Fact | None:
    task = record.get("task")
    if not task:
        return None
    crossed = (task.get("folds") or 1) > 1
    total = task["n_train"] + (0 if crossed else task["n_validation"])
    how = f"{task['folds']} folds" if crossed else f"{words.count(task['n_validation'])} validate"
    note = f"{how}; {words.count(task['n_test'])} sealed; {len(task['classes'])} classes"
    return Fact("Labels used", words.count(total), note)


def _calibration(record: Record) -> Fact | None:
    reliability = (record.get("best") or {}).get("reliability")
    if not reliability:
        return None
    before, after = reliability["ece"], reliability["ece_calibrated"]
    note = f"{number(before['value'])} before temperature {reliability['temperature']:.2f}"
    note += f"; {words.CARE} {why}" if (why := words.warning_of(after)) else ""
    return Fact("Calibration error", number(after["value"]), note, words.score_title(after))


def _openings(record: Record) -> Fact | None:
    times = record.get("test_openings")
    if times is None:
        return None
    once = "by this study alone"
    again = "studies read it: its figures are less independent each time"
    return Fact("Test openings", words.count(times), once if times <= 1 else again)


def winner_scores(record: Record) -> Table | None:
    """Return every measured score of the winner, on validation and on the sealed part."""
    winner = winner_of(record)
    if winner is None or not winner["validation"]:
        return None
    tested = winner["test"] or {}
    rows = tuple(
        (
            Cell(words.metric_title(name)),
            words.score_cell(score),
            *([words.score_cell(tested.get(name))] if tested else []),
        )
        for name, score in winner["validation"].items()
    )
    heads = ("Measure", "Validation", *(["Sealed test"] if tested else []))
    return Table(heads, rows, frozenset({1, 2}))


def question_tables(record: Record) -> list[tuple[str, str, Table]]:
    """Return key and words of the questions that the study answers, with a table of answers."""
    return [
        (one["key"], one["question"], Table(("", "Answer"), tuple(map(_answer, one["answers"]))))
        for one in record.get("questions") or ()
    ]


def _answer(one: Mapping[str, Any]) -> tuple[Cell, Cell]:
    """Return what was measured and the answer; a difference is shown with its interval."""
    text, title = one["text"], words.score_title(one)
    if one.get("p") is not None:
        text = f"{words.comparison_text(one)}: {text}"
        title = words.comparison_title(one)
    elif one.get("low") is not None:
        text = f"{text} {words.interval_text(one)}".rstrip()
    if one.get("beside"):
        text = f"{text}, {one['beside']}"
    if words.warning_of(one) and one.get("p") is None:  # a difference bears its own mark
        text = f"{text} {words.CARE}"
    if one.get("behind"):
        title = f"{title}; {words.behind_title(one['behind'])}"
    if one.get("remark"):
        title = f"{title}; {one['remark']}"
    return Cell(one["name"]), Cell(text, title)


def class_table(record: Record) -> Table | None:
    """Return precision, recall and F1 of each class, the worst F1 first."""
    best = record.get("best") or {}
    rows = best.get("per_class")
    if not rows:
        return None
    counts = best.get("confusion")
    order = sorted(range(len(rows)), key=lambda i: (rows[i]["f1"], rows[i]["label"]))
    return Table(
        ("Class", "Items", "Precision", "Recall", "F1"),
        tuple(_class_row(rows[i], counts, i) for i in order),
        frozenset({1, 2, 3, 4}),
    )


def _class_row(
    row: Mapping[str, Any], counts: Sequence[Sequence[int]] | None, place: int
) -> tuple[Cell, ...]:
    right = counts[place][place] if counts else 0
    named = sum(line[place] for line in counts) if counts else 0
    return (
        Cell(row["label"]),
        Cell(words.count(row["n"]), f"sealed items of this class; {right} of them right"),
        Cell(number(row["precision"]), _proportion(right, named, "items given this class")),
        Cell(number(row["recall"]), _proportion(right, row["n"], "items of this class")),
        Cell(number(row["f1"]), f"n = {row['n']}; 1 seed; {words.POINT}"),
    )


def _proportion(k: int, n: int, of: str) -> str:
    if not n:
        return f"n = 0 {of}"
    one = wilson(k, n)
    interval = words.interval_text({"low": one.low, "high": one.high})
    care = f"; {words.CARE} {one.warning}" if one.warning else ""
    return f"95 % interval {interval}; {k} of n = {n} {of}; 1 seed; Wilson{care}"


def task_facts(record: Record) -> list[Fact]:
    """Return the task card's facts; what is unknown is left out."""
    task = record.get("task")
    if not task:
        return []
    found: list[Fact | None] = [Fact("Kind", task["kind"]), Fact("Source", str(task["source"]))]
    found += [
        _sizes(task),
        detectable_fact(task.get("detectable")),
        _split(task),
        Fact("Imbalance", f"{task['imbalance']:.1f} : 1", _ends(task)),
    ]
    found += [_duplicates(task), *_shape(task), _noise(task), _diversity(task)]
    if task.get("converted"):
        parts = [f"{name}: {words.count(n)}" for name, n in task["converted"].items()]
        found.append(Fact("Converted", "; ".join(parts)))
    found.append(Fact("Skipped", f"{words.count(task['skipped'])} unreadable"))
    return [_told(one) for one in found if one is not None]


def _sizes(task: Mapping[str, Any]) -> Fact:
    parts = [("train", "n_train"), ("validation", "n_validation"), ("sealed test", "n_test")]
    return Fact("Items", ", ".join(f"{words.count(task[key])} {name}" for name, key in parts))


def detectable_fact(found: Mapping[str, Any] | None) -> Fact | None:
    """Return the least gain that the sealed part can show; None where nothing is known of it."""
    if not found:
        return None
    parts = [
        f"{number(one['difference'])} at {number(one['accuracy'])}"
        for one in found["differences"]
        if one["difference"] is not None
    ]
    seeds = found["n_seeds"]
    note = f"gain over so much accuracy, {words.count(found['n_test'])} items, {seeds} seed"
    note += "s" * (seeds != 1)
    value = ", ".join(parts) or "none"
    return Fact("Least difference that shows", value, note, found["estimator"])


def _split(task: Mapping[str, Any]) -> Fact:
    folds = task.get("folds") or 1
    return Fact("Split", task["split"], f"{folds}-fold cross-validation" if folds > 1 else "")


def _ends(task: Mapping[str, Any]) -> str:
    counts = {one["label"]: one["train"] + one["validation"] for one in task["classes"]}
    if not counts or len(set(counts.values())) == 1:
        return "all classes alike"
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    return (
        f"most: {most} ({words.count(counts[most])}); "
        f"fewest: {least} ({words.count(counts[least])})"
    )


def _duplicates(task: Mapping[str, Any]) -> Fact | None:
    found = task.get("duplicates")
    if not found:
        return None
    value = f"{words.count(found['within'])} within, {words.count(found['across'])} across parts"
    return Fact("Duplicates", value, f"{words.count(found['removed'])} removed from training")


def _shape(task: Mapping[str, Any]) -> list[Fact | None]:
    sizes, lengths = task.get("sizes"), task.get("lengths")
    found: list[Fact | None] = []
    if sizes:
        width, height = sizes["width"], sizes["height"]
        value = f"{width[1]:g} × {height[1]:g} pixels"
        note = f"width {width[0]:g} – {width[2]:g}, height {height[0]:g} – {height[2]:g}"
        found.append(Fact("Image size, median", value, note))
    if lengths:
        low, middle, high = lengths["words"]
        found.append(Fact("Text length, median", f"{middle:g} words", f"{low:g} – {high:g}"))
    return found


def _noise(task: Mapping[str, Any]) -> Fact | None:
    noise = task.get("label_noise")
    if not noise:
        return None
    interval = f"{words.percent(noise['low'])} – {words.percent(noise['high'])}"
    interval += f"; {words.CARE} {why}" if (why := words.warning_of(noise)) else ""
    title = words.score_title(noise)
    return Fact("Suspect labels", words.percent(noise["value"]), f"95 % interval {interval}", title)


def _diversity(task: Mapping[str, Any]) -> Fact | None:
    one = task.get("diversity")
    if not one:
        return None
    return Fact("Diversity", f"{one['value']:.1f}", "effective dimensions", words.score_title(one))


def suspect_labels(record: Record) -> Table | None:
    """Return the items whose labels a probe contradicts most, or None."""
    noise = (record.get("task") or {}).get("label_noise")
    if not noise or not noise.get("items"):
        return None
    rows = tuple(
        (
            Cell(one["item"]),
            Cell(one["label"], "the label it has"),
            Cell(one["suggested"], "the class it more likely has"),
            Cell(
                number(one["confidence"]),
                f"probability by an out-of-fold linear probe, one of n = {noise['n']} items; "
                f"1 seed; {words.POINT}",
            ),
        )
        for one in noise["items"]
    )
    return Table(("Item", "Label", "Suggested", "Confidence"), rows, frozenset({3}))
