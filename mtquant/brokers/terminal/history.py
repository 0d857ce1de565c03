"""TradeHistory: MetaTrader's book-keeping for the simulated account.

The kernel knows lanes, steps and reasons; MetaTrader shows tickets, position identifiers, deals and
orders of the past. Money is not moved here, only told. A netting account has one holding a symbol,
a hedging account one for each ticket.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeVar

import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Instrument
from mtquant.brokers.terminal.records import TradeDeal, TradeOrder, TradeRequest
from mtquant.jit import Structured
from mtquant.risk.reasons import STOP, STOP_OUT, TAKE_PROFIT

Entry = TypeVar("Entry", TradeDeal, TradeOrder)

_FIRST_TICKET = 1_000_001
_SERVER_REASONS = {
    STOP: (mt5.DEAL_REASON_SL, "sl"),
    TAKE_PROFIT: (mt5.DEAL_REASON_TP, "tp"),
    STOP_OUT: (mt5.DEAL_REASON_SO, "stop out"),
}


@dataclass
class Holding:
    """An open position: where it comes from and what is left of it.

    Attributes:
        symbol: Its number.
        number: The kernel's count of the ticket, 0 in a netting book.
        ticket: Of the order that opened it.
        seconds: Server time of that.
        request: What had been asked for.
        steps: Signed lot steps held.
    """

    symbol: int
    number: int
    ticket: int
    seconds: int
    request: TradeRequest
    steps: int = 0


class TradeHistory:
    """Holdings, deals and orders of one account.

    Attributes:
        deals: All deals so far, by time.
        orders: All past orders, by time.
        reason: ``DEAL_REASON_*`` of what is ordered now: a program, or a person.
    """

    def __init__(self, instruments: Sequence[Instrument], balance: float, seconds: int) -> None:
        """Begin with a deposit.

        Args:
            instruments: One per traded symbol.
            balance: Account currency.
            seconds: Server time of the deposit.
        """
        self.orders: list[TradeOrder] = []
        self.reason = mt5.DEAL_REASON_EXPERT
        self._instruments = instruments
        self._holdings: dict[tuple[int, int], Holding] = {}
        self._tickets = _FIRST_TICKET
        opened = TradeDeal.of(
            ticket=self.new_ticket(), time=seconds, type=mt5.DEAL_TYPE_BALANCE, profit=balance
        )
        self.deals = [opened]

    def new_ticket(self) -> int:
        """A number that nothing has had before."""
        self._tickets += 1
        return self._tickets - 1

    def holdings(self) -> tuple[Holding, ...]:
        """Open positions, in the order of the symbols, the oldest ticket first."""
        return tuple(self._holdings[key] for key in sorted(self._holdings))

    def holding(self, ticket: int) -> Holding | None:
        """An open position by its ticket."""
        found = (held for held in self._holdings.values() if held.ticket == ticket)
        return next(found, None)

    def book(
        self, rows: Structured, request: TradeRequest, order: int, seconds: int
    ) -> list[TradeDeal]:
        """Book the kernel's newest deals.

        Args:
            rows: Of ``DEAL``.
            request: The order that made them; an empty one for what the server did.
            order: Its ticket.
            seconds: Server time.
        """
        booked = []
        for row in rows:
            key = (int(row["symbol"]), int(row["ticket"]))
            held = self._holdings.setdefault(key, Holding(*key, order, seconds, request))
            held.steps += int(row["steps"])
            booked.append(self._deal(row, held, request, order, seconds))
            if held.steps == 0:
                del self._holdings[key]
        self.deals += booked
        return booked

    def book_order(
        self, s: int, ticket: int, deal: TradeDeal, request: TradeRequest, steps: int
    ) -> None:
        """Book an order of which ``steps`` signed lot steps were executed, the last by ``deal``."""
        instrument = self._instruments[s]
        left = abs(instrument.steps(request.volume)) - abs(steps)
        done = TradeOrder.of(
            ticket=ticket,
            time_setup=deal.time,
            time_setup_msc=deal.time_msc,
            time_done=deal.time,
            time_done_msc=deal.time_msc,
            type=request.type,
            type_filling=request.type_filling,
            state=mt5.ORDER_STATE_PARTIAL if left else mt5.ORDER_STATE_FILLED,
            magic=request.magic,
            position_id=deal.position_id,
            reason=self.reason,  # persons and programs have the same numbers there
            volume_initial=request.volume,
            volume_current=instrument.lots(left),
            price_open=deal.price,
            sl=request.sl,
            tp=request.tp,
            price_current=deal.price,
            symbol=instrument.broker_name,
            comment=request.comment,
        )
        self.orders.append(done)

    def deals_between(self, first: int, last: int) -> list[TradeDeal]:
        """Deals with server times in ``[first, last]``."""
        return _between(self.deals, first, last, attrgetter("time"))

    def orders_between(self, first: int, last: int) -> list[TradeOrder]:
        """Past orders with server times in ``[first, last]``."""
        return _between(self.orders, first, last, attrgetter("time_done"))

    def _deal(
        self, row: np.void, held: Holding, request: TradeRequest, order: int, seconds: int
    ) -> TradeDeal:
        instrument, steps = self._instruments[held.symbol], int(row["steps"])
        by_server = _SERVER_REASONS.get(int(row["reason"]))
        reason, comment = by_server or (self.reason, request.comment)
        return TradeDeal.of(
            ticket=self.new_ticket(),
            order=order,
            time=seconds,
            time_msc=seconds * 1000,
            type=mt5.DEAL_TYPE_BUY if steps > 0 else mt5.DEAL_TYPE_SELL,
            entry=mt5.DEAL_ENTRY_OUT if row["closing"] else mt5.DEAL_ENTRY_IN,
            magic=held.request.magic if by_server else request.magic,
            position_id=held.ticket,
            reason=reason,
            volume=instrument.lots(abs(steps)),
            price=float(row["price"]),
            commission=0.0 - float(row["commission"]),
            swap=float(row["swap"]),
            profit=float(row["profit"]),
            symbol=instrument.broker_name,
            comment=comment,
        )


def _between(
    entries: list[Entry], first: int, last: int, seconds: Callable[[Entry], int]
) -> list[Entry]:
    start = bisect_left(entries, first, key=seconds)
    return entries[start : bisect_right(entries, last, lo=start, key=seconds)]
