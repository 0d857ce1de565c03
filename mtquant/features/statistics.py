"""Three textbook answers to one question: does this stretch of market differ from a random walk?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.returns import log_return
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float, Int


@dataclass(frozen=True, config=PARAMETERS)
class RegimeStatistics(SymbolFeature):
    """Permutation entropy of prices, lag-1 autocorrelation and variance ratio of returns.

    Returns are taken around 0, not around their mean: over a hundred bars the mean is noise, and a
    steady climb then counts as persistence. Entropy is taken of prices, where it tells markets from
    noise far better than on returns.

    Formula:
        permutation_entropy = -sum p ln p / ln 6 over the 6 orders of three successive closes;
            of two equal closes the earlier counts as the lower
        autocorrelation_1 = sum r[t] r[t-1] / sum r[t]^2
        variance_ratio_Q = mean of squared Q-bar returns (overlapping) / (Q * mean r^2)
    Source:
        Bandt and Pompe (2002), Permutation entropy; Lo and MacKinlay (1988), Stock market prices do
        not follow random walks.
    Weakness:
        On 100 bars the standard error of the autocorrelation is 0.1 and that of the variance ratio
        about 0.3. A random walk's entropy is high but not 1 (0.95 on 100 bars): runs are likelier
        than turns. A flat market reads as perfectly ordered: entropy 0, autocorrelation 0, ratio 1.
        None of them sees volatility clustering.

    Attributes:
        window: Returns in a row; the entropy reads their closes.
        horizon: Bars of the long returns, Q.
    """

    key: ClassVar[str] = "regime_statistics"
    group: ClassVar[str] = "regime"

    window: Annotated[int, Field(ge=10, le=2000)] = 100
    horizon: Annotated[int, Field(ge=2, le=200)] = 8

    def __post_init__(self) -> None:
        if 2 * self.horizon > self.window:
            raise ValueError(
                f"horizon {self.horizon} must be at most half the window, {self.window}"
            )

    @property
    def columns(self) -> tuple[Column, ...]:
        """``permutation_entropy``, ``autocorrelation_1`` and ``variance_ratio_Q``."""
        return (
            Column("permutation_entropy", "disorder of three successive closes", 0.0, 1.0),
            Column("autocorrelation_1", "return against the one before", -1.0, 1.0),
            Column(
                f"variance_ratio_{self.horizon}",
                f"variance of {self.horizon}-bar returns against single ones",
                0.0,
                self._bound,
            ),
        )

    @property
    def _bound(self) -> float:
        """No value lies above it: a return is in at most Q long ones, of Q returns each."""
        return self.horizon * self.window / (self.window - self.horizon + 1)

    @property
    def lookback(self) -> int:
        """The returns and the close before them."""
        return self.window + 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """The three statistics of the last ``window`` returns."""
        returns = log_return(bars.close, 1)
        long = log_return(bars.close, self.horizon)
        ratio = variance_ratio(returns, long, self.window, self.horizon)
        return [
            permutation_entropy(orders(bars.close), self.window - 1),
            autocorrelation(returns, self.window),
            np.minimum(ratio, self._bound),
        ]


@kernel(allocates=True)
def orders(values: Float) -> Int:
    """Which of the 6 orders the last three values stand in, ``[T]`` numbers below 8."""
    result = np.zeros(values.size, np.int64)
    for row in range(2, values.size):
        first, second, third = values[row - 2], values[row - 1], values[row]
        result[row] = 4 * (first <= second) + 2 * (second <= third) + (first <= third)
    return result


@kernel(allocates=True)
def permutation_entropy(orders: Int, patterns: int) -> Float:
    """Entropy of the last ``patterns`` orders, 1 if all six are equally frequent.

    Args:
        orders: ``[T]`` from :func:`orders`, the first two of them void.
        patterns: Orders in a window.

    Returns:
        ``[T]``, NaN before the first full window.
    """
    result = np.full(orders.size, np.nan)
    count = np.empty(8)
    for row in range(patterns + 1, orders.size):
        count[:] = 0.0
        for i in range(row - patterns + 1, row + 1):
            count[orders[i]] += 1.0
        entropy = 0.0
        for share in count / patterns:
            if share > 0.0:
                entropy -= share * math.log(share)
        result[row] = min(entropy / math.log(6.0), 1.0)
    return result


@kernel(allocates=True)
def autocorrelation(returns: Float, window: int) -> Float:
    """``sum r[t] r[t-1] / sum r[t]^2`` over a window; 0 where nothing moved, NaN at first."""
    result = np.full(returns.size, np.nan)
    for row in range(window, returns.size):
        first = row - window + 1
        square, product = returns[first] * returns[first], 0.0
        for i in range(first + 1, row + 1):
            square += returns[i] * returns[i]
            product += returns[i] * returns[i - 1]
        result[row] = product / square if square > 0.0 else 0.0
    return result


@kernel(allocates=True)
def variance_ratio(returns: Float, long: Float, window: int, horizon: int) -> Float:
    """Mean square of long returns over ``horizon`` times that of single ones.

    Args:
        returns: ``[T]``, over one bar.
        long: ``[T]``, over ``horizon`` bars.
        window: Single returns in a window; the long ones lie wholly inside it.
        horizon: Bars of the long returns.

    Returns:
        ``[T]``, 1 where nothing moved, NaN before the first full window.
    """
    result = np.full(returns.size, np.nan)
    count = window - horizon + 1
    for row in range(window, returns.size):
        square = square_long = 0.0
        for i in range(row - window + 1, row + 1):
            square += returns[i] * returns[i]
        for i in range(row - count + 1, row + 1):
            square_long += long[i] * long[i]
        result[row] = square_long * window / (square * count * horizon) if square > 0.0 else 1.0
    return result
