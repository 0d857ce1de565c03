"""Runner: on every closed bar reconcile, decide, journal, move stops, send, in this order.

Crash-only: all that counts is in the journal or at the broker, so a start is a bar like any other
and there is nothing to shut down. One decision per bar across restarts; missed bars are never
replayed; an order is sent at most once. What is decided is :mod:`mtquant.live.core`, without clock,
disk or broker; here they are read and written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from mtquant.brokers.base import AccountState, Broker, Instrument, OrderResult
from mtquant.errors import BrokerUnavailable, DataError
from mtquant.live.breaker_log import REAL_CLOCK, Lock
from mtquant.live.core import Actions, Core, Seen
from mtquant.live.decide import Strategy
from mtquant.live.desk import Desk, Seat, stake_of
from mtquant.live.exposure import Exposure
from mtquant.live.feed import Feed
from mtquant.live.flatten import GRACE_NS, Flattener
from mtquant.live.gates import Checker
from mtquant.live.intents import strategy_tag
from mtquant.live.journal import Journal, writing
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.levels import stop_missing
from mtquant.live.reconcile import Findings, Reconciler
from mtquant.live.report import BarReport
from mtquant.live.sending import Sender
from mtquant.live.settings import RunnerSettings, bind
from mtquant.live.triggers import Triggers
from mtquant.live.watch import Watch
from mtquant.live.writer import WriterLock
from mtquant.market.bars import Bars
from mtquant.market.clock import SECOND_NS
from mtquant.market.timeframe import MINUTE_NS, Timeframe


class Runner:
    """One strategy on one account, alone or beside others.

    Attributes:
        switch: Its kill switch.
    """

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        strategy: Strategy,
        instruments: Sequence[Instrument],
        settings: RunnerSettings,
        clock: Callable[[], int],
        context: Sequence[Instrument] = (),
        *,
        writer: WriterLock | None = None,
        monotonic_ns: Callable[[], int] | None = None,
        desk: Desk | None = None,
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
            writer: Held for the runner's life; none on paper.
            monotonic_ns: A clock that nobody sets, for time-outs; ``clock`` where there is none.
            desk: Of the account's strategies; one of its own where it is alone.

        Raises:
            ConfigError: The account is not the strategy's or not that of the limits, the journal
                belongs to another account or strategy, or one at the desk trades the same.
            BrokerUnavailable: The account cannot be read.
        """
        self._broker, self._journal, self._strategy = broker, journal, strategy
        self._instruments, self._settings, self._clock = tuple(instruments), settings, clock
        timeframe = Timeframe.parse(strategy.env.timeframe)
        account, tag = broker.account(), strategy_tag(settings.strategy)
        with writing():
            bind(journal, account, strategy.env, self._instruments, settings)
        self._desk = desk or Desk()
        symbols = tuple(one.broker_name for one in self._instruments)
        self._seat = Seat(settings.strategy, tag, symbols, journal.counts)
        self._desk.join(self._seat)
        self.switch = KillSwitch(journal.path)
        self._core = Core(strategy, self._instruments, tag)
        self._reconciler = self._reconciler_for(tag)
        oldest = int(settings.oldest_tick_minutes * MINUTE_NS)
        self._watch = Watch(
            broker, self._instruments, timeframe, oldest, settings.clock == REAL_CLOCK
        )
        self._sender = self._sender_for(account, writer)
        self._flattener = Flattener(self._sender, journal, self._instruments, tag)
        self._feed = Feed(broker, self._instruments, tuple(context), strategy, clock)
        self._record = journal.latest_record()
        self._findings: Findings | None = None
        self._given_stop = set[int]()
        self._step_value: tuple[float, ...] | None = None
        self._noted: tuple[Form, object] | None = None
        limits = settings.limits
        self._triggers = (
            None
            if limits is None
            else Triggers(self.switch, journal, limits, self._desk, tag, monotonic_ns or clock)
        )
        with writing():
            self._start(account)

    def _reconciler_for(self, tag: int) -> Reconciler:
        """What compares journal and broker."""
        strategy = self._strategy
        return Reconciler(
            self._broker,
            self._journal,
            self._instruments,
            tag,
            grace_bars=self._settings.grace_bars,
            hedging=strategy.env.account.book == "hedging",
            managed=strategy.managed,
            desk=self._desk,
        )

    def _sender_for(self, account: AccountState, writer: WriterLock | None) -> Sender:
        """The gates, and the way through them."""
        settings, limits = self._settings, self._settings.limits
        oldest = int(settings.oldest_tick_minutes * MINUTE_NS)
        age = Timeframe.parse(self._strategy.env.timeframe).nanoseconds
        if limits is not None:
            oldest = int(limits.max_quote_age_seconds * SECOND_NS)
            age = int(limits.max_decision_age_seconds * SECOND_NS)
        checker = Checker(
            self._broker,
            {i.spec.name: i for i in self._instruments},
            account,
            self.switch,
            self._desk,
            self._clock,
            limits,
            writer,
            oldest,
            age,
            lambda instrument: self._watch.is_open(instrument, self._clock()),
        )
        attempts = settings.attempts if limits is None else limits.attempts_per_bar
        return Sender(self._broker, self._journal, checker, self._clock, attempts)

    def _start(self, account: AccountState) -> None:
        """Become the journal's writer; the first start of all arms the switch."""
        now = self._clock()
        self._journal.begin(self._settings.boot_id, now)
        if self._record is None and not self._journal.switch.rows() and self.switch.untouched():
            self.switch.arm("runner", "first start", now)
        if self._triggers is not None:
            self._triggers.started(now)
            self._flattener.prepare(account.hedging, now)
        self._note_switch()

    def _note_switch(self) -> Form:
        """What the switch is at now; the journal keeps what is new."""
        form = self.switch.read()
        if self._noted != (form, self.switch.arming):
            with suppress(sqlite3.Error):  # a full disk stands in no way
                self._journal.switch.note(form, self.switch.told(), self._clock())
                self._noted = form, self.switch.arming
        return form

    def on_bar(self) -> BarReport | None:
        """Look and act; all there is to do for a strategy that is alone on its account.

        Returns:
            See :meth:`act`.

        Raises:
            BrokerUnavailable: A read failed; nothing was sent, try again later.
            Unwritable: The journal cannot be written.
            RiskHalt: It is another account.
        """
        self.look()
        return self.act()

    def look(self) -> None:
        """Reconcile with the broker; what the strategy may come to is known from then on.

        Raises:
            BrokerUnavailable: A read failed.
            RiskHalt: It is another account.
        """
        form = self._note_switch()  # first, for counts begin anew when it was armed
        self._findings = self._seat.stake = None
        with self._answered():
            reconciler = self._reconciler
            if form is Form.FLATTEN:  # no bars are decided, by which orders would grow old
                reconciler = replace(reconciler, grace_ns=GRACE_NS)
            findings = reconciler.run(self._record, self._clock())
            if self._triggers is not None:
                self._triggers.found(findings, self._clock())
        self._findings = findings
        self._value(findings.exposures)

    def act(self) -> BarReport | None:
        """Act on the newest closed bar; with the switch at FLATTEN close what is held.

        Returns:
            What happened; None where that bar was decided before, history is still too short, the
            switch is at FLATTEN, or no look came before.

        Raises:
            BrokerUnavailable: A read failed; nothing was sent, try again later.
            Unwritable: The journal cannot be written.
        """
        findings, self._findings = self._findings, None
        if findings is None:
            return None
        with self._answered():
            if self.switch.read() is Form.FLATTEN:
                self._flatten(findings)
                return None
            return self._bar(findings)

    def unanswered(self) -> None:
        """The terminal does not answer; where that lasts, the switch falls."""
        if self._triggers is not None:
            self._triggers.unanswered()

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            with writing():  # what was sent before shows at the next look
                yield
        except (BrokerUnavailable, DataError) as problem:
            self.unanswered()
            raise BrokerUnavailable(str(problem)) from problem

    def _value(self, exposures: Sequence[Exposure]) -> None:
        """Tell the desk what the strategy may come to."""
        if self._step_value is None and self._desk.shared:
            with suppress(BrokerUnavailable, DataError):  # then the value is unknown
                bars = self._feed.newest()
                self._step_value = None if bars is None else self._strategy.step_value(bars)
        self._seat.stake = stake_of(exposures, self._step_value)

    def _flatten(self, findings: Findings) -> tuple[OrderResult, ...]:
        now = self._clock()
        bar = now if self._record is None else self._record.bar_time_ns
        return self._flattener.run(findings, bar, now)

    def _bar(self, findings: Findings) -> BarReport | None:
        closed = self._feed.closed_bars(self._record)
        if closed is None:
            self._protect(findings)
            return None
        seen = self._see(findings, *closed)
        record, actions = self._core.step(seen)
        if self._triggers is not None:
            self._triggers.valued(findings, actions.outlook.step_value)
        self._commit(seen, actions)
        self._record, bar, events = record, record.bar_time_ns, actions.events
        self._step_value = actions.outlook.step_value
        self._value(actions.exposures(findings.exposures))
        if actions.changes:
            events += self._sender.change_stops(actions.changes, actions.intents, bar)
        results = self._sender.send(actions.orders, bar)
        lots = tuple(
            instrument.lots(position.steps)
            for instrument, position in zip(self._instruments, record.positions, strict=True)
        )
        return BarReport(
            actions.outlook, lots, results, events, actions.trip, self._settings.strategy
        )

    def _protect(self, findings: Findings) -> None:
        """Set at once, and once a ticket, the stop that an order came without."""
        missing = any(map(stop_missing, findings.balance.positions, findings.guards))
        if missing and self._record is not None:
            changes = self._core.missing_stops(findings, self._feed.quotes(findings.balance))
            if new := [one for one in changes if one.ticket not in self._given_stop]:
                self._given_stop.update(one.ticket for one in new)
                self._sender.change_stops(new, (), self._record.bar_time_ns)

    def _see(self, findings: Findings, bars: list[Bars], context: list[Bars]) -> Seen:
        """Everything else that a decision needs, read in one go."""
        now, form = self._clock(), self._note_switch()
        doubts = zip(self._watch.doubts(bars, now), self._feed.doubts(), strict=True)
        others = self._desk.others(self._seat.tag)
        return Seen(
            now,
            findings,
            self._lock(),
            bars,
            context,
            self._feed.quotes(findings.balance),
            tuple(watched or fed for watched, fed in doubts),
            form,
            others,
        )

    def _lock(self) -> Lock:
        return self._journal.breaker.lock(self._record, self._strategy.env.breaker)

    def _commit(self, seen: Seen, actions: Actions) -> None:
        """Journal a bar, before anything of it is sent."""
        self._journal.commit_bar(
            actions.outlook.record,
            actions.outlook.decisions,
            actions.intents,
            seen.findings.deals,
            actions.events,
            seen.findings.account.equity,
            at_ns=seen.now_ns,
            trip=actions.trip,
            reset=seen.lock.reset,
            sending=not actions.changes,
        )
