"""When it is: hour and weekday as points on a circle, and which markets are at their desks.

Everything is read off the opening time of the panel's row, which is what a bar is known by. The
decision falls at the bar's close, one bar later. Sessions follow each city's own wall clock, so
London and New York keep their hours through the weeks in spring and autumn when only one of them
has changed; Tokyo never changes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, BaseFeature, Column, Params
from mtquant.market.bars import Float, Int
from mtquant.market.clock import DAY_NS, HOUR_NS, Clock, Mask
from mtquant.market.panel import Panel
from mtquant.market.rollover import weekday
from mtquant.market.timeframe import Timeframe

#: City: zone, first hour and hour after the last, on the city's wall clock, Monday to Friday.
SESSIONS = {
    "asia": ("Asia/Tokyo", 9, 18),
    "london": ("Europe/London", 8, 17),
    "new_york": ("America/New_York", 8, 17),
}

#: Hours after a session's start that are its opening, and before its end that are its close.
EDGE_HOURS = 2

_SATURDAY = 5


class TimeFeature(BaseFeature):
    """A feature of the time alone; every symbol of a panel gets the same columns."""

    @abstractmethod
    def on_times(self, time: Int, timeframe: Timeframe) -> Sequence[Float]:
        """The columns at some times.

        Args:
            time: Opening times of bars, ns UTC, ``[T]``.
            timeframe: Length of the bars.

        Returns:
            One array ``[T]`` per column.
        """

    @property
    def lookback(self) -> int:
        """The bar itself."""
        return 1

    def compute(self, panel: Panel, params: Params, last: int | None = None) -> Float:
        """The columns of every symbol, see :meth:`mtquant.features.base.Feature.compute`."""
        time = panel.time if last is None else panel.time[-last:]
        columns = np.stack(self.on_times(time, panel.timeframe), axis=-1)
        return np.repeat(columns[:, None, :], len(panel.symbols), axis=1)


@dataclass(frozen=True, config=PARAMETERS)
class Hour(TimeFeature):
    """Time of day in UTC as a point on a circle, minutes included.

    23:59 and 00:00 are neighbours on the circle, as they are in the market.

    Formula:
        ``turn = time of day / 24 h`` of the bar's opening; ``sin(2 pi turn)``, ``cos(2 pi turn)``
    Source:
        Common practice for cyclic inputs.
    Weakness:
        UTC does not know summer time: what a city does at 8 in the morning moves by an hour twice
        a year. Bars of a day always open at about the same hour, so the columns hardly change.
    """

    key: ClassVar[str] = "hour"
    group: ClassVar[str] = "calendar"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``hour_sin`` and ``hour_cos``."""
        return _circle("hour", "time of day, UTC")

    def on_times(self, time: Int, timeframe: Timeframe) -> Sequence[Float]:
        """Sine and cosine of ``2 pi hour / 24``."""
        return _on_circle((time % DAY_NS) / DAY_NS)


@dataclass(frozen=True, config=PARAMETERS)
class Weekday(TimeFeature):
    """Day of the week in UTC as a point on a circle that starts with Monday.

    The point holds all day: what belongs to the hour is the hour's.

    Formula:
        ``turn = days since Monday / 7`` at the opening; ``sin(2 pi turn)``, ``cos(2 pi turn)``
    Source:
        Common practice for cyclic inputs.
    Weakness:
        It turns at midnight UTC, hours after the New York rollover that begins a broker's day.
        Effects of the weekday are small, and those that were published have mostly faded.
    """

    key: ClassVar[str] = "weekday"
    group: ClassVar[str] = "calendar"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``weekday_sin`` and ``weekday_cos``."""
        return _circle("weekday", "day of the week, UTC")

    def on_times(self, time: Int, timeframe: Timeframe) -> Sequence[Float]:
        """Sine and cosine of ``2 pi weekday / 7``, Monday 0."""
        return _on_circle(weekday(time // DAY_NS) / 7.0)


@dataclass(frozen=True, config=PARAMETERS)
class Session(TimeFeature):
    """Whether Tokyo, London and New York are at work, and whether the latter two both are.

    Formula:
        1 where the bar opens from 9 to 18 in Tokyo, from 8 to 17 in London, from 8 to 17 in New
        York, each on the city's wall clock from Monday to Friday; the overlap is the product of
        London and New York
    Source:
        The usual hours of the currency market's three centres.
    Weakness:
        Holidays count as working days, and the hours are customs, not rules. A bar longer than
        an hour may reach into a session that has not begun when it opens.
    """

    key: ClassVar[str] = "session"
    group: ClassVar[str] = "calendar"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``session_asia``, ``session_london``, ``session_new_york``, ``session_overlap``."""
        own = (
            flag(f"session_{city}", f"{first}:00 to {end}:00 in {zone}, Monday to Friday")
            for city, (zone, first, end) in SESSIONS.items()
        )
        return (*own, flag("session_overlap", "London and New York both"))

    def on_times(self, time: Int, timeframe: Timeframe) -> Sequence[Float]:
        """1 within the session, else 0."""
        at_work = {city: _at_work(time, *hours) for city, hours in SESSIONS.items()}
        overlap = at_work["london"] & at_work["new_york"]
        return [open_now.astype(np.float64) for open_now in (*at_work.values(), overlap)]


@dataclass(frozen=True, config=PARAMETERS)
class TimeWindow(TimeFeature):
    """Part of the trading day, by the cities' sessions: opening, middle, close or dead zone.

    Exactly one of the four flags is 1. The dead zone begins with the rollover at 17:00 in New York
    and ends when Tokyo begins; from Friday to Monday it lasts the whole weekend.

    Formula:
        open: 8 to 10 in London or 8 to 10 in New York, Monday to Friday;
        close: 15 to 17 in New York, Monday to Friday;
        dead: after 17 in New York or on its weekend, until 9 in Tokyo on a day from Monday to
        Friday;
        mid: all the rest, among it Tokyo's morning
    Source:
        The windows of the seed documents; the hours are mtquant's.
    Weakness:
        Read off the bar's opening, so it means little on bars of four hours and nothing on bars of
        a day. Tokyo's opening is no window of its own, and holidays count as working days.
    """

    key: ClassVar[str] = "time_window"
    group: ClassVar[str] = "calendar"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``window_open``, ``window_mid``, ``window_close``, ``window_dead``."""
        return (
            flag("window_open", f"first {EDGE_HOURS} hours of London or New York"),
            flag("window_mid", "neither opening nor close nor dead zone"),
            flag("window_close", f"last {EDGE_HOURS} hours of New York"),
            flag("window_dead", "from New York's close to Tokyo's opening"),
        )

    def on_times(self, time: Int, timeframe: Timeframe) -> Sequence[Float]:
        """One flag of four is 1."""
        (tokyo, begin, _), (london, first, _), (new_york, early, end) = SESSIONS.values()
        opening = _at_work(time, london, first, first + EDGE_HOURS)
        opening |= _at_work(time, new_york, early, early + EDGE_HOURS)
        close = _at_work(time, new_york, end - EDGE_HOURS, end)
        here, there = _clock(new_york).from_utc(time), _clock(tokyo).from_utc(time)
        dead = (_hour(here) >= end) | _on_weekend(here)
        dead &= (_hour(there) < begin) | _on_weekend(there)
        windows = (opening, ~(opening | close | dead), close, dead)
        return [window.astype(np.float64) for window in windows]


def flag(name: str, meaning: str) -> Column:
    """A column that is 0 or 1."""
    return Column(name, meaning, 0.0, 1.0, fitted=False)


def _circle(name: str, meaning: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"{name}_{part}", f"{word} of the {meaning}", -1.0, 1.0, fitted=False)
        for part, word in (("sin", "sine"), ("cos", "cosine"))
    )


def _on_circle(turn: Float) -> Sequence[Float]:
    angle = 2.0 * np.pi * turn
    return [np.sin(angle), np.cos(angle)]


def _at_work(time: Int, zone: str, first: int, end: int) -> Mask:
    wall = _clock(zone).from_utc(time)
    hour = _hour(wall)
    return (hour >= first) & (hour < end) & ~_on_weekend(wall)


def _hour(wall: Int) -> Int:
    return wall % DAY_NS // HOUR_NS


def _on_weekend(wall: Int) -> Mask:
    return np.asarray(weekday(wall // DAY_NS) >= _SATURDAY, np.bool_)


@cache
def _clock(zone: str) -> Clock:
    return Clock.parse(zone)
