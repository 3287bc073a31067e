"""How many items of a batch fit in memory at once: what was recorded, and what to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regraft.errors import RegraftError

if TYPE_CHECKING:
    import torch

    from regraft.engine.job import Job, Stage


def recorded_sizes(job: Job, stage: Stage) -> list[tuple[int, int]]:
    """Return (from step, items at once) of the halvings that were recorded, in order."""
    return sorted(
        (
            (int(value["from_step"]), int(value["size"]))
            for key, value in job.adjustments.items()
            if key.startswith(f"micro_batch/{stage.name}/")
        ),
        key=lambda pair: (pair[0], -pair[1]),
    )


def no_memory(error: torch.OutOfMemoryError) -> RegraftError:
    """Return what to raise where a single item is too much."""
    first = str(error).partition("\n")[0]
    return RegraftError(
        f"not even one item at a time fits ({first}). Take a smaller backbone, train from a higher "
        "depth, or give the run more memory.",
        where="out of memory",
    )
