"""Timeframe of a column of times, from the distances between them.

The most frequent distance names the timeframe; every time must then lie on its grid, and no
stretch may be spaced otherwise. Brokers' early history often is: a file called H1 that begins with
years of daily bars would teach an agent that hours are days.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mtquant.errors import DataError
from mtquant.market.bars import Int
from mtquant.market.clock import DAY_NS, Mask
from mtquant.market.raw import Origin
from mtquant.market.timeframe import MINUTE_NS, Timeframe

_BY_LENGTH = {timeframe.nanoseconds: timeframe for timeframe in Timeframe}
_STRETCH = 24  # bars: longer than any week of daily bars, shorter than a day of hours
_OTHERWISE = 0.6  # of a stretch; the rest are its nights and weekends


def infer_timeframe(time_ns: Int, origin: Origin, stated: Timeframe | None = None) -> Timeframe:
    """The one timeframe of a file.

    Args:
        time_ns: Times as written, int64 ns ``[T]``, in any order.
        origin: Names the rows.
        stated: What the user says it is.

    Raises:
        DataError: The times have no timeframe, another one than stated, or several.
    """
    order = np.argsort(time_ns, kind="stable")
    time = time_ns[order]
    steps = np.diff(time)
    if not (steps > 0).any():
        if stated is not None:
            return stated
        raise DataError(f"{origin.name} has too few bars to tell the timeframe; state it")
    lengths, counts = np.unique(steps[steps > 0], return_counts=True)
    inferred = _named(int(lengths[np.argmax(counts)]), time)
    found = inferred.name if inferred else _in_words(int(lengths[np.argmax(counts)]))
    if stated is not None and inferred is not stated:
        if time.size > 2:
            raise DataError(
                f"{origin.at(0)}: the bars are spaced {found}, not {stated.name} as stated; "
                "correct the timeframe or resample the bars"
            )
        return stated
    if inferred is None:
        raise DataError(
            f"{origin.at(0)}: the bars are mostly {found} apart, which is no MetaTrader timeframe; "
            "resample them first"
        )
    _refuse_mixed(time, steps, order, inferred, origin)
    return inferred


def refuse_off_grid(walls: Iterable[Int], timeframe: Timeframe, origin: Origin) -> None:
    """Refuse times that lie on the timeframe's grid on none of the given clocks.

    Args:
        walls: The same times on each candidate clock, int64 ns ``[T]`` each.
        timeframe: Weeks and months are not checked, their lengths vary over the clocks.
        origin: Names the rows.

    Raises:
        DataError: Names the first time off the grid on the clock that fits best.
    """
    if timeframe.minutes > Timeframe.D1.minutes:
        return
    faults = [_off_grid(wall, timeframe) for wall in walls]
    fewest = min(faults, key=np.count_nonzero)
    if fewest.any():
        row = int(np.argmax(fewest))
        raise DataError(
            f"{origin.at(row)}: this time is off the {timeframe.name} grid of the other bars "
            f"({np.count_nonzero(fewest)} are); the file mixes timeframes, split it"
        )


def _off_grid(wall: Int, timeframe: Timeframe) -> Mask:
    phase = wall % timeframe.nanoseconds
    values, counts = np.unique(phase, return_counts=True)
    return np.asarray(phase != values[np.argmax(counts)])


def _named(length: int, time: Int) -> Timeframe | None:
    if 28 * DAY_NS <= length <= 31 * DAY_NS:
        return Timeframe.MN1
    return _BY_LENGTH.get(length)


def _in_words(length: int) -> str:
    timeframe = _BY_LENGTH.get(length)
    return timeframe.name if timeframe else f"{length / MINUTE_NS:g} minutes"


def _refuse_mixed(time: Int, steps: Int, order: Int, timeframe: Timeframe, origin: Origin) -> None:
    """Refuse a stretch of bars without one step of the timeframe but mostly of another."""
    if timeframe is Timeframe.MN1 or steps.size < _STRETCH:
        return
    own = np.concatenate([[0], np.cumsum(steps == timeframe.nanoseconds)])
    for length, other in _BY_LENGTH.items():
        if other is timeframe:
            continue
        theirs = np.concatenate([[0], np.cumsum(steps == length)])
        none_own = own[_STRETCH:] == own[:-_STRETCH]
        many = theirs[_STRETCH:] - theirs[:-_STRETCH] >= _OTHERWISE * _STRETCH
        mixed = np.flatnonzero(none_own & many)
        if mixed.size:
            first, last = order[mixed[0]], order[mixed[-1] + _STRETCH]
            raise DataError(
                f"{origin.at(first)} to {origin.unit} {int(origin.number[last])}: bars spaced "
                f"{other.name} in a file of {timeframe.name}; split the timeframes into two files"
            )
