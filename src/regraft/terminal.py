"""What a person sees in the terminal: the live table of a study, and plain tables."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, final

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from regraft.events import (
    Checkpoint,
    Done,
    Epoch,
    Evaluation,
    Failed,
    Glimpse,
    Preflight,
    Started,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from types import FrameType

    from regraft.events import Event

_SHOWN_RUNS = 12
_REFRESHES = 4
_CHECKPOINT = "checkpoint"  # regraft.engine.fit.CHECKPOINT, which would import torch


@final
class Progress:
    """The live table: run, step, loss, metric, time left."""

    def __init__(
        self,
        console: Console,
        *,
        metric: str,
        titles: Callable[[str], str],
        remaining: Callable[[], float],
    ) -> None:
        self._console, self._metric = console, metric
        self._titles, self._remaining = titles, remaining
        self._rows: dict[str, dict[str, str]] = {}

    def watch(self, events: Generator[Event, str | None, None], *, live: bool) -> bool:
        """Consume the events; False when the user interrupted (a checkpoint was taken first)."""
        with _Interrupt() as interrupt:
            if not live:
                return self._consume(events, interrupt)
            with Live(
                get_renderable=self._table, console=self._console, refresh_per_second=_REFRESHES
            ):
                return self._consume(events, interrupt)

    def _consume(self, events: Generator[Event, str | None, None], interrupt: _Interrupt) -> bool:
        answer: str | None = None
        while True:
            try:
                event = events.send(answer)
            except StopIteration:
                return True
            answer = None
            self._note(event)
            if interrupt.asked:
                if isinstance(event, Checkpoint | Done | Failed):
                    events.close()
                    return False
                answer = _CHECKPOINT

    def _note(self, event: Event) -> None:
        if event.run not in self._rows:
            title = self._titles(event.run)
            self._rows[event.run] = {
                "title": title,
                "state": "…",
                "step": "",
                "loss": "",
                "metric": "",
            }
        row = self._rows[event.run] = self._rows.pop(event.run)  # what goes on is shown last
        match event:
            case Started(parameters_trained=trained):
                row["state"] = "starts" if trained else "solving"
            case Preflight(problems=problems, warnings=warnings):
                passed = f"pre-flight: {'; '.join(warnings)}" if warnings else "pre-flight passed"
                row["state"] = "pre-flight failed" if problems else passed
            case Step(step=step, total_steps=total, loss=loss):
                row |= {"state": "training", "step": f"{step}/{total}", "loss": f"{loss:.3f}"}
            case Epoch(train_loss=loss):
                row["loss"] = f"{loss:.3f}"
            case Evaluation(metrics=metrics):
                row["metric"] = f"{metrics.get(self._metric, float('nan')):.3f}"
            case Glimpse(metrics=metrics):
                row["metric"] = f"{metrics.get(self._metric, float('nan')):.3f}"
                row["state"] = "compared; waits, or dropped out"
            case Done(summary=summary):
                value = summary["metrics"].get(self._metric)
                row["metric"] = "" if value is None else f"{value:.3f}"
                row["state"] = f"done, {duration(summary['seconds'])}"
            case Failed(reason=reason):
                row["state"] = f"failed: {reason}"
            case _:
                pass

    def _table(self) -> Table:
        left = self._remaining()
        table = Table(
            title=f"{len(self._rows)} runs · {duration(max(left, 0))} of the budget left",
            title_justify="left",
            expand=False,
        )
        for name, justify in (("run", "left"), ("step", "right"), ("loss", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        table.add_column(self._metric, justify="right")
        table.add_column("state", overflow="fold")
        for row in list(self._rows.values())[-_SHOWN_RUNS:]:
            cells = (row["step"], row["loss"], row["metric"], escape(row["state"]))
            table.add_row(escape(row["title"]), *cells)
        return table


class _Interrupt:
    """Turns the first Ctrl-C into a request; the second interrupts at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> _Interrupt:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def run_title(configuration: Mapping[str, Any]) -> str:
    """Return what tells a run from the others of its study, from its recorded configuration."""
    from regraft.engine.run import predictor_kind  # would import torch

    protocol, parts = configuration["protocol"], [str(configuration["title"])]
    if predictor_kind(protocol) is None:
        parts.append(f"rate {protocol['rate']['peak']:g}")
    if configuration["repetition"]:
        parts.append(f"seed {configuration['repetition'] + 1}")
    return f"{', '.join(parts)} · {configuration['labels']} labels"


def duration(seconds: float) -> str:
    """Return seconds for people.

    Example:
        >>> duration(0.4), duration(75), duration(5400)
        ('0.4 s', '1 min 15 s', '1 h 30 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Return a plain table; cells are escaped."""
    shown = Table(title=escape(title), title_justify="left")
    for number, column in enumerate(columns):  # the first is what a person copies: an id, a name
        shown.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        shown.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    return shown
