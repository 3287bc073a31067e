"""The task: labelled items that train and validate, and a sealed test part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final, get_args

import numpy as np

from regraft.config.study import IN_MEMORY, TaskSpec
from regraft.errors import ConfigError, DataError, did_you_mean
from regraft.hashing import digest_json
from regraft.measure.metrics import metric_named
from regraft.seeds import derive
from regraft.tasks.classes import class_names
from regraft.tasks.intake.inspection import inspect_rows
from regraft.tasks.intake.reading import read_rows
from regraft.tasks.intake.rows import Columns
from regraft.tasks.intake.subgroups import settled_report_by
from regraft.tasks.intake.summary import summarise
from regraft.tasks.items import InputKind
from regraft.tasks.parts import Wish, divide
from regraft.tasks.sealed import SealedPart
from regraft.tasks.splits import Fold, development_folds, nested_subset, without_repeats
from regraft.tasks.weights import class_weight_array, cost_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.tasks.intake.inspection import Inspection
    from regraft.tasks.intake.record import Intake
    from regraft.tasks.intake.rows import Rows
    from regraft.tasks.items import Items

Splits = Literal["auto", "given", "stratified", "grouped", "time"]


@final
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Task:
    """A single-label classification problem.

    Attributes:
        name: For people; kind: what the items are.
        classes: Names of the classes, sorted.
        metric: What early stopping and the verdict go by.
        target: Success criterion, for example ``macro_f1>=0.9``; or None.
        development: Items that train and validate.
        units: What of them must stay together (group, or cluster of duplicates), shape (n,).
        repeats: Their clusters of duplicates, shape (n,).
        folds: One fold is a hold-out, several are cross-validation, none is no validation.
        sealed: The test part.
        intake: How the data was read.
        validation_share: Share of the development items that validates.
        class_weights: Loss weights by class (C,), or None; costs: (C, C), or None.
        asked: What was asked for when it was read, as in a study file's ``task``.
    """

    name: str
    kind: InputKind
    classes: tuple[str, ...]
    metric: str
    target: str | None
    development: Items
    units: np.ndarray[Any, Any]
    repeats: np.ndarray[Any, Any]
    folds: tuple[Fold, ...]
    sealed: SealedPart
    intake: Intake
    validation_share: float
    class_weights: np.ndarray[Any, Any] | None = None
    costs: np.ndarray[Any, Any] | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(  # noqa: PLR0913  the one place where a user says everything of their data
        cls,
        data: Any,
        *,
        metric: str = "macro_f1",
        target: str | float | None = None,
        kind: InputKind | None = None,
        input: str | None = None,
        label: str | None = None,
        group: str | None = None,
        time: str | None = None,
        report_by: Sequence[str] | None = None,
        splits: Splits = "auto",
        validation: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
        class_weights: Literal["balanced"] | Mapping[str, float] | None = None,
        costs: Mapping[str, Mapping[str, float]] | None = None,
        allow_bad: bool = False,
    ) -> Task:
        """Read labelled data in any of its forms.

        Args:
            data: A folder of images in a folder per class (perhaps below train/val/test), a table
                of texts or image paths, a folder of such tables, one that `datasets` saved,
                ``zoo:digits``, ``(inputs, labels[, {column: groups}])``, or ``{"train": that, …}``.
            metric: A name of `regraft.measure.metrics.METRICS`.
            target: Success criterion; a number means the metric must reach it.
            kind: ``image``, ``text`` or ``array``; guessed if not given.
            input: Column of the inputs; guessed if not given.
            label: Column of the labels; guessed if not given.
            group: Column whose values must not straddle parts (patient, author).
            time: Column to split by; the newest items are tested.
            report_by: Columns whose values results are reported by (sex, site); no model sees them.
            splits: ``auto`` takes given parts, else time, groups or stratification as columns say.
            validation: Share of the labelled items that validates.
            test: Share that is sealed, where the data has no test part.
            seed: The study's: `regraft run` with the same data and seed seals the same items.
            class_weights: ``balanced``, or a weight by class name.
            costs: Cost by true class name, then predicted class name.
            allow_bad: Go on when more than 1 % of the items are unreadable.

        Raises:
            DataError: The data cannot be used; the message names the file, row or column.
            ConfigError: Metric, kind, splits, shares, weights or costs are wrong.
        """
        asked = {name: value for name, value in locals().items() if name in TaskSpec.model_fields}
        _check(asked)
        columns = Columns(input, label, group, time, tuple(report_by or ()))
        rows, source = read_rows(data, columns, kind)
        asked |= {"data": _place(source), "report_by": settled_report_by(rows, report_by, source)}
        wish = Wish(splits, validation, test, derive(seed, "split"), source)
        task = _divided(rows, wish, metric=metric, allow_bad=allow_bad)
        return replace(
            task,
            target=None if target is None else str(target),
            class_weights=class_weight_array(class_weights, task.classes, task.development.labels),
            costs=cost_array(costs, task.classes),
            asked=asked,
        )

    def __repr__(self) -> str:
        """Return a line for people."""
        return (
            f"Task({self.name!r}: {self.kind}, {len(self.classes)} classes, "
            f"{len(self.development)} to train and validate, {len(self.sealed)} sealed)"
        )

    @property
    def fingerprint(self) -> str:
        """Digest of all that training and validation see; nothing of the test part is in it."""
        return digest_json(
            {
                "classes": list(self.classes),
                "items": list(self.development.digests),
                "labels": self.development.labels.tolist(),
                "folds": [[f.train.tolist(), f.validation.tolist()] for f in self.folds],
                "metric": self.metric,
                "class_weights": _plain(self.class_weights),
                "costs": _plain(self.costs),
            }
        )

    @property
    def identity(self) -> str:
        """The fingerprint, and a digest of what results are reported by, which no run sees."""
        seen = (self.development, self.sealed.inputs)
        groups = [{c: v.tolist() for c, v in one.subgroups.items()} for one in seen]
        return self.fingerprint + (digest_json(groups) if any(groups) else "")

    def with_label_budget(self, per_class: int, *, seed: int) -> Task:
        """Return the task on a nested, stratified subset of `per_class` labels a class.

        Training and validation are counted together. A smaller budget of the same seed is a subset.
        There are no folds where a class has one label, and nothing could both train and validate.

        Raises:
            ConfigError: The budget is not positive.
        """
        if per_class < 1:
            raise ConfigError(
                f"{per_class} labels per class; give 1 or more.", where="label_budget"
            )
        rows = nested_subset(self.development.labels, per_class, seed=seed)
        development, units, repeats = (
            self.development.subset(rows),
            self.units[rows],
            self.repeats[rows],
        )
        folds = development_folds(
            development.labels,
            units,
            n_classes=len(self.classes),
            share=self.validation_share,
            seed=seed,
            times=None,
        )
        return replace(
            self,
            development=development,
            units=units,
            repeats=repeats,
            folds=without_repeats(folds, repeats),
        )

    def without_validation(self) -> Task:
        """Return the task with all of its labels training and none held out."""
        return replace(self, folds=())


def read_task(spec: TaskSpec, *, seed: int) -> Task:
    """Return the task of a specification; `seed` is the study's, for where it names none.

    Raises:
        DataError: The data cannot be used.
        ConfigError: Metric, weights or costs are wrong.
    """
    return Task.read(
        spec.data,
        metric=spec.metric,
        target=spec.target,
        kind=spec.kind,
        input=spec.input,
        label=spec.label,
        group=spec.group,
        time=spec.time,
        report_by=spec.report_by,
        splits=spec.splits,
        validation=spec.validation,
        test=spec.test,
        seed=seed if spec.seed is None else spec.seed,
        class_weights=spec.class_weights,
        costs=spec.costs,
        allow_bad=spec.allow_bad,
    )


def check_validated(task: Task) -> None:
    """Refuse a task on which no protocol could be chosen.

    Raises:
        DataError: There is nothing to validate on, or the metric is not defined there.
    """
    if not task.folds:
        raise DataError(
            "a class has a single labelled item, so nothing can be held out to choose a protocol "
            "by. Label more.",
            where=task.intake.source,
        )
    labels = task.development.labels[np.concatenate([fold.validation for fold in task.folds])]
    present = len(np.unique(labels))
    if task.metric == "auroc" and present < 2:
        raise DataError(
            "the items that validate are of one class, on which AUROC is not defined. Take another "
            "metric or other splits.",
            where=task.intake.source,
        )


def _place(source: str) -> str:
    return str(Path(source).resolve()) if Path(source).exists() else source


def _plain(array: np.ndarray[Any, Any] | None) -> Any:
    return None if array is None else array.tolist()


def _check(asked: Mapping[str, Any]) -> None:
    shares = asked["validation"], asked["test"]
    _check_choices(asked["metric"], asked["kind"], asked["splits"], shares)
    _check_costs(asked["metric"], asked["target"], asked["costs"])


def _check_choices(metric: str, kind: str | None, splits: str, shares: tuple[float, float]) -> None:
    metric_named(metric)
    if kind is not None and kind not in get_args(InputKind):
        raise ConfigError(
            f"unknown {kind!r}.{did_you_mean(kind, get_args(InputKind))}", where="kind"
        )
    if splits not in get_args(Splits):
        raise ConfigError(
            f"unknown {splits!r}.{did_you_mean(splits, get_args(Splits))}", where="splits"
        )
    for name, share in zip(("validation", "test"), shares, strict=True):
        if not 0.0 < share < 1.0:
            raise ConfigError(f"{share} is no share; give a number between 0 and 1.", where=name)


def _check_costs(metric: str, target: str | float | None, costs: Any) -> None:
    for where, text in (("metric", metric), ("target", str(target))):
        if costs is None and "mean_cost" in text:
            raise ConfigError(
                "mean_cost needs costs. Give task.costs, or another metric.", where=where
            )


def _divided(rows: Rows, wish: Wish, *, metric: str, allow_bad: bool) -> Task:
    inspection = _inspected(rows, wish.where, allow_bad=allow_bad)
    classes = class_names(rows, wish.where)
    parts = divide(rows, inspection, classes, wish)
    return Task(
        name="arrays" if wish.where == IN_MEMORY else Path(wish.where).resolve().name,
        kind=rows.kind,
        classes=classes,
        metric=metric,
        target=None,
        development=parts.development,
        units=parts.units,
        repeats=parts.repeats,
        folds=parts.folds,
        sealed=SealedPart(parts.test),
        intake=summarise(rows, inspection, parts, wish.where),
        validation_share=wish.validation,
    )


def _inspected(rows: Rows, where: str, *, allow_bad: bool) -> Inspection:
    given = set(rows.parts)
    inspection = inspect_rows(rows, allow_bad=allow_bad, where=where)
    if lost := given - set(rows.parts):
        raise DataError(
            f"no item of the {min(lost)} part can be used. Mend or remove it.", where=where
        )
    return inspection
