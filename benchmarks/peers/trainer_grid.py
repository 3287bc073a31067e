"""The peer: 24 candidates with transformers' Trainer, each to its end, the best on validation.

    python benchmarks/peers/trainer_grid.py --task sst2 --data FOLDER --seed 0 --out grid.json

FOLDER holds the parts that benchmarks/ladder.py writes. The JSON is written after each candidate;
what it holds is not trained again. Imports and the loading of the weights are left out of the
seconds; reading, tokenising and decoding are counted once.
"""

from __future__ import annotations

import re
from functools import partial

from candidates import grid
from record import Record, arguments
from trainer_side import read_bench, train


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", help="regular expression on the candidates' names")
    parser.add_argument("--untimed", action="store_true", help="other work shares the machine")
    asked = parser.parse_args()
    settings = {key: getattr(asked, key) for key in ("task", "seed", "epochs", "only")}
    record = Record(asked.out, {"peer": "grid", **settings})
    left = [one for one in grid() if re.search(asked.only, one.name)]
    left = [one for one in left if one.name not in record.names]
    if not left:
        return
    bench = read_bench(asked.task, asked.data, asked.weights)
    record.prepared(0.0 if asked.untimed else bench.prepare_seconds)
    for candidate in left:
        trained = train(bench, candidate, seed=asked.seed, epochs=asked.epochs)
        record.add(
            candidate.name,
            seconds=trained.seconds,
            accuracies=trained.accuracies,
            test_logits=partial(trained.test_logits, bench),
            timed=not asked.untimed,
        )


if __name__ == "__main__":
    main()
