"""What a run costs: wall time, device time, peak memory, energy where the machine tells it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
import torch

_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def _energy_joules() -> float | None:
    try:
        return int(_RAPL.read_text()) / 1e6
    except (OSError, ValueError):
        return None


class Meter:
    """Measures from its making on; `earlier` are the figures of an interrupted sitting."""

    def __init__(self, device: str, earlier: dict[str, Any] | None = None) -> None:
        self._cuda = device.startswith("cuda")
        self._earlier = earlier or {}
        self._wall = time.perf_counter()
        self._cpu = time.process_time()
        self._energy = _energy_joules()
        self._process = psutil.Process()
        self._peak = 0
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()

    @property
    def seconds(self) -> float:
        """Wall seconds so far, earlier sittings included."""
        return float(self._earlier.get("seconds", 0.0)) + time.perf_counter() - self._wall

    def sample(self) -> None:
        """Look at the memory in use now."""
        self._peak = max(self._peak, self._process.memory_info().rss)

    def figures(self) -> dict[str, Any]:
        """Return seconds, device_seconds, peak_memory_bytes and joules (or None) so far."""
        self.sample()
        peak = torch.cuda.max_memory_allocated() if self._cuda else self._peak
        device = time.process_time() - self._cpu
        now = _energy_joules()
        joules = None if now is None or self._energy is None else max(0.0, now - self._energy)
        if joules is not None:
            joules += float(self._earlier.get("joules") or 0.0)
        return {
            "seconds": self.seconds,
            "device_seconds": float(self._earlier.get("device_seconds", 0.0)) + device,
            "peak_memory_bytes": max(int(self._earlier.get("peak_memory_bytes", 0)), peak),
            "joules": joules,
        }
