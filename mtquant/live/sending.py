"""Sender: hands to the broker what a committed bar wants, stops first, then orders.

Everything passes the gates (:mod:`mtquant.live.gates`) right before it is sent. A stop is absolute
and may be sent again, so it needs no intent: what became of it shows at the next bar, when the
position is looked at. An intent is sent at most once; an order that is answered by another price is
tried again as another intent, through all the gates and at a fresh price, a few times a bar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mtquant.brokers.base import Broker, OrderResult, Outcome, StopChange
from mtquant.brokers.constants import TRADE_RETCODE_PRICE_CHANGED, TRADE_RETCODE_REQUOTE
from mtquant.live.gates import Asked, Checker, Denied
from mtquant.live.intents import Intent, IntentState, next_attempt
from mtquant.live.journal import Journal

_STATE_OF = {
    Outcome.EXECUTED: IntentState.EXECUTED,
    Outcome.PARTIAL: IntentState.PARTIAL,
    Outcome.PLACED: IntentState.PLACED,
    Outcome.NOT_EXECUTED: IntentState.NOT_EXECUTED,
    Outcome.AMBIGUOUS: IntentState.AMBIGUOUS,
    Outcome.WITHHELD: IntentState.CANCELLED,
}
_ANOTHER_PRICE = (TRADE_RETCODE_REQUOTE, TRADE_RETCODE_PRICE_CHANGED)


@dataclass(frozen=True)
class Sender:
    """One strategy's way to the broker.

    Attributes:
        broker: Connected.
        journal: With the bar that is sent.
        checker: The gates.
        clock: Present time, ns UTC.
        attempts: Of one order in a bar, the first included.
    """

    broker: Broker
    journal: Journal
    checker: Checker
    clock: Callable[[], int]
    attempts: int = 2

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
            approved = self.checker.approve_change(change)
            if isinstance(approved, Denied):
                result = _withheld(approved)
            else:
                result = self.broker.change_stops(approved)
            if result.outcome is not Outcome.EXECUTED:
                events.append(
                    f"{change.instrument.spec.name}: stop {change.stop:g} and target "
                    f"{change.take:g} are {result.outcome.value}: {result.text}"
                )
        self.journal.intents.begin_sending(intents[:1], bar_time_ns, events, self.clock())
        return tuple(events)

    def send(self, orders: Sequence[Asked], bar_time_ns: int) -> tuple[OrderResult, ...]:
        """Send in order; each of a symbol only after the one before is wholly executed.

        Args:
            orders: The first is marked as being sent, the others are planned.
            bar_time_ns: Open of their bar.
        """
        results: list[OrderResult] = []
        queue = list(orders)
        while queue:
            asked = queue.pop(0)
            result = self.send_one(asked)
            results.append(result)
            queue = self._after(asked, result, queue)
            self.journal.intents.settle(
                asked.intent,
                _STATE_OF[result.outcome],
                bar_time_ns,
                result,
                at_ns=self.clock(),
                then_sending=queue[0].intent if queue else None,
            )
        return tuple(results)

    def send_one(self, asked: Asked) -> OrderResult:
        """Send one order, once, if it passes the gates; the journal is the caller's."""
        approved = self.checker.approve(asked)
        if isinstance(approved, Denied):
            return _withheld(approved)
        result = self.broker.send(approved)
        self.checker.answered(asked.intent, result)
        return result

    def _after(self, asked: Asked, result: OrderResult, queue: Sequence[Asked]) -> list[Asked]:
        """What is sent next: the rest, of the same symbol only where nothing is open or missing."""
        symbol = asked.intent.symbol
        exposure = asked.exposure.answered(asked.intent.steps, result)
        again = self._again(asked.intent, result)
        # The others were judged beside what this symbol might come to before.
        grown = exposure.at_risk - asked.exposure.at_risk
        more = grown * asked.step_value if grown else 0.0
        left = [
            replace(one, exposure=exposure)
            if one.intent.symbol == symbol
            else replace(one, other_value=one.other_value + more)
            for one in queue
        ]
        if result.outcome is not Outcome.EXECUTED and again is None:
            # Left as planned; they are cancelled when the next bar reconciles.
            left = [one for one in left if one.intent.symbol != symbol]
        if again is None:
            return left
        return [replace(asked, intent=again, exposure=exposure), *left]

    def _again(self, intent: Intent, result: OrderResult) -> Intent | None:
        """Another attempt where the answer proves that nothing was done, for the price alone."""
        if result.outcome is not Outcome.NOT_EXECUTED or result.retcode not in _ANOTHER_PRICE:
            return None
        tried = (intent.magic >> 4 & 7) + 1
        return next_attempt(intent) if tried < self.attempts else None


def _withheld(denied: Denied) -> OrderResult:
    told = f"denied by gate '{denied.gate}': {denied.reason}"
    return OrderResult(Outcome.WITHHELD, None, 0, 0.0, 0, 0, told)
