"""Reconciliation: start, restart and every bar are the same thing.

The order of reading matters: history, then open orders, then positions, then the account. A fill
that lands between two reads is then seen too early rather than missed. An intent whose outcome is
open is looked for in the broker's history by its magic number and never sent again; until it is
found, or a long grace has passed, its symbol stands still. What does not add up is said in words
and stops increases; it is never "corrected" by an opposite order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtquant.brokers.base import (
    AccountState,
    Broker,
    BrokerPosition,
    Deal,
    Instrument,
    OrderRecord,
    OrderState,
)
from mtquant.errors import ConfigError
from mtquant.live.decide import Guard
from mtquant.live.intents import Intent, IntentState, tag_of
from mtquant.live.journal import Journal
from mtquant.live.record import AccountRecord, BrokerBalance, HeldPosition
from mtquant.market.clock import DAY_NS

#: How far back the first look at an account goes.
FIRST_LOOK_DAYS = 100


@dataclass(frozen=True)
class Findings:
    """Where the account really stands.

    Attributes:
        account: As the broker shows it.
        balance: The part a strategy needs.
        deals: Not yet taken account of by a journalled bar.
        guards: Per symbol what stands against trading, or None.
        events: Differences, in words.
    """

    account: AccountState
    balance: BrokerBalance
    deals: tuple[Deal, ...]
    guards: tuple[Guard | None, ...]
    events: tuple[str, ...]


@dataclass(frozen=True)
class Reconciler:
    """Compares one strategy's journal with one broker.

    Attributes:
        broker: The truth.
        journal: What we believe.
        instruments: The strategy's symbols, in order.
        tag: The strategy's, see :mod:`mtquant.live.intents`.
        grace_ns: How long an order that history does not show may still appear.
    """

    broker: Broker
    journal: Journal
    instruments: tuple[Instrument, ...]
    tag: int
    grace_ns: int

    def run(self, record: AccountRecord | None, now_ns: int) -> Findings:
        """Read everything, resolve what can be resolved, and judge the rest.

        Args:
            record: The account at the last journalled bar.
            now_ns: Present time, ns UTC.

        Raises:
            BrokerUnavailable: A read failed: nothing is known and nothing may be done.
            ConfigError: The account is a hedging one.
        """
        unfinished = self.journal.unfinished()
        bar = now_ns if record is None else record.bar_time_ns
        # Before the first record everything of late is old; a deposit must not look new afterwards.
        since = now_ns - FIRST_LOOK_DAYS * DAY_NS if record is None else bar
        since = min([since, *(intent.bar_time_ns for intent in unfinished)])
        deals = self.broker.deals(since)
        past = self.broker.past_orders(since) if unfinished else ()
        working = self.broker.open_orders()
        positions = self.broker.positions()
        account = self.broker.account()
        if account.hedging:
            raise ConfigError(
                f"account {account.login} is a hedging account; use a netting account"
            )
        events: list[str] = []
        waiting = {
            intent.symbol
            for intent in unfinished
            if not self._resolve(intent, deals, past, working, (bar, now_ns), events)
        }
        unseen = tuple(self.journal.unseen(deals))
        held = tuple(self._held(instrument, positions) for instrument in self.instruments)
        guards = tuple(
            self._guard(instrument, now, before, unseen, positions, waiting, bar, events)
            for instrument, now, before in zip(
                self.instruments,
                held,
                [None] * len(held) if record is None else record.positions,
                strict=True,
            )
        )
        deposit = sum(deal.profit for deal in unseen if not deal.is_trade)
        if record is None:
            deposit = 0.0
        elif deposit:
            events.append(f"balance operation of {deposit} {account.currency}")
        stopped = any(deal.stop_out for deal in unseen)
        if stopped:
            events.append("stop-out: the broker closed positions for lack of margin")
        realised = self._realised(unseen, held, record)
        found = BrokerBalance(account.balance, held, deposit, stopped, realised)
        return Findings(account, found, unseen, guards, tuple(events))

    def _resolve(
        self,
        intent: Intent,
        deals: Sequence[Deal],
        past: Sequence[OrderRecord],
        working: Sequence[OrderRecord],
        times: tuple[int, int],
        events: list[str],
    ) -> bool:
        """Find out what became of an intent; False where that stays open."""
        bar, now_ns = times
        if intent.state is IntentState.PLANNED:
            self.journal.settle(intent, IntentState.CANCELLED, bar)
            return True
        instrument = next(i for i in self.instruments if i.spec.name == intent.symbol)
        done = sum(instrument.steps(d.volume_lots) for d in deals if d.magic == intent.magic)
        over = any(o.magic == intent.magic and o.state is not OrderState.OPEN for o in past)
        if any(o.magic == intent.magic for o in working):
            return False
        if abs(done) >= abs(intent.steps):
            state = IntentState.EXECUTED
        elif over:
            state = IntentState.PARTIAL if done else IntentState.NOT_EXECUTED
        elif now_ns - intent.bar_time_ns > self.grace_ns:
            state = IntentState.PARTIAL if done else IntentState.NOT_EXECUTED
        else:
            return False
        self.journal.settle(intent, state, bar, executed_steps=done)
        events.append(f"{intent.symbol}: order {intent.magic} is {state.value}, says history")
        return True

    def _held(self, instrument: Instrument, positions: Sequence[BrokerPosition]) -> HeldPosition:
        for position in positions:
            if position.symbol == instrument.broker_name and tag_of(position.magic) == self.tag:
                return HeldPosition(
                    steps=instrument.steps(position.volume_lots),
                    entry=position.price_open,
                    swap=position.swap,
                    identifier=position.identifier,
                )
        return HeldPosition()

    def _realised(
        self, unseen: Sequence[Deal], held: Sequence[HeldPosition], record: AccountRecord | None
    ) -> tuple[tuple[int, float], ...]:
        """``(identifier, money)`` of each deal on the strategy's positions, oldest first.

        A position is own by its identifier or by an own deal on it: whoever closed it, a person or
        a stop-out, the round trip was the strategy's.
        """
        before = () if record is None else record.positions
        own = {p.identifier for p in (*held, *before) if p.steps != 0}
        names = {instrument.broker_name for instrument in self.instruments}
        own.update(
            d.position_id for d in unseen if d.symbol in names and tag_of(d.magic) == self.tag
        )
        return tuple(
            (d.position_id, d.profit + d.swap + d.commission)
            for d in unseen
            if d.is_trade and d.position_id in own
        )

    def _guard(
        self,
        instrument: Instrument,
        now: HeldPosition,
        before: HeldPosition | None,
        unseen: Sequence[Deal],
        positions: Sequence[BrokerPosition],
        waiting: set[str],
        bar: int,
        events: list[str],
    ) -> Guard | None:
        """What stands against trading a symbol."""
        symbol, name = instrument.spec.name, instrument.broker_name
        if symbol in waiting:
            return Guard("unresolved order", frozen=True)
        foreign = [p for p in positions if p.symbol == name and tag_of(p.magic) != self.tag]
        if foreign:
            events.append(
                f"{symbol}: position {foreign[0].ticket} belongs to somebody else; close it or use "
                "another account"
            )
            return Guard("position of somebody else", frozen=True)
        if before is None:
            if now.steps:
                events.append(f"{symbol}: found and took over {now.steps} lot steps")
            return None
        closed = sum(
            instrument.steps(d.volume_lots) for d in unseen if d.stop_out and d.symbol == name
        )
        expected = before.steps + self.journal.executed_since(bar).get(symbol, 0) + closed
        if expected != now.steps:
            events.append(f"{symbol}: expected {expected} lot steps, the broker shows {now.steps}")
            return Guard("position differs from the journal", frozen=False)
        return None
