"""How long a command takes before it does anything: `regraft --help`, `import regraft`.

    python benchmarks/start.py

Prints the median of 9 fresh processes each, the first left out, and writes start.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 9
LIMITS = {"regraft --help": 0.3, "import regraft": 0.15}


def seconds(command: list[str]) -> float:
    """Return the median wall seconds of a command."""
    took = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - started)
    return statistics.median(took[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/start.json"))
    asked = parser.parse_args()
    regraft = str(Path(sys.executable).with_name("regraft"))
    bare = seconds([sys.executable, "-c", "pass"])
    found = {
        "regraft --help": seconds([regraft, "--help"]),
        "import regraft": seconds([sys.executable, "-c", "import regraft"]) - bare,
    }
    for name, took in found.items():
        print(f"{name}: {took:.3f} s (at most {LIMITS[name]} s)")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
