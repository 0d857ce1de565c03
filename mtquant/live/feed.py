"""Feed: closed bars of all symbols and their context, and quotes of what is held under stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mtquant.brokers.base import Broker, Instrument
from mtquant.live.decide import Strategy
from mtquant.live.decision import Guard
from mtquant.live.found import BrokerBalance
from mtquant.live.record import AccountRecord
from mtquant.live.window import BarWindow
from mtquant.market.bars import Bars
from mtquant.market.timeframe import Timeframe

Quotes = Sequence[tuple[int, int] | None]


class Feed:
    """What one strategy reads of the market."""

    def __init__(
        self,
        broker: Broker,
        instruments: tuple[Instrument, ...],
        context: tuple[Instrument, ...],
        strategy: Strategy,
        clock: Callable[[], int],
    ) -> None:
        """Read nothing yet.

        Args:
            broker: Connected.
            instruments: One per symbol of the strategy, in its order.
            context: One per context symbol.
            strategy: Says how many bars it needs.
            clock: Present time, ns UTC.
        """
        timeframe, kept = Timeframe.parse(strategy.env.timeframe), strategy.bars_kept
        self._broker, self._instruments = broker, instruments
        self._strategy, self._clock = strategy, clock
        self._windows = [BarWindow(one, timeframe, kept) for one in instruments]
        self._context = [BarWindow(one, timeframe, kept) for one in context]
        self._related = strategy.pipeline.pipeline.related
        self._bar_ns = timeframe.nanoseconds

    def doubts(self) -> tuple[Guard | None, ...]:
        """Per symbol what the newest look at its bars says against increases, or None."""
        return tuple(Guard(w.doubt, frozen=False) if w.doubt else None for w in self._windows)

    def closed_bars(self, record: AccountRecord | None) -> tuple[list[Bars], list[Bars]] | None:
        """The newest closed bars, and those of the context.

        Args:
            record: Of the last decision.

        Returns:
            None where there is no new bar, or history is too short.

        Raises:
            BrokerUnavailable: The broker did not answer.
            DataError: What it answered are no bars.
        """
        known, kept = self._known_ns(), self._strategy.bars_kept
        bars = self._newest(known)
        if bars is None:
            return None
        newest = max(int(one.time[-1]) for one in bars)
        if record is not None and newest <= record.bar_time_ns:
            return None
        oldest = min(int(one.time[-min(kept, len(one))]) for one in bars)
        bars = [
            window.reaching(self._broker, oldest, known) if one.symbol in self._related else one
            for window, one in zip(self._windows, bars, strict=True)
        ]
        return bars, self._context_until(newest, oldest)

    def newest(self) -> list[Bars] | None:
        """The newest closed bars, decided or not; None where history is too short.

        Raises:
            BrokerUnavailable: The broker did not answer.
            DataError: What it answered are no bars.
        """
        return self._newest(self._known_ns())

    def _newest(self, known_ns: int | None) -> list[Bars] | None:
        bars = [window.update(self._broker, known_ns) for window in self._windows]
        return None if min(map(len, bars)) < self._strategy.bars_needed else bars

    def _context_until(self, newest_ns: int, oldest_ns: int) -> list[Bars]:
        """The context's bars that open no later than the newest bar, which is over."""
        if not self._context:
            return []
        over = max(newest_ns + self._bar_ns, self._quoted_ns())
        windows = (w.reaching(self._broker, oldest_ns, over) for w in self._context)
        return [bars.between(None, newest_ns + 1) for bars in windows]

    def _known_ns(self) -> int | None:
        """With several symbols the newest quote of any: it closes the bars of those that rest."""
        return None if len(self._instruments) == 1 else self._quoted_ns()

    def _quoted_ns(self) -> int:
        now = self._clock()
        return max(self._broker.tick_time_ns(one, now) for one in self._instruments)

    def quotes(self, balance: BrokerBalance) -> Quotes:
        """Bid and ask in ticks of what is held under stops; None for the rest."""
        quotes: list[tuple[int, int] | None] = []
        for one, position in zip(self._instruments, balance.positions, strict=True):
            if self._strategy.managed and position.tickets:
                quote = self._broker.quote(one)
                quotes.append((one.ticks(quote.bid), one.ticks(quote.ask)))
            else:
                quotes.append(None)
        return quotes
