"""One random state per run, swapped in while the run works and out between its events."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


class RunRandomness:
    """Holds a run's state of torch's generators; dropout draws from it and from nothing else."""

    def __init__(self, seed: int, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self._state: torch.Tensor | None = None
        self._cuda_state: torch.Tensor | None = None
        self._seed = seed

    @contextmanager
    def active(self) -> Iterator[None]:
        """Swap the run's state in, and on leaving keep it and put the caller's back."""
        outer = torch.get_rng_state()
        outer_cuda = torch.cuda.get_rng_state() if self._cuda else None
        self._enter()
        try:
            yield
        finally:
            self._state = torch.get_rng_state()
            torch.set_rng_state(outer)
            if outer_cuda is not None:
                self._cuda_state = torch.cuda.get_rng_state()
                torch.cuda.set_rng_state(outer_cuda)

    def _enter(self) -> None:
        if self._state is None:
            torch.default_generator.manual_seed(self._seed)
            if self._cuda:
                torch.cuda.manual_seed(self._seed)
            return
        torch.set_rng_state(self._state)
        if self._cuda_state is not None:
            torch.cuda.set_rng_state(self._cuda_state)


def random_state() -> dict[str, torch.Tensor]:
    """Return the states of the generators now in use, for a checkpoint."""
    states = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random.cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_state(states: dict[str, torch.Tensor]) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(states["random.cpu"])
    if "random.cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["random.cuda"])
