"""Trading hours: which minutes of the week a symbol trades, on its server clock.

A week is a mask of 10,080 minutes. That one array answers everything: whether a moment is open,
how many bars a stretch should hold, and hence which gaps are holes and which are the weekend.
Holidays are not known; a bar missing on one counts as missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from mtquant.errors import ConfigError, shown, unknown
from mtquant.market.bars import Int
from mtquant.market.clock import DAY_NS, WEEK_NS, Clock, Mask
from mtquant.market.rollover import WEEKDAYS
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import MINUTE_NS, Timeframe

WEEK_MINUTES = 7 * 24 * 60
_EPOCH_FROM_SUNDAY_NS = 4 * DAY_NS  # 1970-01-01 was a Thursday; a trading week opens on Sunday
_SESSION = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


@dataclass(frozen=True, eq=False)
class TradingHours:
    """The open minutes of a week, Sunday 00:00 first.

    Attributes:
        clock: The server clock on which the hours are written.
        open_minutes: bool ``[10080]``.
    """

    clock: Clock
    open_minutes: Mask

    @staticmethod
    def of(spec: SymbolSpec) -> TradingHours:
        """The hours of a symbol.

        Raises:
            ConfigError: A day or a session in ``spec.hours`` cannot be read, or two overlap.
        """
        return _parsed(spec.name, spec.clock, tuple(spec.hours.items()))

    def is_open(self, utc_ns: Int) -> Mask:
        """Whether the symbol trades at each UTC instant, bool ``[T]``."""
        wall = self.clock.from_utc(utc_ns) + _EPOCH_FROM_SUNDAY_NS
        return self.open_minutes[wall // MINUTE_NS % WEEK_MINUTES]

    def trades_in(self, utc_ns: Int, timeframe: Timeframe) -> Mask:
        """Whether any minute of the period that holds each instant is open, bool ``[T]``.

        Months always are.
        """
        if timeframe is Timeframe.MN1:
            return np.ones(np.shape(utc_ns), np.bool_)
        wall = self.clock.from_utc(utc_ns) + _EPOCH_FROM_SUNDAY_NS
        slots = self._open_slots(timeframe)
        return slots[wall // timeframe.nanoseconds % slots.size]

    def missing_between(self, utc_ns: Int, timeframe: Timeframe) -> Int:
        """Bars that should stand between each bar and the next.

        Args:
            utc_ns: Bar opens, increasing, int64 ``[T]``.
            timeframe: Their length.

        Returns:
            int64 ``[T - 1]``: periods strictly between the two that hold an open minute.
        """
        wall = self.clock.from_utc(utc_ns) + _EPOCH_FROM_SUNDAY_NS
        if timeframe is Timeframe.MN1:
            months = (wall - _EPOCH_FROM_SUNDAY_NS).astype("datetime64[ns]").astype("datetime64[M]")
            return np.maximum(np.diff(months.astype(np.int64)) - 1, 0)
        slots, before = self._open_slots(timeframe), self._open_before(timeframe)
        index = wall // timeframe.nanoseconds
        until = index // slots.size * before[-1] + before[index % slots.size]
        missing: Int = np.diff(until) - slots[index[:-1] % slots.size]
        return np.maximum(missing, 0)

    def open_between(self, start_ns: int, end_ns: int) -> bool:
        """Whether any minute in ``[start_ns, end_ns)`` UTC is open."""
        if end_ns - start_ns >= WEEK_NS:
            return bool(self.open_minutes.any())
        minutes = np.arange(start_ns, end_ns, MINUTE_NS, dtype=np.int64)
        return bool(self.is_open(minutes).any())

    @cache  # noqa: B019
    def _open_slots(self, timeframe: Timeframe) -> Mask:
        """Which periods of the week hold an open minute."""
        return np.asarray(self.open_minutes.reshape(-1, timeframe.minutes).any(axis=1))

    @cache  # noqa: B019
    def _open_before(self, timeframe: Timeframe) -> Int:
        """How many such periods come before each of the week, and in all of it."""
        return np.concatenate([[0], np.cumsum(self._open_slots(timeframe))])


@lru_cache(maxsize=256)
def _parsed(symbol: str, clock: str, hours: tuple[tuple[str, str], ...]) -> TradingHours:
    week = np.zeros(WEEK_MINUTES, np.bool_)
    for days, sessions in hours:
        for session in sessions.split(","):
            start, end = _minutes(symbol, days, session.strip())
            for day in _days(symbol, days):
                part = week[day * 1440 + start : day * 1440 + end]
                if part.any():
                    raise ConfigError(
                        f"{symbol}: the hours '{days}: {session.strip()}' overlap others; "
                        "list each minute of the week once"
                    )
                part[:] = True
    week.flags.writeable = False
    return TradingHours(Clock.parse(clock), week)


def _minutes(symbol: str, days: str, session: str) -> tuple[int, int]:
    match = _SESSION.fullmatch(session)
    if match:
        h1, m1, h2, m2 = (int(part) for part in match.groups())
        if h1 * 60 + m1 < h2 * 60 + m2 <= 1440:
            return h1 * 60 + m1, h2 * 60 + m2
    raise ConfigError(
        f"{symbol}: cannot read the trading hours '{shown(f'{days}: {session}')}'; write "
        "'mon-fri: 01:00-24:00'"
    )


def _days(symbol: str, days: str) -> list[int]:
    """Day numbers, 0 for Sunday, of ``mon-fri``, ``sun`` or ``mon,wed``."""
    found: list[int] = []
    for part in days.split(","):
        first, _, last = part.strip().casefold().partition("-")
        ends = [first, last or first]
        for name in ends:
            if name not in WEEKDAYS:
                raise ConfigError(unknown(f"weekday in the hours of {symbol}", name, WEEKDAYS))
        start, stop = (WEEKDAYS.index(name) for name in ends)
        found += [(start + i + 1) % 7 for i in range((stop - start) % 7 + 1)]
    return found
