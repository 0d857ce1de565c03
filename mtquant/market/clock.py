"""Clocks: from a broker's wall time to UTC and back, exactly, over every change of season.

A broker's "server time" is rarely a zone of its own. ``ny+7`` is New York's wall time plus seven
hours (the trading day then ends at 17:00 in New York all year round); ``eet`` changes on the
European dates; others stand still. A clock is therefore an IANA zone plus a constant shift. All
of a zone's changes are tabulated once, so a conversion is one binary search over whole arrays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import numpy.typing as npt

from mtquant.errors import ConfigError, DataError, unknown
from mtquant.market.bars import Int
from mtquant.market.timeframe import MINUTE_NS

Mask = npt.NDArray[np.bool_]

SECOND_NS = 10**9
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
WEEK_NS = 7 * DAY_NS
_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_EXAMPLES = ("utc", "utc+3", "ny+7", "eet")
_NAMED_ZONES = {"eet": "Europe/Athens", "ny": "America/New_York"}


def readable(time_ns: int) -> str:
    """A time in nanoseconds as ``2024-03-10 09:00:00``, for messages."""
    return str(np.datetime64(int(time_ns), "ns").astype("datetime64[s]")).replace("T", " ")


def utc_text(time_ns: int) -> str:
    """A time in ISO 8601 to the second, UTC, such as ``2024-01-02T03:00:00Z``."""
    return str(np.datetime64(int(time_ns), "ns").astype("datetime64[s]")) + "Z"


@dataclass(frozen=True)
class Located:
    """Wall times placed on the UTC axis.

    Attributes:
        utc: int64 ns ``[T]``; for doubtful rows the earlier of the possible instants.
        missing: Rows whose wall time was skipped when the clock went forward, ``[T]``.
        ambiguous: Rows whose wall time occurred twice and whose order does not tell which, ``[T]``.
    """

    utc: Int
    missing: Mask
    ambiguous: Mask


@dataclass(frozen=True)
class Clock:
    """A wall clock: an IANA zone shifted by a constant.

    Attributes:
        name: Canonical name, such as ``ny+7``; :meth:`parse` reads it back.
        zone: IANA zone, or None for a clock that never changes.
        shift_ns: Added to the zone's wall time.
    """

    name: str
    zone: str | None = field(repr=False)
    shift_ns: int = field(repr=False)

    @classmethod
    @cache
    def parse(cls, name: str) -> Clock:
        """The clock called ``name``.

        Args:
            name: ``utc``, a fixed ``utc+3``, ``utc-5`` or ``utc+05:30``, ``ny+7`` (New York's wall
                time plus hours), ``eet`` (Europe/Athens), or an IANA zone; in any case.

        Raises:
            ConfigError: No such clock; names the nearest.
        """
        folded = name.strip().casefold()
        shifted = re.fullmatch(r"(utc|gmt|ny|z)(?:([+-])(\d{1,2})(?::?([0-5]\d))?)?", folded)
        if shifted:
            return cls._shifted(name, *shifted.groups())
        if folded in _NAMED_ZONES:
            return cls(folded, _NAMED_ZONES[folded], 0)
        zone = _zones().get(folded)
        if zone is None:
            known = {*_EXAMPLES, *_zones().values()}
            cure = f"(a clock is one of {', '.join(_EXAMPLES)} or an IANA zone)"
            raise ConfigError(unknown("clock", name, known, cure=cure))
        return cls(zone, zone, 0)

    @classmethod
    def _shifted(
        cls, given: str, base: str, sign: str | None, hours: str | None, minutes: str | None
    ) -> Clock:
        total = (int(hours or 0) * 60 + int(minutes or 0)) * (-1 if sign == "-" else 1)
        if abs(total) > 14 * 60:
            raise ConfigError(f"clock '{given}' is shifted by more than 14 hours; utc+3 is typical")
        base = "ny" if base == "ny" else "utc"
        whole, rest = divmod(abs(total), 60)
        tail = f"{'-' if total < 0 else '+'}{whole}" + (f":{rest:02d}" if rest else "")
        return cls(base + (tail if total else ""), _NAMED_ZONES.get(base), total * MINUTE_NS)

    def from_utc(self, utc_ns: Int) -> Int:
        """Wall time of UTC instants, both int64 ns ``[T]``."""
        utc = np.asarray(utc_ns, np.int64)
        return utc + self._offset(utc)

    def day_number(self, utc_ns: Int) -> Int:
        """Broker day of UTC instants: whole days of wall time since 1970-01-01, int64 ``[T]``."""
        return self.from_utc(utc_ns) // DAY_NS

    def to_utc(self, naive_ns: Int) -> Int:
        """UTC instants of wall times in the order of their rows, both int64 ns ``[T]``.

        A wall time that occurs twice (the clock goes back) is told apart by the order of the
        rows: the first run of such times is the earlier hour, the run after the step back the
        later one.

        Raises:
            DataError: A time never existed on this clock, or occurred twice and the order of the
                rows does not tell which is meant.
        """
        located = self.locate(naive_ns)
        for rows, why in (
            (located.missing, "was skipped when this clock went forward; is the clock right?"),
            (located.ambiguous, "occurred twice when this clock went back; give the times in UTC"),
        ):
            if rows.any():
                first = readable(int(np.asarray(naive_ns)[np.argmax(rows)]))
                raise DataError(f"the time {first} on clock {self.name} {why}")
        return located.utc

    def locate(self, naive_ns: Int) -> Located:
        """As :meth:`to_utc`, but marks the doubtful rows instead of raising."""
        wall = np.asarray(naive_ns, np.int64) - self.shift_ns
        nothing = np.zeros(wall.shape, np.bool_)
        if self.zone is None:
            return Located(wall, nothing, nothing)
        instants, offsets = _changes(self.zone)
        low, high = _doubtful_spans(self.zone)
        passed = np.searchsorted(low, wall, side="right")
        change = np.maximum(passed - 1, 0)
        doubtful = (passed > 0) & (wall < high[change])
        if not doubtful.any():
            return Located(wall - offsets[passed], nothing, nothing)
        before, after = offsets[:-1], offsets[1:]
        missing = doubtful & (after[change] > before[change])
        twice = doubtful & ~missing
        utc = wall - np.where(doubtful, before[change], offsets[passed])
        utc[missing] = instants[change[missing]]
        ambiguous = twice.copy()
        for which in np.unique(change[twice]):
            rows = np.flatnonzero(twice & (change == which))
            back = np.flatnonzero(np.diff(wall[rows]) <= 0)
            if back.size == 1:
                utc[rows[back[0] + 1 :]] = wall[rows[back[0] + 1 :]] - after[which]
                ambiguous[rows] = False
        return Located(utc, missing, ambiguous)

    def _offset(self, utc: Int) -> Int | int:
        if self.zone is None:
            return self.shift_ns
        instants, offsets = _changes(self.zone)
        return offsets[np.searchsorted(instants, utc, side="right")] + self.shift_ns


@cache
def _zones() -> dict[str, str]:
    return {zone.casefold(): zone for zone in available_timezones()}


@cache
def _changes(zone: str) -> tuple[Int, Int]:
    """Instants (ns UTC) at which a zone's offset changes, and the offsets (ns) around them."""
    info = ZoneInfo(zone)
    week = timedelta(days=7)
    instants, offsets = [], [_offset_seconds(info, _FIRST)]
    moment = _FIRST
    while moment < _LAST:
        later = moment + week
        offset = _offset_seconds(info, later)
        if offset != offsets[-1]:
            instants.append(_bisect(info, moment, later))
            offsets.append(offset)
        moment = later
    table = np.array(instants, np.int64) * SECOND_NS, np.array(offsets, np.int64) * SECOND_NS
    for column in table:
        column.flags.writeable = False
    return table


@cache
def _doubtful_spans(zone: str) -> tuple[Int, Int]:
    """Wall times (ns) from which on and up to which each change skips or repeats an hour."""
    instants, offsets = _changes(zone)
    before, after = offsets[:-1], offsets[1:]
    return instants + np.minimum(before, after), instants + np.maximum(before, after)


def _bisect(info: ZoneInfo, early: datetime, late: datetime) -> int:
    """Epoch second of the one change of offset in ``(early, late]``."""
    low, high = int(early.timestamp()), int(late.timestamp())
    old = _offset_seconds(info, early)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_seconds(info, datetime.fromtimestamp(middle, UTC)) == old:
            low = middle
        else:
            high = middle
    return high


def _offset_seconds(info: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(info).utcoffset()
    assert offset is not None  # an aware datetime always has one
    return int(offset.total_seconds())
