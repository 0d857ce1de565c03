"""Pending: the working orders of one simulated account, from placing to fill, end or removal.

What a bar opens beyond is filled at its open, before a program sees that open; what the bar
reaches later is filled when it passes. Orders for the day end with the server's day. The kernel has
the last word about money, as for market orders; an order that it refuses is dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.records import TradeOrder, TradeRequest
from mtquant.brokers.terminal.working import GTC, Happened, Levels, Way, WorkingOrder, worse_way
from mtquant.sim.inside import NEVER, margin_crossing

if TYPE_CHECKING:
    from mtquant.brokers.terminal.account import SimulatedAccount

MOST_ORDERS = 100
"""That may work at once."""


class Pending:
    """Limit and stop orders that wait for their price.

    Attributes:
        in_work: Market orders by ticket that the server has accepted and not executed yet.
    """

    def __init__(self, account: SimulatedAccount) -> None:
        """None so far."""
        self._account = account
        self.in_work: dict[int, TradeOrder] = {}
        self._orders: dict[int, WorkingOrder] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def get(self, ticket: int) -> WorkingOrder | None:
        """A working order by its ticket."""
        return self._orders.get(ticket)

    def place(
        self, s: int, steps: int, price: int, levels: Levels, request: TradeRequest, ticket: int
    ) -> int:
        """Let an order work that was judged; its ticket, ``ticket`` if that is not 0."""
        account = self._account
        number = ticket or account.history.new_ticket()
        seconds, day = account.now_seconds(), self._last_day(request)
        self._orders[number] = WorkingOrder(number, s, steps, price, levels, day, seconds, request)
        return number

    def change(self, ticket: int, request: TradeRequest, price: int, levels: Levels) -> None:
        """Give a working order another price, other levels and another end."""
        order = self._orders[ticket]
        self._orders[ticket] = order.changed(request, price, levels, self._last_day(request))

    def remove(self, ticket: int) -> None:
        """Cancel a working order."""
        self._end(self._orders[ticket], mt5.ORDER_STATE_CANCELED, self._account.now_seconds())

    def shown(self) -> tuple[TradeOrder, ...]:
        """As MetaTrader lists them, the oldest first; then market orders in work."""
        waiting = (
            order.shown(self._account.instruments[order.symbol], self._quoted(order))
            for order in self._orders.values()
        )
        return (*waiting, *self.in_work.values())

    def open_bar(self) -> None:
        """End what was for the day before, and fill what the new bar opens beyond."""
        account = self._account
        if account.finished:
            return
        t, seconds = account.forming, account.now_seconds()
        for order in tuple(self._orders.values()):
            if order.day != GTC and account.tape.day[t] > order.day:
                self._end(order, mt5.ORDER_STATE_EXPIRED, seconds)
        for order in tuple(self._orders.values()):
            if account.tradable(order.symbol):
                way = Way(account.book, account.tape, order.symbol, t)
                first, bid = int(account.tape.market["open"][t, order.symbol]), way.bid_of(order)
                if first <= bid if order.falls else first >= bid:
                    account.room_for_deals()
                    self._tell([way.fill(order, first)], seconds)

    def pass_bar(self) -> bool:
        """Let the forming bar pass; whether the broker has stopped out.

        An account whose margin would not last through the bar is stopped out before any order can
        help it.
        """
        account, hidden, stopped = self._account, {}, False
        book, tape, t = account.book, account.tape, account.forming
        if margin_crossing(book, tape, 0, t) < NEVER:
            stopped = account.pass_inside()
        for s in sorted({order.symbol for order in self._orders.values()}):
            orders = [order for order in self._orders.values() if order.symbol == s]
            way = Way(book, tape, s, t)
            if account.tradable(s) and any(map(way.meets, orders)):
                account.room_for_deals()
                self._tell(worse_way(book, tape, s, t, orders), account.last_second([s]))
                # The way has met the levels that it meets; the rest of the bar has no other.
                position = book.positions[0, s]
                hidden[s] = int(position["stop"]), int(position["take"])
                position["stop"], position["take"] = 0, 0
        stopped = account.pass_inside() or stopped
        for s, levels in hidden.items():
            if account.held(s):
                account.move_stops(s, levels)
        return stopped

    def _tell(self, happened: Sequence[Happened], seconds: int) -> None:
        """Enter into history what has happened."""
        account = self._account
        for one in happened:
            rows = account.book.deals[0, one.deals[0] : one.deals[1]]
            if one.order is None:
                account.history.book(rows, TradeRequest.of(), 0, seconds)
                continue
            order, done = one.order, int(abs(rows["steps"]).sum())
            left = abs(order.steps) - done
            deals = account.history.book(rows, order.request, order.ticket, seconds)
            state = mt5.ORDER_STATE_PARTIAL if left else mt5.ORDER_STATE_FILLED
            self._end(
                order,
                state if done else mt5.ORDER_STATE_REJECTED,
                seconds,
                volume_current=account.lots(order.symbol, left),
                position_id=deals[-1].position_id if deals else 0,
            )

    def _end(self, order: WorkingOrder, state: int, seconds: int, **end: float) -> None:
        del self._orders[order.ticket]
        instrument = self._account.instruments[order.symbol]
        ended = order.shown(
            instrument,
            self._quoted(order),
            state=state,
            time_done=seconds,
            time_done_msc=seconds * 1000,
            **end,
        )
        self._account.history.orders.append(ended)

    def _quoted(self, order: WorkingOrder) -> float:
        bid, ask = self._account.quote(order.symbol)
        return ask if order.steps > 0 else bid

    def _last_day(self, request: TradeRequest) -> int:
        if request.type_time == mt5.ORDER_TIME_GTC:
            return GTC
        return int(self._account.tape.day[self._account.forming])
