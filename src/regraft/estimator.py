"""One protocol on one backbone as a scikit-learn estimator."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from regraft.api import Backbone, Protocol
from regraft.backbones.loading import load_backbone
from regraft.deploy.predictor import GraftPredictor
from regraft.engine.device import choose_device, choose_precision
from regraft.errors import ConfigError, DataError
from regraft.evidence.best import temperature_of
from regraft.features.store import Cache
from regraft.ledger.grafts import Graft
from regraft.ledger.ledger import Ledger
from regraft.search.advisor import Admission
from regraft.search.arms import Arm, with_enough_steps, with_fit
from regraft.search.bench import Bench
from regraft.search.clock import Clock
from regraft.search.ladder import ArmOutcome, Ladder
from regraft.search.surroundings import Surroundings
from regraft.tasks.items import items_from
from regraft.tasks.unsealed import unsealed_task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sklearn.utils import Tags

    from regraft.backbones.backbone import Backbone as Encoder
    from regraft.search.drive import Outcome
    from regraft.tasks.task import Task

_NO_LIMIT = 1e9  # seconds; a fit has no budget


@final
class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Adapts a pretrained backbone to labelled items by one protocol.

    Strings are texts for a text backbone and paths for an image backbone; images may also be uint8
    arrays. Validation is carved from what `fit` is given: 20 %, stratified, or cross-validation at
    ten items a class or fewer.

    Args:
        backbone: A reference as `regraft.Backbone` takes it, or a loaded backbone.
        protocol: A template's name, a protocol file, its data as a dict, or a `Protocol`.
        learning_rate: In place of the protocol's peak rate.
        epochs: In place of the protocol's epochs.
        metric: What early stopping goes by.
        validation: Share that validates.
        random_state: Seed of splits and training.
        home: Folder of a ledger to write to; None writes to none.

    Attributes:
        classes_: The classes, sorted.
        graft_: What was learnt.

    Example:
        >>> import numpy as np
        >>> from sklearn.datasets import load_digits
        >>> x, y = load_digits(return_X_y=True)
        >>> images = (x.reshape(-1, 8, 8) * 15.9).astype(np.uint8)
        >>> clf = TransferClassifier(backbone="zoo:glyphs", protocol="linear-probe")
        >>> bool(clf.fit(images[:300], y[:300]).score(images[300:600], y[300:600]) > 0.8)
        True
    """

    def __init__(
        self,
        backbone: str | Backbone = "zoo:glyphs",
        protocol: str | Path | Mapping[str, Any] | Protocol = "lp-ft",
        *,
        learning_rate: float | None = None,
        epochs: int | None = None,
        metric: str = "macro_f1",
        validation: float = 0.2,
        random_state: int = 0,
        home: str | Path | None = None,
    ) -> None:
        self.backbone = backbone
        self.protocol = protocol
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.metric = metric
        self.validation = validation
        self.random_state = random_state
        self.home = home

    def fit(self, X: Sequence[Any], y: Sequence[Any]) -> Self:
        """Adapt the backbone.

        Args:
            X: Texts, image paths, uint8 images or arrays, as the backbone takes them; n of them.
            y: Labels, n of them.

        Raises:
            DataError: Items or labels cannot be used.
            ConfigError: The protocol is unknown, wrong or could not train.
            BackboneError: The backbone cannot be loaded.
        """
        labels = _labels(y)
        classes, rows = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise DataError("fewer than two classes. Give labels of two or more.", where="y")
        encoder = self._encoder()
        kind = encoder.preprocess.kind
        items = items_from(_checked(X, kind, len(labels)), kind)
        task = unsealed_task(
            replace(items, labels=rows.astype(np.int64)),
            [str(name) for name in classes],
            metric=self.metric,
            validation=self.validation,
            seed=int(self.random_state),
        )
        protocol = self._resolved(len(task.folds[0].train) if task.folds else len(labels))
        with ExitStack() as stack:
            home = self.home
            if home is None:
                home = stack.enter_context(tempfile.TemporaryDirectory(prefix="regraft-fit-"))
            ledger = Ledger.open(Path(home))
            outcome = _fitted(ledger, encoder, task, protocol, seed=int(self.random_state))
            self.graft_ = _graft(ledger, encoder, task, protocol, outcome)
        self.classes_ = classes
        return self

    def predict_proba(self, X: Sequence[Any]) -> np.ndarray[Any, Any]:
        """Return calibrated class probabilities, shape (n, C); columns follow `classes_`."""
        check_is_fitted(self)
        encoder = self._encoder()
        kind = encoder.preprocess.kind
        inputs = _checked(X, kind, None)
        return GraftPredictor(self.graft_, encoder).predict_proba(items_from(inputs, kind))

    def predict(self, X: Sequence[Any]) -> np.ndarray[Any, Any]:
        """Return the most probable class of each item."""
        chosen = self.predict_proba(X).argmax(axis=1)
        predicted: np.ndarray[Any, Any] = self.classes_[chosen]
        return predicted

    def __sklearn_tags__(self) -> Tags:
        """Say what it takes: strings and images, not tables of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.no_validation = True
        return tags

    def _encoder(self) -> Encoder:
        if isinstance(self.backbone, Backbone):
            return self.backbone.encoder
        return load_backbone(self.backbone)

    def _resolved(self, n_train: int) -> dict[str, Any]:
        """Return the protocol with this estimator's own rate and epochs."""
        given = self.protocol
        if isinstance(given, str | Path):
            given = Protocol.load(given)
        elif not isinstance(given, Protocol):
            given = Protocol.from_dict(given)
        protocol = with_enough_steps(given.resolved(), n_train)
        if self.learning_rate is not None:
            protocol["rate"] = {**protocol["rate"], "peak": float(self.learning_rate)}
        return protocol if self.epochs is None else with_fit(protocol, epochs=int(self.epochs))


def _fitted(
    ledger: Ledger, encoder: Encoder, task: Task, protocol: Mapping[str, Any], *, seed: int
) -> Outcome:
    """Run the protocol once, as a study of one arm."""
    study = f"fit-{task.fingerprint[:12]}"
    ledger.studies.create(study, name=study, configuration={"task": dict(task.asked)})
    device = choose_device()
    bench = Bench(task.development, encoder, Cache(ledger.home / "cache"))
    clock = Clock(ledger, study, _NO_LIMIT)
    precision = choose_precision("auto", device)
    around = Surroundings(ledger, study, [bench], clock, seed, precision, device)
    arm = Arm("fit", "fit", "fit", "candidate", 0, (dict(protocol),))
    running = Ladder(around, task).run(
        ArmOutcome(arm, Admission(admitted=True, reason="fit was called")), protocol, repetition=0
    )
    while True:
        try:
            next(running)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            break
    if outcome.status == "failed":
        raise ConfigError(outcome.reason, where="fit")
    return outcome


def _graft(
    ledger: Ledger, encoder: Encoder, task: Task, protocol: Mapping[str, Any], outcome: Outcome
) -> Graft:
    result = ledger.runs.result(outcome.run)
    if result is None:
        raise AssertionError("a run that is done has a result")
    rows = outcome.arrays["rows"]
    return Graft(
        backbone=encoder.reference,
        backbone_digest=encoder.digest,
        kind=task.kind,
        classes=task.classes,
        preprocess=encoder.preprocess.spec,
        protocol=protocol,
        state=result.load_state(),
        metrics={"validation": outcome.summary["metrics"]},
        temperature=temperature_of(outcome.arrays["logits"], task.development.labels[rows]),
    )


def _labels(y: Sequence[Any]) -> np.ndarray[Any, Any]:
    if y is None:
        raise DataError("there are no labels. Give one per item.", where="y")
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise DataError(f"shape {labels.shape}. Give one label per item.", where="y")
    try:
        check_classification_targets(labels)
    except ValueError as error:
        raise DataError(f"not labels of classes ({error}).", where="y") from error
    return labels


def _checked(X: Sequence[Any], kind: str, n_labels: int | None) -> list[Any]:
    """Return the inputs as a list, refused where they are not what the backbone takes."""
    inputs = list(X) if isinstance(X, Iterable) and not isinstance(X, str) else []
    if not inputs:
        raise DataError("there are no items. Give a list of them.", where="X")
    if n_labels is not None and len(inputs) != n_labels:
        raise DataError(f"{len(inputs)} items and {n_labels} labels. Give as many.", where="X")
    for place, one in enumerate(inputs):
        if not _fits(one, kind):
            wanted = {"text": "a text", "image": "an image path or a uint8 image"}
            raise DataError(
                f"a {type(one).__name__}, but the backbone takes {wanted.get(kind, 'arrays')}.",
                where=f"X, item {place}",
            )
    return inputs


def _fits(one: Any, kind: str) -> bool:
    if kind == "text":
        return isinstance(one, str)
    if kind == "image":
        is_image = isinstance(one, np.ndarray) and one.dtype == np.uint8 and one.ndim in (2, 3)
        return is_image or isinstance(one, str | Path)
    return isinstance(one, np.ndarray | list | tuple)
