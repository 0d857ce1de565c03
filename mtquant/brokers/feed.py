"""BarFeed: the bars of an account's terminal as they come, through a type that cannot trade.

What a feed holds has no ``order_send``, no ``order_check`` and no ``login``: not functions that
refuse, but none. A bar is known to be closed when the next one opens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtquant.brokers.base import Instrument
from mtquant.brokers.mt5_records import bars_of
from mtquant.brokers.reading import Reads
from mtquant.brokers.terminal.growth import Opening, seen_at
from mtquant.errors import BrokerUnavailable, ConfigError
from mtquant.market.bars import Bars
from mtquant.market.clock import SECOND_NS, Clock, utc_text
from mtquant.market.timeframe import MINUTE_NS, Timeframe

PATIENCE_NS = 20 * SECOND_NS  # with symbols whose market is open and whose bar is not there yet
MOST_LATE_NS = 60 * SECOND_NS  # of a decision after the open at which it fills
# In autumn a server shows an hour twice; older bars tell which is which.
_OVERLAP_NS = 180 * MINUTE_NS
_FEWEST_OVERLAP = 3


class ReadingModule:
    """The calls of a connected module that read prices, and nothing else of it."""

    __slots__ = (
        "account_info",
        "copy_rates_from_pos",
        "last_error",
        "shutdown",
        "symbol_info",
        "symbol_info_tick",
        "symbol_select",
        "terminal_info",
    )

    account_info: Callable[..., Any]
    copy_rates_from_pos: Callable[..., Any]
    last_error: Callable[..., Any]
    shutdown: Callable[..., Any]
    symbol_info: Callable[..., Any]
    symbol_info_tick: Callable[..., Any]
    symbol_select: Callable[..., Any]
    terminal_info: Callable[..., Any]

    def __init__(self, module: Any) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(module, name))


@dataclass(frozen=True)
class News:
    """What one look has found.

    Attributes:
        openings: Of the bars since the last look, in their order.
        fresh: Whether the newest opened so lately that an order may still fill at its open.
    """

    openings: tuple[Opening, ...] = ()
    fresh: bool = False


class BarFeed:
    """Follows the bars of some symbols.

    Attributes:
        traded: How many of them are traded.
    """

    def __init__(
        self,
        reads: Reads,
        instruments: Sequence[Instrument],
        traded: int,
        timeframe: Timeframe,
        monotonic_ns: Callable[[], int],
    ) -> None:
        """Read nothing yet.

        Args:
            reads: Of a :class:`ReadingModule`.
            instruments: Traded symbols first, then context.
            traded: How many of them are traded; those make the bars' clock.
            timeframe: Of the bars.
            monotonic_ns: A clock that nobody sets.

        Raises:
            ConfigError: The symbols disagree about the server's clock.
        """
        clocks = {one.spec.clock for one in instruments}
        if len(clocks) != 1:
            raise ConfigError(f"one server has one clock, the symbols name {sorted(clocks)}")
        self._reads, self._instruments, self.traded = reads, tuple(instruments), traded
        self._timeframe, self._clock = timeframe, Clock.parse(clocks.pop())
        self._monotonic_ns = monotonic_ns
        self._overlap = max(
            _FEWEST_OVERLAP, _OVERLAP_NS // max(timeframe.nanoseconds, MINUTE_NS) + 1
        )
        self._quiet_ns: int | None = None
        self._waiting: tuple[int, int] | None = None

    def follow(self, reads: Reads) -> None:
        """Go on over a connection made anew."""
        self._reads = reads

    def history(self, count: int) -> list[Bars]:
        """``count`` closed bars of each symbol or what there is, and the one that forms.

        A symbol that trades day and night has more of them for the time that another spans.

        Raises:
            BrokerUnavailable: No answer, or no bars at all.
        """
        bars = [self._newest(one, count + 1) for one in self._instruments]
        for one, held in zip(self._instruments, bars, strict=True):
            if not len(held):
                raise BrokerUnavailable(f"the terminal has no bars of {one.broker_name} yet; wait")
        oldest = min(int(one.time[0]) for one in bars)
        now_ns = max(int(one.time[-1]) for one in bars[: self.traded])
        reaching = [
            held if held.time[0] <= oldest else self._back_to(one, oldest, count + 1)
            for one, held in zip(self._instruments, bars, strict=True)
        ]
        self._quiet_ns = self._monotonic_ns()
        return [seen_at(one, now_ns) for one in reaching]

    def look(self, known_ns: Sequence[int], now_ns: int) -> News:
        """What has opened since.

        Args:
            known_ns: Open of each symbol's newest bar that is known.
            now_ns: Open of the bar that forms as far as is known.

        Raises:
            BrokerUnavailable: No answer, or bars that are known are gone.
        """
        bars = [
            self._since(one, since) for one, since in zip(self._instruments, known_ns, strict=True)
        ]
        traded = bars[: self.traded]
        newest_ns, looked_ns = max(int(one.time[-1]) for one in traded), self._monotonic_ns()
        if newest_ns <= now_ns:
            self._quiet_ns = looked_ns
            return News()
        if self._awaits(traded, newest_ns, looked_ns):
            return News()
        quiet, self._quiet_ns = self._quiet_ns, looked_ns
        times = np.unique(np.concatenate([one.time for one in traded]))
        openings, known = [], list(known_ns)
        for opened_ns in times[times > now_ns].tolist():
            shown = [seen_at(one, opened_ns) for one in bars]
            cut = [one.between(since) for one, since in zip(shown, known, strict=True)]
            known = [int(one.time[-1]) for one in cut]
            openings.append(Opening(opened_ns, tuple(cut)))
        fresh = quiet is not None and looked_ns - quiet <= MOST_LATE_NS
        return News(tuple(openings), fresh)

    def _awaits(self, bars: Sequence[Bars], newest_ns: int, looked_ns: int) -> bool:
        """Whether a symbol whose market is open has no such bar yet, and may soon have it."""
        at = np.array([newest_ns], np.int64)
        late = any(
            one.time[-1] < newest_ns and instrument.hours.is_open(at)[0]
            for one, instrument in zip(bars, self._instruments, strict=False)
        )
        if not late:
            self._waiting = None
            return False
        if self._waiting is None or self._waiting[0] != newest_ns:
            self._waiting = newest_ns, looked_ns
        return looked_ns - self._waiting[1] < PATIENCE_NS

    def _newest(self, instrument: Instrument, count: int) -> Bars:
        rows = self._reads.rates(instrument.broker_name, self._timeframe, 0, count)
        return bars_of(rows, instrument, self._timeframe, self._clock)

    def _back_to(self, instrument: Instrument, since_ns: int, count: int) -> Bars:
        """Bars back to an instant, or to the beginning of what the terminal has."""
        while True:
            bars = self._newest(instrument, count)
            if len(bars) < count or bars.time[0] <= since_ns:
                return bars
            count *= 4

    def _since(self, instrument: Instrument, since_ns: int) -> Bars:
        """Bars from one on that is known, that one included."""
        bars = self._back_to(instrument, since_ns - _OVERLAP_NS, self._overlap)
        bars = bars.between(since_ns)
        if not len(bars) or bars.time[0] != since_ns:
            raise BrokerUnavailable(
                f"the terminal does not show the {instrument.broker_name} bar of "
                f"{utc_text(since_ns)} that it showed before; wait, or begin anew with --out"
            )
        return bars
