"""What compiling a training pass saves on this machine, and from how long a run on it pays.

    python benchmarks/compiled.py --out out/compiled.json

MiniLM on sst2, batches of 8 of natural lengths, in the precision that a study would choose here and
in fp32: full fine-tuning, the upper half on kept prefixes, LoRA. Prints what
`regraft.search.compiling.compare` measures, and after how many seconds of training the compiler
has repaid itself.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from step import minilm, sentences

from regraft.backbones.loading import load_backbone
from regraft.config.protocol import ProtocolSpec, resolve_protocol
from regraft.engine.job import Job
from regraft.features.store import Cache
from regraft.search.bench import Bench
from regraft.search.compiling import compare
from regraft.search.precision import fast_precision
from regraft.tasks.items import items_from
from regraft.tasks.unsealed import unsealed_task

KINDS: dict[str, dict[str, Any]] = {
    "full": {"train": {"from_depth": 0, "stem": True}},
    "upper half": {"train": {"from_depth": 0.5}},
    "LoRA": {"modules": [{"kind": "lora", "rank": 8}]},
}


def protocol(kind: str) -> dict[str, Any]:
    spec = ProtocolSpec.model_validate(
        {
            "name": kind.lower().replace(" ", "-"),
            "head": {"kind": "linear", "start": "random"},
            "rate": {"kind": "constant", "peak": 1e-4},
            "fit": {"epochs": 1, "batch_size": 8},
            **KINDS[kind],
        }
    )
    return resolve_protocol(spec)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/compiled.json"))
    asked = parser.parse_args()
    texts, labels = sentences(256)
    items = replace(items_from(texts, "text"), labels=np.array(labels))
    task = unsealed_task(items, ["0", "1"], metric="accuracy", validation=0.0, seed=0)
    backbone, found = load_backbone(minilm()), {}
    with TemporaryDirectory() as folder:
        bench = Bench(items, backbone, Cache(Path(folder)))
        chosen = fast_precision(backbone, bench.prepared)
        for precision in dict.fromkeys((chosen, "fp32")):
            here = bench.at(precision)
            for kind in KINDS:
                data = here.run_data(task)
                job = Job(kind, protocol(kind), here.backbone, data, 0, precision=precision)
                one = found[f"{kind}, {precision}"] = compare(job, math.inf)
                if one["seconds_plain"] is None:
                    print(f"{kind}, {precision}: {one['reason']}")
                    continue
                share = 1 - one["seconds_compiled"] / one["seconds_plain"]
                repaid = one["seconds_compiling"] / share if share > 0 else math.inf
                print(
                    f"{kind}, {precision}: a step {1e3 * one['seconds_plain']:.1f} ms, compiled "
                    f"{1e3 * one['seconds_compiled']:.1f} ms; compiling "
                    f"{one['seconds_compiling']:.0f} s, repaid after {repaid:.0f} s of training",
                    flush=True,
                )
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
