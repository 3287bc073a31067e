"""MMD of millions of rows in one pass, by random Fourier features."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from regraft.errors import ConfigError, ShapeError
from regraft.measure.kernels import (
    Bandwidth,
    Floats,
    in_threads,
    rows_of,
    tiles,
    two_samples,
    widths_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

FREQUENCIES = 2_048
_CHUNK_ROWS = 4_096
_ROWS_FOR_THE_MEDIAN = 250


def mmd2_rff(
    x: ArrayLike | Iterable[ArrayLike],
    y: ArrayLike | Iterable[ArrayLike],
    *,
    bandwidth: Bandwidth = None,
    unbiased: bool = True,
    frequencies: int = FREQUENCIES,
    seed: int = 0,
) -> float:
    """Return MMD² by random Fourier features, in one pass over chunks and in bounded memory.

    The Gaussian kernel is the mean of cos ω·(a − b) over ω ~ N(0, σ⁻² I); with D frequencies
    MMD² ≈ 1/D Σ_j |mean exp(i ω_j·x) − mean exp(i ω_j·y)|². Frequencies are drawn orthogonal in
    groups of d, which lowers the spread at no cost. In float32 with sums in float64; time n·d·D,
    memory for D × d frequencies and 4,096 rows.

    Args:
        x: Shape (n, d), n ≥ 2 in all; an array (a memory-mapped one is read piece by piece), or an
            iterable of such arrays that is read once.
        y: Shape (m, d), likewise.
        bandwidth: As for `mmd2`. Default: {½, 1, 2} × the median distance among 250 rows of each
            side: drawn from all of an array (seed 0), the first of an iterable, whose rows should
            therefore come in no order.
        unbiased: Leave i = j out within each sample; exact, since every row has norm 1.
        frequencies: D ≥ 1 for each width. The error falls as 1/√D, faster up to D = d each.
        seed: Of the frequencies.

    Raises:
        ShapeError: The widths differ, or a side has fewer than 2 rows.
        DataError: A number is not finite, or the median distance is 0.
        ConfigError: A bandwidth is not positive, or there are no frequencies.

    Reference:
        Rahimi & Recht, Random Features for Large-Scale Kernel Machines, NeurIPS 2007, algorithm 1;
        Yu et al., Orthogonal Random Features, NeurIPS 2016, eq. 4.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(100, 3))
        >>> mmd2_rff(rows, [rows[:60], rows[60:]], unbiased=False) < 1e-10
        True
    """
    some_x, chunks_x = _opened(x, "x")
    some_y, chunks_y = _opened(y, "y")
    head_x, head_y = two_samples(some_x, some_y, fewest=1)
    widths = widths_of(bandwidth, head_x, head_y)
    if frequencies < len(widths):
        raise ConfigError(f"frequencies is {frequencies}. Ask for at least one of each width.")
    drawn, weights = _frequencies(head_x.shape[1], widths, frequencies, seed=seed)
    # The kernel knows only differences: a common origin near the data keeps the phases small.
    centre = np.concatenate([head_x, head_y]).mean(axis=0).astype(np.float32)
    n, sum_x = _sums(chunks_x, drawn, centre, "x")
    m, sum_y = _sums(chunks_y, drawn, centre, "y")
    within = _mean_within(sum_x, n, weights, unbiased=unbiased)
    within += _mean_within(sum_y, m, weights, unbiased=unbiased)
    between = float((weights * sum_x) @ sum_y) / (n * m)
    return within - 2.0 * between


def _mean_within(
    sums: NDArray[np.float64], n: int, weights: NDArray[np.float64], *, unbiased: bool
) -> float:
    """Return the mean kernel within a sample; on the diagonal it is cos² + sin² = 1."""
    total = float((weights * sums) @ sums)
    return (total - n) / (n * (n - 1)) if unbiased else total / n**2


def _opened(
    values: ArrayLike | Iterable[ArrayLike], name: str
) -> tuple[Floats, Iterable[ArrayLike]]:
    """Return some rows for the median, and all rows as chunks."""
    if _is_array(values):
        array: Any = values
        n = len(array)
        few = min(n, _ROWS_FOR_THE_MEDIAN)
        drawn = np.sort(np.random.default_rng(0).choice(n, few, replace=False))
        return rows_of(array[drawn], name, fewest=1), [array]
    chunks = iter(values)  # type: ignore[arg-type]
    first = next(chunks, None)
    if first is None:
        raise ShapeError(f"{name} has no chunks. Give at least 2 rows.")
    head = rows_of(first, name, fewest=1)
    return head[:_ROWS_FOR_THE_MEDIAN], chain([first], chunks)


def _is_array(values: object) -> bool:
    return hasattr(values, "__array__")


def _frequencies(
    d: int, widths: Sequence[float], count: int, *, seed: int
) -> tuple[Floats, NDArray[np.float64]]:
    """Return ω of shape (d, D), and the weights of their cosines and sines, shape (2 D,).

    Each width has frequencies of its own: over a whole group of orthogonal ones the squared
    projections of any shift add up to its square, so a group must not be split among widths.
    """
    generator = np.random.default_rng(seed)
    shares = [len(one) for one in np.array_split(np.arange(count), len(widths))]
    columns, weights = [], []
    for width, share in zip(widths, shares, strict=True):
        columns.append(_orthogonal(d, share, generator) / width)
        weights.append(np.full(share, 1.0 / (len(widths) * share)))
    drawn = np.ascontiguousarray(np.concatenate(columns, axis=1), dtype=np.float32)
    return drawn, np.tile(np.concatenate(weights), 2)


def _orthogonal(d: int, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return draws of N(0, I_d) as columns, orthogonal to each other within groups of d."""
    groups = []
    for drawn in range(0, count, d):
        turn, triangle = np.linalg.qr(generator.normal(size=(d, d)))
        turn = turn * np.sign(np.diag(triangle))  # else the turn is not uniform
        lengths = np.sqrt(generator.chisquare(d, size=d))
        groups.append((turn * lengths)[:, : count - drawn])
    return np.concatenate(groups, axis=1)


def _sums(
    chunks: Iterable[ArrayLike], frequencies: Floats, centre: Floats, name: str
) -> tuple[int, NDArray[np.float64]]:
    """Return the number of rows and the sums of cos and sin of their phases, shape (2 D,)."""
    d, count = frequencies.shape
    total, rows = np.zeros(2 * count), 0
    for part in _parts(chunks, d, name):
        use = partial(_add_waves, part - centre, frequencies)
        total += np.sum(in_threads(use, tiles(len(part))), axis=0)
        rows += len(part)
    if rows < 2:
        raise ShapeError(f"{name} has {rows} rows in all. Give at least 2.")
    return rows, total


def _add_waves(rows: Floats, frequencies: Floats, mine: Sequence[slice]) -> NDArray[np.float64]:
    """Return the sums over some of the rows of cos and sin of their phases, shape (2 D,)."""
    count = frequencies.shape[1]
    most = mine[0].stop - mine[0].start
    buffer, waves = (np.empty((most, count), np.float32) for _ in range(2))
    ones, total = np.ones(most, np.float32), np.zeros(2 * count)
    for some in mine:
        n = some.stop - some.start
        phases = np.matmul(rows[some], frequencies, out=buffer[:n])
        for at, wave in ((slice(None, count), np.cos), (slice(count, None), np.sin)):
            total[at] += ones[:n] @ wave(phases, out=waves[:n])
    return total


def _parts(chunks: Iterable[ArrayLike], d: int, name: str) -> Iterator[Floats]:
    """Yield all rows in float32, a bounded number at once."""
    for chunk in chunks:
        array: Any = chunk if _is_array(chunk) else np.asarray(chunk)
        for start in range(0, len(array), _CHUNK_ROWS):
            part = rows_of(array[start : start + _CHUNK_ROWS], name, fewest=1)
            if part.shape[1] != d:
                raise ShapeError(f"a chunk of {name} has width {part.shape[1]}, others {d}.")
            yield part.astype(np.float32, copy=False)
