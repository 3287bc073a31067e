"""Commands that make a study: run, demo, plan, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from regraft.commands.asking import study_of, task_of
from regraft.commands.options import (
    AllowBad,
    Backbones,
    Budget,
    CacheBudget,
    ClassWeights,
    Data,
    Group,
    Home,
    Input,
    Json,
    Label,
    LabelBudget,
    LabelBudgets,
    Memory,
    Metric,
    Name,
    OneBackbone,
    Protocols,
    Quiet,
    Report,
    ReportBy,
    Robustness,
    Seed,
    Seeds,
    Source,
    Target,
    Time,
    Trust,
)
from regraft.commands.showing import check_form, finish, out, print_json, say


def run(
    data: Data,
    backbone: Backbones = None,
    metric: Metric = None,
    target: Target = None,
    budget: Budget = None,
    protocol: Protocols = None,
    seed: Seed = None,
    seeds: Seeds = None,
    label: Label = None,
    input_: Input = None,
    group: Group = None,
    time: Time = None,
    report_by: ReportBy = None,
    class_weights: ClassWeights = None,
    label_budget: LabelBudget = None,
    label_budgets: LabelBudgets = None,
    robustness: Robustness = False,
    source: Source = None,
    name: Name = None,
    report: Report = None,
    allow_bad: AllowBad = False,
    trust_remote_code: Trust = False,
    memory: Memory = None,
    cache: CacheBudget = None,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find, prove and keep the best protocol. Again is resume.

    What is given here goes before what a study file says.

    Example: regraft run photos/ --backbone facebook/dinov2-small --target "macro_f1>=0.9"
    """
    check_form(report)
    finish(study_of(locals()), report=report, as_json=as_json, quiet=quiet)


def demo(
    report: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("demo.html"),
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the report.")] = True,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the whole job on embedded data; nothing is downloaded.

    Example: regraft demo --no-open
    """
    from regraft.demo import demo_study

    check_form(report)
    study = demo_study(home=home)
    opens = open_ and not as_json
    finish(study, report=report, as_json=as_json, quiet=quiet, open_report=opens)


def plan(
    data: Data,
    backbone: Backbones = None,
    metric: Metric = None,
    target: Target = None,
    budget: Budget = None,
    protocol: Protocols = None,
    seed: Seed = None,
    seeds: Seeds = None,
    label: Label = None,
    input_: Input = None,
    group: Group = None,
    time: Time = None,
    report_by: ReportBy = None,
    class_weights: ClassWeights = None,
    label_budget: LabelBudget = None,
    label_budgets: LabelBudgets = None,
    robustness: Robustness = False,
    source: Source = None,
    name: Name = None,
    allow_bad: AllowBad = False,
    trust_remote_code: Trust = False,
    memory: Memory = None,
    cache: CacheBudget = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what a study would run, why, and at what cost; train nothing.

    A few steps of every arm are measured. Of an arm it tells what its runs are expected to take
    together when most of them drop out of the race, of every run what it takes to its end, and its
    peak memory, with the candidates that wait beside it.

    `regraft run` with the same options is the same study, and takes over what was measured.

    Example: regraft plan study.yaml
    """
    from regraft.evidence.task_card import detectable
    from regraft.planning import plan_study
    from regraft.report.facts import detectable_fact
    from regraft.terminal import table

    study = study_of(locals())
    shows = detectable(len(study.pool.sealed), n_seeds=study.spec.seeds)
    rows = plan_study(study)
    if as_json:
        print_json({"plan": rows, "detectable": shows})
        return
    heads = ("protocol", "rates", "about", "memory", "why")
    out.print(table("Plan", heads, (_plan_cells(row) for row in rows)))
    heads = ("a run to its end", "rate", "epochs", "about", "memory")
    out.print(table("Runs", heads, (cells for row in rows for cells in _run_cells(row))))
    if (fact := detectable_fact(shows)) is not None:
        say(f"{fact.name}: {fact.value} ({fact.note})")


def _plan_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return what the plan shows of one row; what follows the ladder has no learning rates."""
    from regraft.report.words import size
    from regraft.terminal import duration

    if not row["runs"]:
        return (row["title"], "skip", "", "", row["reason"])
    rates, memory = row["learning_rates"] or "", size(row["peak_memory_bytes"])
    return (row["title"], str(rates), duration(row["seconds"]), memory, row["reason"])


def _run_cells(row: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return what the plan shows of the runs of one row."""
    from regraft.report.words import size
    from regraft.terminal import duration

    return [
        (
            row["title"],
            "" if one["rate"] is None else f"{one['rate']:g}",
            "" if one["epochs"] is None else str(one["epochs"]),
            duration(one["seconds"]),
            size(one["peak_memory_bytes"]),
        )
        for one in row["each"]
    ]


def inspect(
    data: Data,
    backbone: OneBackbone = None,
    metric: Metric = None,
    seed: Seed = None,
    seeds: Seeds = None,
    label: Label = None,
    input_: Input = None,
    group: Group = None,
    time: Time = None,
    allow_bad: AllowBad = False,
    trust_remote_code: Trust = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Look at the data: sizes, duplicates, leakage, label noise, and warn of what is hardly meant.

    Label noise and diversity are estimated, and labels at chance found, with a backbone only. Of
    the items that `regraft run` seals by the same data and seed the inputs alone are looked at.

    Example: regraft inspect reviews.csv --label stars
    """
    from regraft.report.card import task_markdown
    from regraft.verbs import inspect_data

    task, asked = task_of(locals())
    card = inspect_data(
        task, backbone, home=home, n_seeds=asked.seeds, trust_remote_code=trust_remote_code
    )
    if as_json:
        print_json(card)
    else:
        out.print(task_markdown(card), markup=False, highlight=False)
