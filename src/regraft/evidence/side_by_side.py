"""Recorded runs, studies and grafts, or a table of scores, held against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from regraft.config.study import IN_MEMORY
from regraft.errors import ConfigError, DataError, ResumeError
from regraft.measure.contest import compare_items, compare_scores
from regraft.measure.metrics import metric_named, softmax

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.ledger.ledger import Ledger
    from regraft.ledger.studies import StudyRow

_GIVEN = ("dataset", "seed")
_NOT_THE_DATA = ("metric", "target", "class_weights", "allow_bad")
_NOTE = {
    1: "one seed each: this speaks of these runs, not of their protocols",
    2: "what other items and other seeds would have given is only partly in it",
}


@dataclass(frozen=True, slots=True, eq=False)
class _System:
    """What is known of one side: the runs that stand for it and what they predicted."""

    name: str
    runs: tuple[str, ...]
    protocol: str
    study: StudyRow
    logits: np.ndarray[Any, Any]
    rows: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "run": self.runs[0],
            "runs": list(self.runs),
            "protocol": self.protocol,
            "study": self.study.id,
        }


def compare_recorded(
    ledger: Ledger, references: Sequence[str], *, metric: str | None = None
) -> dict[str, Any]:
    """Compare runs, studies or grafts, paired, on the validation items that all predicted.

    A study or graft stands for the runs of its recommended protocol, every seed of it.

    Args:
        ledger: Where they are recorded.
        references: Two or more: ids of runs or studies, or how they begin, or folders of grafts.
        metric: A metric's name; that of the first study if not given.

    Raises:
        ConfigError: One is unknown, given twice, or the metric is.
        ResumeError: One has no result, or they were not validated on the same items.
    """
    systems = [_system(ledger, one) for one in references]
    names = _names(systems)
    _check_same_items(systems)
    measured = metric or str(systems[0].study.configuration["task"]["metric"])
    contest = compare_items(
        measured,
        {name: softmax(one.logits) for name, one in zip(names, systems, strict=True)},
        systems[0].labels,
    )
    seeds = min(len(one.runs) for one in systems)
    return {
        "metric": metric_named(measured).name,
        "n": len(systems[0].labels),
        "part": "validation",
        "systems": [
            {**one.to_json(), "name": name} for name, one in zip(names, systems, strict=True)
        ],
        **contest.to_json(),
        "note": _NOTE[min(seeds, 2)],
    }


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What a table of scores does not say of itself.

    Attributes:
        higher_is_better: The direction of the scores.
        paired: Whether the same seed means the same split and order for every system.
        splits: (n_train, n_test) where the seeds are overlapping splits of one data set.
    """

    higher_is_better: bool = True
    paired: bool = True
    splits: tuple[int, int] | None = None


def compare_table(path: Path, options: TableOptions) -> dict[str, Any]:
    """Compare systems of which a CSV file holds the scores.

    Args:
        path: A column for each system, and ``dataset`` and ``seed`` where there are several.
        options: What the table does not say.

    Raises:
        DataError: The file cannot be read, has no two columns of numbers, or lacks a score.
    """
    scores = _read_scores(path)
    shape = next(iter(scores.values())).shape
    contest = compare_scores(
        scores,
        higher_is_better=options.higher_is_better,
        paired=options.paired,
        splits=options.splits,
    )
    return {
        "metric": "score",
        "n": shape[0] if shape[0] > 1 else shape[1],
        "part": "data sets" if shape[0] > 1 else "seeds",
        "systems": [{"name": name} for name in scores],
        **contest.to_json(),
        "note": "",
    }


def _system(ledger: Ledger, reference: str) -> _System:
    study, runs = _runs_of(ledger, reference)
    results = []
    for run in runs:
        result = ledger.runs.result(run)
        if result is None:
            raise ResumeError("it has no result.", where=f"run {run}")
        results.append(result.arrays)
    first = results[0]
    for one in results[1:]:
        if not np.array_equal(first["rows"], one["rows"]):
            raise ResumeError("its seeds were not validated on the same items.", where=reference)
    return _System(
        reference,
        runs,
        ledger.runs.get(runs[0]).protocol,
        study,
        np.stack([one["logits"] for one in results]),
        first["rows"],
        first["labels"],
    )


def _runs_of(ledger: Ledger, reference: str) -> tuple[StudyRow, tuple[str, ...]]:
    """Return the study and the runs that a reference stands for."""
    if (Path(reference) / "graft.json").is_file():
        return _runs_of_graft(ledger, Path(reference))
    # An id that fits several of a kind is said by the search of that kind itself.
    studies = [s for s in ledger.studies.all() if s.id.startswith(reference) or s.name == reference]
    if studies:
        return _runs_of_study(ledger, ledger.studies.find(reference))
    run = ledger.runs.find(reference)
    return ledger.studies.get(ledger.runs.studies_of(run.id)[0]), (run.id,)


def _runs_of_study(ledger: Ledger, study: StudyRow) -> tuple[StudyRow, tuple[str, ...]]:
    record = ledger.studies.record(study.id)
    if record is None:
        raise ResumeError(
            "it has not finished, so nothing stands for it. Run it again to go on, or name a run.",
            where=f"study {study.id}",
        )
    winner = next(arm for arm in record["arms"] if arm["winner"])
    return study, tuple(winner["runs"])


def _runs_of_graft(ledger: Ledger, folder: Path) -> tuple[StudyRow, tuple[str, ...]]:
    for study in ledger.studies.all():
        record = ledger.studies.record(study.id)
        graft = record["best"]["graft"] if record else None
        if graft and Path(graft).resolve() == folder.resolve():
            return _runs_of_study(ledger, study)
    raise ConfigError(
        "no study of this ledger made this graft. Name the ledger's folder with --home.",
        where=str(folder),
    )


def _names(systems: Sequence[_System]) -> list[str]:
    """Return what each is called: its protocol, or its reference where two share that."""
    runs = [one.runs for one in systems]
    if len(set(runs)) < len(runs):
        raise ConfigError("one of them is given twice. Name different runs.", where="compare")
    protocols = [one.protocol for one in systems]
    if len(set(protocols)) == len(protocols):
        return protocols
    return [f"{one.protocol} ({one.name})" for one in systems]


def _check_same_items(systems: Sequence[_System]) -> None:
    first = systems[0]
    for one in systems[1:]:
        same = np.array_equal(first.rows, one.rows) and np.array_equal(first.labels, one.labels)
        if not same or not len(one.rows) or not _same_data(first.study, one.study):
            raise ResumeError(
                "they were not validated on the same items, so there is no paired comparison. "
                "Compare runs of one study, or studies of the same data and seed.",
                where=f"{first.name} and {one.name}",
            )


def _same_data(a: StudyRow, b: StudyRow) -> bool:
    """Whether two studies split the same data alike; of data from memory only the study knows."""
    if a.id == b.id:
        return True
    tasks = [
        {k: v for k, v in one.configuration["task"].items() if k not in _NOT_THE_DATA}
        for one in (a, b)
    ]
    seeds = [one.configuration.get("seed") for one in (a, b)]
    return bool(tasks[0] == tasks[1] and seeds[0] == seeds[1] and tasks[0]["data"] != IN_MEMORY)


def _read_scores(path: Path) -> Mapping[str, np.ndarray[Any, Any]]:
    """Return scores (data sets, seeds) of each system, NaN where one is missing."""
    where = str(path)
    try:
        table = pd.read_csv(path)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"cannot be read as CSV ({error}).", where=where) from error
    systems = [str(name) for name in table.columns if name not in _GIVEN]
    if len(systems) < 2 or not len(table):
        raise DataError(
            f"has {len(systems)} systems and {len(table)} rows. Give a column of scores for each "
            "of at least two systems, beside dataset and seed.",
            where=where,
        )
    for name in systems:
        if not pd.api.types.is_numeric_dtype(table[name]) or np.isinf(table[name]).any():
            raise DataError(f"column {name!r} does not hold numbers only.", where=where)
    dataset = table["dataset"] if "dataset" in table else pd.Series("", index=table.index)
    seed = table["seed"] if "seed" in table else dataset.groupby(dataset).cumcount()
    twice = pd.DataFrame({"dataset": dataset, "seed": seed}).duplicated()
    if twice.any():
        row = int(np.flatnonzero(twice)[0]) + 2
        raise DataError(
            "says a second time what a row before it says.", where=f"{where}, row {row}"
        )
    places = pd.factorize(dataset)[0], pd.factorize(seed)[0]
    shape = tuple(int(one.max()) + 1 for one in places)
    found = {}
    for name in systems:
        found[name] = np.full(shape, np.nan)
        found[name][places] = table[name].to_numpy(np.float64)
        if np.isnan(found[name]).all(axis=1).any():
            raise DataError(
                f"column {name!r} has no score on a data set. Leave that data set out.", where=where
            )
    return found
