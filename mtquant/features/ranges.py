"""Volatility from a bar's range: four prices tell more of a bar than its close alone.

All estimates are standard deviations per bar of the log price and are not annualised. On a
diffusion they need about 5 to 7 times fewer bars than closes do for the same precision. A price
that is seen at n moments a bar has a smaller range than one that is watched all the time: the
estimates are then low by 0.7 (Parkinson) to 0.9 (Garman-Klass) over sqrt(n) of themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.returns import average_true_range
from mtquant.features.windows import ratio, root_mean_square, wilder_bars
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float

Period = Annotated[int, Field(ge=2, le=1000)]


@dataclass(frozen=True, config=PARAMETERS)
class Parkinson(SymbolFeature):
    """Volatility from the high and the low of each bar.

    Formula:
        sqrt(mean(ln(high / low)^2) / (4 ln 2))
    Source:
        Parkinson (1980), The Extreme Value Method for Estimating the Variance of the Rate of
        Return, Journal of Business 53.
    Weakness:
        Gaps between bars are not seen, drift raises it, and few ticks a bar lower it. High and low
        are the extremes of the bid only: one false tick in either is a false estimate.

    Attributes:
        period: Bars in the window.
    """

    key: ClassVar[str] = "parkinson"
    group: ClassVar[str] = "ranges"

    period: Period = 20

    @property
    def columns(self) -> tuple[Column, ...]:
        """``parkinson_N``."""
        return (Column(f"parkinson_{self.period}", "volatility from ranges", low=0.0),)

    @property
    def lookback(self) -> int:
        """The window."""
        return self.period

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``sqrt(mean(ln(high / low) ** 2) / (4 ln 2))``."""
        spans = root_mean_square(np.log(bars.high / bars.low), self.period)
        return [spans / math.sqrt(4.0 * math.log(2.0))]


@dataclass(frozen=True, config=PARAMETERS)
class GarmanKlass(SymbolFeature):
    """Volatility from the range and the body of each bar.

    Formula:
        sqrt(max(0, mean(0.5 ln(high / low)^2 - (2 ln 2 - 1) ln(close / open)^2)))
    Source:
        Garman and Klass (1980), On the Estimation of Security Price Volatilities from Historical
        Data, Journal of Business 53; their practical form.
    Weakness:
        As :class:`Parkinson`: no gaps, and it takes the drift within a bar for volatility. In bars
        of few ticks the range is too small for the body, and it comes out low.

    Attributes:
        period: Bars in the window.
    """

    key: ClassVar[str] = "garman_klass"
    group: ClassVar[str] = "ranges"

    period: Period = 20

    @property
    def columns(self) -> tuple[Column, ...]:
        """``garman_klass_N``."""
        return (Column(f"garman_klass_{self.period}", "volatility from ranges, bodies", low=0.0),)

    @property
    def lookback(self) -> int:
        """The window."""
        return self.period

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """The root of the mean; only a bar whose open or close leaves its range is negative."""
        span, body = np.log(bars.high / bars.low), np.log(bars.close / bars.open)
        terms = 0.5 * span * span - (2.0 * math.log(2.0) - 1.0) * body * body
        return [np.sqrt(np.maximum(mean(terms, self.period), 0.0))]


@dataclass(frozen=True, config=PARAMETERS)
class YangZhang(SymbolFeature):
    """Volatility from gaps, bodies and ranges, free of the drift.

    Formula:
        sqrt(V(ln(open / last close)) + k V(ln(close / open)) + (1 - k) RS)
        V = sample variance over n = ``period`` bars, k = 0.34 / (1.34 + (n + 1) / (n - 1))
        RS = mean(u (u - c) + d (d - c)),  u, d, c = ln of high, low and close over the open
    Source:
        Yang and Zhang (2000), Drift-Independent Volatility Estimation Based on High, Low, Open, and
        Close Prices, Journal of Business 73; RS is that of Rogers and Satchell (1991).
    Weakness:
        Inside a week bars open where the last closed and the first term is nearly 0; over a
        weekend it is one outlier, which stays for a window. False ticks harm it as any range.

    Attributes:
        period: Bars in the window.
    """

    key: ClassVar[str] = "yang_zhang"
    group: ClassVar[str] = "ranges"

    period: Period = 20

    @property
    def columns(self) -> tuple[Column, ...]:
        """``yang_zhang_N``."""
        return (Column(f"yang_zhang_{self.period}", "volatility with gaps, no drift", low=0.0),)

    @property
    def lookback(self) -> int:
        """The window and the close before it."""
        return self.period + 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """The root of the three variances."""
        n = self.period
        k = 0.34 / (1.34 + (n + 1) / (n - 1))
        gap = np.full(len(bars), np.nan)
        gap[1:] = np.log(bars.open[1:] / bars.close[:-1])
        body = np.log(bars.close / bars.open)
        up, down = np.log(bars.high / bars.open), np.log(bars.low / bars.open)
        within = mean(up * (up - body) + down * (down - body), n)
        total = sample_variance(gap, n) + k * sample_variance(body, n) + (1.0 - k) * within
        return [np.sqrt(np.maximum(total, 0.0))]


@dataclass(frozen=True, config=PARAMETERS)
class RangeToAtr(SymbolFeature):
    """Log of the bar's range over the average true range.

    The newest bar weighs ``1 / period`` in its own average, so the quotient is at most ``period``.
    A bar without range would give minus infinity: it stands at the floor, and so does every range
    below it. Where the average itself is 0 nothing is unusual, and the value is 0.

    Formula:
        ln((high - low) / ATR)  within [ln(least), ln(period)]
    Source:
        mtquant.
    Weakness:
        The day's rhythm of volatility is in it. A gap enters the average and not the range, so the
        first bars after a weekend look small.

    Attributes:
        period: Bars of the average true range.
        least: The smallest quotient that is told apart from none.
    """

    key: ClassVar[str] = "range_to_atr"
    group: ClassVar[str] = "ranges"

    period: Annotated[int, Field(ge=2, le=500)] = 14
    least: Annotated[float, Field(ge=1e-6, le=0.5)] = 0.01

    @property
    def columns(self) -> tuple[Column, ...]:
        """``range_to_atr``."""
        low, high = math.log(self.least), math.log(self.period)
        return (Column("range_to_atr", f"log of range over ATR {self.period}", low, high),)

    @property
    def lookback(self) -> int:
        """Wilder's mean of ranges, and the close before the first."""
        return wilder_bars(self.period) + 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``ln((high - low) / ATR)``, cut at its bounds."""
        quotient = ratio(bars.high - bars.low, average_true_range(bars, self.period), empty=1.0)
        (column,) = self.columns
        return [np.clip(np.log(np.maximum(quotient, self.least)), column.low, column.high)]


@kernel(allocates=True)
def mean(values: Float, period: int) -> Float:
    """Mean of the last ``period`` values, ``[T]``; leading NaN are warm-up and lengthen it."""
    result = np.full(values.size, np.nan)
    for row in range(period - 1, values.size):
        total = 0.0
        for i in range(row - period + 1, row + 1):
            total += values[i]
        result[row] = total / period
    return result


@kernel(allocates=True)
def sample_variance(values: Float, period: int) -> Float:
    """Sample variance (divided by ``period - 1``) of the last ``period`` values, ``[T]``.

    Deviations are taken from the newest value first: a constant window gives exactly 0.
    """
    result = np.full(values.size, np.nan)
    for row in range(period - 1, values.size):
        middle = 0.0
        for i in range(row - period + 1, row + 1):
            middle += values[i] - values[row]
        middle /= period
        square = 0.0
        for i in range(row - period + 1, row + 1):
            deviation = values[i] - values[row] - middle
            square += deviation * deviation
        result[row] = square / (period - 1)
    return result
