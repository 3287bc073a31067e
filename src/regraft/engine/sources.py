"""Where a fit reads its batches: from kept activations, or through the whole backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from regraft.engine.batches import Source
from regraft.events import Adjusted

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from regraft.engine.batches import Loader
    from regraft.engine.job import Job, Stage


@final
class Sources:
    """Says for each epoch of a stage where its batches come from.

    Kept or computed, the numbers may differ in their last bits, and whether a disk is full is
    chance: so that a run which found it full can be repeated exactly, this is a decision, taken
    once in a stage and replayed from its step on.
    """

    def __init__(self, job: Job, stage: Stage, loader: Loader) -> None:
        self._job, self._stage, self._loader = job, stage, loader
        self._key = f"activations/{stage.name}"
        self._decided: Mapping[str, Any] | None = job.adjustments.get(self._key)

    def open(
        self, lowest_open: int, *, epoch: int | None, step: int
    ) -> Generator[Adjusted, Any, Source]:
        """Return the source of an epoch; without an epoch nothing trains.

        Args:
            lowest_open: Lowest block that trains.
            epoch: The epoch, which chooses the augmented view.
            step: Steps taken so far.
        """
        if self._decided is not None and int(self._decided["from_step"]) <= step:
            return Source(0, self._loader.computes(lowest_open, epoch=epoch) or _FULL)
        source = self._loader.source(lowest_open, epoch=epoch)
        if not source.failed:
            return source
        self._decided = {"stage": self._stage.name, "from_step": step}
        reason = f"the prefix is computed at each step, as {source.reason}"
        yield Adjusted(self._job.run, self._key, dict(self._decided), reason)
        return Source(0, _FULL)


def activations(stages: Sequence[Mapping[str, Any]], n_views: int) -> str | None:
    """Return in a few words where a run's training batches came from; None where none trained.

    Args:
        stages: Records of its fits, with `step`, `kept_steps` and `computed_because`.
        n_views: Augmented views of an item; 0 without.

    Example:
        >>> fit = {"step": 40, "kept_steps": 30, "computed_because": ["the lowest block trains"]}
        >>> activations([fit], 4)
        'cached views (4) in 30 of 40 steps, else computed: the lowest block trains'
        >>> activations([{**fit, "kept_steps": 40}], 0)
        'cached'
    """
    steps = sum(int(one["step"]) for one in stages)
    kept = sum(int(one.get("kept_steps", 0)) for one in stages)
    if not steps:
        return None
    views = f" views ({n_views})" if n_views else ""
    if kept == steps:
        return f"cached{views}"
    reasons = dict.fromkeys(reason for one in stages for reason in one.get("computed_because", ()))
    because = f"computed: {'; '.join(reasons)}" if reasons else "computed"
    if not kept:
        return because.replace("computed", f"computed{views}", 1)
    return f"cached{views} in {kept} of {steps} steps, else {because}"


_FULL = "the cache could not be written"
