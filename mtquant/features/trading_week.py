"""Where a bar stands in the trading week, which New York divides: days at 17:00, weeks on Friday.

The trading day from one 17:00 in New York to the next is a calendar day of the clock ``ny+7``, on
which the week closes at the midnight after Friday. That clock is right in summer and in winter and
is the same for every symbol, also for one that trades through the weekend. As everywhere a bar is
known by its opening time, and the decision falls one bar later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column
from mtquant.features.calendar import TimeFeature, flag
from mtquant.market.bars import Float, Int
from mtquant.market.clock import DAY_NS, HOUR_NS, WEEK_NS, Clock
from mtquant.market.rollover import weekday
from mtquant.market.timeframe import MINUTE_NS, Timeframe

#: Its midnight is 17:00 in New York.
TRADING_CLOCK = Clock.parse("ny+7")

#: From the opening on Sunday to the close on Friday; no change of season falls inside.
OPEN_NS = 5 * DAY_NS

_WEDNESDAY, _SATURDAY = 2, 5
_MOST_BARS = OPEN_NS // MINUTE_NS


@dataclass(frozen=True, config=PARAMETERS)
class Weekend(TimeFeature):
    """Whether the currency markets are closed for the weekend; for symbols that never close.

    Formula:
        1 where the bar opens from Friday 17:00 to Sunday 17:00 in New York
    Source:
        The trading week of the currency market.
    Weakness:
        Always 0 for a symbol that rests on the weekend. Holidays are not known. A bar of a week
        opens on Sunday and says nothing of its other days.
    """

    key: ClassVar[str] = "weekend"
    group: ClassVar[str] = "calendar"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``weekend``."""
        return (flag("weekend", "Friday 17:00 to Sunday 17:00 in New York"),)

    def on_times(self, time: Int, timeframe: Timeframe) -> Sequence[Float]:
        """1 on the weekend, else 0."""
        return [(_trading_day(time) >= _SATURDAY).astype(np.float64)]


@dataclass(frozen=True, config=PARAMETERS)
class WeekPhase(TimeFeature):
    """Whether the trading week is young, in its middle or near its end.

    Exactly one of the three flags is 1. Days are trading days, so Monday begins on Sunday at 17:00
    in New York.

    Formula:
        early: Monday and Tuesday; mid: Wednesday; late: Thursday, Friday and the weekend
    Source:
        The phases of the seed documents; the trading day and the weekend's place are mtquant's.
    Weakness:
        It steps where nothing happens in the market, and a holiday shifts nothing. On bars of a
        week it never changes.
    """

    key: ClassVar[str] = "week_phase"
    group: ClassVar[str] = "calendar"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``week_early``, ``week_mid``, ``week_late``."""
        return (
            flag("week_early", "trading Monday or Tuesday"),
            flag("week_mid", "trading Wednesday"),
            flag("week_late", "trading Thursday, Friday or weekend"),
        )

    def on_times(self, time: Int, timeframe: Timeframe) -> Sequence[Float]:
        """One flag of three is 1."""
        day = _trading_day(time)
        phases = (day < _WEDNESDAY, day == _WEDNESDAY, day > _WEDNESDAY)
        return [phase.astype(np.float64) for phase in phases]


@dataclass(frozen=True, config=PARAMETERS)
class WeekRemaining(TimeFeature):
    """What is left of the trading week, as a share of its time and in bars.

    The week runs from Sunday to Friday, 17:00 in New York. On the weekend, where only symbols that
    never close have bars, the whole next week is left: their clock is everybody's.

    Formula:
        week_remaining = time from the bar's opening to the weekly close / 120 h, at most 1;
        week_bars_left = ln(1 + bars that open after this one before the weekly close)
    Source:
        mtquant.
    Weakness:
        Bars are counted as if none were missing: daily breaks, holidays and early closes are not
        known. On bars of a week or a month it says nothing.
    """

    key: ClassVar[str] = "week_remaining"
    group: ClassVar[str] = "calendar"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``week_remaining`` and ``week_bars_left``."""
        most = math.log1p(_MOST_BARS)
        return (
            Column("week_remaining", "share of the trading week to come", 0.0, 1.0, fitted=False),
            Column("week_bars_left", "log of 1 + bars until the weekly close", 0.0, most),
        )

    def on_times(self, time: Int, timeframe: Timeframe) -> Sequence[Float]:
        """Time to Friday 17:00 in New York; a bar that merely begins before it counts."""
        since_monday = (TRADING_CLOCK.from_utc(time) + 3 * DAY_NS) % WEEK_NS
        left = (OPEN_NS - since_monday - 1) % WEEK_NS + 1
        later = np.minimum(
            (left - 1) // timeframe.nanoseconds, -(-OPEN_NS // timeframe.nanoseconds)
        )
        return [np.minimum(left / OPEN_NS, 1.0), np.log1p(later.astype(np.float64))]


@dataclass(frozen=True, config=PARAMETERS)
class Rollover(TimeFeature):
    """Nearness of the daily rollover at 17:00 in New York, when swap is booked and spreads widen.

    Formula:
        rollover_hour = 1 where the bar has a moment between 17:00 and 18:00 in New York;
        day_remaining = time from the bar's opening to the next 17:00 / length of that day, which
        is 23, 24 or 25 hours
    Source:
        The value date of the currency market turns at 17:00 in New York.
    Weakness:
        A broker whose server clock is not New York's plus seven hours rolls over at another hour
        in some weeks. On bars of a day and longer the flag is always 1.
    """

    key: ClassVar[str] = "rollover"
    group: ClassVar[str] = "calendar"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``rollover_hour`` and ``day_remaining``."""
        return (
            flag("rollover_hour", "the bar meets 17:00 to 18:00 in New York"),
            Column("day_remaining", "share of the day to the rollover", 0.0, 1.0, fitted=False),
        )

    def on_times(self, time: Int, timeframe: Timeframe) -> Sequence[Float]:
        """Measured between the two rollovers around the bar's opening."""
        midnight = TRADING_CLOCK.day_number(time) * DAY_NS
        before = TRADING_CLOCK.to_utc(midnight)
        after = TRADING_CLOCK.to_utc(midnight + DAY_NS)
        near = (time - before < HOUR_NS) | (time + timeframe.nanoseconds > after)
        return [near.astype(np.float64), (after - time) / (after - before)]


def _trading_day(time: Int) -> Int:
    """Day of the trading week, 0 for Monday."""
    return weekday(TRADING_CLOCK.day_number(time))
