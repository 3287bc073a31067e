"""What a person sees in the terminal: the live table of a study, and plain tables."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, final

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from regraft.events import Checkpoint, Done, Epoch, Evaluation, Failed, Preflight, Started, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from types import FrameType

    from regraft.events import Event

_SHOWN_RUNS = 12
_CHECKPOINT = "checkpoint"  # regraft.engine.fit.CHECKPOINT, which would import torch


@final
class Progress:
    """The live table: run, step, loss, metric, time left."""

    def __init__(
        self, console: Console, *, metric: str, titles: Callable[[str], str], remaining: Callable[[], float]
    ) -> None:
        self._console, self._metric = console, metric
        self._titles, self._remaining = titles, remaining
        self._rows: dict[str, dict[str, str]] = {}

    def watch(self, events: Generator[Event, str | None, None], *, live: bool) -> bool:
        """Consume the events; False when the user interrupted (a checkpoint was taken first)."""
        with _Interrupt() as interrupt:
            if not live:
                return self._consume(events, interrupt, None)
            with Live(self._table(), console=self._console, refresh_per_second=4) as shown:
                return self._consume(events, interrupt, shown)

    def _consume(
        self, events: Generator[Event, str | None, None], interrupt: _Interrupt, shown: Live | None
    ) -> bool:
        answer: str | None = None
        while True:
            try:
                event = events.send(answer)
            except StopIteration:
                return True
            answer = None
            self._note(event)
            if shown is not None:
                shown.update(self._table())
            if interrupt.asked:
                if isinstance(event, Checkpoint | Done | Failed):
                    events.close()
                    return False
                answer = _CHECKPOINT

    def _note(self, event: Event) -> None:
        row = self._rows.setdefault(
            event.run, {"state": "…", "step": "", "loss": "", "metric": ""}
        )
        match event:
            case Started(parameters_trained=trained):
                row["state"] = "starts" if trained else "solving"
            case Preflight(problems=problems):
                row["state"] = "pre-flight failed" if problems else "pre-flight passed"
            case Step(step=step, total_steps=total, loss=loss):
                row |= {"state": "training", "step": f"{step}/{total}", "loss": f"{loss:.3f}"}
            case Epoch(train_loss=loss):
                row["loss"] = f"{loss:.3f}"
            case Evaluation(metrics=metrics):
                row["metric"] = f"{metrics[self._metric]:.3f}"
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
        for run, row in list(self._rows.items())[-_SHOWN_RUNS:]:
            table.add_row(
                escape(self._titles(run)), row["step"], row["loss"], row["metric"], escape(row["state"])
            )
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
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    return shown
