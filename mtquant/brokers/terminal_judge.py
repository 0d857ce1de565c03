"""What a server would say of a request before it executes anything.

A request is refused for its form, its volume, the session, the position that it names, or its stops
and targets. Whether there is money for it, and whether the open has passed a level, the kernel says
when it executes.

A hedging account here keeps one side of a symbol, as the strategies do: an order against what is
held must name the ticket that it closes, and is otherwise refused as ``HEDGE_PROHIBITED``, where a
real server would open a position on the other side.
"""

from __future__ import annotations

from dataclasses import dataclass

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal_account import Levels, SimulatedAccount
from mtquant.brokers.terminal_records import TradeRequest
from mtquant.brokers.terminal_symbols import SymbolFeed
from mtquant.risk.reasons import (
    NO_MONEY,
    NOT_TRADABLE,
    PASSED,
    PRICE_BAND,
    REJECTED,
    TOO_MANY_TICKETS,
)

_FILLINGS = (mt5.ORDER_FILLING_FOK, mt5.ORDER_FILLING_IOC)

RETCODES = {
    NO_MONEY: mt5.TRADE_RETCODE_NO_MONEY,
    NOT_TRADABLE: mt5.TRADE_RETCODE_MARKET_CLOSED,
    PASSED: mt5.TRADE_RETCODE_INVALID_STOPS,
    PRICE_BAND: mt5.TRADE_RETCODE_PRICE_OFF,
    REJECTED: mt5.TRADE_RETCODE_REJECT,
    TOO_MANY_TICKETS: mt5.TRADE_RETCODE_LIMIT_POSITIONS,
}
"""How a server words the kernel's reasons for executing nothing."""


@dataclass(frozen=True)
class Verdict:
    """What stands against a request (0 is nothing), and what it asks for.

    Attributes:
        retcode: ``TRADE_RETCODE_*`` or 0.
        steps: Signed lot steps of an order.
        levels: Of a change of stops.
    """

    retcode: int
    steps: int = 0
    levels: Levels = (0, 0)


def judge(account: SimulatedAccount, feed: SymbolFeed, s: int, request: TradeRequest) -> Verdict:
    """Judge an order or a change of stops on a symbol that may be traded.

    Args:
        account: Of which it is asked.
        feed: The symbol's.
        s: Its number.
        request: With types that the module takes.
    """
    if request.action == mt5.TRADE_ACTION_SLTP:
        return _judge_change(account, s, request)
    if request.action != mt5.TRADE_ACTION_DEAL or request.type > mt5.ORDER_TYPE_SELL:
        return Verdict(mt5.TRADE_RETCODE_INVALID)
    if request.type_filling not in _FILLINGS:
        return Verdict(mt5.TRADE_RETCODE_INVALID_FILL)
    volume = feed.steps(request.volume)
    if volume is None:
        return Verdict(mt5.TRADE_RETCODE_INVALID_VOLUME)
    if not account.tradable(s):
        return Verdict(mt5.TRADE_RETCODE_MARKET_CLOSED)
    side = 1 if request.type == mt5.ORDER_TYPE_BUY else -1
    steps = side * volume
    levels = account.levels(s, request.sl, request.tp)
    if against := _against_position(account, s, steps, request.position):
        return Verdict(against)
    if levels is None or not account.allows(s, side, levels):
        return Verdict(mt5.TRADE_RETCODE_INVALID_STOPS)
    return Verdict(0, steps)


def _against_position(account: SimulatedAccount, s: int, steps: int, ticket: int) -> int:
    """Why an order may not meet the position that it names, or what is held; or 0."""
    if ticket == 0:
        prohibited = account.hedging and account.held(s) * steps < 0
        return mt5.TRADE_RETCODE_HEDGE_PROHIBITED if prohibited else 0
    held = account.history.holding(ticket)
    if held is None:
        return mt5.TRADE_RETCODE_POSITION_CLOSED
    if held.symbol != s or held.steps * steps > 0:
        return mt5.TRADE_RETCODE_INVALID
    if abs(steps) > abs(held.steps):
        return mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME
    return 0


def _judge_change(account: SimulatedAccount, s: int, request: TradeRequest) -> Verdict:
    """Judge new levels of an open position."""
    held = account.history.holding(request.position)
    if held is None and request.position:
        return Verdict(mt5.TRADE_RETCODE_POSITION_CLOSED)
    if held is None or held.symbol != s:
        return Verdict(mt5.TRADE_RETCODE_INVALID)
    if not account.tradable(s):
        return Verdict(mt5.TRADE_RETCODE_MARKET_CLOSED)
    levels, standing = account.levels(s, request.sl, request.tp), account.standing(s)
    if levels == standing:
        return Verdict(mt5.TRADE_RETCODE_NO_CHANGES)
    side = 1 if held.steps > 0 else -1
    if levels is None or not account.allows(s, side, levels, standing):
        return Verdict(mt5.TRADE_RETCODE_INVALID_STOPS)
    return Verdict(0, levels=levels)
