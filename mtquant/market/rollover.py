"""Rollovers: how many nights of swap a bar carries.

A broker charges swap at the end of its trading day, which is midnight on its server clock. The
week has seven nights to pay: five weekdays, one of them threefold for the weekend, or seven single
nights where the market never closes. Counting days on the wall clock makes this exact for every
timeframe, gap and change of season.
"""

from __future__ import annotations

import numpy as np

from mtquant.market.bars import Int
from mtquant.market.clock import Clock
from mtquant.market.symbols import SymbolSpec

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAYS_FROM_MONDAY = 3  # 1970-01-01, day 0, was a Thursday


def weekday(day_number: Int) -> Int:
    """Weekday of whole days since 1970-01-01, 0 for Monday, int64 ``[T]``."""
    return (day_number + _DAYS_FROM_MONDAY) % 7


def nights_of_week(spec: SymbolSpec) -> Int:
    """Nights booked at the end of each weekday, Monday first, int64 ``[7]``."""
    weekend = int(spec.swap_weekend)
    nights = np.array([1, 1, 1, 1, 1, weekend, weekend], np.int64)
    if spec.swap_triple_day is not None:
        nights[WEEKDAYS.index(spec.swap_triple_day)] = 3
    return nights


def swap_nights(time_ns: Int, next_open_ns: Int, spec: SymbolSpec) -> Int:
    """Nights of swap charged to a position that survives each bar.

    Args:
        time_ns: Bar opens, int64 ns UTC, ``[T]``.
        next_open_ns: Open of the bar after each, ``[T]``; for the last bar its expected close.
        spec: Gives the server clock and the swap rules.

    Returns:
        int64 ``[T]``: the rollover instants (midnights of ``spec.clock``) in
        ``(time_ns, next_open_ns]``, each weighted by the nights that its ending day books.
    """
    clock = Clock.parse(spec.clock)
    before = np.concatenate([[0], np.cumsum(nights_of_week(spec))])

    def booked(instants: Int) -> Int:
        """Nights booked from a fixed Monday until the instant, that midnight included."""
        days = clock.day_number(instants) + _DAYS_FROM_MONDAY
        booked_nights: Int = days // 7 * before[7] + before[days % 7]
        return booked_nights

    return booked(next_open_ns) - booked(time_ns)
