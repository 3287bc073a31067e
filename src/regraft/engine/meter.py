"""What a run costs: wall time, device time, peak memory, energy where the machine tells it."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_KEEPS_PEAK = os.access(_STATUS, os.R_OK) and os.access(_CLEAR, os.W_OK)
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
_SHARE = 0.6
_LEAST_BURST = 64 << 20


def _energy_joules() -> float | None:
    try:
        return int(_RAPL.read_text()) / 1e6
    except (OSError, ValueError):
        return None


def used_bytes(device: str) -> int:
    """Return the memory that the process holds now, on the GPU where it computes there."""
    if device.startswith("cuda"):
        return torch.cuda.memory_allocated()
    return int(psutil.Process().memory_info().rss)


def share_of_free(device: str) -> int:
    """Return what the process holds and 60 % of what is free."""
    if device.startswith("cuda"):
        return used_bytes(device) + int(_SHARE * torch.cuda.mem_get_info()[0])
    return used_bytes(device) + int(_SHARE * psutil.virtual_memory().available)


def spare_bytes(most: float) -> float:
    """Return what may be kept in main memory before the process holds `most`, 0 or more."""
    return max(0.0, most - used_bytes("cpu"))


def _forget_peak(*, cuda: bool) -> None:
    """Let the most memory count from now on."""
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    elif _KEEPS_PEAK:
        _CLEAR.write_text("5", encoding="ascii")


def _peak_bytes(*, cuda: bool) -> int:
    """Return the most memory since it was forgotten; where the system keeps none, what is held."""
    if cuda:
        return torch.cuda.max_memory_allocated()
    if _KEEPS_PEAK and (found := _PEAK.search(_STATUS.read_text(encoding="ascii"))):
        return int(found[1]) << 10
    return used_bytes("cpu")


@dataclass(frozen=True, slots=True)
class _Counters:
    """Wall seconds, processor seconds, joules (None where the machine does not tell)."""

    wall: float
    cpu: float
    joules: float | None

    @classmethod
    def now(cls) -> _Counters:
        return cls(time.perf_counter(), time.process_time(), _energy_joules())

    def plus(self, other: _Counters, *, times: float = 1.0) -> _Counters:
        """Return the sum with a multiple of other counters."""
        joules = None
        if self.joules is not None and other.joules is not None:
            joules = self.joules + times * other.joules
        return _Counters(self.wall + times * other.wall, self.cpu + times * other.cpu, joules)


class Meter:
    """Measures while it runs; `earlier` are the figures of an interrupted sitting.

    A run that waits between two events, because another runs meanwhile, costs nothing.
    """

    def __init__(self, device: str, earlier: dict[str, Any] | None = None) -> None:
        self._device, self._cuda = device, device.startswith("cuda")
        self._earlier = earlier or {}
        self._counted = _Counters(0.0, 0.0, None if _energy_joules() is None else 0.0)
        self._since: _Counters | None = None
        self._peak = self._latest = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what passes in between."""
        self._since = _Counters.now()
        _forget_peak(cuda=self._cuda)
        try:
            yield
        finally:
            self._counted, self._since = self._total(), None

    @contextmanager
    def shared_with(self, others: Sequence[Meter]) -> Iterator[None]:
        """Count what passes in between to this meter and the others in equal parts."""
        before = self._total()
        yield
        if self._cuda:
            torch.cuda.synchronize()  # else the one that reads first waits for all
        part = 1.0 / (len(others) + 1)
        took = self._total().plus(before, times=-1.0)
        for other in others:
            other._counted = other._counted.plus(took, times=part)
            self._counted = self._counted.plus(took, times=-part)

    @property
    def seconds(self) -> float:
        """Wall seconds so far, earlier sittings included."""
        return float(self._earlier.get("seconds", 0.0)) + self._total().wall

    def sample(self) -> None:
        """Look at the most memory since the last look, or since the run went on."""
        self._latest = _peak_bytes(cuda=self._cuda)
        self._peak = max(self._peak, self._latest)
        _forget_peak(cuda=self._cuda)

    def is_over(self, most: float) -> bool:
        """Whether more was in use at the last look than allowed, of which a smaller batch frees."""
        burst = self._latest - used_bytes(self._device)
        return self._latest > most and burst > _LEAST_BURST

    def figures(self) -> dict[str, Any]:
        """Return seconds, device_seconds, peak_memory_bytes and joules (or None) so far."""
        self.sample()
        total = self._total()
        joules = total.joules
        if joules is not None:
            joules += float(self._earlier.get("joules") or 0.0)
        return {
            "seconds": self.seconds,
            "device_seconds": float(self._earlier.get("device_seconds", 0.0)) + total.cpu,
            "peak_memory_bytes": max(int(self._earlier.get("peak_memory_bytes", 0)), self._peak),
            "joules": joules,
        }

    def _total(self) -> _Counters:
        """Return what was counted, the running part included."""
        counted, since = self._counted, self._since
        if since is None:
            return counted
        now = _Counters.now()
        joules = None
        if counted.joules is not None and now.joules is not None and since.joules is not None:
            joules = counted.joules + max(0.0, now.joules - since.joules)
        wall, cpu = now.wall - since.wall, now.cpu - since.cpu
        return _Counters(counted.wall + wall, counted.cpu + cpu, joules)
