"""Checker: the gates between an intent and the broker, in their order, and the only way through.

    kill switch, one writer, account, reconciled, fresh, calendar, limits, throttle, breaker, held

and, as the last thing before the call, the switch and the decision's age once more. A gate answers
with what stands against the order, or nothing; one that fails in any way denies. Reducing what is
proven to be held passes most of them: doubt stops increases, not the way out.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from math import inf

from mtquant.brokers.approval import Approved, issue
from mtquant.brokers.base import (
    AccountState,
    Broker,
    Instrument,
    MarketOrder,
    OrderResult,
    Quote,
    StopChange,
)
from mtquant.brokers.constants import TRADE_RETCODE_MARKET_CLOSED
from mtquant.config.live import LiveLimits
from mtquant.errors import BrokerUnavailable, DataError
from mtquant.live.decision import Guard
from mtquant.live.desk import Desk
from mtquant.live.exposure import Exposure
from mtquant.live.found import own_tickets
from mtquant.live.intents import Intent, tag_of
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.writer import WriterLock
from mtquant.market.clock import DAY_NS, HOUR_NS, SECOND_NS
from mtquant.market.timeframe import MINUTE_NS
from mtquant.risk.breaker import LEVEL_2


@dataclass(frozen=True)
class Asked:
    """An order before the gates.

    Attributes:
        intent: What is to be sent.
        exposure: Of its symbol, before it.
        decided_ns: When it was decided, on the runner's clock.
        guard: What reconciliation, feed, model or failed orders say of the symbol.
        level: Of the circuit breaker.
        price: Bid of the last closed bar.
        step_value: Of one lot step at that price, account currency.
        other_value: Of what the account's other symbols may come to, account currency.
        price_band: Furthest that an increase may be from that price, a fraction, by the env.
    """

    intent: Intent
    exposure: Exposure
    decided_ns: int
    guard: Guard | None = None
    level: int = 0
    price: float = 0.0
    step_value: float = 0.0
    other_value: float = 0.0
    price_band: float = inf

    @property
    def reduces(self) -> bool:
        """Whether it can only make the position smaller."""
        return self.exposure.reduced_by(self.intent.steps)


@dataclass(frozen=True)
class Denied:
    """An order that did not pass.

    Attributes:
        gate: Which one denied.
        reason: Why.
    """

    gate: str
    reason: str


@dataclass(frozen=True)
class Checker:
    """Approves orders for one runner, and nobody else does.

    Attributes:
        broker: Asked for account and quotes.
        instruments: By standard name.
        account: As it was when the runner started.
        switch: The kill switch.
        desk: Counts what all strategies of the account have sent.
        clock: Present time, ns UTC.
        limits: None on paper alone.
        writer: Held for the runner's life; None on paper alone.
        oldest_tick_ns: Age of the oldest quote that an increase is sent at.
        most_age_ns: Of a decision.
        calendar: Whether a symbol's market is open now.
        shut: By symbol its newest quote when the server said that its market is shut, and the time
            then. In a holiday refusals would otherwise use up the day's orders of all strategies.
    """

    broker: Broker
    instruments: dict[str, Instrument]
    account: AccountState
    switch: KillSwitch
    desk: Desk
    clock: Callable[[], int]
    limits: LiveLimits | None
    writer: WriterLock | None
    oldest_tick_ns: int
    most_age_ns: int
    calendar: Callable[[Instrument], bool]
    shut: dict[str, tuple[int, int]] = field(default_factory=dict)

    def approve(self, asked: Asked) -> Approved | Denied:
        """Hold an order against every gate; any failure denies."""
        for name, gate in GATES:
            try:
                against = gate(self, asked)
            except Exception as problem:
                against = f"could not be judged: {problem!r}"
            if against:
                return Denied(name, against)
        intent = asked.intent
        order = MarketOrder(
            self.instruments[intent.symbol],
            intent.steps,
            intent.magic,
            intent.comment,
            intent.stop_distance,
            intent.take_distance,
            intent.ticket,
        )
        return issue(order, self._digest, lambda: self._last_look(asked))

    def approve_change(self, change: StopChange) -> Approved | Denied:
        """Hold a change of stops, which sends no volume, against the first gates."""
        form = self.switch.read()
        if form is Form.HARD:
            return Denied("kill switch", f"is at {form.name}")
        if self.writer is not None and not self.writer.held():
            return Denied("one writer", "the lock is lost")
        return issue(change, "", lambda: _killed(self.switch.read(), reduces=True))

    def answered(self, intent: Intent, result: OrderResult) -> None:
        """Hear what became of an order."""
        if result.retcode == TRADE_RETCODE_MARKET_CLOSED:
            now = self.clock()
            self.shut[intent.symbol] = self._quoted_ns(intent.symbol, now), now

    def is_shut(self, symbol: str) -> bool:
        """Whether the server has said so within the hour, and has quoted nothing since."""
        now = self.clock()
        quoted_ns, at_ns = self.shut.get(symbol, (0, now - HOUR_NS))
        return now - at_ns < HOUR_NS and self._quoted_ns(symbol, now) == quoted_ns

    def _quoted_ns(self, symbol: str, now_ns: int) -> int:
        """When a symbol was quoted last; now where nothing tells, so that nothing waits for it."""
        with suppress(BrokerUnavailable, DataError):
            return self.broker.tick_time_ns(self.instruments[symbol], now_ns)
        return now_ns

    @cached_property
    def _digest(self) -> str:
        return "" if self.limits is None else self.limits.digest

    def _last_look(self, asked: Asked) -> str:
        return _killed(self.switch.read(), reduces=asked.reduces) or _too_old(self, asked)


def _killed(form: Form, *, reduces: bool) -> str:
    allowed = form is Form.ARMED or (reduces and form is not Form.HARD)
    return "" if allowed else f"the kill switch is at {form.name}"


def _too_old(checker: Checker, asked: Asked) -> str:
    age = checker.clock() - asked.decided_ns
    return "" if 0 <= age <= checker.most_age_ns else f"decided {age / SECOND_NS:g} s ago"


def _switch(checker: Checker, asked: Asked) -> str:
    return _killed(checker.switch.read(), reduces=asked.reduces)


def _one_writer(checker: Checker, asked: Asked) -> str:
    if checker.writer is None:
        return "" if checker.limits is None else "no lock is held"
    return "" if checker.writer.held() else "the lock is lost: another runner may write"


def _account(checker: Checker, asked: Asked) -> str:
    """The terminal may have been switched to another account at any time."""
    now, was = checker.broker.account(), checker.account
    for name in ("login", "server", "currency", "is_demo", "hedging"):
        if getattr(now, name) != getattr(was, name):
            return f"{name} is {getattr(now, name)} and was {getattr(was, name)} at the start"
    return ""


def _reconciled(checker: Checker, asked: Asked) -> str:
    guard = asked.guard
    if guard is None or (asked.reduces and not guard.frozen):
        return ""
    return guard.reason


def _fresh(checker: Checker, asked: Asked) -> str:
    if asked.reduces:
        return ""
    now, instrument = checker.clock(), checker.instruments[asked.intent.symbol]
    age = now - checker.broker.tick_time_ns(instrument, now)
    if age > checker.oldest_tick_ns:
        return f"the last quote is {age / SECOND_NS:g} s old"
    return ""


def _calendar(checker: Checker, asked: Asked) -> str:
    symbol = asked.intent.symbol
    open_ = checker.calendar(checker.instruments[symbol])
    return "" if open_ and not checker.is_shut(symbol) else "the market is closed"


def _limits(checker: Checker, asked: Asked) -> str:
    limits, intent = checker.limits, asked.intent
    if limits is None or asked.reduces:
        return ""
    instrument = checker.instruments[intent.symbol]
    quote = checker.broker.quote(instrument)
    for name, value, most in _measured(instrument, asked, limits, quote):
        if not value <= most:  # nor what is not a number
            return f"{name} would be {value:g} and may be {most:g}"
    return ""


def _measured(
    instrument: Instrument, asked: Asked, limits: LiveLimits, quote: Quote
) -> list[tuple[str, float, float]]:
    """``(what, value, limit)`` of everything that is capped."""
    intent, exposure, name = asked.intent, asked.exposure, asked.intent.symbol
    price = quote.ask if intent.steps > 0 else quote.bid
    step_value = asked.step_value * price / asked.price if asked.price > 0.0 else float("nan")
    moved, worst = exposure.moved + abs(intent.steps), exposure.unproven(intent.steps).worst
    lots, collar = instrument.lots, min(limits.price_collar, asked.price_band)
    return [
        ("lots of the order", lots(abs(intent.steps)), limits.max_order_lots[name]),
        ("value of the order", abs(intent.steps) * step_value, limits.max_order_value),
        ("lots moved in one bar", lots(moved), limits.max_delta_lots[name]),
        ("lots of the position", lots(worst), limits.max_position_lots[name]),
        (
            "value of all positions",
            worst * step_value + asked.other_value,
            limits.max_account_value,
        ),
        ("distance from the last bar", abs(price / asked.price - 1.0), collar),
    ]


def _throttle(checker: Checker, asked: Asked) -> str:
    """Counted from the journals, the order in hand included: it stands there as being sent."""
    limits, now = checker.limits, checker.clock()
    if limits is None or asked.reduces:
        return ""
    for name, span, most in (
        ("minute", MINUTE_NS, limits.orders_per_minute),
        ("hour", HOUR_NS, limits.orders_per_hour),
        ("day", DAY_NS, limits.orders_per_day),
    ):
        if checker.desk.sent_within(span, now) > most:
            return f"more than {most} orders within a {name}"
    return ""


def _breaker(checker: Checker, asked: Asked) -> str:
    return "" if asked.reduces or asked.level < LEVEL_2 else f"it is at LEVEL_{asked.level}"


def _held(checker: Checker, asked: Asked) -> str:
    """A stop may have closed since the look what an order without a ticket would turn round."""
    if checker.account.hedging:  # there a ticket that is gone refuses the order
        return ""
    intent, instrument = asked.intent, checker.instruments[asked.intent.symbol]
    tickets = own_tickets(instrument, tag_of(intent.magic), checker.broker.positions())
    now = sum(one.steps for one in tickets)
    if asked.reduces:
        sound = now * intent.steps < 0 and abs(intent.steps) <= abs(now)
    else:
        sound = abs(now + intent.steps) <= asked.exposure.unproven(intent.steps).worst
    return "" if sound else f"the position has changed since the look, to {now} lot steps"


GATES: tuple[tuple[str, Callable[[Checker, Asked], str]], ...] = (
    ("kill switch", _switch),
    ("one writer", _one_writer),
    ("account", _account),
    ("reconciled", _reconciled),
    ("fresh", _fresh),
    ("calendar", _calendar),
    ("limits", _limits),
    ("throttle", _throttle),
    ("breaker", _breaker),
    ("held", _held),
)
"""In the order in which they judge."""
