"""Resolver: finds out from the broker's history what became of orders without an answer.

It looks for an intent by its magic number and proves, or leaves open. Nothing is sent again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from mtquant.brokers.base import Deal, Instrument, OrderState
from mtquant.live.found import BY_SERVER
from mtquant.live.intents import UNFINISHED, Intent, IntentState, is_spare, tag_of
from mtquant.live.journal import Journal
from mtquant.live.look import Look


@dataclass(frozen=True)
class Resolver:
    """Of one strategy's orders.

    Attributes:
        journal: Where what is proven is written.
        instruments: The strategy's symbols, in order.
        tag: The strategy's, see :mod:`mtquant.live.intents`.
        grace_bars: Decided bars for which an order that history does not show may still appear.
        too_old_ns: An order that was sent before can come no more, however few bars were decided.
    """

    journal: Journal
    instruments: tuple[Instrument, ...]
    tag: int
    grace_bars: int
    too_old_ns: int = 0

    def open_steps(
        self, intent: Intent, look: Look, times: tuple[int, int], events: list[str]
    ) -> int:
        """Find out what became of an intent; the signed lot steps of which that stays open."""
        if intent.state is IntentState.PLANNED:
            self._settle(intent, IntentState.CANCELLED, times, 0, events)
            return 0
        done = self._done(intent, look.deals)
        left = intent.steps - done
        if any(o.magic == intent.magic for o in look.working):
            return left
        if abs(done) >= abs(intent.steps):
            state = IntentState.EXECUTED
        elif look.whole and self._over(intent, look, done):
            state = IntentState.PARTIAL if done else IntentState.NOT_EXECUTED
        else:
            return left
        self._settle(intent, state, times, done, events)
        events.append(f"{intent.symbol}: order {intent.magic} is {state.value}, says history")
        return 0

    def gives_up(self, intent: Intent) -> bool:
        """Whether an order that history does not show can come no more."""
        decided = self.journal.counts.bars_since(intent.bar_time_ns)
        begun = self.journal.intents.begun_ns(intent.magic)
        return decided > self.grace_bars or begun < self.too_old_ns

    def _over(self, intent: Intent, look: Look, done: int) -> bool:
        """Whether no more of an order can come, in a history that is whole."""
        orders = [one for one in look.past if one.magic == intent.magic]
        ended = [one for one in orders if one.state is not OrderState.OPEN]
        instrument = self._instrument(intent)
        left = max((instrument.steps(one.left_lots) for one in ended), default=0)
        filled = any(one.state is OrderState.FILLED for one in ended)
        if filled and abs(done) + left < abs(intent.steps):  # its deals are not all shown yet
            return done != 0 and self.gives_up(intent)
        return bool(ended) or self.gives_up(intent)

    def _instrument(self, intent: Intent) -> Instrument:
        return next(one for one in self.instruments if one.spec.name == intent.symbol)

    def _done(self, intent: Intent, deals: Sequence[Deal]) -> int:
        """Signed lot steps that were dealt for an intent."""
        instrument = self._instrument(intent)
        return sum(
            instrument.steps(deal.volume_lots)
            for deal in deals
            if deal.magic == intent.magic and deal.reason not in BY_SERVER
        )

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

    def find_late(
        self, look: Look, unseen: Sequence[Deal], times: tuple[int, int], events: list[str]
    ) -> None:
        """What was settled, and what is sent where nothing can be written, shows by its deals.

        A spare order is sent on a full disk; an order that was given up, or of which a rest worked
        on, may have been executed further. Deals are the truth and the journal follows.
        """
        for magic in dict.fromkeys(
            deal.magic
            for deal in unseen
            if tag_of(deal.magic) == self.tag and deal.reason not in BY_SERVER
        ):
            intent = self.journal.intents.intent(magic)
            if intent is None or intent.state in UNFINISHED:
                continue
            done = self._done(intent, look.deals)
            if abs(done) <= abs(self.journal.intents.executed(magic)):
                continue
            whole = abs(done) >= abs(intent.steps)
            state = IntentState.EXECUTED if whole else IntentState.PARTIAL
            self._settle(intent, state, times, done, events)
            told = "was sent" if is_spare(magic) else f"has executed {done} lot steps after all"
            kind = "spare order" if is_spare(magic) else "order"
            events.append(f"{intent.symbol}: {kind} {magic} {told}, says history")
