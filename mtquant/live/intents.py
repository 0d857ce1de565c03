"""Intents: the orders that a decision needs, with identities that no restart can change.

MetaTrader has no client order id, only a magic number that travels with every order and deal. So
the magic *is* the intent's id, made from what the decision is about and nothing else: the same
decision always has the same id, and after a crash the broker's history tells what became of it.

    bits 40-52  strategy      bits 15-39  minutes since 2000 of the bar
    bits  7-14  symbol slot   bits  3-6   attempt        bits 0-2  leg
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum

import numpy as np

from mtquant.market.timeframe import MINUTE_NS

MOST_SYMBOLS = 256
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


@dataclass(frozen=True)
class Intent:
    """One market order of one decision.

    Attributes:
        magic: Its id, see the module.
        symbol: Standard name.
        bar_time_ns: Open of the decision's bar.
        leg: 0 for the reduction, 1 for the increase that follows it.
        steps: Signed lot steps to trade.
        state: How far it has come.
    """

    magic: int
    symbol: str
    bar_time_ns: int
    leg: int
    steps: int
    state: IntentState = IntentState.PLANNED

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


def magic_of(tag: int, bar_time_ns: int, slot: int, leg: int, attempt: int = 0) -> int:
    """The id of an intent, below 2**53.

    Args:
        tag: Of the strategy, 13 bits.
        bar_time_ns: Open of the decision's bar, ns UTC.
        slot: Place of the symbol in the strategy, 8 bits.
        leg: Which of the decision's orders, 3 bits.
        attempt: Counts repetitions after proven non-execution, 4 bits.
    """
    minutes = (bar_time_ns - _YEAR_2000_NS) // MINUTE_NS
    return tag << 40 | minutes << 15 | slot << 7 | attempt << 3 | leg


def plan(
    tag: int, symbol: str, slot: int, bar_time_ns: int, change: tuple[int, int]
) -> list[Intent]:
    """The orders that lead from held to target: reduction first, then increase.

    Args:
        tag: Of the strategy.
        symbol: Standard name.
        slot: Place of the symbol in the strategy.
        bar_time_ns: Open of the decision's bar.
        change: ``(held, target)`` in signed lot steps.

    Returns:
        None to two intents; a flip through zero takes two.
    """
    held, target = change
    between = 0 if held * target < 0 else min(held, target, key=abs)
    legs = enumerate((between - held, target - between))
    return [
        Intent(magic_of(tag, bar_time_ns, slot, leg), symbol, bar_time_ns, leg, steps)
        for leg, steps in legs
        if steps != 0
    ]
