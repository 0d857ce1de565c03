"""Bootstrap of a series whose rows depend on each other: whole blocks are drawn, not single rows.

The stationary bootstrap of Politis and Romano (1994) draws blocks of random length, on average
``block``; the circular one of Politis and Romano (1992) blocks of exactly that length. Both go on
from the last row to the first, so that every row is drawn equally often. The length is chosen from
the series itself by the rule of Politis and White (2004).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from mtquant.errors import ConfigError
from mtquant.market.bars import Float, Int

PATHS = 2000
ROWS_AT_ONCE = 1 << 20
# A return is a quotient near 1, less 1: a deviation below this is rounding, not risk.
ROUNDING = 1e-14

Statistic = Callable[[Float], Float]
"""From ``[..., T]`` to ``[...]``."""


class Interval(NamedTuple):
    """A number and how far it can be trusted.

    Attributes:
        value: Of the series itself.
        low: Lower end.
        high: Upper end.
        error: Standard error: the deviation over the resampled series.
    """

    value: float
    low: float
    high: float
    error: float


def block_bootstrap(
    n: int,
    block: float,
    paths: int,
    rng: np.random.Generator,
    *,
    length: int | None = None,
    stationary: bool = True,
) -> Iterator[Int]:
    """Rows to resample, some paths at a time.

    Args:
        n: Rows of the series.
        block: Mean length of a block; its exact and whole length where not ``stationary``.
        paths: How many in all.
        rng: Source of all randomness; equal states give equal rows.
        length: Rows of a path; ``n`` if omitted.
        stationary: Blocks of geometric length, else of fixed length.

    Yields:
        int64 ``[k, length]`` of rows in ``[0, n)``, with the ``k`` adding up to ``paths``.

    Raises:
        ConfigError: Nothing to draw from, or a block shorter than one row or not whole.
    """
    if min(n, paths) < 1 or not (block >= 1 and (stationary or float(block).is_integer())):
        raise ConfigError(
            f"cannot draw {paths} paths in blocks of {block} from {n} rows; give at least one "
            "path and row, and blocks of one row or more"
        )
    rows = n if length is None else length
    at_once = max(ROWS_AT_ONCE // max(rows, 1), 1)
    for done in range(0, paths, at_once):
        size = (min(at_once, paths - done), rows)
        if stationary:
            begins = rng.random(size) < 1.0 / block
            begins[:, :1] = True
        else:
            begins = np.zeros(size, np.bool_)
            begins[:, :: int(block)] = True
        at = np.flatnonzero(begins)
        starts = rng.integers(n, size=at.size)
        lengths = np.diff(at, append=begins.size)
        drawn = np.repeat(starts - at, lengths) + np.arange(begins.size)
        yield (drawn % n).reshape(size)


def block_length(values: Float) -> float:
    """Mean block for the stationary bootstrap (Politis and White 2004, corrected 2009).

    It is the length that estimates the error of the mean best, as the autocorrelations tell it: 1
    for a series without any, longer with the cube root of the rows otherwise.

    Args:
        values: ``[T]``.

    Returns:
        At least 1, at most a third of the rows.
    """
    n = values.size
    centred = values - values.mean()
    variance = float(centred @ centred) / n
    if n < 10 or variance <= ROUNDING**2:
        return 1.0
    quiet = max(5, math.ceil(math.sqrt(math.log10(n))))
    most = min(math.ceil(math.sqrt(n)) + quiet, n - 1)
    covariance = np.array([centred[k:] @ centred[: n - k] for k in range(most + 1)]) / n
    small = np.abs(covariance[1:]) < 2.0 * math.sqrt(math.log10(n) / n) * variance
    quiet_from = [m for m in range(most - quiet + 1) if small[m : m + quiet].all()]
    lags = min(2 * max(quiet_from[0] if quiet_from else most, 1), most)
    k = np.arange(1, lags + 1)
    flat_top = np.clip(2.0 * (1.0 - k / lags), 0.0, 1.0) * covariance[1 : lags + 1]
    spectrum = variance + 2.0 * float(flat_top.sum())
    if spectrum <= 0.0:
        return 1.0
    slope = 2.0 * float((k * flat_top).sum())
    best = float(np.cbrt(n * (slope / spectrum) ** 2))
    return min(max(best, 1.0), 3.0 * math.sqrt(n), n / 3.0)


def confidence_interval(
    values: Float,
    statistic: Statistic,
    rng: np.random.Generator,
    *,
    block: float | None = None,
    paths: int = PATHS,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic by the stationary bootstrap.

    Args:
        values: ``[T]``, such as bar returns.
        statistic: Of one series along the last axis, such as :func:`sharpe`.
        rng: Source of all randomness.
        block: Mean length of a block; :func:`block_length` if omitted.
        paths: Series to resample.
        level: Share of intervals that hold the true value.
    """
    length = block_length(values) if block is None else block
    drawn = block_bootstrap(values.size, length, paths, rng)
    found = np.concatenate([statistic(values[rows]) for rows in drawn])
    # Without interpolation: a series that never loses has an infinite ratio.
    ends = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    error = float(found.std(ddof=1)) if paths > 1 and np.isfinite(found).all() else math.inf
    return Interval(float(statistic(values)), float(ends[0]), float(ends[1]), error)


def mean(values: Float) -> Float:
    """Mean along the last axis."""
    return np.asarray(values.mean(axis=-1))


def sharpe(values: Float) -> Float:
    """Mean over standard deviation, per row; infinite without any deviation, 0 without both."""
    return _ratio(values.mean(axis=-1), values.std(axis=-1, ddof=1))


def sortino(values: Float) -> Float:
    """Mean over downside deviation (target 0, over all rows), per row; as :func:`sharpe`."""
    losses = np.minimum(values, 0.0)
    return _ratio(values.mean(axis=-1), np.sqrt(np.square(losses).mean(axis=-1)))


def _ratio(above: Float, below: Float) -> Float:
    risk = np.asarray(below > ROUNDING)
    without = np.where(np.abs(above) > ROUNDING, np.copysign(np.inf, above), 0.0)
    return np.divide(above, below, out=without, where=risk)
