"""Core: from what was seen at the close of a bar to what shall be done, a pure function.

    step(state, seen) -> (state, actions)

The state is the account's record, carried by the journal. Clock, disk and broker are elsewhere
(:mod:`mtquant.live.runner`): what they said stands in ``Seen``, what is to be done with them in
``Actions``. The same state and the same sight give the same actions, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isnan

from mtquant.brokers.base import Instrument, StopChange
from mtquant.live.breaker_log import Lock
from mtquant.live.decide import Outlook, Strategy
from mtquant.live.decision import Guard
from mtquant.live.desk import Stake
from mtquant.live.exposure import Exposure
from mtquant.live.feed import Quotes
from mtquant.live.gates import Asked
from mtquant.live.intents import Intent, plan
from mtquant.live.kill_switch import Form
from mtquant.live.levels import changes_of, stop_missing
from mtquant.live.lock import Trip, trip_of
from mtquant.live.reconcile import Findings
from mtquant.live.record import AccountRecord, HeldPosition
from mtquant.market.bars import Bars


@dataclass(frozen=True)
class Seen:
    """Everything that was read at one bar.

    Attributes:
        now_ns: The clock, when it had been read.
        findings: Of reconciliation.
        lock: Of the breaker, with the record that a reset has re-armed.
        bars: The newest closed bars, one per symbol.
        context: Of the symbols that are only read.
        quotes: Per symbol bid and ask in ticks, of what is held under stops; None for the rest.
        doubts: Per symbol what feed and calendar say against trading, or None.
        form: Of the kill switch.
        others: What the account's other strategies may come to.
    """

    now_ns: int
    findings: Findings
    lock: Lock
    bars: Sequence[Bars]
    context: Sequence[Bars]
    quotes: Quotes
    doubts: Sequence[Guard | None]
    form: Form = Form.ARMED
    others: Stake = field(default_factory=Stake)


@dataclass(frozen=True)
class Actions:
    """What is to be done, in this order: journal it, move stops, send.

    Attributes:
        outlook: Record and decisions.
        orders: With what the gates ask of each, in order.
        changes: Of stops and targets.
        trip: Of the breaker, None where its level did not rise.
        events: What did not add up, in words.
    """

    outlook: Outlook
    orders: tuple[Asked, ...]
    changes: tuple[StopChange, ...]
    trip: Trip | None
    events: tuple[str, ...]

    @property
    def intents(self) -> tuple[Intent, ...]:
        """Of the orders."""
        return tuple(one.intent for one in self.orders)

    def exposures(self, before: Sequence[Exposure]) -> list[Exposure]:
        """Per symbol what may be held while it is not known which orders are executed.

        Args:
            before: Per symbol of the outlook, ahead of the orders.
        """
        after = dict(zip((one.symbol for one in self.outlook.decisions), before, strict=True))
        for one in self.intents:
            after[one.symbol] = after[one.symbol].unproven(one.steps)
        return list(after.values())


@dataclass(frozen=True)
class Core:
    """One strategy, as it decides.

    Attributes:
        strategy: From bars and record to targets.
        instruments: One per symbol, in its order.
        tag: The strategy's, see :mod:`mtquant.live.intents`.
    """

    strategy: Strategy
    instruments: tuple[Instrument, ...]
    tag: int

    def step(self, seen: Seen) -> tuple[AccountRecord, Actions]:
        """Decide one bar; the state before it is the lock's record."""
        guards = self._guards(seen)
        outlook = self.strategy.decide(
            seen.bars, seen.lock.record, seen.findings.balance, guards, seen.context, seen.quotes
        )
        trip = trip_of(
            seen.lock.record,
            outlook.record,
            self.strategy.env.breaker,
            seen.findings.balance.stopped_out,
            seen.now_ns,
        )
        events = (*seen.findings.events, *seen.lock.events, *outlook.faults)
        orders = tuple(self._orders(seen, outlook, guards))
        changes = tuple(self._changes(seen, outlook, guards))
        return outlook.record, Actions(outlook, orders, changes, trip, events)

    def missing_stops(self, findings: Findings, quotes: Quotes) -> list[StopChange]:
        """What gives a position the stop that an order came without, in the middle of a bar."""
        changes: list[StopChange] = []
        for s, (found, quoted) in enumerate(zip(findings.balance.positions, quotes, strict=True)):
            if quoted is not None and stop_missing(found, findings.guards[s]):
                wanted = HeldPosition(stop=found.stop, take=found.take)
                changes += changes_of(self.instruments[s], found, wanted, quoted)
        return changes

    def _guards(self, seen: Seen) -> list[Guard | None]:
        """The first that stands against each symbol, the gravest first."""
        everywhere = _killed(seen.form)
        if everywhere is None and isnan(seen.others.value):
            everywhere = Guard("what others may come to is unknown", frozen=False)
        if everywhere is None and seen.lock.failing:
            everywhere = Guard("too many failed orders", frozen=False)
        return [
            _worse(found, doubt) or everywhere
            if everywhere is None or not everywhere.frozen
            else everywhere
            for found, doubt in zip(seen.findings.guards, seen.doubts, strict=True)
        ]

    def _orders(self, seen: Seen, outlook: Outlook, guards: Sequence[Guard | None]) -> list[Asked]:
        """The orders of all symbols, in their order."""
        findings, hedging = seen.findings, seen.findings.account.hedging
        values = [
            one.at_risk * value
            for one, value in zip(findings.exposures, outlook.step_value, strict=True)
        ]
        orders = []
        for s, (decision, found) in enumerate(
            zip(outlook.decisions, findings.balance.positions, strict=True)
        ):
            spec = self.instruments[s].spec
            tickets = [(one.ticket, one.steps) for one in found.tickets] if hedging else None
            least = round(spec.lot_min / spec.lot_step)
            for intent in plan(self.tag, s, decision, tickets, least):
                asked = Asked(
                    intent,
                    findings.exposures[s],
                    seen.now_ns,
                    guards[s],
                    outlook.record.level,
                    outlook.price[s],
                    outlook.step_value[s],
                    sum(values) - values[s] + seen.others.value,
                    self.strategy.env.limits.price_band or inf,
                )
                orders.append(asked)
        return orders

    def _changes(
        self, seen: Seen, outlook: Outlook, guards: Sequence[Guard | None]
    ) -> list[StopChange]:
        """What moves the levels of all that is held to where the decision wants them."""
        changes: list[StopChange] = []
        for s, quoted in enumerate(seen.quotes):
            guard = guards[s]
            if quoted is not None and (guard is None or not guard.unsettled):
                found = seen.findings.balance.positions[s]
                wanted = outlook.record.positions[s]
                changes += changes_of(self.instruments[s], found, wanted, quoted)
        return changes


def _killed(form: Form) -> Guard | None:
    if form is Form.ARMED:
        return None
    return Guard(f"kill switch at {form.name}", frozen=form is Form.HARD)


def _worse(one: Guard | None, other: Guard | None) -> Guard | None:
    """Of two guards the one that allows less; the first where they are alike."""
    if one is None or other is None:
        return one or other
    if other.frozen and not one.frozen:
        return other
    return one
