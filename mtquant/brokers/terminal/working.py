"""Working orders of the simulated account, and which of them a bar fills.

A bar tells no order of its prices. Where it reaches a working order, the symbol's two ways through
the bar are walked, open - low - high - close and open - high - low - close; working orders, stop
and target act in the order in which each way meets them, and the way that leaves less equity at
the close is what has happened. At one price the stop comes first, then the orders by their age,
then the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Instrument
from mtquant.brokers.terminal.records import TradeOrder, TradeRequest
from mtquant.risk.reasons import STOP, TAKE_PROFIT
from mtquant.sim.account import Book, Tape, mark
from mtquant.sim.inside import ask_spread, exit_position, highest, lowest
from mtquant.sim.working import fill_order, order_bid

Levels = tuple[int, int]
"""Stop and target in ticks, 0 for none."""

GTC = -1
BUYS = (mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_BUY_STOP)
STOPS = (mt5.ORDER_TYPE_BUY_STOP, mt5.ORDER_TYPE_SELL_STOP)


@dataclass(frozen=True)
class WorkingOrder:
    """A limit or stop order that waits for its price.

    Attributes:
        ticket: Its own.
        symbol: Number of the symbol.
        steps: Signed lot steps.
        price: In ticks.
        levels: That what it opens shall carry.
        day: Broker day with which it ends, ``GTC`` for none.
        seconds: Server time of its placing.
        request: As it was placed, with what has been changed since.
    """

    ticket: int
    symbol: int
    steps: int
    price: int
    levels: Levels
    day: int
    seconds: int
    request: TradeRequest

    @property
    def stop(self) -> bool:
        """Whether it is a stop order, not a limit."""
        return self.request.type in STOPS

    @property
    def falls(self) -> bool:
        """Whether it waits for the market to come down to it."""
        return (self.steps > 0) != self.stop

    def stands(self, price: int, levels: Levels, type_time: int) -> bool:
        """Whether it is so already."""
        return (price, levels, type_time) == (self.price, self.levels, self.request.type_time)

    def changed(self, request: TradeRequest, price: int, levels: Levels, day: int) -> WorkingOrder:
        """With another price, other levels and another end."""
        kept = self.request._asdict()
        kept |= {name: getattr(request, name) for name in ("price", "sl", "tp", "type_time")}
        new = TradeRequest.of(**kept)
        return replace(self, price=price, levels=levels, day=day, request=new)

    def shown(self, instrument: Instrument, quoted: float, **end: int | float) -> TradeOrder:
        """As MetaTrader shows it, working, or ended as ``end`` says."""
        request = self.request
        fields: dict[str, int | float] = {
            "state": mt5.ORDER_STATE_PLACED,
            "volume_current": request.volume,
        }
        return TradeOrder.of(
            ticket=self.ticket,
            time_setup=self.seconds,
            time_setup_msc=self.seconds * 1000,
            type=request.type,
            type_time=request.type_time,
            type_filling=request.type_filling,
            magic=request.magic,
            reason=mt5.ORDER_REASON_EXPERT,
            volume_initial=request.volume,
            price_open=instrument.price(self.price),
            sl=instrument.price(self.levels[0]),
            tp=instrument.price(self.levels[1]),
            price_current=quoted,
            symbol=instrument.broker_name,
            comment=request.comment,
            **(fields | end),
        )


@dataclass(frozen=True)
class Happened:
    """What a way through a bar has met.

    Attributes:
        order: The working order; None for a stop or a target.
        deals: Count of the bar's deals before and after it.
        opened: Whether it opened or increased a position.
    """

    order: WorkingOrder | None
    deals: tuple[int, int]
    opened: bool = False


class _Event(NamedTuple):
    """Something on the way: sorted by how far it is, then as the module says."""

    distance: int
    rank: int
    bid: int
    order: WorkingOrder | None
    reason: int


class Way:
    """One symbol's way through bar ``t`` of a book."""

    def __init__(self, book: Book, tape: Tape, s: int, t: int) -> None:
        self.book, self.tape, self.s, self.t = book, tape, s, t
        self._position, self._bar = book.positions[0, s], tape.market[t, s]

    def bid_of(self, order: WorkingOrder) -> int:
        """The bid at which an order fills, ahead of any gap."""
        place = (self.book, self.tape, 0, self.s, self.t)
        return int(order_bid(*place, order.steps, order.stop, order.price))

    def meets(self, order: WorkingOrder) -> bool:
        """Whether the bar reaches an order at all."""
        bid = self.bid_of(order)
        return bool(lowest(self._bar) <= bid if order.falls else highest(self._bar) >= bid)

    def fill(self, order: WorkingOrder, bid: int) -> Happened:
        """Fill an order; a hedging account takes nothing against what it holds."""
        account, position, before = self.book.account[0], self._position, 0
        before = int(account["n_deals"])
        against = self.book.tickets.shape[1] > 0 and position["steps"] * order.steps < 0
        if against:
            return Happened(order, (before, before))
        place = (self.book, self.tape, 0, self.s, self.t)
        _, opened = fill_order(*place, order.steps, bid)
        if opened:
            position["stop"], position["take"] = order.levels
        return Happened(order, (before, int(account["n_deals"])), opened != 0)

    def walk(self, orders: Sequence[WorkingOrder], turns: Sequence[int]) -> list[Happened]:
        """Go from turn to turn, and tell what is met.

        Args:
            orders: Working ones of the symbol, the oldest first.
            turns: Bids in ticks, the open first.
        """
        waiting, happened, at = list(orders), list[Happened](), turns[0]
        for to in turns[1:]:
            while (event := self._next(waiting, at, to)) is not None:
                at = event.bid
                if event.order is not None:
                    waiting.remove(event.order)
                    happened.append(self.fill(event.order, at))
                    continue
                before = int(self.book.account["n_deals"][0])
                exit_position(self.book, self.tape, 0, self.s, self.t, at, event.reason)
                happened.append(Happened(None, (before, int(self.book.account["n_deals"][0]))))
            at = to
        return happened

    def _next(self, waiting: Sequence[WorkingOrder], at: int, to: int) -> _Event | None:
        """The first thing between two bids."""
        low, high, events = min(at, to), max(at, to), []
        for falls, bid, rank, order, reason in self._levels(waiting):
            if falls and bid >= low:
                events.append(_Event(at - min(at, bid), rank, min(at, bid), order, reason))
            elif not falls and bid <= high:
                events.append(_Event(max(at, bid) - at, rank, max(at, bid), order, reason))
        return min(events, key=lambda event: event[:2], default=None)

    def _levels(
        self, waiting: Sequence[WorkingOrder]
    ) -> list[tuple[bool, int, int, WorkingOrder | None, int]]:
        """``(falls, bid, rank, order, reason)`` of all that may happen."""
        position = self._position
        levels: list[tuple[bool, int, int, WorkingOrder | None, int]] = [
            (order.falls, self.bid_of(order), n + 1, order, 0) for n, order in enumerate(waiting)
        ]
        if position["steps"] != 0:
            long, spread = bool(position["steps"] > 0), int(ask_spread(position, self._bar))
            stop, take = int(position["stop"]), int(position["take"])
            if stop:
                levels.append((long, stop - spread, 0, None, STOP))
            if take:
                levels.append((not long, take - spread, len(waiting) + 1, None, TAKE_PROFIT))
        return levels


def worse_way(
    book: Book, tape: Tape, s: int, t: int, orders: Sequence[WorkingOrder]
) -> list[Happened]:
    """Let the worse of the two ways through bar ``t`` happen to a book."""
    bar = tape.market[t, s]
    first, last = int(bar["open"]), int(bar["close"])
    low, high = int(lowest(bar)), int(highest(bar))
    tried = []
    for turns in ((first, low, high, last), (first, high, low, last)):
        trial = book.copy()
        happened = Way(trial, tape, s, t).walk(orders, turns)
        tried.append((float(mark(trial, tape, 0, t)), trial, happened))
    _, trial, happened = min(tried, key=lambda one: one[0])
    book.become(trial)
    return happened
