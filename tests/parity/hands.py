"""A hand on the simulated terminal: the kernel's decisions sent through the real adapter.

The long form of the four faces plays ten million bars. A runner also reads its features anew and
writes a journal at each of them; here only what stands between a decision and its deals is in the
way: the plan of orders, the moves of stops, the adapter and the terminal. What a strategy remembers
of a position, which live is in the journal, stays in the terminal's lane.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mtquant.agents.base import Float32
from mtquant.brokers.approval import issue
from mtquant.brokers.base import Instrument, MarketOrder, OrderResult, Outcome
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.envs.scenario import Scenario
from mtquant.live.decision import Decision
from mtquant.live.found import BrokerBalance, FoundPosition, own_tickets
from mtquant.live.intents import plan
from mtquant.live.levels import changes_of, close_passed
from mtquant.live.record import HeldPosition
from mtquant.risk.reasons import REASONS, TOO_MANY_TICKETS
from mtquant.sim.account import MOST_TICKETS, Book
from mtquant.sim.decisions import decide_all

TAG = 1
REMEMBERED = ("cap", "barred_side", "barred_bars")


class Done(NamedTuple):
    """What one bar led to."""

    decision: Decision
    results: tuple[OrderResult, ...]


class Hand:
    """Decides on the terminal's own lane, bar by bar, and trades through the adapter."""

    def __init__(self, terminal: Any, scenario: Scenario) -> None:
        spec = scenario.market.specs[0]
        self.terminal, self.instrument = terminal, Instrument(spec, spec.name)
        # The terminal obeys stops whether or not the strategy sets any; the strategy may not.
        self.tape = scenario.tape(scenario.features(), scenario.rows("all"))
        self.managed = bool(self.tape.rules["managed"][0])
        self.least = round(spec.lot_min / spec.lot_step)
        self.adapter = MT5Adapter(terminal, [self.instrument])
        self.adapter.connect()

    def trade(self, action: Float32) -> Done:
        """One bar, with an action for its symbol: look, decide, move stops, send."""
        found, quoted = self._look()
        lane = self.terminal.account.book
        book = lane._replace(positions=lane.positions.copy(), orders=lane.orders.copy())
        decide_all(book, self.tape, 0, self.terminal.account.forming - 1, action[None])
        close_passed(book, BrokerBalance(0.0, (found,)), [None], [quoted])
        decision = self._decision(book, found)
        for name in REMEMBERED:
            lane.positions[name] = book.positions[name]
        if quoted is not None:
            wanted = HeldPosition.of(book.positions[0, 0], found)
            for change in changes_of(self.instrument, found, wanted, quoted):
                result = self.adapter.change_stops(issue(change, "", lambda: ""))
                assert result.outcome is Outcome.EXECUTED, result.text
        return Done(decision, self._send(decision, found))

    def _look(self) -> tuple[FoundPosition, tuple[int, int] | None]:
        tickets = own_tickets(self.instrument, TAG, self.adapter.positions())
        if not tickets:
            return FoundPosition(), None
        found = FoundPosition(tickets, tickets[-1].stop, tickets[-1].take)
        if not self.managed:
            return found, None
        quote, ticks = self.adapter.quote(self.instrument), self.instrument.ticks
        return found, (ticks(quote.bid), ticks(quote.ask))

    def _decision(self, book: Book, found: FoundPosition) -> Decision:
        position = book.positions[0, 0]
        held, target, code = (int(position[name]) for name in ("steps", "target", "reason"))
        if len(found.tickets) >= MOST_TICKETS and held * target > held * held:
            target, code = held, TOO_MANY_TICKETS
        return Decision(
            self.instrument.spec.name,
            self.terminal.now_ns(),
            0.0,
            held,
            target,
            REASONS[code],
            code,
            stop_distance=int(position["stop_distance"]),
            take_distance=int(position["take_distance"]),
        )

    def _send(self, decision: Decision, found: FoundPosition) -> tuple[OrderResult, ...]:
        hedging = self.terminal.account.hedging
        tickets = [(one.ticket, one.steps) for one in found.tickets] if hedging else None
        results: list[OrderResult] = []
        for intent in plan(TAG, 0, decision, tickets, self.least):
            order = MarketOrder(
                self.instrument,
                intent.steps,
                intent.magic,
                intent.comment,
                intent.stop_distance,
                intent.take_distance,
                intent.ticket,
            )
            results.append(self.adapter.send(issue(order, "", lambda: "")))
            if results[-1].outcome is not Outcome.EXECUTED:
                break
        return tuple(results)
