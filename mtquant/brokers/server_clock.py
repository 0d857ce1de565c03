"""ServerClock: the offset of the server's clock from UTC, measured from ticks and checked.

A terminal shows times of the server's wall clock and does not say which clock that is. A tick's
time minus our own is the offset, less the tick's age; a tick that is newer than the one seen before
is no older than that look. So two looks bound the offset from both sides, and a feed that stands
still tells nothing. What is measured must be what the symbol's clock says, within a day of a change
of season what it said before or will say after; the offset may change then, by one hour, and never
else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from mtquant.brokers.reading import Reads
from mtquant.errors import RiskHalt
from mtquant.market.clock import DAY_NS, HOUR_NS, SECOND_NS, Clock, utc_text
from mtquant.market.timeframe import MINUTE_NS

LEAST_NS, MOST_NS = -12 * HOUR_NS, 14 * HOUR_NS
_GRID_NS = 15 * MINUTE_NS  # of all offsets that clocks have
_SKEW_NS = 2 * MINUTE_NS  # that our own clock may be wrong by
_YOUNG_NS = 5 * MINUTE_NS  # a first tick's age, if the offset is the expected one
_NEAR_NS = DAY_NS  # of a change of season; servers change at a weekend's end, not to the minute


@dataclass(frozen=True)
class Measured:
    """An offset and when it was measured, both ns; the instant is UTC."""

    offset_ns: int
    at_ns: int


@dataclass(frozen=True)
class _Look:
    server_ns: int
    at_ns: int


class ServerClock:
    """Follows the offset of one server.

    Attributes:
        clock: What ``configs/symbols.yaml`` says it is.
        measured: The last offset that was measured; None before there is one.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.measured: Measured | None = None
        self._seen: _Look | None = None

    def observe(self, tick_seconds: int, now_ns: int) -> int | None:
        """Look at the newest tick.

        Args:
            tick_seconds: Its time as the server shows it.
            now_ns: The present on a trusted clock, ns UTC.

        Returns:
            The offset in ns; None where the tick does not tell it, as in a shut market.

        Raises:
            RiskHalt: The offset is impossible, not the symbol's clock, or changed out of season.
        """
        if not (tick_seconds and tick_seconds > 0):
            return None  # a terminal that has no quote yet says 0: it is no look at a clock
        look, before = _Look(int(tick_seconds) * SECOND_NS, now_ns), self._seen
        self._seen = look
        if before is not None and look.server_ns == before.server_ns:
            return None
        shown = look.server_ns - now_ns
        least, allowed = shown - _SKEW_NS, self._allowed(now_ns)
        # A first tick may have any age; a later one came after the look before it.
        most = None if before is None else look.server_ns - before.at_ns + _SKEW_NS
        possible = [o for o in allowed if least <= o and (most is None or o <= most)]
        if not possible:
            if before is None and shown < min(allowed):
                return None
            self._refuse(shown, now_ns)
        surely = most is not None and most - least < _GRID_NS
        young = [o for o in possible if surely or o - least <= _YOUNG_NS + _SKEW_NS]
        return self._take(young[0], now_ns) if young else None

    def _take(self, offset: int, now_ns: int) -> int:
        last = self.measured
        if last is not None and offset != last.offset_ns:
            one_hour = abs(offset - last.offset_ns) == HOUR_NS
            if not (one_hour and self._changes(last.at_ns - _NEAR_NS, now_ns + _NEAR_NS)):
                raise RiskHalt(
                    f"the server's clock went from {offset_text(last.offset_ns)} to "
                    f"{offset_text(offset)} at {utc_text(now_ns)}, and {self.clock.name} changes "
                    "by one hour at its seasons only; compare the terminal's clock with this "
                    "machine's, then start again"
                )
        self.measured = Measured(offset, now_ns)
        return offset

    def _refuse(self, offset: int, now_ns: int) -> NoReturn:
        expected = offset_text(self._offset(now_ns))
        if not LEAST_NS <= offset <= MOST_NS:
            raise RiskHalt(
                f"the server's clock is at {offset_text(offset)}, outside UTC-12 to UTC+14; set "
                f"this machine's clock ({utc_text(now_ns)} by it), then start again"
            )
        raise RiskHalt(
            f"the server's clock is at {offset_text(offset)} and {self.clock.name} is at "
            f"{expected} at {utc_text(now_ns)}; correct 'clock' of the broker's symbols in "
            "configs/symbols.yaml, or this machine's clock"
        )

    def _offset(self, at_ns: int) -> int:
        return int(self.clock.from_utc(np.array([at_ns], np.int64))[0]) - at_ns

    def _allowed(self, now_ns: int) -> list[int]:
        """What the clock says now first, then what it says on the days around."""
        around = (now_ns, now_ns - _NEAR_NS, now_ns + _NEAR_NS)
        return list(dict.fromkeys(self._offset(at) for at in around))

    def _changes(self, first_ns: int, last_ns: int) -> bool:
        """Whether the clock's offset changes between two instants."""
        weeks = range(first_ns, last_ns, 7 * DAY_NS)
        return len({self._offset(at) for at in (*weeks, last_ns)}) > 1


def measure(
    server_clock: ServerClock, reads: Reads, name: str, looks: int = 4, wait: float = 1.0
) -> int | None:
    """The offset from a few looks at a symbol's newest tick; None where the market is shut.

    Args:
        server_clock: Judges them; raises RiskHalt as it does.
        reads: Of the terminal.
        name: The broker's name of a symbol.
        looks: At most.
        wait: Seconds between two.
    """
    for look in range(looks):
        if look:
            reads.pace.sleep(wait)
        offset = server_clock.observe(reads.tick(name).time, reads.pace.now_ns())
        if offset is not None:
            return offset
    return None


def offset_text(offset_ns: int) -> str:
    """Such as ``UTC+2`` or ``UTC+5:30``."""
    minutes = round(offset_ns / MINUTE_NS)
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02d}" if rest else "")
