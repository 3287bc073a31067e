from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regraft.errors import LedgerError, ShapeError
from regraft.features.store import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from regraft.features.store import Batches

ARRAYS = [np.arange(n, dtype=np.int32) for n in (3, 0, 5, 1)]
KEY = {"what": "test"}


class Counted:
    """Produces arrays two at a time and counts how often it was asked."""

    def __init__(self, arrays: list[np.ndarray[Any, Any]]) -> None:
        self.arrays = arrays
        self.calls = 0

    def __call__(self) -> Iterator[list[np.ndarray[Any, Any]]]:
        self.calls += 1
        for start in range(0, len(self.arrays), 2):
            yield self.arrays[start : start + 2]


def entry(root: Path, pattern: str = "*.arrays") -> Path:
    (path,) = root.glob(pattern)
    return path


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    shapes=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), max_size=6),
    dtype=st.sampled_from(["uint8", "int32", "float32", "int64"]),
    seed=st.integers(0, 2**16),
)
def test_what_is_stored_comes_back(
    tmp_path: Path, shapes: list[tuple[int, int]], dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(0, 99, shape).astype(dtype) for shape in shapes]
    key = {"shapes": [list(shape) for shape in shapes], "dtype": dtype, "seed": seed}
    store = Cache(tmp_path).array_store(key, len(arrays), Counted(arrays))
    assert len(store) == len(arrays)
    assert store.lengths().tolist() == [array.size for array in arrays]
    order = rng.permutation(len(arrays))
    for row, array in zip(order, store.gather(order), strict=True):
        assert array.shape == shapes[row]
        assert array.flags.writeable
        if array.size:
            assert array.dtype == dtype
        np.testing.assert_array_equal(array, arrays[row])


def test_items_of_one_shape_are_one_matrix(tmp_path: Path) -> None:
    rows = [np.full(3, i, np.float32) for i in range(4)]
    store = Cache(tmp_path).array_store(KEY, 4, Counted(rows))
    np.testing.assert_array_equal(store.matrix(), np.stack(rows))


def test_an_entry_is_built_once_and_read_by_later_processes(tmp_path: Path) -> None:
    produce = Counted(ARRAYS)
    Cache(tmp_path).array_store(KEY, 4, produce)
    store = Cache(tmp_path).array_store(KEY, 4, produce)
    assert produce.calls == 1
    assert [array.tolist() for array in store.gather(range(4))] == [a.tolist() for a in ARRAYS]


def test_another_key_is_another_entry(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.array_store(KEY, 4, Counted(ARRAYS))
    other = cache.array_store({"what": "else"}, 1, Counted([np.ones(2)]))
    assert other[0].tolist() == [1.0, 1.0]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_damaged_entry_is_built_again(tmp_path: Path, place: float) -> None:
    produce = Counted(ARRAYS)
    Cache(tmp_path).array_store(KEY, 4, produce)
    path = entry(tmp_path)
    data = bytearray(path.read_bytes())
    data[min(int(place * len(data)), len(data) - 3)] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(1, 1))
    store = Cache(tmp_path).array_store(KEY, 4, produce)
    assert produce.calls == 2
    assert store[2].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [0, 1, 40, 100, -1])
def test_a_truncated_entry_is_built_again(tmp_path: Path, size: int) -> None:
    produce = Counted(ARRAYS)
    Cache(tmp_path).array_store(KEY, 4, produce)
    data = entry(tmp_path).read_bytes()
    entry(tmp_path).write_bytes(data[:size])
    assert Cache(tmp_path).array_store(KEY, 4, produce)[0].tolist() == [0, 1, 2]
    assert produce.calls == 2


def test_an_entry_of_another_number_of_items_is_built_again(tmp_path: Path) -> None:
    Cache(tmp_path).array_store(KEY, 4, Counted(ARRAYS))
    assert len(Cache(tmp_path).array_store(KEY, 2, Counted(ARRAYS[:2]))) == 2


def test_nothing_is_left_where_producing_fails(tmp_path: Path) -> None:
    def fails() -> Iterator[list[np.ndarray[Any, Any]]]:
        yield ARRAYS[:2]
        raise FileNotFoundError("a photo vanished")

    with pytest.raises(FileNotFoundError, match="a photo vanished"):
        Cache(tmp_path).array_store(KEY, 4, fails)
    assert list(tmp_path.iterdir()) == []


def test_items_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"4 items were produced to be stored, not 5"):
        Cache(tmp_path).array_store(KEY, 5, Counted(ARRAYS))
    with pytest.raises(ShapeError, match=r"must share a dtype, not <i4 and float64"):
        Cache(tmp_path).array_store(KEY, 2, Counted([ARRAYS[0], np.ones(2)]))
    assert list(tmp_path.iterdir()) == []


def test_several_may_build_the_same_entry_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(
            pool.map(lambda _: Cache(tmp_path).array_store(KEY, 4, Counted(ARRAYS)), range(8))
        )
    assert {tuple(store[2].tolist()) for store in stores} == {(0, 1, 2, 3, 4)}
    assert len(list(tmp_path.iterdir())) == 1


CROWD = """
import random, sys
from pathlib import Path
import numpy as np
from regraft.features.store import Cache

seed, turns = int(sys.argv[2]), random.Random(int(sys.argv[2]))
cache = Cache(Path(sys.argv[1]), most_bytes=60_000)  # some three entries of 16 kB

def arrays(name):
    return [np.full(1000 + item, 10 * name + item, np.int32) for item in range(4)]

for turn in range(60):
    names = turns.sample(range(6), 2)
    values = [arrays(name) for name in names]
    def produce(missing):
        for item in range(4):
            yield [[values[place][item]] for place in missing]
    stores = cache.array_stores([{"name": name} for name in names], 4, produce)
    if turns.random() < 0.2:
        cache.clear()
    for store, value in zip(stores, values):
        assert all(np.array_equal(a, b) for a, b in zip(store.gather(range(4)), value))
"""


def test_processes_that_build_evict_and_clear_at_once_read_what_they_wrote(tmp_path: Path) -> None:
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, str(tmp_path), str(seed)], stderr=subprocess.PIPE
        )
        for seed in range(4)
    ]
    said = [one.communicate()[1].decode() for one in crowd]
    assert said == [""] * 4
    assert {path.suffix for path in tmp_path.iterdir()} <= {".arrays"}
    whole = [Cache(tmp_path).holds({"name": name}, 4) for name in range(6)]
    assert sum(whole) == len(list(tmp_path.iterdir()))


WAITING = """
import sys
from pathlib import Path
import numpy as np
from regraft.features.store import Cache

def produce():
    yield [np.arange(3, dtype=np.int32)]
    print("half", flush=True)
    sys.stdin.readline()
    yield [np.arange(3, dtype=np.int32)]

store = Cache(Path(sys.argv[1])).array_store({"what": "slow"}, 2, produce)
print(store[1].tolist())
"""


def test_who_is_still_writing_is_left_alone_by_those_who_tidy_up(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "half\n"
        (part,) = tmp_path.iterdir()
        foreign = part.rename(tmp_path / "999999999-of-another-container.part")
        cache = Cache(tmp_path)
        cache.array_store(KEY, 4, Counted(ARRAYS))
        assert cache.clear() > 0
        assert list(tmp_path.iterdir()) == [foreign]
        foreign.rename(part)
        assert writer.communicate("go on\n")[0] == "[0, 1, 2]\n"
    assert cache.holds({"what": "slow"}, 2)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from regraft.features.store import Cache

def produce():
    yield [np.arange(3, dtype=np.int32)]
    os.kill(os.getpid(), signal.SIGKILL)

Cache(Path(sys.argv[1])).array_store({"what": "test"}, 4, produce)
"""


KILLED_TWICE = (
    KILLED.replace("yield [", "yield [[")
    .replace("int32)]", "int32)]] * 2")
    .replace(
        """array_store({"what": "test"}, 4, produce""",
        """array_stores([{"what": "test"}, {"what": "other"}], 4, lambda _: produce()""",
    )
)


@pytest.mark.parametrize(("code", "entries"), [(KILLED, 1), (KILLED_TWICE, 2)])
def test_a_killed_writer_leaves_nothing_that_is_read_or_kept(
    tmp_path: Path, code: str, entries: int
) -> None:
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"] * entries
    store = Cache(tmp_path).array_store(KEY, 4, Counted(ARRAYS))
    assert store[2].tolist() == [0, 1, 2, 3, 4]
    assert [path.suffix for path in tmp_path.iterdir()] == [".arrays"]


OTHER = {"what": "other"}


def doubled(missing: Sequence[int]) -> Batches:
    """Produce for each missing place the arrays, times the place plus one."""
    for start in range(0, len(ARRAYS), 2):
        yield [[(place + 1) * one for one in ARRAYS[start : start + 2]] for place in missing]


def test_several_entries_are_built_side_by_side_and_only_what_is_missing(tmp_path: Path) -> None:
    cache, asked = Cache(tmp_path), []

    def produce(missing: Sequence[int]) -> Batches:
        asked.append(list(missing))
        return doubled(missing)

    keys = [KEY, OTHER, {"what": "third"}]
    assert not cache.holds(OTHER, 4)
    cache.array_stores([OTHER], 4, doubled)
    assert cache.holds(OTHER, 4)
    assert not cache.holds(OTHER, 5)
    stores = cache.array_stores(keys, 4, produce)
    assert asked == [[0, 2]]
    assert [store[2].tolist() for store in stores] == [
        [factor * value for value in range(5)] for factor in (1, 1, 3)
    ]
    cache.array_stores(keys, 4, produce)
    assert asked == [[0, 2]]
    again = cache.array_store(KEY, 4, Counted(ARRAYS))
    assert [again[i].tolist() for i in range(4)] == [one.tolist() for one in ARRAYS]


def test_where_one_of_several_entries_fails_none_is_left(tmp_path: Path) -> None:
    closed = []

    def uneven(missing: Sequence[int]) -> Batches:
        try:
            yield [ARRAYS[:2], ARRAYS[:2]]
            yield [ARRAYS[2:], [np.ones(2), np.ones(2)]]
        finally:
            closed.append(missing)

    with pytest.raises(ShapeError, match=r"must share a dtype, not <i4 and float64"):
        Cache(tmp_path).array_stores([KEY, OTHER], 4, uneven)
    assert closed
    assert list(tmp_path.iterdir()) == []


def test_of_several_entries_beyond_the_budget_the_last_stays_and_all_can_be_read(
    tmp_path: Path,
) -> None:
    cache = Cache(tmp_path, most_bytes=100)
    stores = cache.array_stores([KEY, OTHER], 4, doubled)
    assert len(kept(tmp_path)) == 1
    assert cache.holds(OTHER, 4)
    assert [store[2].tolist() for store in stores] == [[0, 1, 2, 3, 4], [0, 2, 4, 6, 8]]


def test_the_cache_may_be_deleted_at_any_time(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert (cache.size_bytes(), cache.clear()) == (0, 0)
    store = cache.array_store(KEY, 4, Counted(ARRAYS))
    size = cache.size_bytes()
    assert size > 0
    assert cache.clear() == size
    assert cache.size_bytes() == 0
    assert store[2].tolist() == [0, 1, 2, 3, 4]
    assert cache.array_store(KEY, 4, Counted(ARRAYS))[0].tolist() == [0, 1, 2]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(LedgerError, match=r"file.*the cache cannot be written .*--home"):
        Cache(tmp_path / "file" / "cache").array_store(KEY, 4, Counted(ARRAYS))


def test_an_entry_that_is_deleted_while_it_is_written_is_named(tmp_path: Path) -> None:
    def produce() -> Iterator[list[np.ndarray[Any, Any]]]:
        yield ARRAYS
        entry(tmp_path, "*.part").unlink()

    with pytest.raises(LedgerError, match=r"what was written to the cache cannot be read back"):
        Cache(tmp_path).array_store(KEY, 4, produce)


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from regraft.errors import LedgerError
from regraft.features.store import Cache

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    Cache(Path(sys.argv[1])).array_store({"what": "test"}, 1, lambda: [[np.zeros(99999)]])
except LedgerError as error:
    sys.exit(str(error))
"""


def test_a_write_that_finds_no_room_ends_in_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert "the cache cannot be written (File too large). Free space there" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def held(cache: Cache, name: str, *, n_bytes: int = 4000) -> np.ndarray[Any, Any]:
    """Open the entry of a name, of about so many bytes; return what it holds."""
    arrays = [np.full(n_bytes // 4, len(name), np.int32)]
    return cache.array_store({"name": name}, 1, Counted(arrays)).gather([0])[0]


def kept(root: Path) -> set[int]:
    """Return the times of change of the entries, by which one is told from its successor."""
    return {path.stat().st_mtime_ns for path in root.glob("*.arrays")}


def test_what_was_opened_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, most_bytes=13_500)  # three entries with their headers
    for name in ("a", "bb", "ccc"):
        held(cache, name)
    assert len(kept(tmp_path)) == 3
    held(cache, "a")  # now "bb" is the one that was opened longest ago
    held(cache, "dddd")
    before = kept(tmp_path)
    assert len(before) == 3
    for name in ("a", "ccc", "dddd"):
        held(cache, name)
    assert kept(tmp_path) == before  # these three are there; none was built again
    held(cache, "bb")
    assert len(kept(tmp_path) - before) == 1
    assert cache.size_bytes() <= 13_500


def test_an_entry_larger_than_the_budget_is_kept_while_it_is_the_newest(tmp_path: Path) -> None:
    cache = Cache(tmp_path, most_bytes=100)
    assert held(cache, "large").tolist() == [5] * 1000
    (first,) = kept(tmp_path)
    held(cache, "larger")
    assert first not in kept(tmp_path)
    assert len(kept(tmp_path)) == 1


def test_who_reads_an_entry_that_goes_reads_on(tmp_path: Path) -> None:
    cache = Cache(tmp_path, most_bytes=100)
    arrays = [np.arange(1000, dtype=np.int32)]
    store = cache.array_store({"name": "read"}, 1, Counted(arrays))
    held(cache, "other")
    assert len(kept(tmp_path)) == 1
    assert np.array_equal(store[0], arrays[0])
