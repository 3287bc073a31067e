"""The command line: parse, call the verbs, show. Heavy rooms are imported when a command needs them."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from regraft.errors import ConfigError, RegraftError

if TYPE_CHECKING:
    from regraft.study import Study

app = typer.Typer(
    name="regraft",
    help="Graft a pretrained model onto your task: find the best way to adapt it, and prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

BAD_INPUT, NOT_MET, UNDECIDED, DIFFERS, INTERRUPTED = 2, 3, 4, 5, 130

Home = Annotated[
    Path | None,
    typer.Option(help="Folder of the ledger.", envvar="REGRAFT_HOME", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress table.")]
Backbones = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone",
        "-b",
        help="Hub id[@revision], local folder, zoo:glyphs, python:module:factory@weights.safetensors.",
    ),
]
Metric = Annotated[str, typer.Option(help="What early stopping and the verdict go by.")]
Label = Annotated[str | None, typer.Option(help="Column of the labels.")]
Input = Annotated[str | None, typer.Option(help="Column of the texts or image paths.")]
Group = Annotated[str | None, typer.Option(help="Column whose values must not straddle parts.")]
Time = Annotated[str | None, typer.Option(help="Column to split by: the newest is tested.")]
AllowBad = Annotated[bool, typer.Option(help="Go on when over 1 % of the items are unreadable.")]
Data = Annotated[str, typer.Argument(help="Folder, CSV/TSV/Parquet/JSONL file, or study.yaml.")]

out = Console()
err = Console(stderr=True)


@app.command()
def run(
    data: Data,
    backbone: Backbones = None,
    metric: Metric = "macro_f1",
    target: Annotated[str | None, typer.Option(help="For example 'macro_f1>=0.9'.")] = None,
    budget: Annotated[str, typer.Option(help="Wall time: 90s, 30m, 1h30m.")] = "30m",
    protocol: Annotated[
        list[str] | None, typer.Option(help="ladder, ladder:quick, a template, or a file.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of splits and runs.")] = 0,
    seeds: Annotated[int, typer.Option(help="Seeds of what ties with the best.")] = 3,
    label: Label = None,
    input_: Annotated[str | None, typer.Option("--input", help="Column of the inputs.")] = None,
    group: Group = None,
    time: Time = None,
    label_budgets: Annotated[
        str | None, typer.Option(help="Labels per class of the efficiency curve: 1,2,5,10.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Where the report goes.")] = None,
    allow_bad: AllowBad = False,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find, prove and keep the best protocol. Again is resume.

    Example: regraft run photos/ --backbone facebook/dinov2-small --target "macro_f1>=0.9"
    """
    study = _study(
        data,
        {
            "task": {
                "data": data,
                "metric": metric,
                "target": target,
                "label": label,
                "input": input_,
                "group": group,
                "time": time,
                "allow_bad": allow_bad,
            },
            "backbones": backbone or [],
            "budget": budget,
            "protocols": protocol or ["ladder"],
            "seed": seed,
            "seeds": seeds,
            "label_budgets": _numbers(label_budgets),
        },
        home,
    )
    _finish(study, report=report or Path(f"regraft-{study.id[:8]}.html"), as_json=as_json, quiet=quiet)


@app.command()
def demo(
    report: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("demo.html"),
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the report.")] = True,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the whole job on embedded data and an embedded backbone; needs no download.

    Example: regraft demo --no-open
    """
    from regraft.demo import demo_study

    study = demo_study(home=home)
    _finish(study, report=report, as_json=as_json, quiet=quiet, open_report=open_ and not as_json)


@app.command()
def inspect(
    data: Data,
    backbone: Annotated[str | None, typer.Option("--backbone", "-b")] = None,
    label: Label = None,
    input_: Annotated[str | None, typer.Option("--input", help="Column of the inputs.")] = None,
    group: Group = None,
    time: Time = None,
    allow_bad: AllowBad = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Look at the data: sizes, imbalance, duplicates, leakage; with a backbone label noise.

    Example: regraft inspect reviews.csv --label stars
    """
    from regraft.tasks.task import Task
    from regraft.verbs import inspect_data

    task = Task.read(
        data, label=label, input=input_, group=group, time=time, allow_bad=allow_bad
    )
    card = inspect_data(task, backbone, home=home)
    if as_json:
        _print_json(card)
        return
    from regraft.report.card import task_markdown

    out.print(task_markdown(card), markup=False, highlight=False)


@app.command()
def plan(
    data: Data,
    backbone: Backbones = None,
    budget: Annotated[str, typer.Option(help="Wall time: 90s, 30m, 1h30m.")] = "30m",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what a study would run, why, and what it would cost; train nothing.

    Example: regraft plan study.yaml
    """
    from regraft.terminal import duration, table
    from regraft.verbs import plan_study

    given = {"task": {"data": data}, "backbones": backbone or [], "budget": budget}
    rows = plan_study(_study(data, given, home))
    if as_json:
        _print_json({"plan": rows})
        return
    cells = (
        (r["title"], r["role"].replace("_", " "), r["learning_rates"] or "skipped",
         duration(r["seconds"]), r["reason"])
        for r in rows
    )  # fmt: skip
    out.print(table("Plan", ("protocol", "role", "rates", "about", "why"), cells))


@app.command()
def studies(home: Home = None, as_json: Json = False) -> None:
    """List the studies in the ledger.

    Example: regraft studies
    """
    from regraft.ledger.ledger import Ledger
    from regraft.terminal import duration, table

    rows = [
        {
            "study": one.id,
            "name": one.name,
            "created": one.created,
            "seconds": one.seconds,
            "status": "done" if one.verdict else "open",
            "verdict": one.verdict,
        }
        for one in Ledger.open(home).studies.all()
    ]
    if as_json:
        _print_json({"studies": rows})
        return
    cells = ((r["study"], r["created"][:16], duration(r["seconds"]), r["status"], r["verdict"] or "")
             for r in rows)  # fmt: skip
    out.print(table("Studies", ("study", "created", "took", "status", "verdict"), cells))


@app.command()
def runs(
    study: Annotated[str, typer.Argument(help="Id of a study, or how it begins.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the runs of a study.

    Example: regraft runs 3f9a
    """
    from regraft.ledger.ledger import Ledger
    from regraft.terminal import duration, table

    ledger = Ledger.open(home)
    found = ledger.studies.find(study)
    rows = []
    for one in ledger.runs.of(found.id):
        result = ledger.runs.result(one.id)
        summary = result.summary if result else {}
        rows.append(
            {
                "run": one.id,
                "protocol": one.protocol,
                "learning_rate": one.configuration["protocol"]["rate"]["peak"],
                "seed": one.configuration["repetition"],
                "status": one.status,
                "metrics": summary.get("metrics"),
                "seconds": summary.get("seconds"),
                "reason": one.reason,
            }
        )
    if as_json:
        _print_json({"study": found.id, "runs": rows})
        return
    metric = found.configuration["task"]["metric"]
    cells = ((r["run"], r["protocol"], r["learning_rate"], r["seed"], r["status"],
              "" if not r["metrics"] else f"{r['metrics'][metric]:.3f}",
              "" if r["seconds"] is None else duration(r["seconds"])) for r in rows)  # fmt: skip
    names = ("run", "protocol", "rate", "seed", "status", metric, "took")
    out.print(table(f"Runs of {found.id}", names, cells))


@app.command()
def report(
    study: Annotated[str, typer.Argument(help="Id of a study, or how it begins.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File: .html, .md, .json")] = None,
    home: Home = None,
) -> None:
    """Write the report of a finished study as HTML, Markdown or JSON.

    Example: regraft report 3f9a -o study.html
    """
    from regraft.ledger.ledger import Ledger
    from regraft.report.page import write_any

    ledger = Ledger.open(home)
    found = ledger.studies.find(study)
    record = ledger.studies.record(found.id)
    if record is None:
        raise ConfigError(
            "it has not finished, so there is no report yet. Run it again to go on.",
            where=f"study {found.id}",
        )
    path = write_any(record, output or Path(f"regraft-{found.id[:8]}.html"))
    out.print(f"wrote {path}", markup=False, highlight=False)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="Id of a run, or how it begins.")],
    second: Annotated[str, typer.Argument(help="Id of another run.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Compare two runs, paired, on the validation items that both predicted.

    Example: regraft compare 81ce 02fd
    """
    from regraft.verbs import compare_runs

    found = compare_runs(first, second, home=home)
    if as_json:
        _print_json(found)
        return
    out.print(
        f"{found['first']['protocol']} − {found['second']['protocol']}: {found['metric']} "
        f"{found['difference']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}], "
        f"p = {found['p']:.3g}, n = {found['n']} "
        f"({'a tie' if found['tie'] else 'not a tie'}; {found['note']})",
        markup=False,
        highlight=False,
    )


@app.command()
def verify(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run.")],
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Execute a run again from nothing; exit 5 unless every number is identical.

    Example: regraft verify 81ce
    """
    from regraft.verbs import verify_run

    events = verify_run(run_id, home=home)
    while True:
        try:
            next(events)
        except StopIteration as stop:
            found = stop.value
            break
    if as_json:
        _print_json({"run": found.run, "same": found.same, "difference": found.largest_difference})
    elif not quiet:
        word = "identical" if found.same else f"differs by up to {found.largest_difference:.3g}"
        out.print(f"run {found.run}: {word}", markup=False, highlight=False)
    raise typer.Exit(0 if found.same else DIFFERS)


@app.command()
def predict(
    graft: Annotated[str, typer.Argument(help="Folder of a graft.")],
    data: Annotated[str, typer.Argument(help="Images, a folder of them, or a table of texts.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file.")] = None,
    column: Annotated[str | None, typer.Option(help="Column of the inputs.")] = None,
    backbone: Annotated[str | None, typer.Option("--backbone", "-b", help="Where it is.")] = None,
    allow_bad: AllowBad = False,
    as_json: Json = False,
) -> None:
    """Predict with a graft: item, label, probability per class, confidence.

    Example: regraft predict grafts/bees new-photos/ -o predictions.csv
    """
    from regraft.verbs import predict_table

    found = predict_table(graft, data, column=column, backbone=backbone, allow_bad=allow_bad)
    if as_json:
        _print_json({"predictions": found.to_dict(orient="records")})
    elif output is not None:
        found.to_csv(output, index=False)
        out.print(f"wrote {output}", markup=False, highlight=False)
    else:
        sys.stdout.write(found.to_csv(index=False))


@app.command()
def clean(home: Home = None, as_json: Json = False) -> None:
    """Free what can be built again: the cache, and weights that no study keeps.

    Example: regraft clean
    """
    from regraft.verbs import clean_home

    freed = clean_home(home)
    if as_json:
        _print_json(freed)
    else:
        out.print(f"freed {sum(freed.values()) / 1e6:.1f} MB")


@app.command()
def doctor(home: Home = None, as_json: Json = False) -> None:
    """Look at the machine and the installation.

    Example: regraft doctor
    """
    from regraft.terminal import table
    from regraft.verbs import examine

    rows = examine(home)
    if as_json:
        _print_json({what: finding for what, finding, _ in rows})
    else:
        cells = ((what, finding, "" if well else "look at this") for what, finding, well in rows)
        out.print(table("regraft doctor", ("what", "finding", ""), cells))


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="study or protocol")] = "study",
) -> None:
    """Print the JSON schema of a study or protocol file.

    Example: regraft schema protocol
    """
    from regraft.config.study import protocol_schema, study_schema

    makers = {"study": study_schema, "protocol": protocol_schema}
    if what not in makers:
        raise ConfigError(f"unknown schema {what!r}. Known: study, protocol.", where="schema")
    _print_json(makers[what]())


@app.command()
def pretrain(
    what: Annotated[str, typer.Argument(help="glyphs")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Safetensors file.")] = Path(
        "glyphs.safetensors"
    ),
    steps: Annotated[int | None, typer.Option(help="Steps; the recipe's if not given.")] = None,
) -> None:
    """Make the embedded backbone anew by its committed recipe.

    Example: regraft pretrain glyphs -o glyphs.safetensors
    """
    from regraft.pretrain import pretrain_named

    info = pretrain_named(what, output, steps=steps)
    out.print(f"wrote {output}: {info}", markup=False, highlight=False)


def main() -> None:
    """Run the command line; the one border where errors become sentences and exit codes."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except RegraftError as error:
        if "--json" in sys.argv:
            where = error.where
            message = str(error).removeprefix(f"{where}: ") if where else str(error)
            _print_json({"error": {"kind": error.kind, "message": message, "where": where}})
        err.print(f"regraft: {error}", markup=False, highlight=False, style="red", soft_wrap=True)
        raise SystemExit(BAD_INPUT) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _study(data: str, given: dict[str, Any], home: Path | None) -> Study:
    """Return the study of a file, or of what was given on the command line."""
    from regraft.study import Study

    if data.endswith((".yaml", ".yml")):
        from regraft.config.study import read_study

        return Study.from_spec(read_study(Path(data)), home=home)
    from regraft.config.loading import validate_data
    from regraft.config.study import StudySpec

    if not given["backbones"]:
        given["backbones"] = _proposed_backbone(data)
    return Study.from_spec(validate_data(StudySpec, given, where="command line"), home=home)


def _proposed_backbone(data: str) -> list[str]:
    """Return the embedded backbone for small images; else say what to give."""
    from regraft.tasks.task import Task

    task = Task.read(data)
    size = task.intake.largest_side
    if task.kind == "image" and size is not None and size <= 32:
        return ["zoo:glyphs"]
    example = "sentence-transformers/all-MiniLM-L6-v2" if task.kind == "text" else "facebook/dinov2-small"
    raise ConfigError(
        f"name a pretrained model: --backbone {example}, or a local folder.", where="--backbone"
    )


def _numbers(text: str | None) -> list[int]:
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is not a list of numbers such as 1,2,5,10.", where="--label-budgets"
        ) from error


def _finish(
    study: Study, *, report: Path, as_json: bool, quiet: bool, open_report: bool = False
) -> None:
    """Drive a study to its end, show what came out, and exit by the target."""
    from regraft.search.clock import Clock
    from regraft.terminal import Progress

    study.register()
    clock = Clock(study.ledger, study.id, study.spec.budget)
    progress = Progress(
        err,
        metric=study.spec.task.metric,
        titles=study.run_title,
        remaining=lambda: clock.remaining,
    )
    finished = progress.watch(study.events(), live=not quiet and not as_json and err.is_terminal)
    if not finished:
        err.print("interrupted; the same command goes on from here")
        raise typer.Exit(INTERRUPTED)
    result = study.result()
    path = result.report(report)
    if as_json:
        from regraft.report.summary import run_summary

        _print_json(run_summary(result.record))
    else:
        out.print(result.verdict, markup=False, highlight=False, soft_wrap=True)
        out.print(f"report: {path}\ngraft:  {result.record['best']['graft']}", markup=False,
                  highlight=False, soft_wrap=True)  # fmt: skip
    if open_report:
        typer.launch(str(path.resolve()))
    target = result.record["target"]
    codes = {"met": 0, "not_met": NOT_MET, "undecided": UNDECIDED}
    raise typer.Exit(codes[target["status"]] if target else 0)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
