"""When it is: hour and weekday as points on a circle, and which markets are at their desks.

Everything is read off the opening time of the panel's row. Sessions follow each city's own wall
clock, so London and New York keep their hours through the weeks in spring and autumn when only one
of them has changed.
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
from mtquant.market.clock import DAY_NS, HOUR_NS, Clock
from mtquant.market.panel import Panel

#: City: zone, first hour and hour after the last, on the city's wall clock, Monday to Friday.
SESSIONS = {
    "asia": ("Asia/Tokyo", 9, 18),
    "london": ("Europe/London", 8, 17),
    "new_york": ("America/New_York", 8, 17),
}


class TimeFeature(BaseFeature):
    """A feature of the time alone; every symbol of a panel gets the same columns."""

    @abstractmethod
    def on_times(self, time: Int) -> Sequence[Float]:
        """One array ``[T]`` per column, for opening times in ns UTC."""

    @property
    def lookback(self) -> int:
        """The bar itself."""
        return 1

    def compute(self, panel: Panel, params: Params, last: int | None = None) -> Float:
        """The columns of every symbol, see :meth:`mtquant.features.base.Feature.compute`."""
        time = panel.time if last is None else panel.time[-last:]
        columns = np.stack(self.on_times(time), axis=-1)
        return np.repeat(columns[:, None, :], len(panel.symbols), axis=1)


@dataclass(frozen=True, config=PARAMETERS)
class Hour(TimeFeature):
    """Time of day in UTC as a point on a circle, minutes included."""

    key: ClassVar[str] = "hour"
    group: ClassVar[str] = "calendar"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``hour_sin`` and ``hour_cos``."""
        return _circle("hour", "time of day, UTC")

    def on_times(self, time: Int) -> Sequence[Float]:
        """Sine and cosine of ``2 pi hour / 24``."""
        return _on_circle((time % DAY_NS) / DAY_NS)


@dataclass(frozen=True, config=PARAMETERS)
class Weekday(TimeFeature):
    """Day of the week in UTC as a point on a circle that starts with Monday."""

    key: ClassVar[str] = "weekday"
    group: ClassVar[str] = "calendar"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``weekday_sin`` and ``weekday_cos``."""
        return _circle("weekday", "day of the week, UTC")

    def on_times(self, time: Int) -> Sequence[Float]:
        """Sine and cosine of ``2 pi weekday / 7``, Monday 0."""
        return _on_circle(_weekday(time) / 7.0)


@dataclass(frozen=True, config=PARAMETERS)
class Session(TimeFeature):
    """Whether Tokyo, London and New York are at work, and whether the latter two both are."""

    key: ClassVar[str] = "session"
    group: ClassVar[str] = "calendar"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``session_asia``, ``session_london``, ``session_new_york``, ``session_overlap``."""
        own = (
            _flag(f"session_{city}", f"{first}:00 to {end}:00 in {zone}, Monday to Friday")
            for city, (zone, first, end) in SESSIONS.items()
        )
        return (*own, _flag("session_overlap", "London and New York both"))

    def on_times(self, time: Int) -> Sequence[Float]:
        """1 within the session, else 0."""
        at_work = {city: _at_work(time, *hours) for city, hours in SESSIONS.items()}
        return [*at_work.values(), at_work["london"] * at_work["new_york"]]


def _circle(name: str, meaning: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"{name}_{part}", f"{word} of the {meaning}", -1.0, 1.0, fitted=False)
        for part, word in (("sin", "sine"), ("cos", "cosine"))
    )


def _on_circle(turn: Float) -> Sequence[Float]:
    angle = 2.0 * np.pi * turn
    return [np.sin(angle), np.cos(angle)]


def _flag(name: str, meaning: str) -> Column:
    return Column(name, meaning, 0.0, 1.0, fitted=False)


def _weekday(wall: Int) -> Int:
    """Days since Monday; the epoch began on a Thursday."""
    return (wall // DAY_NS + 3) % 7


def _at_work(time: Int, zone: str, first: int, end: int) -> Float:
    wall = _clock(zone).from_utc(time)
    hour = wall % DAY_NS // HOUR_NS
    return ((hour >= first) & (hour < end) & (_weekday(wall) < 5)).astype(np.float64)


@cache
def _clock(zone: str) -> Clock:
    return Clock.parse(zone)
