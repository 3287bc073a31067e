"""The task: labelled items that train and validate, and a sealed test part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np

from regraft.hashing import digest_json
from regraft.measure.metrics import metric_named
from regraft.tasks.intake.inspection import inspect_rows
from regraft.tasks.intake.reading import read_rows
from regraft.tasks.intake.rows import Columns
from regraft.tasks.parts import Shares, class_names, divide, summarise
from regraft.tasks.sealed import SealedPart
from regraft.tasks.splits import Fold, development_folds, nested_subset
from regraft.tasks.weights import class_weight_array, cost_array

if TYPE_CHECKING:
    from regraft.config.study import TaskSpec
    from regraft.tasks.intake.record import Intake
    from regraft.tasks.items import InputKind, Items

Splits = Literal["auto", "given", "stratified", "grouped", "time"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A single-label classification problem.

    Attributes:
        name: For people; kind: what the items are.
        classes: Names of the classes, sorted.
        metric: What early stopping and the verdict go by.
        target: Success criterion, for example ``macro_f1>=0.9``; or None.
        development: Items that train and validate.
        units: What of them must stay together (group, or cluster of duplicates), shape (n,).
        folds: One fold is a hold-out, several are cross-validation, none is no validation.
        sealed: The test part.
        intake: How the data was read.
        class_weights: Loss weights by class (C,), or None; costs: (C, C), or None.
    """

    name: str
    kind: InputKind
    classes: tuple[str, ...]
    metric: str
    target: str | None
    development: Items
    units: np.ndarray[Any, Any]
    folds: tuple[Fold, ...]
    sealed: SealedPart
    intake: Intake
    validation_share: float
    class_weights: np.ndarray[Any, Any] | None = None
    costs: np.ndarray[Any, Any] | None = None

    @classmethod
    def read(  # the one place where a user says everything of their data
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
            data: A folder with a folder of images per class (perhaps in train/val/test folders), a
                CSV/TSV/Parquet/JSONL file of texts or image paths, a folder with train/dev/test files,
                a folder saved by `datasets`, ``(inputs, labels)``, or ``{"train": (x, y), …}``.
            metric: A name of `regraft.measure.metrics.METRICS`.
            target: Success criterion; a number means the metric must reach it.
            kind: ``image``, ``text`` or ``array``; guessed if not given.
            input: Column of the inputs; label, group and time alike.
            label: Column of the labels.
            group: Column whose values must not straddle parts (patient, author).
            time: Column to split by; the newest items are tested.
            splits: ``auto`` takes given parts, else time, groups or stratification as columns say.
            validation: Share of the labelled items that validates.
            test: Share that is sealed, where the data has no test part.
            seed: Seed of the splits.
            class_weights: ``balanced``, or a weight by class name.
            costs: Cost by true class name, then predicted class name.
            allow_bad: Go on when more than 1 % of the items are unreadable.

        Raises:
            DataError: The data cannot be used; the message names the file, row or column.
            ConfigError: Metric, weights or costs are wrong.
        """
        metric_named(metric)
        columns = Columns(input, label, group, time)
        rows, source = read_rows(data, columns, kind)
        inspection = inspect_rows(rows, allow_bad=allow_bad, where=source)
        classes = class_names(rows, source)
        shares = Shares(validation, test)
        parts = divide(rows, inspection, classes, splits=splits, shares=shares, seed=seed, where=source)
        return cls(
            name=source.rstrip("/").rpartition("/")[2],
            kind=rows.kind,
            classes=classes,
            metric=metric,
            target=None if target is None else str(target),
            development=parts.development,
            units=parts.units,
            folds=parts.folds,
            sealed=SealedPart(parts.test),
            intake=summarise(rows, inspection, parts, source),
            validation_share=validation,
            class_weights=class_weight_array(class_weights, classes, parts.development.labels),
            costs=cost_array(costs, classes),
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
                "class_weights": None if self.class_weights is None else self.class_weights.tolist(),
                "costs": None if self.costs is None else self.costs.tolist(),
            }
        )

    def with_label_budget(self, per_class: int, *, seed: int) -> Task:
        """Return the task on a nested, stratified subset of `per_class` labels a class.

        Training and validation are counted together. A smaller budget with the same seed is a subset.
        """
        rows = nested_subset(self.development.labels, per_class, seed=seed)
        development, units = self.development.subset(rows), self.units[rows]
        return replace(
            self,
            development=development,
            units=units,
            folds=development_folds(
                development.labels,
                units,
                n_classes=len(self.classes),
                share=self.validation_share,
                seed=seed,
                times=None,
            ),
        )

    def without_validation(self) -> Task:
        """Return the task with all of its labels training and none held out."""
        return replace(self, folds=())


def read_task(spec: TaskSpec, *, seed: int) -> Task:
    """Return the task of a specification.

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
        splits=spec.splits,
        validation=spec.validation,
        test=spec.test,
        seed=seed,
        class_weights=spec.class_weights,
        costs=spec.costs,
        allow_bad=spec.allow_bad,
    )
