"""Runner: on every closed bar reconcile, decide, journal, move stops, send, in this order.

Crash-only: all that counts is in the journal or at the broker, so a start is a bar like any other
and there is nothing to shut down. One decision per bar across restarts; missed bars are never
replayed; an order is sent at most once. The clock is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mtquant.brokers.base import Broker, Instrument, OrderResult, StopChange
from mtquant.errors import ConfigError
from mtquant.live.breaker_log import KEPT, REAL_CLOCK, Lock
from mtquant.live.decide import Outlook, Strategy
from mtquant.live.decision import Guard
from mtquant.live.intents import MOST_SYMBOLS, Intent, plan, strategy_tag
from mtquant.live.journal import Journal
from mtquant.live.levels import changes_of
from mtquant.live.lock import Trip, trip_of
from mtquant.live.reconcile import Findings, Reconciler
from mtquant.live.sending import Sender
from mtquant.live.window import BarWindow
from mtquant.market.bars import Bars
from mtquant.market.timeframe import MINUTE_NS, Timeframe

Quotes = Sequence[tuple[int, int] | None]


@dataclass(frozen=True)
class RunnerSettings:
    """How a runner behaves.

    Attributes:
        strategy: Its name; orders carry a tag made from it.
        oldest_tick_minutes: Nothing is sent while the last quote is older.
        grace_bars: How long an order that history does not show may still appear.
        clock: ``bars`` where the clock is the bars' own, ``utc`` where it is the real one.
    """

    strategy: str
    oldest_tick_minutes: float = 10.0
    grace_bars: int = 60
    clock: str = REAL_CLOCK


@dataclass(frozen=True)
class BarReport:
    """What one bar led to, for console and log.

    Attributes:
        outlook: Record, decisions and prices.
        position_lots: Signed lots held at the close, before the orders.
        results: The answers to the orders that were sent.
        events: What did not add up.
        trip: Of the breaker, where its level rose.
    """

    outlook: Outlook
    position_lots: tuple[float, ...]
    results: tuple[OrderResult, ...]
    events: tuple[str, ...]
    trip: Trip | None = None


class Runner:
    """One strategy on one account."""

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        strategy: Strategy,
        instruments: Sequence[Instrument],
        settings: RunnerSettings,
        clock: Callable[[], int],
        context: Sequence[Instrument] = (),
    ) -> None:
        """Tie the parts together and check that they belong together.

        Args:
            broker: Connected.
            journal: Of this strategy on this account.
            strategy: Decides.
            instruments: One per symbol of the strategy, in its order.
            settings: See there.
            clock: Present time, ns UTC.
            context: One per context symbol of the strategy; read, never traded.

        Raises:
            ConfigError: The account's currency is not the strategy's, or the journal belongs to
                another account or strategy.
            BrokerUnavailable: The account cannot be read.
        """
        timeframe = Timeframe.parse(strategy.env.timeframe)
        self._broker, self._journal, self._strategy = broker, journal, strategy
        self._instruments = tuple(instruments)
        self._settings = settings
        self._clock = clock
        self._bind(timeframe)
        self._tag = strategy_tag(settings.strategy)
        self._reconciler = Reconciler(
            broker,
            journal,
            self._instruments,
            self._tag,
            grace_ns=settings.grace_bars * timeframe.nanoseconds,
            hedging=strategy.env.account.book == "hedging",
            managed=strategy.managed,
        )
        self._least = [round(i.spec.lot_min / i.spec.lot_step) for i in instruments]
        self._sender = Sender(broker, journal, {i.spec.name: i for i in instruments}, clock)
        self._windows = [BarWindow(i, timeframe, strategy.bars_kept) for i in instruments]
        self._context = [BarWindow(i, timeframe, strategy.bars_kept) for i in context]
        self._related = strategy.pipeline.pipeline.related
        self._bar_ns = timeframe.nanoseconds
        self._record = journal.latest_record()

    def _bind(self, timeframe: Timeframe) -> None:
        """Check that account, journal and strategy belong together, and tie them."""
        strategy, settings = self._strategy, self._settings
        if len(self._instruments) > MOST_SYMBOLS:
            raise ConfigError(f"a strategy trades at most {MOST_SYMBOLS} symbols")
        account, currency = self._broker.account(), strategy.env.account.currency
        if account.currency != currency:
            raise ConfigError(
                f"account {account.login} is in {account.currency}, the strategy was made for "
                f"{currency}; use an account in {currency}"
            )
        self._journal.bind(
            {
                "account": f"{account.login}@{account.server}",
                "strategy": settings.strategy,
                "symbols": ",".join(i.spec.name for i in self._instruments),
                "timeframe": timeframe.name,
                "clock": settings.clock,
            },
            {name: str(getattr(strategy.env.breaker, name)) for name in KEPT},
        )

    def on_bar(self) -> BarReport | None:
        """Act on the newest closed bar.

        Returns:
            What happened; None where that bar was decided before or history is still too short.

        Raises:
            BrokerUnavailable: A read failed; nothing was sent, try again later.
        """
        record = self._record
        findings = self._reconciler.run(record, self._clock())
        closed = self._closed_bars()
        if closed is None:
            return None
        bars, context = closed
        lock = self._journal.breaker.lock(record, self._strategy.env.breaker)
        guards, quotes = self._guards(findings, lock), self._quotes(findings)
        outlook = self._strategy.decide(
            bars, lock.record, findings.balance, guards, context, quotes
        )
        intents = self._plan(outlook, findings)
        changes = self._changes(outlook, findings, guards, quotes)
        trip = self._commit(outlook, intents, findings, lock, sending=not changes)
        self._record, bar = outlook.record, outlook.record.bar_time_ns
        events = (*findings.events, *lock.events)
        if changes:
            events += self._sender.change_stops(changes, intents, bar)
        return self._report(outlook, self._sender.send(intents, bar), events, trip)

    def _closed_bars(self) -> tuple[list[Bars], list[Bars]] | None:
        """The newest closed bars, and those of the context; None where there is no new one."""
        known, kept = self._known_ns(), self._strategy.bars_kept
        bars = [window.update(self._broker, known) for window in self._windows]
        if min(len(one) for one in bars) < self._strategy.bars_needed:
            return None
        newest = max(int(one.time[-1]) for one in bars)
        if self._record is not None and newest <= self._record.bar_time_ns:
            return None
        oldest = min(int(one.time[-min(kept, len(one))]) for one in bars)
        bars = [
            window.reaching(self._broker, oldest, known) if one.symbol in self._related else one
            for window, one in zip(self._windows, bars, strict=True)
        ]
        context = [w.reaching(self._broker, oldest, newest + self._bar_ns) for w in self._context]
        return bars, context

    def _known_ns(self) -> int | None:
        """With several symbols the newest quote of any: it closes the bars of those that rest."""
        if len(self._instruments) == 1:
            return None
        now = self._clock()
        return max(self._broker.tick_time_ns(one, now) for one in self._instruments)

    def _guards(self, findings: Findings, lock: Lock) -> list[Guard | None]:
        """Reconciliation's doubts; where there are none, a silent feed or failing orders."""
        now = self._clock()
        oldest = now - int(self._settings.oldest_tick_minutes * MINUTE_NS)
        failing = Guard("too many failed orders", frozen=False) if lock.failing else None
        return [
            guard
            or (
                Guard("no fresh quote", frozen=True)
                if self._broker.tick_time_ns(instrument, now) < oldest
                else failing
            )
            for guard, instrument in zip(findings.guards, self._instruments, strict=True)
        ]

    def _quotes(self, findings: Findings) -> Quotes:
        """Bid and ask in ticks of what is held under stops; None for the rest."""
        quotes: list[tuple[int, int] | None] = []
        for one, position in zip(self._instruments, findings.balance.positions, strict=True):
            if self._strategy.managed and position.tickets:
                quote = self._broker.quote(one)
                quotes.append((one.ticks(quote.bid), one.ticks(quote.ask)))
            else:
                quotes.append(None)
        return quotes

    def _commit(
        self,
        outlook: Outlook,
        intents: Sequence[Intent],
        findings: Findings,
        lock: Lock,
        *,
        sending: bool,
    ) -> Trip | None:
        """Journal a bar; returns the breaker's trip."""
        now, limits = self._clock(), self._strategy.env.breaker
        stopped = findings.balance.stopped_out
        trip = trip_of(lock.record, outlook.record, limits, stopped, now)
        self._journal.commit_bar(
            outlook.record,
            outlook.decisions,
            intents,
            findings.deals,
            (*findings.events, *lock.events),
            findings.account.equity,
            at_ns=now,
            trip=trip,
            reset=lock.reset,
            sending=sending,
        )
        return trip

    def _plan(self, outlook: Outlook, findings: Findings) -> list[Intent]:
        """The orders of all symbols, in order."""
        hedging = findings.account.hedging
        return [
            intent
            for slot, (decision, found) in enumerate(
                zip(outlook.decisions, findings.balance.positions, strict=True)
            )
            for intent in plan(
                self._tag,
                slot,
                decision,
                [(one.ticket, one.steps) for one in found.tickets] if hedging else None,
                self._least[slot],
            )
        ]

    def _changes(
        self,
        outlook: Outlook,
        findings: Findings,
        guards: Sequence[Guard | None],
        quotes: Quotes,
    ) -> list[StopChange]:
        """What moves the levels of all that is held to where the decision wants them."""
        changes: list[StopChange] = []
        for s, quoted in enumerate(quotes):
            guard = guards[s]
            if quoted is not None and (guard is None or not guard.frozen):
                found, wanted = findings.balance.positions[s], outlook.record.positions[s]
                changes += changes_of(self._instruments[s], found, wanted, quoted)
        return changes

    def _report(
        self,
        outlook: Outlook,
        results: tuple[OrderResult, ...],
        events: tuple[str, ...],
        trip: Trip | None,
    ) -> BarReport:
        lots = tuple(
            instrument.lots(position.steps)
            for instrument, position in zip(
                self._instruments, outlook.record.positions, strict=True
            )
        )
        return BarReport(outlook, lots, results, events, trip)
