"""SimulatedAccount: the broker's side of the simulated terminal, a lane of the kernel.

It holds one account over a tape and calls the kernel for everything that moves money, at the same
places of a bar as a backtest does, so that its book can be recorded like a backtest's. What it
adds is MetaTrader's book-keeping: tickets, position identifiers, deals and orders of the past. A
netting account: one position a symbol.
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
from mtquant.brokers.terminal_records import TradeDeal, TradeOrder, TradePosition, TradeRequest
from mtquant.brokers.terminal_symbols import SymbolFeed
from mtquant.market.panel import Panel
from mtquant.risk.breaker import LEVEL_3
from mtquant.risk.checks import ALLOWED
from mtquant.sim.account import DEAL, Book, Tape, empty_book
from mtquant.sim.episodes import open_account
from mtquant.sim.fills import carry, fill, margin_at_open, stop_out
from mtquant.sim.kernel import close_bar, open_bar

Entry = TypeVar("Entry", TradeDeal, TradeOrder)

_FIRST_TICKET = 1_000_001
_DEALS_A_BAR = 256  # of which the book remembers the newest, should somebody send more


@dataclass(frozen=True)
class _Origin:
    """Where an open position comes from."""

    ticket: int
    seconds: int
    request: TradeRequest


@dataclass(frozen=True)
class Execution:
    """What became of one market order: tickets, signed lot steps and price."""

    order: int
    deal: int
    steps: int
    price: float


class SimulatedAccount:
    """One netting account whose bar ``forming`` is open.

    Attributes:
        book: The kernel's state, one lane; its deals are those of the bar.
        forming: Row of the panel whose open is the present; one past the last at the end.
        deals: All deals so far, by time.
        orders: All past orders, by time.
    """

    def __init__(
        self,
        panel: Panel,
        feeds: Sequence[SymbolFeed],
        tape: Tape,
        rows: tuple[int, int],
        balance: float,
    ) -> None:
        """Open a flat account at the close of bar ``rows[0]``; the bar after it is forming.

        Time ends with the close of bar ``rows[1]``.
        """
        start, self._last = rows
        self.tape = tape
        lane = empty_book(1, len(feeds))
        self.book = Book(lane.account, lane.positions, np.zeros((1, _DEALS_A_BAR), DEAL))
        self.forming = start + 1
        self.deals: list[TradeDeal] = []
        self.orders: list[TradeOrder] = []
        self._panel = panel
        self._feeds = feeds
        self._instruments = [Instrument(feed.spec, feed.name) for feed in feeds]
        self._origins: dict[int, _Origin] = {}
        self._tickets = _FIRST_TICKET
        self._begun = start
        open_account(self.book, tape, 0, start, self._last, balance)
        opened = TradeDeal.of(
            ticket=self._ticket(),
            time=feeds[0].seconds(max(self.newest(0)[0] - 1, 0)),
            type=mt5.DEAL_TYPE_BALANCE,
            profit=balance,
        )
        self.deals.append(opened)

    @property
    def finished(self) -> bool:
        """Whether the last bar has closed: nothing forms, the market is shut."""
        return self.forming > self._last

    def newest(self, s: int) -> tuple[int, bool]:
        """The symbol's newest own row that has begun, and whether it is still forming."""
        t = min(self.forming, self._last)
        return int(self._panel.row[t, s]), self.tradable(s)

    def tradable(self, s: int) -> bool:
        """Whether the symbol's market is open now."""
        return not self.finished and bool(self.tape.market["tradable"][self.forming, s])

    def quote(self, s: int) -> tuple[float, float]:
        """Bid and ask now: the forming bar's open, after the end the last close."""
        t = min(self.forming, self._last)
        ticks = int(self.tape.market["close" if self.finished else "open"][t, s])
        spread = int(self.tape.market["spread"][t, s])
        numerator, denominator = self._feeds[s].spec.tick_fraction
        return ticks * numerator / denominator, (ticks + spread) * numerator / denominator

    def lots(self, s: int, steps: int) -> float:
        """Lots of a count of lot steps."""
        return self._instruments[s].lots(steps)

    def step_value(self, s: int) -> float:
        """Account currency per 1.0 of price and lot step, now."""
        t = min(self.forming, self._last)
        return float(self.tape.contracts["step_units"][s] * self.tape.market["rate"][t, s])

    def equity_and_margin(self) -> tuple[float, float]:
        """Account currency, at the present quotes."""
        if self.finished:
            return float(self.book.account["equity"][0]), 0.0
        return margin_at_open(self.book, self.tape, 0, self.forming)

    def positions(self) -> tuple[TradePosition, ...]:
        """Open positions, in the order of the symbols."""
        return tuple(self._position(s) for s in sorted(self._origins))

    def execute(self, s: int, steps: int, request: TradeRequest) -> Execution:
        """Fill a market order at the open of the forming bar.

        Returns:
            What was executed; ``steps`` falls short where the opening part found no money.
        """
        order, before = self._ticket(), self._room_for_deals()
        executed = int(fill(self.book, self.tape, 0, s, self.forming, steps, ALLOWED))
        if executed == 0:
            return Execution(order, 0, 0, 0.0)
        seconds = self._feeds[s].seconds(self.newest(s)[0])
        deals = self._collect(before, request, order, seconds)
        self.orders.append(self._past_order(s, order, deals[-1], request))
        return Execution(order, deals[-1].ticket, executed, deals[-1].price)

    def advance(self) -> None:
        """Let the forming bar pass: stop-out inside it, rollovers, mark; then the next forms."""
        t, before = self.forming, self._room_for_deals()
        _, stopped = stop_out(self.book, self.tape, 0, t)
        if stopped:
            end = self._panel.timeframe.minutes * 60 - 1
            seconds = [self._feeds[s].seconds(self.newest(s)[0]) for s in self._origins]
            request = TradeRequest.of(comment="stop out")
            self._collect(before, request, 0, max(seconds) + end, mt5.DEAL_REASON_SO)
        carry(self.book, self.tape, 0, t)
        equity = close_bar(self.book, self.tape, 0, t)
        if stopped or equity <= 0.0:
            self.book.account["level"] = LEVEL_3
        self.forming += 1

    def explain(self, reasons: Sequence[int]) -> None:
        """Write into the bar's deals why they were made, one reason code a symbol.

        An order cannot carry that; reports of a paper run then name what a backtest's would.
        """
        rows = self.book.deals[0, : int(self.book.account["n_deals"][0])]
        rows["reason"] = np.asarray(reasons, np.int64)[rows["symbol"]]

    def history(self, first: int, last: int) -> list[TradeDeal]:
        """Deals with server times in ``[first, last]``."""
        return _between(self.deals, first, last, attrgetter("time"))

    def order_history(self, first: int, last: int) -> list[TradeOrder]:
        """Past orders with server times in ``[first, last]``."""
        return _between(self.orders, first, last, attrgetter("time_done"))

    def _ticket(self) -> int:
        self._tickets += 1
        return self._tickets - 1

    def _room_for_deals(self) -> int:
        """How many deals the book holds of this bar, after making room for one more order."""
        if self._begun != self.forming:
            # Not before: until then the book still shows the bar that closed.
            open_bar(self.book, self.tape, 0, self.forming)
            self._begun = self.forming
        count = int(self.book.account["n_deals"][0])
        if count + 2 + len(self._feeds) > _DEALS_A_BAR:
            count = self.book.account["n_deals"][0] = 0
        return count

    def _collect(
        self,
        before: int,
        request: TradeRequest,
        order: int,
        seconds: int,
        reason: int = mt5.DEAL_REASON_EXPERT,
    ) -> list[TradeDeal]:
        """Book the kernel's newest deals as MetaTrader shows them."""
        rows = self.book.deals[0, before : int(self.book.account["n_deals"][0])]
        booked = []
        for row in rows:
            s, steps = int(row["symbol"]), int(row["steps"])
            closing = bool(row["closing"])
            ticket = self._ticket()
            if not closing and s not in self._origins:
                self._origins[s] = _Origin(order, seconds, request)
            origin = self._origins[s]
            deal = TradeDeal.of(
                ticket=ticket,
                order=order,
                time=seconds,
                time_msc=seconds * 1000,
                type=mt5.DEAL_TYPE_BUY if steps > 0 else mt5.DEAL_TYPE_SELL,
                entry=mt5.DEAL_ENTRY_OUT if closing else mt5.DEAL_ENTRY_IN,
                magic=origin.request.magic if reason == mt5.DEAL_REASON_SO else request.magic,
                position_id=origin.ticket,
                reason=reason,
                volume=self.lots(s, abs(steps)),
                price=float(row["price"]),
                commission=0.0 - float(row["commission"]),
                swap=float(row["swap"]),
                profit=float(row["profit"]),
                symbol=self._feeds[s].name,
                comment=request.comment,
            )
            booked.append(deal)
            if closing and (self.book.positions["steps"][0, s] == 0 or not rows["closing"][-1]):
                del self._origins[s]
        self.deals += booked
        return booked

    def _position(self, s: int) -> TradePosition:
        position, origin = self.book.positions[0, s], self._origins[s]
        steps, entry = int(position["steps"]), float(position["entry"])
        bid, ask = self.quote(s)
        price = bid if steps > 0 else ask
        return TradePosition.of(
            ticket=origin.ticket,
            time=origin.seconds,
            time_msc=origin.seconds * 1000,
            time_update=origin.seconds,
            time_update_msc=origin.seconds * 1000,
            type=mt5.POSITION_TYPE_BUY if steps > 0 else mt5.POSITION_TYPE_SELL,
            magic=origin.request.magic,
            identifier=origin.ticket,
            reason=mt5.POSITION_REASON_EXPERT,
            volume=self.lots(s, abs(steps)),
            price_open=entry,
            price_current=price,
            swap=float(position["swap"]),
            profit=steps * (price - entry) * self.step_value(s),
            symbol=self._feeds[s].name,
            comment=origin.request.comment,
        )

    def _past_order(
        self, s: int, ticket: int, deal: TradeDeal, request: TradeRequest
    ) -> TradeOrder:
        return TradeOrder.of(
            ticket=ticket,
            time_setup=deal.time,
            time_setup_msc=deal.time_msc,
            time_done=deal.time,
            time_done_msc=deal.time_msc,
            type=request.type,
            type_filling=request.type_filling,
            state=mt5.ORDER_STATE_FILLED,
            magic=request.magic,
            position_id=deal.position_id,
            reason=mt5.ORDER_REASON_EXPERT,
            volume_initial=request.volume,
            price_open=deal.price,
            price_current=deal.price,
            symbol=self._feeds[s].name,
            comment=request.comment,
        )


def _between(
    entries: list[Entry], first: int, last: int, seconds: Callable[[Entry], int]
) -> list[Entry]:
    start = bisect_left(entries, first, key=seconds)
    return entries[start : bisect_right(entries, last, lo=start, key=seconds)]
