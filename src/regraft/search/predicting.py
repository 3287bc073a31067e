"""What finished runs say of items that are shown once and kept nowhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, final

import numpy as np

from regraft.backbones.placing import placed
from regraft.engine.device import choose_device
from regraft.engine.job import Job, RunData
from regraft.engine.predict import predict_with_features
from regraft.evidence.gathered import Predicted
from regraft.features.held import held_inputs
from regraft.features.passes import Wanted, passed
from regraft.tasks.items import Decoded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.ledger.ledger import Ledger
    from regraft.search.outcomes import ArmOutcome
    from regraft.tasks.items import Items
    from regraft.tasks.task import Task

AT_ONCE = 128
"""Items that are shown at a time; memory holds no more of them, whatever they are made into."""


def run_job(
    ledger: Ledger, run: str, *, protocol: Mapping[str, Any], backbone: Backbone, data: RunData
) -> Job:
    """Return the job by which a finished run predicts `data`, in fp32 as a graft does."""
    configuration = ledger.runs.get(run).configuration
    return Job(
        run=run,
        protocol=protocol,
        backbone=backbone,
        data=data,
        seed=int(configuration["seed"]),
        precision="fp32",
        device=configuration["device"],
    )


def shown_data(items: Items, backbone: Backbone, *, n_classes: int, metric: str) -> RunData:
    """Return items without labels or folds, for prediction; nothing of them goes to the disk."""
    n = len(items)
    prepared = held_inputs(backbone.preprocess, items)

    @cache
    def features() -> np.ndarray[Any, Any]:
        with placed(backbone, choose_device()):
            passes = passed(backbone, prepared, Wanted(pooled=True), "fp32")
            found = [one for (arrays,) in passes for one in arrays]
        return np.array(found, np.float32).reshape(n, backbone.width)

    return RunData(
        kind=items.kind,
        labels=np.zeros(n, np.int64),
        n_classes=n_classes,
        folds=(),
        rows=np.arange(n),
        prepared=prepared,
        raw=lambda chosen: Decoded(items, chosen),
        features=features,
        prefix=lambda _: None,
        metric=metric,
    )


@final
@dataclass(frozen=True, slots=True, eq=False)
class Predictors:
    """Arms of a study, ready to predict.

    Attributes:
        ledger: Where their weights are.
        outcomes: The arms, done.
        backbones: Of the study.
        task: Classes and metric.
    """

    ledger: Ledger
    outcomes: Sequence[ArmOutcome]
    backbones: Sequence[Backbone]
    task: Task

    def of(self, items: Items) -> dict[str, Predicted]:
        """Return what each arm says of at most `AT_ONCE` items."""
        n_classes, metric = len(self.task.classes), self.task.metric

        @cache
        def data(place: int) -> RunData:
            return shown_data(items, self.backbones[place], n_classes=n_classes, metric=metric)

        return {
            one.arm.key: self._predicted(one, data(one.arm.backbone or 0)) for one in self.outcomes
        }

    def pretrained(self, items: Items, place: int) -> np.ndarray[Any, Any]:
        """Return the features (n, width) that a backbone had before anything was adapted."""
        backbone = self.backbones[place]
        return shown_data(items, backbone, n_classes=2, metric=self.task.metric).features()

    def _predicted(self, outcome: ArmOutcome, data: RunData) -> Predicted:
        logits, features = [], None
        for i, one in enumerate(outcome.repetitions):
            job = run_job(
                self.ledger,
                one.run,
                protocol=outcome.protocol,
                backbone=self.backbones[outcome.arm.backbone or 0],
                data=data,
            )
            scores, pooled = predict_with_features(job, _state(self.ledger, one.run))
            logits.append(scores)
            features = pooled if i == 0 else features
        return Predicted(np.stack(logits), features)

    def first_of_each(self) -> Predictors:
        """Return the same arms, of each the run that stands for it."""
        firsts = [replace(one, repetitions=one.repetitions[:1]) for one in self.outcomes]
        return replace(self, outcomes=firsts)


def joined(parts: Sequence[Mapping[str, Predicted]]) -> dict[str, Predicted]:
    """Return what was said of parts of some items as of all of them."""
    return {
        key: Predicted(
            np.concatenate([part[key].logits for part in parts], axis=1),
            _stacked([part[key].features for part in parts]),
        )
        for key in parts[0]
    }


def _stacked(features: Sequence[np.ndarray[Any, Any] | None]) -> np.ndarray[Any, Any] | None:
    found = [one for one in features if one is not None]
    return np.concatenate(found) if found else None


def _state(ledger: Ledger, run: str) -> Mapping[str, Any]:
    result = ledger.runs.result(run)
    if result is None:
        raise AssertionError(f"run {run} has no result")
    return result.load_state()
