"""Resolver: finds out from the broker's history what became of orders without an answer.

It looks for an intent by its magic number and proves, or leaves open. Nothing is sent again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from mtquant.brokers.base import (
    AccountState,
    BrokerPosition,
    Deal,
    Instrument,
    OrderRecord,
    OrderState,
)
from mtquant.live.found import BY_SERVER
from mtquant.live.intents import Intent, IntentState, is_spare, tag_of
from mtquant.live.journal import Journal


@dataclass(frozen=True)
class Look:
    """One look at the broker, in the order in which it is read."""

    deals: Sequence[Deal]
    past: Sequence[OrderRecord]
    working: Sequence[OrderRecord]
    positions: Sequence[BrokerPosition]
    account: AccountState


@dataclass(frozen=True)
class Resolver:
    """Of one strategy's orders.

    Attributes:
        journal: Where what is proven is written.
        instruments: The strategy's symbols, in order.
        tag: The strategy's, see :mod:`mtquant.live.intents`.
        grace_bars: Decided bars for which an order that history does not show may still appear.
    """

    journal: Journal
    instruments: tuple[Instrument, ...]
    tag: int
    grace_bars: int

    def open_steps(
        self, intent: Intent, look: Look, times: tuple[int, int], events: list[str]
    ) -> int:
        """Find out what became of an intent; the signed lot steps of which that stays open."""
        if intent.state is IntentState.PLANNED:
            self._settle(intent, IntentState.CANCELLED, times, 0, events)
            return 0
        instrument = next(i for i in self.instruments if i.spec.name == intent.symbol)
        done = sum(
            instrument.steps(deal.volume_lots)
            for deal in look.deals
            if deal.magic == intent.magic and deal.reason not in BY_SERVER
        )
        over = any(o.magic == intent.magic and o.state is not OrderState.OPEN for o in look.past)
        left = intent.steps - done
        if any(o.magic == intent.magic for o in look.working):
            return left
        if abs(done) >= abs(intent.steps):
            state = IntentState.EXECUTED
        elif over or self.journal.counts.bars_since(intent.bar_time_ns) > self.grace_bars:
            state = IntentState.PARTIAL if done else IntentState.NOT_EXECUTED
        else:
            return left
        self._settle(intent, state, times, done, events)
        events.append(f"{intent.symbol}: order {intent.magic} is {state.value}, says history")
        return 0

    def _settle(
        self,
        intent: Intent,
        state: IntentState,
        times: tuple[int, int],
        done: int,
        events: list[str],
    ) -> None:
        """Write what history proves; a full disk must not stand in the way of closing."""
        try:
            self.journal.intents.settle(
                intent, state, times[0], at_ns=times[1], executed_steps=done
            )
        except sqlite3.Error as error:
            events.append(f"journal cannot be written: {error}")

    def find_spares(
        self, unseen: Sequence[Deal], times: tuple[int, int], events: list[str]
    ) -> None:
        """Spare orders are sent where nothing can be written: here it shows that they were."""
        done: dict[int, int] = {}
        for deal in unseen:
            if tag_of(deal.magic) == self.tag and deal.reason not in BY_SERVER:
                place = next((i for i in self.instruments if i.broker_name == deal.symbol), None)
                if place is not None and is_spare(deal.magic):
                    done[deal.magic] = done.get(deal.magic, 0) + place.steps(deal.volume_lots)
        for magic, steps in done.items():
            intent = self.journal.intents.intent(magic)
            if intent is not None and intent.state is not IntentState.EXECUTED:
                self._settle(intent, IntentState.EXECUTED, times, steps, events)
                events.append(f"{intent.symbol}: spare order {magic} was sent, says history")
