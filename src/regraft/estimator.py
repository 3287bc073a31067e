"""One protocol on one backbone as a scikit-learn estimator."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from regraft.api import Backbone, Protocol
from regraft.config.loading import validate_data as validate_spec
from regraft.config.spec import resolved
from regraft.config.study import IN_MEMORY, StudySpec
from regraft.deploy.predictor import GraftPredictor
from regraft.engine.device import choose_device, choose_precision
from regraft.engine.job import Job
from regraft.engine.run import execute
from regraft.errors import ConfigError, DataError
from regraft.events import Done, Failed
from regraft.evidence.best import temperature_of
from regraft.features.store import Cache
from regraft.hashing import digest_json
from regraft.ledger.grafts import Graft
from regraft.ledger.ledger import Ledger
from regraft.ledger.tensors import pack, unpack
from regraft.search.advisor import Admission
from regraft.search.arms import Arm, with_enough_steps
from regraft.search.bench import Bench, prefix_limit
from regraft.search.clock import Clock
from regraft.search.ladder import Ladder
from regraft.search.outcomes import ArmOutcome
from regraft.search.surroundings import Surroundings
from regraft.seeds import derive
from regraft.tasks.items import items_from
from regraft.tasks.unsealed import unsealed_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sklearn.utils import Tags

    from regraft.backbones.backbone import Backbone as Encoder
    from regraft.tasks.items import Items
    from regraft.tasks.task import Task

_NO_LIMIT = 1e9  # seconds; a fit has no budget
_WANTED = {"text": "texts", "image": "image paths or uint8 images of shape (H, W) or (H, W, C)"}


@final
class InputError(DataError, ValueError, TypeError):
    """Items or labels cannot be used; what scikit-learn's callers catch, too."""


@final
class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Adapts a pretrained backbone to labelled items by one protocol.

    Strings are texts for a text backbone and paths for an image backbone; images may also be uint8
    arrays. Validation is carved from what `fit` is given: 20 %, stratified, or cross-validation at
    ten items a class or fewer.

    Args:
        backbone: A reference as `regraft.Backbone` takes it, or a loaded backbone, which spares
            the clones of a search the loading.
        protocol: A template's name, a protocol file, its data as a dict, or a `Protocol`.
        learning_rate: In place of the protocol's peak rate, where it takes gradient steps.
        epochs: In place of the protocol's epochs, exactly so many at most.
        metric: What early stopping goes by.
        validation: Share that validates.
        random_state: Seed of splits and training.
        home: Folder of a ledger to write to; None writes to none.

    Attributes:
        classes_: The classes, sorted.
        backbone_: The backbone, loaded; a pickle holds its reference and loads it again.
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
        backbone: str | Path | Backbone,
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
            InputError: Items or labels cannot be used.
            DataError: An image cannot be read.
            ConfigError: A parameter is wrong, or the protocol could not train.
            BackboneError: The backbone cannot be loaded.
        """
        backbone = self._backbone()
        protocol = self._protocol()
        spec = self._spec(backbone, protocol)
        classes, labels = _classes(y)
        items = self._items(X, backbone, reset=True)
        if len(items) != len(labels):
            raise InputError(
                f"{len(items)} items and {len(labels)} labels. Give as many.", where="X"
            )
        task = unsealed_task(
            replace(items, labels=labels),
            [str(name) for name in classes],
            metric=spec.task.metric,
            validation=spec.task.validation,
            seed=spec.seed,
        )
        recipe = protocol.resolved()
        if self.epochs is None:
            recipe = with_enough_steps(
                recipe, len(task.folds[0].train) if task.folds else len(items)
            )
        fit = _Fit(spec, backbone.encoder, task, recipe)
        self.graft_ = fit.alone() if self.home is None else fit.recorded(Path(self.home))
        self.backbone_, self.classes_ = backbone, classes
        return self

    def predict_proba(self, X: Sequence[Any]) -> np.ndarray[Any, Any]:
        """Return calibrated class probabilities, shape (n, C); columns follow `classes_`."""
        check_is_fitted(self)
        items = self._items(X, self.backbone_, reset=False)
        predictor = GraftPredictor(self.graft_, self.backbone_.encoder, device=choose_device())
        return predictor.predict_proba(items)

    def predict(self, X: Sequence[Any]) -> np.ndarray[Any, Any]:
        """Return the most probable class of each item."""
        chosen = self.predict_proba(X).argmax(axis=1)
        predicted: np.ndarray[Any, Any] = self.classes_[chosen]
        return predicted

    def __sklearn_tags__(self) -> Tags:
        """Say what it takes, as far as the backbone is known: a reference alone says little."""
        tags = super().__sklearn_tags__()
        kind = self.backbone.kind if isinstance(self.backbone, Backbone) else None
        tags.input_tags.two_d_array = kind == "array"
        tags.input_tags.three_d_array = kind != "text"
        tags.input_tags.string = kind != "array"
        tags.no_validation = kind != "array"
        return tags

    def _backbone(self) -> Backbone:
        match self.backbone:
            case Backbone() as given:
                return given
            case str() | Path() as reference:
                return Backbone(str(reference))
            case other:
                raise ConfigError(
                    f"{other!r} is none. Give a reference such as 'zoo:glyphs', or a Backbone.",
                    where="backbone",
                )

    def _protocol(self) -> Protocol:
        """Return the protocol with this estimator's own rate and epochs, checked as a whole."""
        match self.protocol:
            case Protocol() as given:
                pass
            case str() | Path() as reference:
                given = Protocol.load(reference)
            case Mapping() as plain:
                given = Protocol.from_dict(plain)
            case other:
                raise ConfigError(
                    f"{other!r} is none. Give a template's name, a file, a dict or a Protocol.",
                    where="protocol",
                )
        data = given.resolved()
        if self.learning_rate is not None:
            data["rate"]["peak"] = self.learning_rate
        if self.epochs is not None:
            data["fit"]["epochs"] = self.epochs
        return Protocol.from_dict({"name": given.name, **data})

    def _spec(self, backbone: Backbone, protocol: Protocol) -> StudySpec:
        """Return this fit as a study of one protocol, which checks the parameters."""
        if not isinstance(self.random_state, Integral) or self.random_state < 0:
            raise ConfigError(
                f"{self.random_state!r} is no seed. Give a whole number, 0 or more.",
                where="random_state",
            )
        data = {
            "task": {"data": IN_MEMORY, "metric": self.metric, "validation": self.validation},
            "backbones": [backbone.reference],
            "budget": _NO_LIMIT,
            "protocols": [protocol.name],
            "seed": int(self.random_state),
            "seeds": 1,
        }
        return validate_spec(StudySpec, data, where="TransferClassifier")

    def _items(self, X: Sequence[Any], backbone: Backbone, *, reset: bool) -> Items:
        """Return the items, refused where they are not what the backbone takes."""
        if backbone.kind != "array":
            return items_from(_listed(X, backbone), backbone.kind)
        try:
            rows = validate_data(self, X, reset=reset, dtype=np.float32, allow_nd=True)
        except (TypeError, ValueError) as error:
            raise InputError(" ".join(str(error).split()), where="X") from error
        return items_from(list(rows), backbone.kind)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """One run: the study that it is, its backbone, task, and resolved protocol."""

    spec: StudySpec
    encoder: Encoder
    task: Task
    protocol: dict[str, Any]

    def alone(self) -> Graft:
        """Run it without a ledger; nothing is left on the disk."""
        device = choose_device()
        with tempfile.TemporaryDirectory(prefix="regraft-fit-") as folder:
            cache = Cache(Path(folder))
            bench = Bench(self.task.development, self.encoder, cache, device=device)
            job = Job(
                run="fit",
                protocol=self.protocol,
                backbone=self.encoder,
                data=bench.run_data(self.task),
                seed=derive(self.spec.seed, "run", 0),
                precision=choose_precision("auto", device),
                device=device,
                checkpoint_seconds=math.inf,
            )
            (ended,) = [event for event in execute(job) if isinstance(event, Done | Failed)]
        if isinstance(ended, Failed):
            raise ConfigError(ended.reason, where="fit")
        return self._graft(unpack(pack(ended.state)), ended.summary, ended.arrays)

    def recorded(self, home: Path) -> Graft:
        """Run it in a ledger, or go on where it was interrupted.

        All fits on the same data are one study, so that they can be compared. What is locked is
        the one fit: those of a search may run at the same time.
        """
        study = f"fit-{self.task.fingerprint[:16]}"
        own = digest_json([self.protocol, self.spec.seed, self.encoder.identity])[:16]
        with closing(Ledger.open(home)) as ledger, ledger.lock(f"{study}-{own}"):
            ledger.studies.create(study, name=study, configuration=resolved(self.spec))
            return self._driven(ledger, study)

    def _driven(self, ledger: Ledger, study: str) -> Graft:
        device = choose_device()
        cache = Cache(ledger.home / "cache")
        limit = prefix_limit(ledger, study, cache)
        bench = Bench(self.task.development, self.encoder, cache, device=device, most_bytes=limit)
        clock = Clock(ledger, study, _NO_LIMIT)
        precision = choose_precision("auto", device)
        around = Surroundings(ledger, study, [bench], clock, self.spec.seed, precision, device)
        name = self.spec.protocols[0]
        arm = Arm(name, name, name, "candidate", 0, (self.protocol,))
        outcome = ArmOutcome(arm, Admission(admitted=True, reason="fit was called"))
        running = Ladder(around, self.task).run(
            outcome, self.protocol, repetition=0, with_weights=True
        )
        while True:
            try:
                next(running)
            except StopIteration as stop:
                ended = stop.value
                break
        if ended.status == "failed":
            raise ConfigError(ended.reason, where="fit")
        result = ledger.runs.result(ended.run)
        if result is None:
            raise AssertionError("a run that is done has a result")
        return self._graft(result.load_state(), ended.summary, ended.arrays)

    def _graft(
        self,
        state: Mapping[str, Any],
        summary: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray[Any, Any]],
    ) -> Graft:
        labels = self.task.development.labels[arrays["rows"]]
        return Graft(
            backbone=self.encoder.reference,
            backbone_digest=self.encoder.digest,
            kind=self.task.kind,
            classes=self.task.classes,
            preprocess=self.encoder.preprocess.spec,
            protocol=self.protocol,
            state=state,
            metrics={"validation": summary["metrics"]},
            temperature=temperature_of(arrays["logits"], labels),
        )


def _classes(y: Sequence[Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the classes, sorted, and the class index of each label."""
    if y is None:
        message = "it requires y to be passed, but the target y is None. Give one label per item."
        raise InputError(message, where="y")
    try:
        labels = check_array(
            column_or_1d(y, warn=True), ensure_2d=False, dtype=None, input_name="y"
        )
        check_classification_targets(labels)
        classes, rows = np.unique(labels, return_inverse=True)
    except (TypeError, ValueError) as error:
        why = " ".join(str(error).split()).rstrip(".")
        message = f"they are no labels of classes ({why}). Give one per item."
        raise InputError(message, where="y") from error
    if len(classes) < 2:
        message = f"only one class ({classes[0]!s}). Give labels of two classes or more."
        raise InputError(message, where="y")
    return classes, rows.astype(np.int64)


def _listed(X: Sequence[Any], backbone: Backbone) -> list[Any]:
    """Return texts or images as a list."""
    if isinstance(X, str | bytes | Mapping | pd.DataFrame) or not np.iterable(X):
        raise InputError(
            f"it is of type {type(X).__name__}, not a sequence of items. Give a list, an array or "
            "one column.",
            where="X",
        )
    inputs = [str(one) if isinstance(one, str) else one for one in X]
    if not inputs:
        raise InputError("there are no items. Give a list of them.", where="X")
    for place, one in enumerate(inputs):
        if not _fits(one, backbone.kind):
            raise InputError(
                f"it is {_described(one)}, but {backbone.reference} takes "
                f"{_WANTED[backbone.kind]}. Give these, or another backbone.",
                where=f"X, item {place}",
            )
    return inputs


def _fits(one: Any, kind: str) -> bool:
    if kind == "text":
        return isinstance(one, str)
    is_image = isinstance(one, np.ndarray) and one.dtype == np.uint8 and one.ndim in (2, 3)
    return is_image or isinstance(one, str | Path)


def _described(one: Any) -> str:
    if isinstance(one, np.ndarray):
        return f"an array of {one.dtype} with shape {one.shape}"
    return f"of type {type(one).__name__}"
