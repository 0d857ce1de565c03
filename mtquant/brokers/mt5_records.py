"""What the module shows of positions, deals and orders, as our own records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import (
    BrokerPosition,
    Deal,
    DealReason,
    Instrument,
    OrderRecord,
    OrderState,
)
from mtquant.brokers.odd import number, text, whole
from mtquant.brokers.orders import OpenOrder, OrderKind
from mtquant.errors import DataError
from mtquant.jit import Structured
from mtquant.market.bars import Bars
from mtquant.market.clock import SECOND_NS, Clock
from mtquant.market.timeframe import Timeframe

_DEAD = (mt5.ORDER_STATE_CANCELED, mt5.ORDER_STATE_REJECTED, mt5.ORDER_STATE_EXPIRED)
_FUNDS = (mt5.DEAL_TYPE_BALANCE, mt5.DEAL_TYPE_CORRECTION, mt5.DEAL_TYPE_BONUS)
_SIDES = {mt5.POSITION_TYPE_BUY: 1, mt5.POSITION_TYPE_SELL: -1}
_KINDS = {
    mt5.ORDER_TYPE_BUY: OrderKind.MARKET,
    mt5.ORDER_TYPE_SELL: OrderKind.MARKET,
    mt5.ORDER_TYPE_BUY_LIMIT: OrderKind.LIMIT,
    mt5.ORDER_TYPE_SELL_LIMIT: OrderKind.LIMIT,
    mt5.ORDER_TYPE_BUY_STOP: OrderKind.STOP,
    mt5.ORDER_TYPE_SELL_STOP: OrderKind.STOP,
}
_BUYS = (
    mt5.ORDER_TYPE_BUY,
    mt5.ORDER_TYPE_BUY_LIMIT,
    mt5.ORDER_TYPE_BUY_STOP,
    mt5.ORDER_TYPE_BUY_STOP_LIMIT,
)
_REASONS = {
    mt5.DEAL_REASON_CLIENT: DealReason.CLIENT,
    mt5.DEAL_REASON_MOBILE: DealReason.CLIENT,
    mt5.DEAL_REASON_WEB: DealReason.CLIENT,
    mt5.DEAL_REASON_EXPERT: DealReason.EXPERT,
    mt5.DEAL_REASON_SL: DealReason.STOP,
    mt5.DEAL_REASON_TP: DealReason.TARGET,
    mt5.DEAL_REASON_SO: DealReason.STOP_OUT,
}


def bars_of(rows: Structured, instrument: Instrument, timeframe: Timeframe, clock: Clock) -> Bars:
    """Bars in UTC.

    Args:
        rows: Of ``copy_rates_*``, times on the server's clock.
        instrument: Whose they are.
        timeframe: Theirs.
        clock: The server's.

    Raises:
        DataError: A bar has a time that the clock skipped: the clock is wrong.
    """
    located = clock.locate(rows["time"] * SECOND_NS)
    if located.missing.any():
        raise DataError(
            f"{instrument.broker_name} has a bar at a time that clock {clock.name} skipped; "
            "correct the symbol's clock"
        )
    return Bars(
        instrument.spec.name,
        timeframe,
        located.utc,
        rows["open"],
        rows["high"],
        rows["low"],
        rows["close"],
        rows["tick_volume"].astype(np.float64),
        rows["spread"].astype(np.float64),
    )


def position_of(p: Any, utc: Callable[[int], int]) -> BrokerPosition:
    """A position.

    Args:
        p: A ``TradePosition``.
        utc: From server seconds to ns UTC.
    """
    return BrokerPosition(
        ticket=whole(p.ticket),
        identifier=whole(p.identifier),
        symbol=text(p.symbol),
        magic=whole(p.magic),
        volume_lots=_SIDES[p.type] * number(p.volume),
        price_open=number(p.price_open),
        swap=number(p.swap),
        opened_time_ns=utc(p.time),
        stop=number(p.sl),
        take=number(p.tp),
        profit=number(p.profit),
    )


def deal_of(d: Any, utc: Callable[[int], int]) -> Deal:
    """A deal or a change of balance.

    Args:
        d: A ``TradeDeal``.
        utc: From server seconds to ns UTC.
    """
    trade = whole(d.type) in (mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL)
    volume = -d.volume if d.type == mt5.DEAL_TYPE_SELL else d.volume
    return Deal(
        ticket=whole(d.ticket),
        order=whole(d.order),
        position_id=whole(d.position_id),
        symbol=text(d.symbol),
        magic=whole(d.magic),
        time_ns=utc(d.time),
        volume_lots=number(volume) if trade else 0.0,
        price=number(d.price),
        profit=number(d.profit),
        swap=number(d.swap),
        commission=number(d.commission),
        is_trade=trade,
        reason=_REASONS.get(d.reason, DealReason.OTHER),
        opens=trade and d.entry in (mt5.DEAL_ENTRY_IN, mt5.DEAL_ENTRY_INOUT),
        deposit=d.profit if d.type in _FUNDS else 0.0,
    )


def open_order(o: Any, utc: Callable[[int], int]) -> OpenOrder:
    """A working order.

    Args:
        o: A ``TradeOrder``.
        utc: From server seconds to ns UTC.
    """
    kind, buys = _KINDS.get(o.type, OrderKind.OTHER), o.type in _BUYS
    return OpenOrder(
        whole(o.ticket),
        text(o.symbol),
        whole(o.magic),
        OrderState.OPEN,
        kind,
        number(o.volume_current if buys else -o.volume_current),
        number(o.price_open),
        number(o.sl),
        number(o.tp),
        o.type_time != mt5.ORDER_TIME_GTC,
        utc(o.time_setup),
    )


def past_order(o: Any) -> OrderRecord:
    """An order that has ended.

    Args:
        o: A ``TradeOrder``.
    """
    state = OrderState.DEAD if whole(o.state) in _DEAD else OrderState.FILLED
    left = number(o.volume_current)
    return OrderRecord(whole(o.ticket), text(o.symbol), whole(o.magic), state, left_lots=left)
