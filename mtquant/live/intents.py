"""Intents: the orders that a decision needs, with identities that no restart can change.

MetaTrader has no client order id, only a magic number that travels with every order and deal. So
the magic *is* the intent's id, made from what the decision is about and nothing else: the same
decision always has the same id, and after a crash the broker's history tells what became of it.

    bits 40-52  strategy      bits 15-39  minutes since 2000 of the bar
    bits  7-14  symbol slot   bits  4-6   attempt        bits 0-3  leg

Attempts 0 to 3 are those of a bar's decision. To flatten is no decision of a bar: it has the minute
at which it is done and the attempts from :data:`FLATTENING` on, the last of them for spare orders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from mtquant.live.decision import Decision
from mtquant.market.timeframe import MINUTE_NS
from mtquant.sim.account import MOST_TICKETS

MOST_SYMBOLS = 256
OPENING_LEG = MOST_TICKETS  # after those that close a ticket each
MOST_ATTEMPTS = 4
FLATTENING, SPARE = 4, 7
_STRATEGIES = 8191
_YEAR_2000_NS = 946_684_800 * 10**9


class IntentState(Enum):
    """How far an intent has come."""

    PLANNED = "planned"  # committed, provably not sent
    SENDING = "sending"  # committed, perhaps sent
    EXECUTED = "executed"
    PARTIAL = "partial"
    PLACED = "placed"
    NOT_EXECUTED = "not executed"
    AMBIGUOUS = "ambiguous"
    CANCELLED = "cancelled"  # never sent
    SPARE = "spare"  # committed for a day without disk


#: Sent, or perhaps sent, and what became of it is not proven; or committed and not sent yet.
UNFINISHED = (
    IntentState.PLANNED,
    IntentState.SENDING,
    IntentState.PLACED,
    IntentState.AMBIGUOUS,
)


@dataclass(frozen=True)
class Intent:
    """One market order of one decision.

    Attributes:
        magic: Its id, see the module.
        symbol: Standard name.
        bar_time_ns: Open of the decision's bar.
        leg: From 0 on for the reductions, :data:`OPENING_LEG` for the increase that follows them.
        steps: Signed lot steps to trade.
        state: How far it has come.
        stop_distance: Of the stop that an increase sets, in ticks from the quote; 0 for none.
        take_distance: Of its target, likewise.
        ticket: That a reduction closes, in a hedging account, else 0.
    """

    magic: int
    symbol: str
    bar_time_ns: int
    leg: int
    steps: int
    state: IntentState = IntentState.PLANNED
    stop_distance: int = 0
    take_distance: int = 0
    ticket: int = 0

    @property
    def comment(self) -> str:
        """A second witness beside the magic; brokers may rewrite it."""
        return f"mq1{np.base_repr(self.magic, 32)}"


def strategy_tag(name: str) -> int:
    """13 bits for a strategy's name, never 0, which is what manual trades carry."""
    digest = hashlib.sha256(name.encode()).digest()
    return 1 + int.from_bytes(digest[:4], "big") % _STRATEGIES


def tag_of(magic: int) -> int:
    """The strategy that a magic number belongs to."""
    return magic >> 40


def is_spare(magic: int) -> bool:
    """Whether an id is one of those that are committed beforehand."""
    return magic >> 4 & 7 == SPARE


def magic_of(tag: int, bar_time_ns: int, slot: int, leg: int, attempt: int = 0) -> int:
    """The id of an intent, below 2**53.

    Args:
        tag: Of the strategy, 13 bits.
        bar_time_ns: Open of the decision's bar, ns UTC.
        slot: Place of the symbol in the strategy, 8 bits.
        leg: Which of the decision's orders, 4 bits.
        attempt: Counts repetitions after proven non-execution, 3 bits.
    """
    minutes = (bar_time_ns - _YEAR_2000_NS) // MINUTE_NS
    return tag << 40 | minutes << 15 | slot << 7 | attempt << 4 | leg


def next_attempt(intent: Intent) -> Intent | None:
    """The same order once more, as an intent of its own; None after the last."""
    attempt = intent.magic >> 4 & 7
    if attempt + 1 >= MOST_ATTEMPTS:
        return None
    return replace(intent, magic=intent.magic + (1 << 4), state=IntentState.PLANNED)


def plan(
    tag: int,
    slot: int,
    decision: Decision,
    tickets: Sequence[tuple[int, int]] | None = None,
    least: int = 1,
) -> list[Intent]:
    """The orders that lead from held to target: reductions first, then an increase.

    Args:
        tag: Of the strategy.
        slot: Place of the symbol in the strategy.
        decision: What is held and what shall be, and the distances that an increase sets.
        tickets: ``(ticket, signed lot steps)`` of a hedging account, the oldest first; None for a
            netting account, which reduces by one order.
        least: Lot steps of the smallest order; what would be less of a ticket, and not the whole
            of it, stays open.

    Returns:
        None to nine intents; a flip through zero takes at least two.
    """
    held, target = decision.held, decision.target
    between = 0 if held * target < 0 else min(held, target, key=abs)
    closing, opening = between - held, target - between
    intents = []
    reducible = [(0, held)] if tickets is None else tickets[:OPENING_LEG]
    for leg, (ticket, size) in enumerate(reducible):
        part = closing if abs(closing) < abs(size) else -size
        if closing * size < 0 and abs(part) >= min(least, abs(size)):
            intents.append(_intent(tag, slot, decision, leg, part, ticket))
            closing -= part
    if opening != 0 and closing == 0:
        intents.append(_intent(tag, slot, decision, OPENING_LEG, opening))
    return intents


def _intent(
    tag: int, slot: int, decision: Decision, leg: int, steps: int, ticket: int = 0
) -> Intent:
    """One leg of a decision; only the one that opens sets a stop and a target."""
    bar, opens = decision.bar_time_ns, leg == OPENING_LEG
    return Intent(
        magic_of(tag, bar, slot, leg),
        decision.symbol,
        bar,
        leg,
        steps,
        stop_distance=decision.stop_distance if opens else 0,
        take_distance=decision.take_distance if opens else 0,
        ticket=ticket,
    )
