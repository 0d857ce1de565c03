"""Watch: what feed and calendar say against trading a symbol now.

A market that is closed by its hours is neither stale nor an alarm: nothing is sent. One that is
open and silent, or whose newest bar is not the last that should have closed, allows no increase; so
does a server whose clock runs ahead of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtquant.brokers.base import Broker, Instrument
from mtquant.live.decision import Guard
from mtquant.market.bars import Bars
from mtquant.market.timeframe import Timeframe


@dataclass(frozen=True)
class Watch:
    """Looks at clock and quotes.

    Attributes:
        broker: Asked for the last quote's time.
        instruments: The strategy's symbols, in order.
        timeframe: Of its bars.
        oldest_tick_ns: Age of the oldest quote that an increase is decided at.
        real: Whether the clock is the real one; the bars' own is open whenever there are bars.
    """

    broker: Broker
    instruments: tuple[Instrument, ...]
    timeframe: Timeframe
    oldest_tick_ns: int
    real: bool

    def doubts(self, bars: Sequence[Bars], now_ns: int) -> tuple[Guard | None, ...]:
        """Per symbol what stands against trading, or None."""
        return tuple(map(self._doubt, self.instruments, bars, [now_ns] * len(bars)))

    def is_open(self, instrument: Instrument, now_ns: int) -> bool:
        """Whether a symbol's market is open."""
        if not self.real:
            return True
        return bool(instrument.hours.is_open(np.array([now_ns], np.int64))[0])

    def _doubt(self, instrument: Instrument, bars: Bars, now_ns: int) -> Guard | None:
        if not self.is_open(instrument, now_ns):
            return Guard("the market is closed", frozen=True)
        age = now_ns - self.broker.tick_time_ns(instrument, now_ns)
        if age > self.oldest_tick_ns:
            return Guard("no fresh quote", frozen=False, silent=True)
        if age < -self.oldest_tick_ns:
            return Guard("the server's clock is ahead", frozen=False)
        if self.real and self._missing(instrument, int(bars.time[-1]), now_ns):
            return Guard("the newest bar is missing", frozen=False)
        return None

    def _missing(self, instrument: Instrument, newest_ns: int, now_ns: int) -> bool:
        """Whether a whole bar of trading time has passed since the newest closed one."""
        length = self.timeframe.nanoseconds
        forming = now_ns - now_ns % length if length else now_ns
        times = np.array([newest_ns, max(forming, newest_ns)], np.int64)
        return bool(instrument.hours.missing_between(times, self.timeframe)[0] > 0)
