"""Whether a request can only make smaller what is held, by what the terminal says at this moment.

It is asked inside the bridge's one lock, right before the request would be sent. What is not proven
counts as an increase: an answer that does not come, a market order that is still under way, and
every action but closing, nearer stops and the cancelling of a working order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mtquant.brokers import constants as mt5

Ask = Callable[[str, dict[str, Any]], Any]
"""Calls a function of the module with named arguments; None where it fails."""

_GRID = 1e-9  # lots; float noise stays below it, and no broker's step does
_OTHER_SIDE = {
    mt5.POSITION_TYPE_BUY: mt5.ORDER_TYPE_SELL,
    mt5.POSITION_TYPE_SELL: mt5.ORDER_TYPE_BUY,
}
_AT_MARKET = (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL)
_HEDGING = {
    mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING: True,
    mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING: False,
    mt5.ACCOUNT_MARGIN_MODE_EXCHANGE: False,
}


class _Doubt(Exception):
    """It is not proven."""


def doubt_of(request: Mapping[str, Any], ask: Ask) -> str:
    """Why a request may do more than reduce; empty where the terminal proves that it cannot.

    Args:
        request: Of ``order_send``, already checked.
        ask: Reaches the terminal.
    """
    action = request.get("action", 0)
    if action == mt5.TRADE_ACTION_REMOVE:
        return ""
    judge = {mt5.TRADE_ACTION_DEAL: _judge_deal, mt5.TRADE_ACTION_SLTP: _judge_levels}.get(action)
    if judge is None:
        return "only closing, nearer stops and cancelling pass"
    try:
        judge(request, _position(request, ask), ask)
    except _Doubt as doubt:
        return str(doubt)
    except Exception as problem:  # whatever broke, nothing is proven
        return f"it could not be judged: {problem}"
    return ""


def _judge_deal(request: Mapping[str, Any], held: Any, ask: Ask) -> None:
    """An opposite deal, no larger than the position, that sets no levels."""
    if request.get("type", 0) != _OTHER_SIDE[held.type]:
        raise _Doubt("it is on the position's own side")
    if not 0.0 < request.get("volume", 0.0) <= held.volume + _GRID:
        raise _Doubt(f"{held.volume:g} lots are held")
    if request.get("sl", 0.0) or request.get("tp", 0.0):
        raise _Doubt("what closes sets no stop and no target")
    if any(order.type in _AT_MARKET for order in _asked(ask, "orders_get", symbol=held.symbol)):
        raise _Doubt("another market order is under way")


def _judge_levels(request: Mapping[str, Any], held: Any, ask: Ask) -> None:
    """Stop and target that stand where they stood, or nearer to the market."""
    side = 1.0 if held.type == mt5.POSITION_TYPE_BUY else -1.0
    for name, nearer in (("sl", side), ("tp", -side)):
        stands, new = getattr(held, name), request.get(name, 0.0)
        if stands and not (new and nearer * (new - stands) >= 0.0):
            raise _Doubt(f"{name} would leave {stands:g}")


def _position(request: Mapping[str, Any], ask: Ask) -> Any:
    """The one position that a request can mean."""
    hedging = _HEDGING.get(_asked(ask, "account_info").margin_mode)
    if hedging is None:
        raise _Doubt("the account is of an unknown kind")
    symbol, ticket = request.get("symbol", ""), request.get("position", 0)
    if not symbol or (hedging and not ticket):
        raise _Doubt("it names no position")
    held = [one for one in _asked(ask, "positions_get", symbol=symbol) if one.symbol == symbol]
    meant = [one for one in held if ticket in (0, one.ticket)]
    if len(meant) != 1 or not (hedging or len(held) == 1):
        raise _Doubt("no such position is held")
    return meant[0]


def _asked(ask: Ask, function: str, **named: Any) -> Any:
    answer = ask(function, named)
    if answer is None:
        raise _Doubt(f"the terminal does not answer {function}")
    return answer
