"""How the simulated account's positions look in MetaTrader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.history import Holding
from mtquant.brokers.terminal.records import TradePosition
from mtquant.sim.account import MOST_TICKETS

if TYPE_CHECKING:
    from mtquant.brokers.terminal.account import SimulatedAccount


def shown_position(account: SimulatedAccount, held: Holding) -> TradePosition:
    """An open position as MetaTrader lists it."""
    s, instrument = held.symbol, account.instruments[held.symbol]
    record = account.book.positions[0, s]
    if account.hedging:
        record = account.book.tickets[0, s * MOST_TICKETS + account.column(held)]
    entry, (bid, ask) = instrument.price(float(record["entry"])), account.quote(s)
    price = bid if held.steps > 0 else ask
    stop, take = account.standing(s)
    return TradePosition.of(
        ticket=held.ticket,
        time=held.seconds,
        time_msc=held.seconds * 1000,
        time_update=held.seconds,
        time_update_msc=held.seconds * 1000,
        type=mt5.POSITION_TYPE_BUY if held.steps > 0 else mt5.POSITION_TYPE_SELL,
        magic=held.request.magic,
        identifier=held.ticket,
        reason=mt5.POSITION_REASON_EXPERT,
        volume=instrument.lots(abs(held.steps)),
        price_open=entry,
        sl=instrument.price(stop),
        tp=instrument.price(take),
        price_current=price,
        swap=float(record["swap"]),
        profit=held.steps * (price - entry) * account.step_value(s),
        symbol=instrument.broker_name,
        comment=held.request.comment,
    )
