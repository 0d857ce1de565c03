"""Runner: on every closed bar reconcile, decide, journal, send, in this order.

Crash-only: all that counts is in the journal or at the broker, so a start is a bar like any other
and there is nothing to shut down. One decision per bar across restarts; missed bars are never
replayed; an order is sent at most once. The clock is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mtquant.brokers.base import Broker, Instrument, MarketOrder, OrderResult, Outcome
from mtquant.errors import ConfigError
from mtquant.live.decide import Guard, Outlook, Strategy
from mtquant.live.intents import MOST_SYMBOLS, Intent, IntentState, plan, strategy_tag
from mtquant.live.journal import Journal
from mtquant.live.reconcile import Findings, Reconciler
from mtquant.live.window import BarWindow
from mtquant.market.timeframe import MINUTE_NS, Timeframe

_STATE_OF = {
    Outcome.EXECUTED: IntentState.EXECUTED,
    Outcome.PARTIAL: IntentState.PARTIAL,
    Outcome.PLACED: IntentState.PLACED,
    Outcome.NOT_EXECUTED: IntentState.NOT_EXECUTED,
    Outcome.AMBIGUOUS: IntentState.AMBIGUOUS,
}


@dataclass(frozen=True)
class RunnerSettings:
    """How a runner behaves.

    Attributes:
        strategy: Its name; orders carry a tag made from it.
        oldest_tick_minutes: Nothing is sent while the last quote is older.
        grace_bars: How long an order that history does not show may still appear.
    """

    strategy: str
    oldest_tick_minutes: float = 10.0
    grace_bars: int = 60


@dataclass(frozen=True)
class BarReport:
    """What one bar led to, for console and log.

    Attributes:
        outlook: Record, decisions and prices.
        position_lots: Signed lots held at the close, before the orders.
        results: The answers to the orders that were sent.
        events: What did not add up.
    """

    outlook: Outlook
    position_lots: tuple[float, ...]
    results: tuple[OrderResult, ...]
    events: tuple[str, ...]


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
        if len(instruments) > MOST_SYMBOLS:
            raise ConfigError(f"a strategy trades at most {MOST_SYMBOLS} symbols")
        account, currency = broker.account(), strategy.env.account.currency
        if account.currency != currency:
            raise ConfigError(
                f"account {account.login} is in {account.currency}, the strategy was made for "
                f"{currency}; use an account in {currency}"
            )
        timeframe = Timeframe.parse(strategy.env.timeframe)
        journal.bind(
            {
                "account": f"{account.login}@{account.server}",
                "strategy": settings.strategy,
                "symbols": ",".join(i.spec.name for i in instruments),
                "timeframe": timeframe.name,
            }
        )
        self._broker, self._journal, self._strategy = broker, journal, strategy
        self._instruments = tuple(instruments)
        self._settings = settings
        self._clock = clock
        self._tag = strategy_tag(settings.strategy)
        grace_ns = settings.grace_bars * timeframe.nanoseconds
        self._reconciler = Reconciler(broker, journal, self._instruments, self._tag, grace_ns)
        self._windows = [BarWindow(i, timeframe, strategy.bars_needed) for i in instruments]
        self._context = [BarWindow(i, timeframe, strategy.bars_needed) for i in context]
        self._related = strategy.pipeline.pipeline.related
        self._bar_ns = timeframe.nanoseconds
        self._record = journal.latest_record()
        self._agent_state: Any = None

    def on_bar(self) -> BarReport | None:
        """Act on the newest closed bar.

        Returns:
            What happened; None where that bar was decided before or history is still too short.

        Raises:
            BrokerUnavailable: A read failed; nothing was sent, try again later.
        """
        record = self._record
        findings = self._reconciler.run(record, self._clock())
        known = self._known_ns()
        bars = [window.update(self._broker, known) for window in self._windows]
        if min(len(one) for one in bars) < self._strategy.bars_needed:
            return None
        newest = max(int(one.time[-1]) for one in bars)
        if record is not None and newest <= record.bar_time_ns:
            return None
        oldest = min(int(one.time[-self._strategy.bars_needed]) for one in bars)
        bars = [
            window.reaching(self._broker, oldest, known) if one.symbol in self._related else one
            for window, one in zip(self._windows, bars, strict=True)
        ]
        context = [w.reaching(self._broker, oldest, newest + self._bar_ns) for w in self._context]
        outlook = self._strategy.decide(
            bars, record, findings.balance, self._guards(findings), self._agent_state, context
        )
        self._agent_state = outlook.agent_state
        intents = self._plan(outlook)
        self._journal.commit_bar(
            outlook.record,
            outlook.decisions,
            intents,
            findings.deals,
            findings.events,
            findings.account.equity,
        )
        self._record = outlook.record
        results = self._send_all(intents, outlook.record.bar_time_ns)
        return self._report(outlook, results, findings)

    def _known_ns(self) -> int | None:
        """With several symbols the newest quote of any: it closes the bars of those that rest."""
        if len(self._instruments) == 1:
            return None
        now = self._clock()
        return max(self._broker.tick_time_ns(one, now) for one in self._instruments)

    def _guards(self, findings: Findings) -> list[Guard | None]:
        """Reconciliation's doubts, and silence of the feed where there are none."""
        now = self._clock()
        oldest = now - int(self._settings.oldest_tick_minutes * MINUTE_NS)
        return [
            Guard("no fresh quote", frozen=True)
            if guard is None and self._broker.tick_time_ns(instrument, now) < oldest
            else guard
            for guard, instrument in zip(findings.guards, self._instruments, strict=True)
        ]

    def _plan(self, outlook: Outlook) -> list[Intent]:
        return [
            intent
            for slot, decision in enumerate(outlook.decisions)
            for intent in plan(
                self._tag,
                decision.symbol,
                slot,
                decision.bar_time_ns,
                (decision.held, decision.target),
            )
        ]

    def _send_all(self, intents: Sequence[Intent], bar_time_ns: int) -> tuple[OrderResult, ...]:
        """Send in order; an increase only after its reduction is executed."""
        instruments = {i.spec.name: i for i in self._instruments}
        results: list[OrderResult] = []
        queue = list(intents)
        while queue:
            intent = queue.pop(0)
            order = MarketOrder(
                instruments[intent.symbol], intent.steps, intent.magic, intent.comment
            )
            result = self._broker.send(order)
            results.append(result)
            if result.outcome is not Outcome.EXECUTED:
                # Left as planned, they are cancelled when the next bar reconciles.
                queue = [later for later in queue if later.symbol != intent.symbol]
            self._journal.settle(
                intent,
                _STATE_OF[result.outcome],
                bar_time_ns,
                result,
                then_sending=queue[0] if queue else None,
            )
        return tuple(results)

    def _report(
        self, outlook: Outlook, results: tuple[OrderResult, ...], findings: Findings
    ) -> BarReport:
        lots = tuple(
            instrument.lots(position.steps)
            for instrument, position in zip(
                self._instruments, outlook.record.positions, strict=True
            )
        )
        return BarReport(outlook, lots, results, findings.events)
