"""One run from start to result, as a generator of events."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.config.registry import kind_spec, load
from regraft.engine.adapted import Adapted, build, keep_solved
from regraft.engine.batches import n_views
from regraft.engine.fit import DivergedError, Fit, FitResult
from regraft.engine.job import Job, Stage, fold_stages, refit_stage
from regraft.engine.meter import Meter, spare_bytes
from regraft.engine.preflight import checked, preflight
from regraft.engine.randomness import RunRandomness
from regraft.engine.sources import activations
from regraft.engine.stack import stacking
from regraft.errors import DataError, LedgerError, RegraftError
from regraft.events import Checkpoint, Done, Event, Failed, Preflight, Started
from regraft.features.rows import chosen
from regraft.measure.convergence import convergence_step
from regraft.measure.metrics import METRICS, all_scores, softmax
from regraft.protocols.predictor_data import PredictorData
from regraft.seeds import derive

if TYPE_CHECKING:
    from collections.abc import Generator


def execute(job: Job, *, resume: Checkpoint | None = None) -> Generator[Event, str | None, None]:
    """Yield the events of a run, from its start or from a checkpoint.

    The run has torch's generators for itself: its state is swapped in while it works and out
    between events. Answer a `Checkpoint` with ``send(FINISH)`` to end the run with its best state.
    """
    randomness = RunRandomness(derive(job.seed, "torch"), job.device)
    meter = Meter(job.device, resume.progress["meter"] if resume else None)
    events = _guarded(job, resume, meter)
    answer: str | None = None
    while True:
        with randomness.active(), meter.running():
            try:
                event = events.send(answer)
            except StopIteration:
                return
        answer = yield event


def _guarded(
    job: Job, resume: Checkpoint | None, meter: Meter
) -> Generator[Event, str | None, None]:
    """End a run that diverges or does not fit with a record, not with an exception."""
    _check_metric(job)
    try:
        if predictor_kind(job.protocol) is not None:
            yield from _predict(job, meter)
        else:
            yield from _train(job, resume, meter)
    except DivergedError as error:
        yield Failed(job.run, f"diverged: {error}", meter.seconds)
    except torch.OutOfMemoryError as error:
        first = str(error).partition("\n")[0]
        yield Failed(job.run, f"out of memory: {first}", meter.seconds)
    except (LedgerError, DataError):
        raise  # the disk is full, or data are gone: no fault of this run, which may go on later
    except RegraftError as error:
        yield Failed(job.run, str(error), meter.seconds)


def predictor_kind(protocol: Any) -> dict[str, Any] | None:
    """Return the predictor of a protocol that takes no gradient, else None.

    A protocol that trains neither the backbone nor inserted modules, and starts its head from the
    probe, is the linear probe.
    """
    if protocol["predictor"] is not None:
        return dict(protocol["predictor"])
    trains_nothing = protocol["train"]["from_depth"] == "none" and not protocol["modules"]
    if trains_nothing and protocol["head"]["start"] == "probe":
        return {"kind": "linear_probe"}
    return None


def _predict(job: Job, meter: Meter) -> Generator[Event, str | None, None]:
    """Fit a predictor on each fold, then on all rows where there are several folds or none."""
    value = predictor_kind(job.protocol)
    spec = kind_spec("predictor", value or {}, where="predictor")
    kind = load("predictor", spec.kind)
    yield Started(job.run, 0, 0, 0)
    stages = fold_stages(job.data, 1)
    logits = np.zeros((len(job.data.labels), job.data.n_classes), np.float32)
    state: dict[str, Any] = {}
    if len(stages) > 1:
        stages.append(refit_stage(job.data, 1))
    for stage in stages:
        data = _predictor_data(job, stage, kind.NEEDS)
        state = kind.fit(spec, data, derive(job.seed, "predictor"))
        if spec.kind == "linear_probe":
            keep_solved(job, stage, "probe", (state["weight"], state["bias"]))
        if len(stage.validation):
            logits[stage.validation] = kind.predict(spec, state, data.validation())
    rows = _validated_rows(job)
    tensors = {f"predictor.{name}": value for name, value in state.items()}
    summary = _summary(job, meter, rows, logits, _count(tensors), [])
    yield Done(job.run, summary, tensors, {"rows": rows, "logits": logits[rows]})


def _predictor_data(job: Job, stage: Stage, needs: str) -> PredictorData:
    data = job.data
    rows = np.concatenate([stage.train, stage.validation])
    return PredictorData(
        kind=data.kind,
        raw=data.raw(rows) if needs == "raw" else None,
        features=chosen(data.features(), data.rows[rows]) if needs == "features" else None,
        labels=data.labels[rows],
        n_classes=data.n_classes,
        n_train=len(stage.train),
        memory_bytes=spare_bytes(job.memory_bytes),
    )


def _train(job: Job, resume: Checkpoint | None, meter: Meter) -> Generator[Event, str | None, None]:
    done: list[dict[str, Any]] = list(resume.progress["stages"]) if resume else []
    logits = np.zeros((len(job.data.labels), job.data.n_classes), np.float32)
    features: np.ndarray[Any, Any] | None = None
    if resume:
        logits = np.asarray(resume.state["run/logits"]).copy()
    parameters = yield from _start(job, resume)
    result: FitResult | None = None
    while (stage := _next_stage(job, done)) is not None:
        result = yield from _fit(job, stage, meter, resume, done, logits)
        resume = None
        if len(stage.validation):
            logits[stage.validation] = result.logits
            features = result.features if len(job.data.folds) == 1 else None
        done.append(_stage_record(job, stage, result))
    if result is None:
        raise AssertionError("a checkpoint is never taken after the last stage")
    rows = _validated_rows(job)
    summary = _summary(job, meter, rows, logits, parameters, done)
    arrays = {"rows": rows, "logits": logits[rows]}
    if features is not None:
        arrays["features"] = features
    yield Done(job.run, summary, result.state, arrays)


def _next_stage(job: Job, done: list[dict[str, Any]]) -> Stage | None:
    """Return the fit that follows: fold after fold, then all rows for the mean best epoch."""
    folds = fold_stages(job.data, int(job.protocol["fit"]["epochs"]))
    if len(done) < len(folds):
        return folds[len(done)]
    if len(folds) == 1 or len(done) > len(folds):
        return None
    return refit_stage(job.data, max(1, round(float(np.mean([s["best_epoch"] for s in done])))))


def _start(job: Job, resume: Checkpoint | None) -> Generator[Event, str | None, int]:
    """Say what will train, and check it on a copy; a resumed run was checked before.

    Returns:
        How many numbers train.
    """
    step, notes = resume.step if resume else 0, job.backbone.notes
    found = checked(job)
    if found is None:
        stage = fold_stages(job.data, 1)[0]
        model = build(job, stage)
        total = sum(p.numel() for _, p in model.named_parameters())
        trained = sum(p.numel() for p in model.trained().values())
        yield Started(job.run, step, trained, total, notes)
        if resume is not None:
            return trained
        found = preflight(job, stage, model)
    else:
        yield Started(job.run, step, found.trained, found.total, notes)
        if resume is not None:
            return found.trained
    yield Preflight(job.run, found.lines, found.problems, found.warnings)
    if found.problems:
        raise RegraftError(f"pre-flight: {'; '.join(found.problems)}. The run was not started.")
    return found.trained


def _fit(
    job: Job,
    stage: Stage,
    meter: Meter,
    resume: Checkpoint | None,
    done: list[dict[str, Any]],
    logits: np.ndarray[Any, Any],
) -> Generator[Event, str | None, FitResult]:
    """Run one stage; add to its checkpoints what the stages before it left."""
    model: Adapted = build(job, stage)
    fit = Fit(job, stage, model, meter)
    start = (resume.progress["fit"], resume.state) if resume else None
    events = fit.events(start)
    answer: str | None = None
    while True:
        try:
            event = events.send(answer)
        except StopIteration as stop:
            result: FitResult = stop.value
            return result
        if isinstance(event, Checkpoint):
            progress = {
                "stage": stage.name,
                "fit": event.progress,
                "stages": list(done),
                "meter": meter.figures(),
            }
            run_state: dict[str, torch.Tensor] = {"run/logits": torch.from_numpy(logits.copy())}
            event = replace(event, progress=progress, state={**event.state, **run_state})
        answer = yield event


def _stage_record(job: Job, stage: Stage, result: FitResult) -> dict[str, Any]:
    progress = asdict(result.progress)
    return {
        "name": stage.name,
        "watched": _watched(job, result.progress.history),
        "n_train": len(stage.train),
        "finished_early": result.finished_early,
        "epochs": stage.epochs,
        **{name: progress[name] for name in _OF_PROGRESS},
    }


_OF_PROGRESS = (
    "step",
    "best_epoch",
    "best_step",
    "examples_seen",
    "kept_steps",
    "computed_because",
    "history",
)


def _watched(job: Job, history: list[dict[str, Any]]) -> str | None:
    """Return what chose the best epoch: the study's metric, or log loss where that is undefined."""
    if not history:
        return None
    is_defined = all(job.data.metric in one["metrics"] for one in history)
    return job.data.metric if is_defined else "log_loss"


def _validated_rows(job: Job) -> np.ndarray[Any, Any]:
    if not job.data.folds:
        return np.empty(0, np.int64)
    return np.sort(np.concatenate([fold.validation for fold in job.data.folds]))


def _check_metric(job: Job) -> None:
    """Refuse a metric that no logits could have on the validated items.

    Raises:
        DataError: It is not defined there.
    """
    rows, n_classes = _validated_rows(job), job.data.n_classes
    if not len(rows):
        return
    uniform = np.full((len(rows), n_classes), 1.0 / n_classes)
    if job.data.metric not in all_scores(uniform, job.data.labels[rows], job.data.costs):
        raise DataError(
            f"{job.data.metric} is not defined on the {len(rows)} validation items: they are of "
            "one class, or there are no costs. Take another metric or other splits.",
            where=f"run {job.run}",
        )


def _summary(
    job: Job,
    meter: Meter,
    rows: np.ndarray[Any, Any],
    logits: np.ndarray[Any, Any],
    parameters: int,
    stages: list[dict[str, Any]],
) -> dict[str, Any]:
    labels = job.data.labels[rows]
    if not np.isfinite(logits[rows]).all():
        raise RegraftError(
            "logits of validation items are not finite. Look for infinite or missing numbers in "
            "the inputs or the backbone's weights.",
            where=f"run {job.run}",
        )
    metrics = all_scores(softmax(logits[rows]), labels, job.data.costs) if len(rows) else {}
    n_labels = len(job.data.labels)
    return {
        "metrics": metrics,
        "n_validation": len(rows),
        "labels_used": n_labels,
        "parameters_trained": parameters,
        "examples_seen": sum(s["examples_seen"] for s in stages),
        "activations": activations(stages, n_views(job)),
        "stages": stages,
        "convergence": _convergence(job, stages),
        **stacking(job),
        **({"compiled": True} if job.compiled else {}),
        **meter.figures(),
    }


def _convergence(job: Job, stages: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return step and seconds of the first evaluation within 95 % of the way to the best."""
    if not stages or not stages[0]["history"]:
        return None
    history = stages[0]["history"]
    name = job.data.metric
    if stages[0].get("watched") != name:
        return None
    values = [h["metrics"][name] for h in history]
    better = METRICS[name].higher_is_better
    step = convergence_step([h["step"] for h in history], values, higher_is_better=better)
    seconds = next((h["seconds"] for h in history if h["step"] == step), None)
    return {"step": step, "seconds": seconds, "of_steps": history[-1]["step"]}


def _count(state: Any) -> int:
    return sum(int(np.prod(tuple(tensor.shape))) for tensor in state.values())
