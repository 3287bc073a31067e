from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from made_clusters import clusters
from regraft.features.logistic import fit_probe
from regraft.features.rows import chosen
from regraft.features.solved import centroid_head, knn_logits, linear_logits

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (20, 3)
VALUES = np.arange(60, dtype=np.float32).reshape(SHAPE)


def mapped(folder: Path, values: Any = VALUES, mode: Any = "r") -> Any:
    """Return an array that lies in a file."""
    path = folder / "values.f4"
    values.astype(np.float32).tofile(path)
    return np.memmap(path, np.float32, mode, shape=values.shape)


@pytest.mark.parametrize("lies", ["in memory", "in a file"])
def test_rows_of_rows_are_those_of_the_features(tmp_path: Path, lies: str) -> None:
    features = VALUES if lies == "in memory" else mapped(tmp_path)
    order = np.random.default_rng(0).permutation(20)
    some = chosen(chosen(features, order), slice(3, 15)).chosen(np.arange(12) % 2 == 0)
    known = VALUES[order][3:15][::2]
    assert (len(some), some.shape) == (6, (6, 3))
    assert np.array_equal(some[:], known)
    assert np.array_equal(some[np.array([4, 1])], known[[4, 1]])
    assert some[0:0].shape == (0, 3)


def test_all_rows_in_order_are_the_features_themselves(tmp_path: Path) -> None:
    features = mapped(tmp_path)
    assert chosen(features, slice(None)).whole() is features
    assert np.array_equal(chosen(features, np.arange(20)[::-1]).whole(), VALUES[::-1])


def test_what_was_written_to_a_private_map_stays(tmp_path: Path) -> None:
    features = mapped(tmp_path, mode="c")
    features[7] = -1.0
    view = features.view(np.ndarray)
    view.flags.writeable = False
    for array in (features, view):
        some = chosen(array, np.array([7]))
        assert some[:].tolist() == some[:].tolist() == [[-1.0] * 3]


def test_heads_are_the_same_whatever_the_size_of_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = clusters(0, n=330, width=12, apart=0.4)
    rows = np.random.default_rng(1).permutation(330)
    features, labels = chosen(mapped(tmp_path, x), rows[:280]), y[rows[:280]]
    held, held_labels = chosen(features, slice(0, 0)), labels[:0]
    queries, query_labels = chosen(mapped(tmp_path, x), rows[280:]), y[rows[280:]]

    def found(memory_bytes: float) -> tuple[list[Any], list[float]]:
        probe = fit_probe(features, labels, 3, queries, query_labels, memory_bytes=memory_bytes)
        folds = fit_probe(features, labels, 3, held, held_labels, memory_bytes=memory_bytes)
        head = centroid_head(features, labels, 3)
        voted = knn_logits(features, labels, queries, k=9, n_classes=3)
        losses = [one.log_loss(queries, query_labels) for one in (probe, folds)]
        strengths = [probe.strength, folds.strength]
        return [*head, linear_logits(queries, *head), voted], [*losses, *strengths]

    one_block, scores = found(1e9)
    monkeypatch.setattr("regraft.features.standard.BLOCK_NUMBERS", 900)
    for memory_bytes in (1e9, 0):
        many_blocks, again = found(memory_bytes)
        for first, second in zip(one_block, many_blocks, strict=True):
            np.testing.assert_allclose(second, first, atol=1e-6, rtol=1e-6)
        assert again == pytest.approx(scores, abs=1e-6)


PROBED = """\
import re, sys
from pathlib import Path
import numpy as np
from regraft.features import standard
from regraft.features.logistic import logistic_path
from regraft.features.rows import chosen

standard.BLOCK_NUMBERS = 1 << 17
n, width = 200_000, 128

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def probe(rows):
    logistic_path(rows, np.arange(len(rows)) % 10, 10, strengths=np.array([1.0]), memory_bytes=0)

features = np.memmap(sys.argv[1], np.float32, "r", shape=(n, width))
probe(chosen(features, np.arange(2_000)))  # what libraries take when first used
before = peak()
probe(chosen(features, np.flatnonzero(np.arange(n) % 5)))
print((peak() - before) / 1024)
"""


EPOCH = """\
import re, sys
from pathlib import Path
import numpy as np
from regraft.features.store import Cache

def items():
    for row in range(200):
        yield [np.full(1 << 18, row, np.float32)]

def held():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

store = Cache(Path(sys.argv[1])).array_store({"what": "prefix"}, 200, items)
before = held()
seen = [store.gather(range(at, at + 4))[0][0] for at in range(0, 200, 4)]
assert seen == list(range(0, 200, 4))
print((held() - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads what is held where Linux tells it")
def test_an_epoch_over_what_is_kept_holds_a_part_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", EPOCH, str(tmp_path)]
    grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown < 90  # MiB; the file is of 200


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak where Linux tells it")
def test_a_probe_on_a_large_file_holds_a_small_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "features.f4"
    part = np.random.default_rng(0).standard_normal((10_000, 128), dtype=np.float32)
    part += 0.3 * (np.arange(10_000) % 10)[:, None]
    with path.open("wb") as file:
        for _ in range(20):
            file.write(part.tobytes())
    command = [sys.executable, "-c", PROBED, str(path)]
    grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown < 30  # MiB; a copy would take 78


def test_rows_that_are_not_kept_may_be_wider_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clusters(2, n=60, width=40, apart=0.3)
    kept = fit_probe(x, y, 3, x[:20], y[:20])
    monkeypatch.setattr("regraft.features.standard.BLOCK_NUMBERS", 100)
    monkeypatch.setattr("regraft.features.logistic._READ_NUMBERS", 90)
    read = fit_probe(x, y, 3, x[:20], y[:20], memory_bytes=0)
    np.testing.assert_allclose(read.weight, kept.weight, atol=1e-3)
    assert read.loss == pytest.approx(kept.loss, abs=1e-6)
