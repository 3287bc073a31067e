"""MMD² and CKA beside their bare matrix products; MMD² of a million rows by random features.

    python benchmarks/distances.py --out out/distances.json

The bound of MMD² on two samples of 5,000 × 768 is what no exact method can leave out: the products
x·xᵀ, y·yᵀ and x·yᵀ (numpy forms half of a symmetric one). Of RBF CKA it is x·xᵀ and y·yᵀ, of linear
CKA, which needs no n × n matrix, xᵀx, yᵀy and xᵀy. Sides take turns; the median of each is printed.

The random features run in a process of their own, which reads a file of --rows × 384 float32 in one
pass; its peak resident memory is reported, and its error against the block statistic.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.measure.mmd import mmd2, mmd2_block
from regraft.measure.random_features import mmd2_rff
from regraft.measure.similarity import cka

if TYPE_CHECKING:
    from collections.abc import Callable

AT_MOST, SECONDS, GIGABYTES, ERROR = 1.2, 60.0, 1.0, 1e-3
WIDTH, CHUNK = 384, 50_000


def pairwise(n: int, d: int, kind: Any, repeats: int) -> dict[str, dict[str, float]]:
    """Return the seconds of ours and of the bare products."""
    random = np.random.default_rng(0)
    x = random.normal(size=(n, d)).astype(kind)
    y = (random.normal(size=(n, d)) + 0.1).astype(kind)
    sides: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "mmd2": (lambda: mmd2(x, y), lambda: (x @ x.T, y @ y.T, x @ y.T)),
        "cka rbf": (lambda: cka(x, y, kernel="rbf"), lambda: (x @ x.T, y @ y.T)),
        "cka linear": (lambda: cka(x, y), lambda: (x.T @ x, y.T @ y, x.T @ y)),
    }
    found = {}
    for name, (ours, bare) in sides.items():
        took: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(repeats):
            for side, call in (("ours", ours), ("bare", bare)):
                started = time.perf_counter()
                call()
                took[side].append(time.perf_counter() - started)
        medians = {side: statistics.median(seconds) for side, seconds in took.items()}
        found[name] = {**medians, "ratio": medians["ours"] / medians["bare"]}
    return found


def write_rows(path: Path, rows: int, shift: float, seed: int) -> None:
    """Write rows × 384 normal numbers, a piece at a time."""
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, WIDTH))
    random = np.random.default_rng(seed)
    for start in range(0, rows, CHUNK):
        part = file[start : start + CHUNK]
        part[:] = random.standard_normal(part.shape, dtype=np.float32) + np.float32(shift)
    file.flush()


def chunks(path: Path) -> Any:
    """Yield the rows as copies, so that pages of the file do not count as memory of ours."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        for start in range(0, shape[0], CHUNK // 10):
            count = min(CHUNK // 10, shape[0] - start) * WIDTH
            yield np.fromfile(file, dtype=kind, count=count).reshape(-1, WIDTH)


def peak_gigabytes() -> float:
    """Return the highest resident memory of this process since it began (Linux)."""
    # ru_maxrss would count the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e6


def stream(folder: Path) -> dict[str, float]:
    """Return value, seconds and peak memory of one pass."""
    before = peak_gigabytes()
    started = time.perf_counter()
    value = mmd2_rff(chunks(folder / "x.npy"), chunks(folder / "y.npy"))
    seconds = time.perf_counter() - started
    return {"value": value, "seconds": seconds, "peak_gb": peak_gigabytes(), "start_gb": before}


def random_features(rows: int) -> dict[str, float]:
    """Return the figures of a pass over `rows` rows of each side."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "x.npy", rows, 0.0, 0)
        write_rows(folder / "y.npy", rows, 0.2, 1)
        command = [sys.executable, __file__, "--stream", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        x, y = (np.load(folder / one, mmap_mode="r") for one in ("x.npy", "y.npy"))
        found["block"] = mmd2_block(x, y, block=1_000)
    return {**found, "error": abs(found["value"] - found["block"]), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/distances.json"))
    parser.add_argument("--n", type=int, default=5_000)
    parser.add_argument("--d", type=int, default=768)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--stream", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stream:
        print(json.dumps(stream(asked.stream)))
        return
    found: dict[str, Any] = {}
    for kind in ("float32", "float64"):
        found[kind] = pairwise(asked.n, asked.d, kind, asked.repeats)
        for name, one in found[kind].items():
            print(
                f"{name}, {asked.n} × {asked.d} {kind}: {1e3 * one['ours']:.0f} ms, bare products "
                f"{1e3 * one['bare']:.0f} ms: {one['ratio']:.2f}× (at most {AT_MOST}×)"
            )
    one = found["random features"] = random_features(asked.rows)
    print(
        f"mmd2_rff, two samples of {asked.rows:,} × {WIDTH}: {one['seconds']:.1f} s (under "
        f"{SECONDS:.0f} s for one), peak {one['peak_gb']:.2f} GB (under {GIGABYTES}), "
        f"{one['value']:.5f} against {one['block']:.5f} by blocks: error {one['error']:.1e} "
        f"(at most {ERROR})"
    )
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
