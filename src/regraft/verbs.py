"""The verbs beside `run` and `plan`: inspect, verify, compare, predict, clean, doctor."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from regraft.backbones.loading import load_backbone
from regraft.config.study import IN_MEMORY, StudySpec
from regraft.deploy.predictor import GraftPredictor
from regraft.engine.fit import FINISH
from regraft.engine.run import execute
from regraft.errors import BackboneError, ConfigError, LedgerError, ResumeError
from regraft.events import Checkpoint, Done, Failed
from regraft.evidence.side_by_side import TableOptions, compare_recorded, compare_table
from regraft.evidence.task_card import task_card
from regraft.features.store import Cache
from regraft.ledger.ledger import Ledger
from regraft.search.bench import Bench, recorded_prefix_limit
from regraft.search.clock import Clock
from regraft.search.drive import adjustments, as_recorded, was_ended_at
from regraft.search.ladder import Ladder
from regraft.study import Study
from regraft.tasks.inputs import read_inputs

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from regraft.engine.job import Job
    from regraft.events import Event
    from regraft.ledger.runs import RunRow
    from regraft.tasks.items import Items
    from regraft.tasks.task import Task

_LITTLE_ROOM = 2e9  # bytes


def inspect_data(
    task: Task,
    backbone: str | None,
    *,
    home: Path | None,
    n_seeds: int = 3,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Return the task card; with a backbone also label noise and diversity.

    Args:
        task: The task; its sealed part is counted and not looked at.
        backbone: What makes features of its labelled items, if anything.
        home: The ledger's folder, which holds the cache.
        n_seeds: Repetitions that a study would have; the least difference that shows goes by it.
        trust_remote_code: Whether a hub model may bring code that is then run.
    """
    if backbone is None:
        return task_card(task, n_seeds=n_seeds)
    cache = Cache(Ledger.open(home).home / "cache")
    loaded = load_backbone(backbone, trust_remote_code=trust_remote_code)
    bench = Bench(task.development, loaded, cache)
    return task_card(task, features=bench.features, n_seeds=n_seeds)


@dataclass(frozen=True, slots=True)
class Verification:
    """Outcome of running a run again: largest difference of any logit; same only when it is 0."""

    run: str
    largest_difference: float

    @property
    def same(self) -> bool:
        """Whether every number came out identical."""
        return self.largest_difference == 0.0


def verify_run(
    run: str, *, backbone: str | None, home: Path | None
) -> Generator[Event, str | None, Verification]:
    """Execute a recorded run again from nothing and compare its out-of-sample logits.

    Args:
        run: Its id, or how that begins.
        backbone: Where its backbone is, if not where the ledger says. Required for ``python:…``:
            a ledger may come from elsewhere, and what it names is never run by itself.
        home: The ledger's folder.

    Raises:
        BackboneError: The backbone is Python code that the user did not name.
        ConfigError: There is no such run.
        ResumeError: The run has no result, or its data or backbone are not what they were.
    """
    ledger = Ledger.open(home)
    row = ledger.runs.find(run)
    result = ledger.runs.result(row.id)
    if result is None:
        raise ResumeError("it has no result to compare with.", where=f"run {row.id}")
    job = as_recorded(_same_job(ledger, row, backbone), result.summary)
    difference = float("inf")
    events, answer = execute(job), None
    while True:
        try:
            event = events.send(answer)
        except StopIteration:
            break
        answer = FINISH if isinstance(event, Checkpoint) and was_ended_at(job, event) else None
        if isinstance(event, Done):
            difference = _largest_difference(event.arrays["logits"], result.arrays["logits"])
        if isinstance(event, Failed):
            raise ResumeError(event.reason, where=f"run {row.id}")
        if not isinstance(event, Checkpoint):
            yield event
    return Verification(row.id, difference)


def _largest_difference(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    if first.shape != second.shape:
        return float("inf")
    return float(np.abs(first - second).max(initial=0.0))


def _same_job(ledger: Ledger, row: RunRow, backbone: str | None) -> Job:
    """Return the job of a recorded run, its data and backbone read anew."""
    configuration, where = row.configuration, f"run {row.id}"
    study_id = _study_of(ledger, row.id)
    spec = StudySpec.model_validate(ledger.studies.get(study_id).configuration)
    reference = backbone or configuration["backbone"]
    if spec.task.data == IN_MEMORY:
        raise ResumeError(
            "its data was given from Python and lies in no file, so it cannot be run again here.",
            where=where,
        )
    if backbone is None and reference.strip().lower().startswith("python:"):
        raise BackboneError(
            f"its backbone is Python code ({reference}), which is run only when you name it: give "
            "it with --backbone.",
            where=where,
        )
    if configuration["device"].startswith("cuda") and not torch.cuda.is_available():
        raise ResumeError(
            "it ran on a GPU, and there is none here, so its numbers cannot be compared. Verify it "
            "on a machine with one.",
            where=where,
        )
    # the run says all of its protocol; the study's own may have moved since
    plain = {
        "backbones": [reference],
        "protocols": ["ladder"],
        "precision": configuration["precision"],
        "robustness": None,
        "source": None,
    }
    study = Study.from_spec(spec.model_copy(update=plain), home=ledger.home)
    if int(configuration["labels"]) != len(study.task.development):
        raise ResumeError(
            "it ran at another budget of the label-efficiency curve, or its data has changed; "
            "only runs of the ladder on the same data can be verified.",
            where=where,
        )
    around = study.surroundings(
        Clock(ledger, study_id, spec.budget),
        device=configuration["device"],
        prefix_bytes=recorded_prefix_limit(ledger, study_id),
    )
    ladder = Ladder(around, study.task)
    protocol, seed = configuration["protocol"], int(configuration["seed"])
    if ladder.run_id(protocol, 0, seed) != row.id:
        raise ResumeError(
            "data, backbone or regraft's numerics are not what they were when it ran, so its "
            "numbers cannot be compared.",
            where=where,
        )
    return ladder.job(row.id, protocol, place=0, seed=seed)


def _study_of(ledger: Ledger, run: str) -> str:
    """Return the study that a run's result is of: the one that cut it short, if one did."""
    studies = ledger.runs.studies_of(run)
    cutting = (
        one for one in studies if any("finish/" in key for key in adjustments(ledger, one, run))
    )
    result = ledger.runs.result(run)
    is_cut = result is not None and any(s["finished_early"] for s in result.summary["stages"])
    return next(cutting, studies[0]) if is_cut else studies[0]


def compare_any(
    what: Sequence[str], *, metric: str | None, home: Path | None, options: TableOptions
) -> dict[str, Any]:
    """Compare two or more runs, studies or grafts on the same items, or the columns of a CSV file.

    Raises:
        ConfigError: Something is unknown, or one thing is given that is no CSV file.
        DataError: The file cannot be used.
        ResumeError: A run has no result, or they were not validated on the same items.
    """
    if len(what) == 1 and what[0].lower().endswith(".csv"):
        if metric is not None:
            raise ConfigError("a table of scores has no metric to choose.", where="--metric")
        return compare_table(Path(what[0]), options)
    if len(what) < 2:
        raise ConfigError("name two runs, studies or grafts, or one CSV file.", where="compare")
    if options != TableOptions():
        raise ConfigError(
            "--lower-is-better, --unpaired and --splits speak of a CSV file of scores. Leave them "
            "out.",
            where="compare",
        )
    return compare_recorded(Ledger.open(home), what, metric=metric)


def predict_table(
    graft: str,
    data: str,
    *,
    column: str | None,
    backbone: str | None,
    allow_bad: bool,
    trust_remote_code: bool = False,
) -> pd.DataFrame:
    """Return item, label, probability per class and confidence for every item of `data`."""
    predictor = GraftPredictor.load(graft, backbone=backbone, trust_remote_code=trust_remote_code)
    items: Items = read_inputs(
        Path(data), kind=predictor.graft.kind, column=column, allow_bad=allow_bad
    )
    probabilities = predictor.predict_proba(items)
    best = probabilities.argmax(axis=1)
    columns: dict[str, Any] = {
        "item": list(items.ids),
        "label": [predictor.classes[i] for i in best],
    }
    columns |= {f"p({name})": probabilities[:, i] for i, name in enumerate(predictor.classes)}
    columns["confidence"] = probabilities.max(axis=1)
    return pd.DataFrame(columns)


def clean_home(home: Path | None) -> dict[str, int]:
    """Free the cache and every artefact that nothing refers to; return the bytes freed of each."""
    ledger = Ledger.open(home)
    return {
        "cache_bytes": Cache(ledger.home / "cache").clear(),
        "artefact_bytes": ledger.artefacts.collect(),
    }


def _ledger_rows(home: Path | None) -> list[tuple[str, str, bool]]:
    try:
        ledger = Ledger.open(home)
    except LedgerError as error:
        return [("ledger", str(error), False)]
    free = shutil.disk_usage(ledger.home).free
    return [
        ("ledger", str(ledger.home), True),
        ("free disk", f"{free / 1e9:.1f} GB", free > _LITTLE_ROOM),
    ]


def examine(home: Path | None) -> list[tuple[str, str, bool]]:
    """Return (what, finding, is it well) of the machine and the installation."""
    rows = _ledger_rows(home)
    rows.append(
        ("processor", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}", True)
    )
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    rows.append(("GPU", gpu, True))
    for name in ("torch", "transformers", "peft", "scikit-learn", "sqlalchemy"):
        rows.append((name, version(name), True))
    for name, why in (("datasets", "datasets folders"), ("matplotlib", "pretrain glyphs")):
        try:
            rows.append((name, version(name), True))
        except PackageNotFoundError:
            rows.append((name, f"not installed (only needed for {why})", True))
    return rows
