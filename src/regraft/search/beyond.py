"""What a study asks beyond its sealed part: corrupted inputs, outliers, items of the source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from regraft.errors import DataError
from regraft.hashing import digest_json
from regraft.search.holding_up import held_up
from regraft.search.retention import source_features
from regraft.seeds import derive
from regraft.tasks.inputs import read_inputs
from regraft.tasks.labelled import some_labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.config.study import RobustnessSpec, StudySpec
    from regraft.evidence.gathered import HeldUp, SourceFeatures
    from regraft.evidence.verdict import Verdict
    from regraft.search.outcomes import ArmOutcome
    from regraft.search.surroundings import Surroundings
    from regraft.tasks.items import Items
    from regraft.tasks.task import Task


@final
@dataclass(frozen=True, slots=True, eq=False)
class Asides:
    """What a study asks beyond its sealed part, its data read.

    Attributes:
        robustness: How corrupted inputs and outliers are to be predicted, if at all.
        outliers: Those that it names.
        source: Labelled items of the source domain.
    """

    robustness: RobustnessSpec | None
    outliers: Items | None
    source: Items | None

    @property
    def identity(self) -> dict[str, Any]:
        """What of them belongs to the study's id; empty where none are named."""
        found: dict[str, Any] = {}
        if self.outliers is not None:
            found["outliers"] = digest_json(list(self.outliers.digests))
        if self.source is not None:
            found["source"] = digest_json([list(self.source.digests), self.source.labels.tolist()])
        return found


@final
@dataclass(frozen=True, slots=True, eq=False)
class Beyond:
    """What was predicted beyond the sealed part; None where it was not asked for."""

    held_up: HeldUp | None = None
    source: SourceFeatures | None = None


def read_asides(spec: StudySpec, task: Task) -> Asides:
    """Return the data that a study names beside its own.

    Raises:
        DataError: They cannot be used, are of another kind than the task's, or the source holds
            items of the sealed part, whose labels would be seen.
    """
    outliers = source = None
    allow_bad = spec.task.allow_bad
    if spec.robustness is not None and spec.robustness.outliers is not None:
        path = Path(spec.robustness.outliers)
        outliers = read_inputs(path, kind=task.kind, column=None, allow_bad=allow_bad)
    if spec.source is not None:
        seed = derive(spec.seed, "source")
        source = some_labelled(spec.source, kind=task.kind, seed=seed, allow_bad=allow_bad)
        if shared := set(source.digests) & set(task.sealed.inputs.digests):
            raise DataError(
                f"{len(shared)} of its items lie in the sealed test part, whose labels nobody may "
                "see yet. Give items of the source domain that are not in the data.",
                where=spec.source,
            )
    return Asides(spec.robustness, outliers, source)


def predict_beyond(
    around: Surroundings,
    asides: Asides,
    task: Task,
    inputs: Items,
    outcomes: Sequence[ArmOutcome],
    verdict: Verdict,
) -> Beyond:
    """Predict corrupted sealed inputs and outliers, and look at the source; no label is opened.

    Args:
        around: Ledger, clock and backbones.
        asides: What is asked.
        task: Of the ladder.
        inputs: The sealed items, without labels.
        outcomes: What is scored in the final evaluation, with weights.
        verdict: Names the winner.
    """
    stress = features = None
    if asides.robustness is not None:
        stress = held_up(
            around,
            asides.robustness,
            task=task,
            inputs=inputs,
            outliers=asides.outliers,
            outcomes=outcomes,
            winner=verdict.winner,
        )
    if asides.source is not None:
        features = source_features(around, asides.source, task=task, outcomes=outcomes)
    return Beyond(stress, features)
