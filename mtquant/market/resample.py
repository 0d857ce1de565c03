"""Higher timeframes from lower ones, on the trading clock.

Periods are the server's: a day opens at its midnight, a week on Sunday, a month on the 1st, as in
MetaTrader. A first or last period of which a part was not seen is dropped; one is whole when no
minute in which the symbol trades is missing at that edge. Holes inside stay as they are.
"""

from __future__ import annotations

import numpy as np

from mtquant.errors import DataError
from mtquant.market.bars import Bars, Int
from mtquant.market.clock import DAY_NS, Clock
from mtquant.market.hours import TradingHours
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

_EPOCH_FROM_SUNDAY_DAYS = 4  # 1970-01-01 was a Thursday


def resample(bars: Bars, timeframe: Timeframe, spec: SymbolSpec) -> Bars:
    """Bars of a higher timeframe.

    Open is the first, high the highest, low the lowest, close the last, volume the sum. Spread is
    the widest recorded: a fill anywhere in the bar then costs no less than it would have.

    Args:
        bars: Bars of a lower timeframe.
        timeframe: The higher one; the lower must fit into it a whole number of times.
        spec: Gives the server clock and the trading hours.

    Raises:
        DataError: The timeframe is lower, does not hold whole bars, or no period is whole.
    """
    if timeframe is bars.timeframe:
        return bars
    source = bars.timeframe
    whole = min(timeframe.minutes, Timeframe.D1.minutes) % source.minutes == 0
    if timeframe.minutes < source.minutes or not whole:
        raise DataError(
            f"{bars.symbol}: {source.name} bars cannot be resampled to {timeframe.name}; start "
            "from a timeframe that fits into it"
        )
    starts = _period_starts(bars.time, timeframe, Clock.parse(spec.clock))
    first = np.flatnonzero(np.concatenate([[True], np.diff(starts) > 0]))
    complete = slice(*_whole_periods(bars, starts[first], timeframe, spec))
    columns = {
        "time": starts[first],
        "open": bars.open[first],
        "high": np.maximum.reduceat(bars.high, first),
        "low": np.minimum.reduceat(bars.low, first),
        "close": bars.close[np.concatenate([first[1:] - 1, [len(bars) - 1]])],
        "volume": np.add.reduceat(bars.volume, first),
        "spread": np.maximum.reduceat(bars.spread, first),
    }
    columns = {name: column[complete] for name, column in columns.items()}
    if not columns["time"].size:
        raise DataError(
            f"{bars.symbol}: {len(bars)} {source.name} bars make no whole {timeframe.name} bar; "
            "import more history"
        )
    return Bars(bars.symbol, timeframe, **columns)


def _period_starts(time: Int, timeframe: Timeframe, clock: Clock) -> Int:
    """Start of the period of each instant, int64 ns UTC ``[T]``."""
    wall = clock.from_utc(time)
    opening = _floor(wall, timeframe)
    if timeframe.minutes <= Timeframe.H1.minutes:
        # No change of season splits an hour, and the repeated hour must not be merged with the
        # first: measure back from the bar itself.
        return time - (wall - opening)
    unique, inverse = np.unique(opening, return_inverse=True)
    starts: Int = clock.locate(unique).utc[inverse]
    return starts


def _floor(wall: Int, timeframe: Timeframe) -> Int:
    if timeframe is Timeframe.MN1:
        months = wall.astype("datetime64[ns]").astype("datetime64[M]")
        return months.astype("datetime64[ns]").astype(np.int64)
    if timeframe is Timeframe.W1:
        day = wall // DAY_NS
        return (day - (day + _EPOCH_FROM_SUNDAY_DAYS) % 7) * DAY_NS
    return wall // timeframe.nanoseconds * timeframe.nanoseconds


def _whole_periods(
    bars: Bars, starts: Int, timeframe: Timeframe, spec: SymbolSpec
) -> tuple[int, int]:
    """Index of the first whole period and of the one after the last."""
    hours, clock = TradingHours.of(spec), Clock.parse(spec.clock)
    begun_before = hours.open_between(int(starts[0]), int(bars.time[0]))
    closes = int(bars.time[-1]) + bars.timeframe.nanoseconds
    # One and a half periods on is always inside the next one, however long this one is.
    inside_next = starts[-1:] + timeframe.nanoseconds * 3 // 2
    end = int(_period_starts(inside_next, timeframe, clock)[0])
    goes_on = closes < end and hours.open_between(closes, end)
    return int(begun_before), starts.size - int(goes_on)
