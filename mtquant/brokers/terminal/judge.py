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
from mtquant.brokers.terminal.account import SimulatedAccount
from mtquant.brokers.terminal.levels import against_price, allows, frozen, levels_of
from mtquant.brokers.terminal.pending import MOST_ORDERS
from mtquant.brokers.terminal.records import TradeRequest
from mtquant.brokers.terminal.symbols import SymbolFeed
from mtquant.brokers.terminal.working import BUYS, Levels, WorkingOrder
from mtquant.risk.reasons import (
    NO_MONEY,
    NOT_TRADABLE,
    PASSED,
    PRICE_BAND,
    REJECTED,
    TOO_MANY_TICKETS,
)

WORKING_ACTIONS = (
    mt5.TRADE_ACTION_PENDING,
    mt5.TRADE_ACTION_MODIFY,
    mt5.TRADE_ACTION_REMOVE,
)
_PENDING_TYPES = (
    mt5.ORDER_TYPE_BUY_LIMIT,
    mt5.ORDER_TYPE_SELL_LIMIT,
    mt5.ORDER_TYPE_BUY_STOP,
    mt5.ORDER_TYPE_SELL_STOP,
)
_TIMES = (mt5.ORDER_TIME_GTC, mt5.ORDER_TIME_DAY)
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
        levels: Of a change of stops, or of what a working order opens.
        price: Of a working order, in ticks.
    """

    retcode: int
    steps: int = 0
    levels: Levels = (0, 0)
    price: int = 0


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
    if request.action in WORKING_ACTIONS:
        return _judge_working(account, feed, s, request)
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
    levels = levels_of(account, s, request.sl, request.tp)
    if against := _against_position(account, s, steps, request.position):
        return Verdict(against)
    if levels is None or not allows(account, s, side, levels):
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
    levels, standing = levels_of(account, s, request.sl, request.tp), account.standing(s)
    if levels == standing:
        return Verdict(mt5.TRADE_RETCODE_NO_CHANGES)
    side = 1 if held.steps > 0 else -1
    if any(level and frozen(account, s, side < 0, level) for level in standing):
        return Verdict(mt5.TRADE_RETCODE_FROZEN)
    if levels is None or not allows(account, s, side, levels, standing):
        return Verdict(mt5.TRADE_RETCODE_INVALID_STOPS)
    return Verdict(0, levels=levels)


def _judge_working(
    account: SimulatedAccount, feed: SymbolFeed, s: int, request: TradeRequest
) -> Verdict:
    """Judge a working order to place, to change or to remove."""
    order = account.pending.get(request.order)
    if request.action == mt5.TRADE_ACTION_PENDING:
        against = _against_form(account, feed, request)
    else:
        against = _against_order(account, s, order)
    if against:
        return Verdict(against)
    if not account.tradable(s):
        return Verdict(mt5.TRADE_RETCODE_MARKET_CLOSED)
    if request.action == mt5.TRADE_ACTION_REMOVE:
        return Verdict(0)
    return _judge_terms(account, feed, s, request, order)


def _against_form(account: SimulatedAccount, feed: SymbolFeed, request: TradeRequest) -> int:
    """Why an order of this kind may not be placed at all, or 0."""
    if request.type not in _PENDING_TYPES:
        return mt5.TRADE_RETCODE_INVALID_ORDER
    if request.type_filling != mt5.ORDER_FILLING_RETURN:
        return mt5.TRADE_RETCODE_INVALID_FILL
    if request.position or request.order:
        return mt5.TRADE_RETCODE_INVALID
    if feed.steps(request.volume) is None:
        return mt5.TRADE_RETCODE_INVALID_VOLUME
    return mt5.TRADE_RETCODE_LIMIT_ORDERS if len(account.pending) >= MOST_ORDERS else 0


def _against_order(account: SimulatedAccount, s: int, order: WorkingOrder | None) -> int:
    """Why a working order may not be touched now, or 0."""
    if order is None or order.symbol != s:
        return mt5.TRADE_RETCODE_INVALID
    return mt5.TRADE_RETCODE_FROZEN if frozen(account, s, order.steps > 0, order.price) else 0


def _judge_terms(
    account: SimulatedAccount,
    feed: SymbolFeed,
    s: int,
    request: TradeRequest,
    order: WorkingOrder | None,
) -> Verdict:
    """Judge price, levels and end of a new order, or of one that works already."""
    if request.type_time not in _TIMES:
        return Verdict(mt5.TRADE_RETCODE_INVALID_EXPIRATION)
    price = levels_of(account, s, request.price, 0.0)
    levels = levels_of(account, s, request.sl, request.tp)
    if price is None:
        return Verdict(mt5.TRADE_RETCODE_INVALID_PRICE)
    if levels is None:
        return Verdict(mt5.TRADE_RETCODE_INVALID_STOPS)
    kind = request.type if order is None else order.request.type
    against = against_price(account, s, kind, price[0], levels)
    if order is None:
        volume = feed.steps(request.volume) or 0
        return Verdict(against, volume if kind in BUYS else -volume, levels, price[0])
    if not against and order.stands(price[0], levels, request.type_time):
        against = mt5.TRADE_RETCODE_NO_CHANGES
    return Verdict(against, order.steps, levels, price[0])
