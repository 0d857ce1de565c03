"""Requests for ``order_send``, and its answers in our own words.

A stop is decided as a distance in whole ticks and travels as a price: what is added here is added
in ticks and becomes a price once, so that the server, the simulated one and the kernel mean the
same level.
"""

from __future__ import annotations

from typing import Any, TypedDict

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import (
    Instrument,
    MarketOrder,
    OrderResult,
    Outcome,
    Quote,
    StopChange,
)
from mtquant.brokers.odd import number, unsigned, whole
from mtquant.brokers.orders import OrderKind, PendingChange, PendingOrder
from mtquant.errors import ConfigError, DataError, one_line


class Request(TypedDict, total=False):
    """A request with the module's keys and no others: it ignores an unknown one in silence.

    A missing key is zero there. Volumes and prices are floats and all the rest Python ints.
    """

    action: int
    magic: int
    order: int
    symbol: str
    volume: float
    price: float
    sl: float
    tp: float
    type: int
    type_filling: int
    type_time: int
    comment: str
    position: int


_KINDS = {
    (OrderKind.LIMIT, True): mt5.ORDER_TYPE_BUY_LIMIT,
    (OrderKind.LIMIT, False): mt5.ORDER_TYPE_SELL_LIMIT,
    (OrderKind.STOP, True): mt5.ORDER_TYPE_BUY_STOP,
    (OrderKind.STOP, False): mt5.ORDER_TYPE_SELL_STOP,
}


def market_filling(execution_mode: int, filling_flags: int) -> int:
    """The filling of market orders that a symbol allows, all-or-nothing where it can be had.

    Args:
        execution_mode: ``symbol_info.trade_exemode``.
        filling_flags: ``symbol_info.filling_mode``, bits and not values.

    Returns:
        A value of ``ORDER_FILLING_*``.

    Raises:
        ConfigError: Neither FOK nor IOC is allowed where RETURN is not either.
    """
    if execution_mode in (
        mt5.SYMBOL_TRADE_EXECUTION_REQUEST,
        mt5.SYMBOL_TRADE_EXECUTION_INSTANT,
    ):
        return mt5.ORDER_FILLING_FOK
    if filling_flags & mt5.SYMBOL_FILLING_FOK:
        return mt5.ORDER_FILLING_FOK
    if filling_flags & mt5.SYMBOL_FILLING_IOC:
        return mt5.ORDER_FILLING_IOC
    if execution_mode == mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE:
        return mt5.ORDER_FILLING_RETURN
    raise ConfigError(
        f"filling_mode {filling_flags} allows no market order in execution mode "
        f"{execution_mode}; trade another symbol"
    )


def order_request(order: MarketOrder, filling: int, quote: Quote | None) -> Request:
    """The request of a market order.

    Args:
        order: What to send.
        filling: A value of ``ORDER_FILLING_*``.
        quote: From which its distances are counted; None where it has none.
    """
    request: Request = {
        "action": mt5.TRADE_ACTION_DEAL,
        "symbol": order.instrument.broker_name,
        "volume": order.instrument.lots(abs(int(order.steps))),
        "type": mt5.ORDER_TYPE_BUY if order.steps > 0 else mt5.ORDER_TYPE_SELL,
        "type_filling": filling,
        "type_time": mt5.ORDER_TIME_GTC,
        "magic": int(order.magic),
        "comment": order.comment,
    }
    if order.ticket:
        request["position"] = unsigned(order.ticket)
    if quote is not None:
        request["sl"], request["tp"] = _levels(order, quote)
    return request


def change_request(change: StopChange) -> Request:
    """The request that gives a position its stop and target."""
    instrument = change.instrument
    return {
        "action": mt5.TRADE_ACTION_SLTP,
        "symbol": instrument.broker_name,
        "position": unsigned(change.ticket),
        "sl": _price(instrument, instrument.ticks(change.stop)),
        "tp": _price(instrument, instrument.ticks(change.take)),
    }


def place_request(order: PendingOrder) -> Request:
    """The request of a limit or stop order, which is filled as the server can: ``RETURN``."""
    return {
        "action": mt5.TRADE_ACTION_PENDING,
        "symbol": order.instrument.broker_name,
        "volume": order.instrument.lots(abs(int(order.steps))),
        "type": _KINDS[order.kind, order.steps > 0],
        "type_filling": mt5.ORDER_FILLING_RETURN,
        "magic": int(order.magic),
        "comment": order.comment,
        **_terms(order),
    }


def modify_request(change: PendingChange) -> Request:
    """The request that changes a working order."""
    return {
        "action": mt5.TRADE_ACTION_MODIFY,
        "symbol": change.instrument.broker_name,
        "order": unsigned(change.ticket),
        **_terms(change),
    }


def cancel_request(instrument: Instrument, ticket: int) -> Request:
    """The request that cancels a working order."""
    return {
        "action": mt5.TRADE_ACTION_REMOVE,
        "symbol": instrument.broker_name,
        "order": unsigned(ticket),
    }


def not_sent(problem: object, outcome: Outcome = Outcome.NOT_EXECUTED) -> OrderResult:
    """The result of an order that never left."""
    return OrderResult(outcome, None, 0, 0.0, 0, 0, one_line(str(problem)))


def result_of(
    outcome: Outcome, answer: Any, error: tuple[int, str], instrument: Instrument, asked: int
) -> OrderResult:
    """What an answer says of the order; one that contradicts itself proves nothing.

    The order has been sent: whatever the answer is, it is told in a way that can be stored.

    Args:
        outcome: What it proves.
        answer: Of ``order_send``, None where there was none.
        error: ``last_error()`` right after it.
        instrument: Of the order.
        asked: Its signed lot steps, 0 where it executes nothing by itself.
    """
    if answer is None:
        return OrderResult(outcome, None, 0, 0.0, 0, 0, one_line(f"{error[0]} {error[1]}"))
    try:
        done = _executed(outcome, answer, instrument, abs(asked)) if asked else 0
        return OrderResult(
            outcome=outcome,
            retcode=whole(answer.retcode),
            steps=done if asked > 0 else -done,
            price=number(answer.price),
            order=whole(answer.order),
            deal=whole(answer.deal),
            text=one_line(str(answer.comment)),
        )
    except Exception as problem:
        told = one_line(f"an answer that proves nothing ({problem!r}): {answer!r}")
        return OrderResult(Outcome.AMBIGUOUS, None, 0, 0.0, 0, 0, told)


def _executed(outcome: Outcome, answer: Any, instrument: Instrument, asked: int) -> int:
    """Lot steps that an answer proves to be executed.

    Raises:
        DataError: They are not what its code says of an order of so many.
    """
    if outcome not in (Outcome.EXECUTED, Outcome.PARTIAL):
        return 0
    done = instrument.steps(answer.volume)
    if done != asked if outcome is Outcome.EXECUTED else not 0 < done < asked:
        raise DataError(f"{outcome.value} with {done} of {asked} lot steps")
    return done


def _levels(order: MarketOrder, quote: Quote) -> tuple[float, float]:
    """Stop and target of what the order opens: a long closes at the bid, a short at the ask."""
    instrument, side = order.instrument, 1 if order.steps > 0 else -1
    quoted = instrument.ticks(quote.bid if side > 0 else quote.ask)
    stop = quoted - side * order.stop_distance if order.stop_distance else 0
    take = quoted + side * order.take_distance if order.take_distance else 0
    return _price(instrument, stop), _price(instrument, take)


def _terms(asked: PendingOrder | PendingChange) -> Request:
    """Price, levels and end of a working order."""
    instrument = asked.instrument
    return {
        "price": _price(instrument, instrument.ticks(asked.price)),
        "sl": _price(instrument, instrument.ticks(asked.stop)),
        "tp": _price(instrument, instrument.ticks(asked.take)),
        "type_time": mt5.ORDER_TIME_DAY if asked.day else mt5.ORDER_TIME_GTC,
    }


def _price(instrument: Instrument, ticks: int) -> float:
    """A level as a server takes it; none where it would not be above zero."""
    return round(float(instrument.price(max(ticks, 0))), instrument.spec.digits)
