"""Trailing windows: each value comes from a fixed number of bars and from nothing before them.

TA-Lib smooths with recursions over the whole history and with running sums. Both make the value at
a bar depend on where the history began: by rounding drift always, and by any amount once a lively
market is followed by a flat one. Here an exponential mean is cut off where its remaining weight
falls below ``TAIL`` and every sum is taken afresh, in one fixed order. A live window of just enough
bars therefore gives the bits of the whole history, and the first rows are NaN, never a guess.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from mtquant.jit import kernel
from mtquant.market.bars import Float

#: Weight of the past that an exponential mean leaves out; far inside the contract's 1e-9.
TAIL = 1e-12

#: Outputs that are summed together, so that a pass over them stays in the processor's cache.
BLOCK = 1024


def ema(values: Float, period: int) -> Float:
    """Exponential mean with the weight ``2 / (period + 1)`` on the newest bar.

    Args:
        values: ``[T]``; leading NaN are warm-up and lengthen the result's.
        period: Bars, the ``n`` of "EMA n".

    Returns:
        ``[T]``, NaN for the first ``ema_bars(period) - 1`` rows.
    """
    return _weighted_sum(values, _weights(_ema_decay(period)))


def wilder(values: Float, period: int) -> Float:
    """Wilder's mean, the exponential one with the weight ``1 / period`` on the newest bar.

    Args:
        values: ``[T]``; leading NaN are warm-up and lengthen the result's.
        period: Bars, the 14 of "RSI 14".

    Returns:
        ``[T]``, NaN for the first ``wilder_bars(period) - 1`` rows.
    """
    return _weighted_sum(values, _weights(1.0 - 1.0 / period))


def ema_bars(period: int) -> int:
    """Bars that one value of :func:`ema` reads."""
    return _weights(_ema_decay(period)).size


def wilder_bars(period: int) -> int:
    """Bars that one value of :func:`wilder` reads."""
    return _weights(1.0 - 1.0 / period).size


def ratio(numerator: Float, denominator: Float, empty: float) -> Float:
    """``numerator / denominator``, and ``empty`` where the denominator is exactly 0."""
    result = np.full_like(numerator, empty)
    np.divide(numerator, denominator, out=result, where=denominator != 0.0)
    return result


def _ema_decay(period: int) -> float:
    return 1.0 - 2.0 / (period + 1.0)


@cache
def _weights(decay: float) -> Float:
    """Weights from the newest bar backwards; they sum to 1."""
    bars = math.ceil(math.log(TAIL) / math.log(decay)) if decay > 0.0 else 1
    weights: Float = decay ** np.arange(bars, dtype=np.float64)
    weights /= weights.sum()
    weights.flags.writeable = False
    return weights


@kernel(allocates=True)
def _weighted_sum(values: Float, weights: Float) -> Float:
    bars = weights.size
    result = np.full(values.size, np.nan)
    for start in range(bars - 1, values.size, BLOCK):
        block = result[start : start + BLOCK]
        block[:] = 0.0
        for age in range(bars):
            weight = weights[age]
            aged = values[start - age : start - age + block.size]
            for i in range(block.size):
                block[i] += weight * aged[i]
    return result


@kernel(allocates=True)
def standard_score(values: Float, period: int) -> Float:
    """Distance of the newest value from the window's mean, in its standard deviations.

    Deviations are taken from the newest value before anything is summed, so a constant window
    gives exactly 0 at any price level.

    Args:
        values: ``[T]``.
        period: Bars in the window; the deviation divides by ``period``, as Bollinger's does.

    Returns:
        ``[T]`` within ``sqrt(period - 1)`` either side of 0; NaN before the first full
        window, 0 where the window is constant.
    """
    result = np.full(values.size, np.nan)
    bound = math.sqrt(period - 1.0)
    for row in range(period - 1, values.size):
        window = values[row - period + 1 : row + 1]
        mean = 0.0
        for i in range(period):
            mean += window[i] - values[row]
        mean /= period
        square = 0.0
        for i in range(period):
            deviation = window[i] - values[row] - mean
            square += deviation * deviation
        score = -mean / math.sqrt(square / period) if square > 0.0 else 0.0
        result[row] = min(max(score, -bound), bound)
    return result


@kernel(allocates=True)
def root_mean_square(values: Float, period: int) -> Float:
    """Root of the mean square of the last ``period`` values.

    Args:
        values: ``[T]``; leading NaN are warm-up and lengthen the result's.
        period: Bars in the window.

    Returns:
        ``[T]``, NaN before the first full window.
    """
    result = np.full(values.size, np.nan)
    for row in range(period - 1, values.size):
        square = 0.0
        for i in range(row - period + 1, row + 1):
            square += values[i] * values[i]
        result[row] = math.sqrt(square / period)
    return result


@kernel(allocates=True)
def median(values: Float, period: int) -> Float:
    """Median of those of the last ``period`` values that are not NaN.

    Args:
        values: ``[T]``; NaN means not recorded.
        period: Bars in the window.

    Returns:
        ``[T]``, NaN where the window holds nothing; the first windows are shorter.
    """
    result = np.full(values.size, np.nan)
    ordered = np.empty(period)
    count = 0
    for row in range(values.size):
        leaving = values[row - period] if row >= period else np.nan
        if not np.isnan(leaving):
            place = np.searchsorted(ordered[:count], leaving)
            for i in range(place, count - 1):
                ordered[i] = ordered[i + 1]
            count -= 1
        if not np.isnan(values[row]):
            place = np.searchsorted(ordered[:count], values[row])
            for i in range(count, place, -1):
                ordered[i] = ordered[i - 1]
            ordered[place] = values[row]
            count += 1
        if count:
            result[row] = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2.0
    return result
