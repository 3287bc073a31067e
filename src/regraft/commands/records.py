"""Commands that read the ledger: studies, runs, report, compare, verify, clean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regraft.commands.options import Home, Json, OneBackbone, Quiet, StudyId
from regraft.commands.showing import DIFFERS, out, print_json, say
from regraft.errors import ConfigError

if TYPE_CHECKING:
    from regraft.ledger.ledger import Ledger
    from regraft.ledger.runs import RunRow
    from regraft.search.race import Dropped

_SHOWN = 12  # characters of a run's id: enough to name it by


def studies(home: Home = None, as_json: Json = False) -> None:
    """List the studies in the ledger.

    Example: regraft studies
    """
    from regraft.ledger.ledger import Ledger
    from regraft.terminal import duration, table

    found = Ledger.open(home).studies.all()
    if as_json:
        rows = [
            {
                "study": one.id,
                "name": one.name,
                "created": one.created,
                "seconds": one.seconds,
                "status": "done" if one.verdict else "open",
                "verdict": one.verdict,
            }
            for one in found
        ]
        print_json({"studies": rows})
        return
    cells = (
        (
            one.id,
            "" if one.name == one.id else one.name,
            one.created[:16].replace("T", " "),
            duration(one.seconds),
            one.verdict or "open",
        )
        for one in found
    )
    out.print(table("Studies", ("study", "name", "created", "took", "verdict"), cells))


def runs(study: StudyId, home: Home = None, as_json: Json = False) -> None:
    """List the runs of a study.

    Example: regraft runs demo
    """
    from regraft.ledger.ledger import Ledger
    from regraft.search.race import dropped_out
    from regraft.terminal import duration, run_title, table

    ledger = Ledger.open(home)
    found = ledger.studies.find(study)
    rows = ledger.runs.of(found.id)
    metric = found.configuration["task"]["metric"]
    dropped = dropped_out(ledger.decisions.all(found.id), metric)
    plain = [_run_json(ledger, one, dropped.get(one.id), metric) for one in rows]
    if as_json:
        print_json({"study": found.id, "runs": plain})
        return
    cells = (
        (
            one.id[:_SHOWN],
            run_title(one.configuration),
            row["status"],
            "" if not row["metrics"] else f"{row['metrics'][metric]:.3f}",
            "" if row["seconds"] is None else duration(row["seconds"]),
        )
        for one, row in zip(rows, plain, strict=True)
    )
    out.print(table(f"Runs of {found.id}", ("run", "what", "status", metric, "took"), cells))


def _run_json(ledger: Ledger, one: RunRow, dropped: Dropped | None, metric: str) -> dict[str, Any]:
    from regraft.engine.run import predictor_kind

    result = ledger.runs.result(one.id)
    summary = result.summary if result else {}
    protocol = one.configuration["protocol"]
    trains = predictor_kind(protocol) is None
    status, reason = one.status, ledger.runs.failure(one.id) or one.reason
    if dropped is not None and not result:
        status, reason = "eliminated", dropped.reason
        summary = {"metrics": {metric: dropped.value}, "seconds": dropped.seconds}
    return {
        "run": one.id,
        "protocol": one.protocol,
        "learning_rate": protocol["rate"]["peak"] if trains else None,
        "repetition": one.configuration["repetition"],
        "labels": one.configuration["labels"],
        "status": status,
        "metrics": summary.get("metrics"),
        "seconds": summary.get("seconds"),
        "reason": reason,
    }


def report(
    study: StudyId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File: .html, .md or .json.")
    ] = None,
    home: Home = None,
) -> None:
    """Write the report of a finished study as HTML, Markdown or JSON.

    Example: regraft report demo -o study.html
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
    say(f"wrote {write_any(record, output or Path(f'regraft-{found.id[:8]}.html'))}")


def compare(
    what: Annotated[
        list[str],
        typer.Argument(help="Runs, studies or folders of grafts; or one CSV file of scores."),
    ],
    metric: Annotated[
        str | None, typer.Option(help="What is compared; that of the first study if not given.")
    ] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="The CSV's scores are errors or losses.")
    ] = False,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="The same seed of the CSV means nothing in common.")
    ] = False,
    splits: Annotated[
        str | None,
        typer.Option(help="The CSV's seeds are splits of so many to train and test: 900,100."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", help="A page of it, with the critical-difference picture: .html."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Compare two or more runs, studies or grafts by the test that fits, and say what follows.

    They are paired on the items that validated all. A CSV file has the columns dataset, seed (each
    where there are several) and one of scores for each system.

    Example: regraft compare 81ce 02fd
    """
    from regraft.evidence.side_by_side import TableOptions
    from regraft.verbs import compare_any

    options = TableOptions(not lower_is_better, not unpaired, _sizes(splits))
    found = compare_any(what, metric=metric, home=home, options=options)
    if output is not None:
        from regraft.report.comparison import write_comparison

        write_comparison(found, output)
    if as_json:
        print_json(found)
        return
    for one in found["comparisons"]:
        say(_comparison_line(one, found["metric"]))
    lines = [f"test: {found['test'] or 'none'}; {found['why']}"]
    lines += [f"conclusion: {found['conclusion']}"] if found["test"] else []
    lines += [f"n = {found['n']} ({found['part']}); {found['note']}".rstrip("; ")]
    say("\n".join(lines))


def _comparison_line(one: dict[str, Any], metric: str) -> str:
    text = f"{one['first']} − {one['second']}: {metric} {one['difference']:+.3f}"
    if one["low"] is not None:
        text += f" [{one['low']:+.3f}, {one['high']:+.3f}]"
    if one["p"] is not None:
        text += f", p = {one['p']:.3g}"
    if one["p_adjusted"] is not None and one["p_adjusted"] != one["p"]:
        text += f" (corrected {one['p_adjusted']:.3g})"
    told = ["a tie" if one["tie"] else "not a tie", one["estimator"]]
    if one.get("warning"):
        told.append(f"⚠ {one['warning']}")
    return f"{text} ({'; '.join(told)})"


def _sizes(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise ConfigError(f"{text!r} is not a pair of sizes such as 900,100.", where="--splits")
    return int(parts[0]), int(parts[1])


def verify(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run.")],
    backbone: OneBackbone = None,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a run again from nothing; exit 5 if any number differs.

    A run on a python: backbone needs --backbone: what a ledger names is never run by itself.

    Example: regraft verify 81ce
    """
    from regraft.verbs import verify_run

    events = verify_run(run_id, backbone=backbone, home=home)
    while True:
        try:
            next(events)
        except StopIteration as stop:
            found = stop.value
            break
    if as_json:
        print_json({"run": found.run, "same": found.same, "difference": found.largest_difference})
    elif not quiet:
        word = "identical" if found.same else f"differs by up to {found.largest_difference:.3g}"
        say(f"run {found.run}: {word}")
    raise typer.Exit(0 if found.same else DIFFERS)


def clean(home: Home = None, as_json: Json = False) -> None:
    """Free what can be built again, and what no study keeps.

    Example: regraft clean
    """
    from regraft.verbs import clean_home

    freed = clean_home(home)
    if as_json:
        print_json(freed)
    else:
        say(f"freed {sum(freed.values()) / 1e6:.1f} MB")
