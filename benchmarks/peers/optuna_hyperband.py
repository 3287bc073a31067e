"""The second peer: Optuna (TPE, Hyperband) over transformers' Trainer, in the same space.

    python benchmarks/peers/optuna_hyperband.py --task sst2 --data FOLDER --seed 0 --out optuna.json

24 trials: a protocol, its rate log-uniform between the grid's ends, its setting. A trial reports
its accuracy after each epoch and may be pruned there. What is counted is as in trainer_grid.py. A
JSON that is not whole is begun again, as the sampler goes by all that it has seen.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import optuna
from candidates import SPACE, Candidate
from record import Record, arguments
from trainer_side import Accuracies, Bench, read_bench, train


class Reports(Accuracies):
    """Reports each epoch's accuracy to the trial, which may end it."""

    def __init__(self, trial: optuna.Trial) -> None:
        super().__init__()
        self._trial = trial

    def on_evaluate(self, *given: Any, metrics: dict[str, float], **named: Any) -> None:
        super().on_evaluate(*given, metrics=metrics, **named)
        self._trial.report(self.values[-1], step=len(self.values))
        if self._trial.should_prune():
            raise optuna.TrialPruned


def suggested(trial: optuna.Trial, protocols: list[str]) -> Candidate:
    protocol = trial.suggest_categorical("protocol", protocols)
    rates = SPACE[protocol]["rates"]
    rate = trial.suggest_float(f"{protocol}_rate", min(rates), max(rates), log=True)
    setting = trial.suggest_categorical(f"{protocol}_setting", list(SPACE[protocol]["settings"]))
    return Candidate(protocol, rate, setting)


def tried(trial: optuna.Trial, *, bench: Bench, record: Record, asked: Any) -> float:
    """Train what the trial suggests; note it, pruned or not."""
    started, reports = time.perf_counter(), Reports(trial)
    candidate = suggested(trial, asked.protocols)
    name = f"{trial.number}: {candidate.name}"
    try:
        trained = train(bench, candidate, seed=asked.seed, epochs=asked.epochs, seen=reports)
    except optuna.TrialPruned:
        seconds = time.perf_counter() - started
        record.add(name, seconds=seconds, accuracies=reports.values, test_logits=None)
        raise
    record.add(
        name,
        seconds=time.perf_counter() - started,
        accuracies=reports.values,
        test_logits=partial(trained.test_logits, bench),
    )
    return reports.values[-1]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--protocols", nargs="+", choices=list(SPACE), default=list(SPACE))
    asked = parser.parse_args()
    settings = {k: getattr(asked, k) for k in ("task", "seed", "epochs", "trials", "protocols")}
    record = Record(asked.out, {"peer": "optuna", **settings})
    if len(record.names) == asked.trials:
        return
    asked.out.unlink(missing_ok=True)
    record = Record(asked.out, {"peer": "optuna", **settings})
    bench = read_bench(asked.task, asked.data, asked.weights)
    record.prepared(bench.prepare_seconds)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=asked.seed),
        pruner=optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=asked.epochs, reduction_factor=3
        ),
    )
    study.optimize(partial(tried, bench=bench, record=record, asked=asked), n_trials=asked.trials)


if __name__ == "__main__":
    main()
