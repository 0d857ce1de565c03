"""Sender: hands to the broker what a committed bar wants, stops first, then orders.

A stop is absolute and may be sent again, so it needs no intent: what became of it shows at the next
bar, when the position is looked at. An order is sent at most once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mtquant.brokers.base import (
    Broker,
    Instrument,
    MarketOrder,
    OrderResult,
    Outcome,
    StopChange,
)
from mtquant.live.intents import Intent, IntentState
from mtquant.live.journal import Journal

_STATE_OF = {
    Outcome.EXECUTED: IntentState.EXECUTED,
    Outcome.PARTIAL: IntentState.PARTIAL,
    Outcome.PLACED: IntentState.PLACED,
    Outcome.NOT_EXECUTED: IntentState.NOT_EXECUTED,
    Outcome.AMBIGUOUS: IntentState.AMBIGUOUS,
}


@dataclass(frozen=True)
class Sender:
    """One strategy's way to the broker.

    Attributes:
        broker: Connected.
        journal: With the bar that is sent.
        instruments: By standard name.
        clock: Present time, ns UTC.
    """

    broker: Broker
    journal: Journal
    instruments: dict[str, Instrument]
    clock: Callable[[], int]

    def change_stops(
        self, changes: Sequence[StopChange], intents: Sequence[Intent], bar_time_ns: int
    ) -> tuple[str, ...]:
        """Move stops and targets; then the first intent is marked as being sent.

        Args:
            changes: What to move, at least one.
            intents: Of the same bar, all planned.
            bar_time_ns: Open of that bar.

        Returns:
            What did not come about, in words.
        """
        events = []
        for change in changes:
            result = self.broker.change_stops(change)
            if result.outcome is not Outcome.EXECUTED:
                events.append(
                    f"{change.instrument.spec.name}: stop {change.stop:g} and target "
                    f"{change.take:g} are {result.outcome.value}: {result.text}"
                )
        self.journal.begin_sending(intents[:1], bar_time_ns, events, self.clock())
        return tuple(events)

    def send(self, intents: Sequence[Intent], bar_time_ns: int) -> tuple[OrderResult, ...]:
        """Send in order; each of a symbol only after the one before is wholly executed.

        Args:
            intents: The first is marked as being sent, the others are planned.
            bar_time_ns: Open of their bar.
        """
        results: list[OrderResult] = []
        queue = list(intents)
        while queue:
            intent = queue.pop(0)
            result = self.broker.send(self._order(intent))
            results.append(result)
            if result.outcome is not Outcome.EXECUTED:
                # Left as planned, they are cancelled when the next bar reconciles.
                queue = [later for later in queue if later.symbol != intent.symbol]
            self.journal.settle(
                intent,
                _STATE_OF[result.outcome],
                bar_time_ns,
                result,
                at_ns=self.clock(),
                then_sending=queue[0] if queue else None,
            )
        return tuple(results)

    def _order(self, intent: Intent) -> MarketOrder:
        return MarketOrder(
            self.instruments[intent.symbol],
            intent.steps,
            intent.magic,
            intent.comment,
            intent.stop_distance,
            intent.take_distance,
            intent.ticket,
        )
