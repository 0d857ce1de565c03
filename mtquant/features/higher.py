"""Higher timeframes as features: only their closed bars, put together from the bars at hand.

Periods are those of :mod:`mtquant.market.resample`, on the broker's clock. A higher bar is seen
from the close of the base bar at whose end its period is over; what belongs to the period still
forming is never seen. Of the window that a row reads, the newest whole higher bars are used, and
the window is so long that there are always enough: a row is the same live and in training.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.errors import ConfigError, DataError
from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.returns import average_true_range
from mtquant.features.windows import ratio, wilder_bars
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float, Int
from mtquant.market.clock import DAY_NS, Clock
from mtquant.market.timeframe import Timeframe

#: Bars that a row may read at most; live runners hold no more.
MOST_BARS = 1500

_EPOCH_FROM_SUNDAY_DAYS = 4  # 1970-01-01 was a Thursday; a trading week opens on Sunday

Base = Literal[
    "M1", "M5", "M10", "M15", "M20", "M30", "H1", "H2", "H3", "H4", "H6", "H8", "H12", "D1"
]
Higher = Literal[
    "M5", "M10", "M15", "M20", "M30", "H1", "H2", "H3", "H4", "H6", "H8", "H12", "D1", "W1"
]
Count = Annotated[int, Field(ge=1, le=500)]
Period = Annotated[int, Field(ge=2, le=500)]


@dataclass(frozen=True, config=PARAMETERS)
class HigherFeature(SymbolFeature):
    """What features of higher timeframes share: which bars, of which bars, on which clock."""

    timeframe: Higher = "D1"
    base: Base = "H1"
    clock: str = "ny+7"

    def __post_init__(self) -> None:
        higher, base = Timeframe[self.timeframe], Timeframe[self.base]
        if not _fits(base, higher):
            raise ValueError(f"base {self.base} does not fit into timeframe {self.timeframe}")
        try:
            _clock(self.clock)
        except ConfigError as problem:
            raise ValueError(str(problem)) from None
        if self.window > MOST_BARS:
            raise ValueError(
                f"{self.most} closed {self.timeframe} bars take {self.window} bars of {self.base}, "
                f"more than {MOST_BARS}; ask for fewer, or for a lower timeframe"
            )

    @property
    @abstractmethod
    def most(self) -> int:
        """Closed higher bars that a row needs."""

    @property
    def window(self) -> int:
        """Base bars that surely hold as many whole higher bars.

        The period still forming and the closed ones at their longest, the hour that is repeated
        when a clock goes back, and the bar before: a higher bar is known to be whole if the window
        shows where the one before it ended.
        """
        base = Timeframe[self.base].minutes
        return (self.most + 1) * (Timeframe[self.timeframe].minutes // base) + max(60 // base, 1)

    def closed(self, bars: Bars, counts: Sequence[int]) -> list[Float]:
        """The last closed higher bars of each row, as many as each of ``counts`` says.

        Returns:
            One ``[4, T]`` each: highest high, lowest low, newest close, mean close; all four are
            the row's own close where there is no closed higher bar.

        Raises:
            DataError: The bars are shorter than ``base``, or do not fit into the timeframe.
        """
        higher = Timeframe[self.timeframe]
        too_short = bars.timeframe.minutes < Timeframe[self.base].minutes
        if too_short or not _fits(bars.timeframe, higher):
            raise DataError(
                f"{bars.symbol}: feature '{self.key}' makes {self.timeframe} bars from {self.base} "
                f"bars or longer ones that fit, got {bars.timeframe.name}; set its 'base' and "
                "'timeframe' for these bars"
            )
        clock = _clock(self.clock)
        periods = _periods(bars.time, higher, clock)
        at_close = _periods(bars.time + bars.timeframe.nanoseconds, higher, clock)
        prices = bars.high, bars.low, bars.close
        return [_closed(periods, at_close, *prices, count, self.lookback) for count in counts]


@dataclass(frozen=True, config=PARAMETERS)
class HigherChannel(HigherFeature):
    """How many average true ranges the close stands from the high and low of closed higher bars.

    With the defaults: from yesterday's extremes and from those of the last five days. A distance is
    negative where the close has left the channel. Ranges are those of the bars at hand; distances
    are cut at four times the square root of the channel's bars, four times its usual width.

    Formula:
        higher_high = (highest high of the last n closed higher bars - close) / ATR
        higher_low = (close - their lowest low) / ATR
    Source:
        Donchian's channel (1960) and floor traders' key levels; the units are mtquant's.
    Weakness:
        At a period's end the levels jump. Whether prices turn or run at yesterday's extremes is
        told both ways; nothing is known that holds in every market. Where the broker's day
        ends decides what yesterday was: set ``clock`` to the symbol's.

    Attributes:
        counts: Closed higher bars in a channel, two columns each.
        atr_period: Bars of the average true range.
        timeframe: The higher timeframe.
        base: Timeframe of the shortest bars that it is given; it decides the lookback.
        clock: On which the periods begin, as the symbol's ``clock``.
    """

    key: ClassVar[str] = "higher_channel"
    group: ClassVar[str] = "location"

    counts: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 5)
    atr_period: Period = 14

    @property
    def columns(self) -> tuple[Column, ...]:
        """``higher_high_TIMEFRAME_N`` and ``higher_low_TIMEFRAME_N`` for each count N."""
        frame, unit = self.timeframe.lower(), f"in ATR {self.atr_period}"
        return tuple(
            Column(f"higher_{side}_{frame}_{n}", f"{meaning}, {unit}", -self._cut(n), self._cut(n))
            for n in self.counts
            for side, meaning in (
                ("high", f"high of {n} closed {self.timeframe} minus close"),
                ("low", f"close minus low of {n} closed {self.timeframe}"),
            )
        )

    def _cut(self, count: int) -> float:
        return 4.0 * math.sqrt(
            count * Timeframe[self.timeframe].minutes / Timeframe[self.base].minutes
        )

    @property
    def most(self) -> int:
        """The widest channel's."""
        return max(self.counts)

    @property
    def lookback(self) -> int:
        """The window, or the range's mean and the close before it."""
        return max(self.window, wilder_bars(self.atr_period) + 1)

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """Both distances for each count, 0 in a market without any range."""
        atr = average_true_range(bars, self.atr_period)
        columns = []
        for count, (high, low, _, _) in zip(
            self.counts, self.closed(bars, self.counts), strict=True
        ):
            cut = self._cut(count)
            for gap in (high - bars.close, bars.close - low):
                columns.append(np.clip(ratio(gap, atr, empty=0.0), -cut, cut))
        return columns


@dataclass(frozen=True, config=PARAMETERS)
class HigherTrend(HigherFeature):
    """Where the last closed higher bar closed against the mean of the last closes.

    Formula:
        ln(newest close / mean of the last n closes)  of closed higher bars
    Source:
        Price over its moving average (Brock, Lakonishok and LeBaron 1992), on the higher timeframe.
    Weakness:
        It stands still until the next higher bar has closed: hours or a day late by construction.
        Trends over days are weak in currencies, and the width follows volatility.

    Attributes:
        count: Closed higher bars in the mean, the newest included.
        timeframe: The higher timeframe.
        base: Timeframe of the shortest bars that it is given; it decides the lookback.
        clock: On which the periods begin, as the symbol's ``clock``.
    """

    key: ClassVar[str] = "higher_trend"
    group: ClassVar[str] = "momentum"

    count: Annotated[int, Field(ge=2, le=500)] = 5

    @property
    def columns(self) -> tuple[Column, ...]:
        """``higher_trend_TIMEFRAME_N``; a close is at most N times the mean that it is part of."""
        name = f"higher_trend_{self.timeframe.lower()}_{self.count}"
        meaning = f"log of {self.timeframe} close over the mean of {self.count}"
        return (Column(name, meaning, high=math.log(self.count)),)

    @property
    def most(self) -> int:
        """The mean's."""
        return self.count

    @property
    def lookback(self) -> int:
        """The window."""
        return self.window

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``ln(close / mean)``, 0 while there is no closed higher bar."""
        ((_, _, newest, mean),) = self.closed(bars, (self.count,))
        return [np.minimum(np.log(newest / mean), math.log(self.count))]


@cache
def _clock(name: str) -> Clock:
    return Clock.parse(name)


def _fits(base: Timeframe, higher: Timeframe) -> bool:
    """Whether whole bars of ``base`` make up each bar of ``higher``, two at least."""
    day = min(higher.minutes, Timeframe.D1.minutes)
    return base.minutes < higher.minutes and day % base.minutes == 0


def _periods(time: Int, timeframe: Timeframe, clock: Clock) -> Int:
    """Which period holds each instant, ``[T]``: equal within one, larger in a later one."""
    wall = clock.from_utc(time)
    if timeframe.minutes <= Timeframe.H1.minutes:
        # An hour that the clock repeats is two hours: count from the instant, not on the wall.
        return time - wall % timeframe.nanoseconds
    first = _EPOCH_FROM_SUNDAY_DAYS * DAY_NS if timeframe is Timeframe.W1 else 0
    periods: Int = (wall + first) // timeframe.nanoseconds
    return periods


@kernel(allocates=True)
def _closed(
    periods: Int, at_close: Int, high: Float, low: Float, close: Float, count: int, window: int
) -> Float:
    """See :meth:`HigherFeature.closed`; ``at_close`` is the period that each bar's end is in.

    Extremes grow bar by bar, so a row sees no later bar even where a bar overlaps the next.
    """
    result = np.empty((4, close.size))
    bars = 1 + np.count_nonzero(np.diff(periods)) if close.size else 0
    first = np.empty(bars, np.int64)
    highest, lowest, last = np.empty(bars), np.empty(bars), np.empty(bars)
    forming = -1
    for row in range(close.size):
        if row == 0 or periods[row] != periods[row - 1]:
            forming += 1
            first[forming] = row
            highest[forming], lowest[forming] = high[row], low[row]
        highest[forming] = max(highest[forming], high[row])
        lowest[forming] = min(lowest[forming], low[row])
        last[forming] = close[row]
        newest = forming if at_close[row] > periods[row] else forming - 1
        result[:, row] = close[row]
        found, shift = 0, 0.0
        while found < count and newest >= found and first[newest - found] > row - window + 1:
            bar = newest - found
            found += 1
            if found == 1:
                result[0, row], result[1, row] = highest[bar], lowest[bar]
            result[0, row] = max(result[0, row], highest[bar])
            result[1, row] = min(result[1, row], lowest[bar])
            shift += last[bar] - last[newest]
        if found:
            result[2, row] = last[newest]
            result[3, row] = last[newest] + shift / found
    return result
