"""Quality over wall time: the best accuracy on validation so far, ours and the peers'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLOURS = {"regraft": "#0b6e4f", "grid": "#8a5a00", "optuna": "#5b4b8a"}
NAMES = {"grid": "Trainer, all 24", "optuna": "Trainer, Optuna + Hyperband"}


def peer_curve(record: dict[str, Any]) -> list[list[float]]:
    """Return (seconds, best accuracy so far) after each candidate; the pruned only take time.

    A grid that was ended early keeps its best to the seconds of the whole.
    """
    seconds, best, points = record["prepare_seconds"], 0.0, []
    for one in record["candidates"]:
        seconds += one["seconds"]
        if not one["pruned"]:
            best = max(best, one["validation"][-1])
            points.append([seconds, best])
    return [*points, [record.get("whole_seconds") or record["seconds"], best]]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write an SVG: a panel per task, a line per side and seed."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure, panels = plt.subplots(1, len(tasks), figsize=(6 * len(tasks), 4), squeeze=False)
    for task, panel in zip(tasks, panels[0], strict=True):
        for row in (row for row in rows if row["task"] == task):
            lines = {"regraft": row["ours"]["curve"]}
            lines |= {name: peer_curve(one) for name, one in row["peers"].items()}
            for name, points in lines.items():
                seconds, values = zip(*points, strict=True)
                panel.step(seconds, values, where="post", color=COLOURS[name], alpha=0.8)
                panel.plot(seconds[-1], values[-1], "o", color=COLOURS[name], markersize=4)
        for name in lines:
            panel.plot([], [], color=COLOURS[name], label=NAMES.get(name, name))
        panel.set(xscale="log", xlabel="wall time (s)", ylabel="best accuracy on validation so far")
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(task)
        panel.legend(loc="best", frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
