"""SimulatedAccount: the broker's side of the simulated terminal, a lane of the kernel.

It holds one account over a tape and calls the kernel for everything that moves money, at the same
places of a bar as a backtest does, so that its book can be recorded like a backtest's. Orders fill
at the open of the forming bar; its stops, targets and stop-out come when it passes. What is held
carries one stop and one target a symbol, in a hedging account for all its tickets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Instrument
from mtquant.brokers.terminal_history import Holding, TradeHistory
from mtquant.brokers.terminal_records import TradePosition, TradeRequest
from mtquant.brokers.terminal_symbols import SymbolFeed
from mtquant.jit import Structured
from mtquant.market.panel import Panel
from mtquant.risk.breaker import LEVEL_3
from mtquant.risk.reasons import ALLOWED
from mtquant.sim.account import MOST_TICKETS, Tape, empty_book, margin_at_open
from mtquant.sim.episodes import open_account
from mtquant.sim.inside import carry, inside_bar
from mtquant.sim.kernel import close_bar, open_bar
from mtquant.sim.orders import close_leg, execute, open_leg
from mtquant.sim.records import DEAL

_DEALS_A_BAR = 256  # of which the book remembers the newest, should somebody send more
_OFF_GRID = 1e-3  # ticks; float noise of a price stays far below

Levels = tuple[int, int]
"""Stop and target in ticks, 0 for none."""


@dataclass(frozen=True)
class Execution:
    """What became of one market order: tickets, signed lot steps and price."""

    order: int
    deal: int
    steps: int
    price: float


class SimulatedAccount:
    """One account whose bar ``forming`` is open.

    Attributes:
        tape: What the kernel reads; stops act whether or not the strategy sets any.
        book: The kernel's state, one lane; its deals are those of the bar.
        hedging: Whether each order opens a ticket; else one position a symbol.
        forming: Row of the panel whose open is the present; one past the last at the end.
        history: Holdings, deals and orders as MetaTrader shows them.
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
        rules = tape.rules.copy()
        rules["managed"] = 1
        self.tape = tape._replace(rules=rules)
        self.hedging = bool(rules["hedging"][0])
        # An order makes at most two deals, a bar's end closes all that is held.
        self._most_deals = max(2, len(feeds) * (MOST_TICKETS if self.hedging else 1))
        lane = empty_book(1, len(feeds), rules[0])
        deals = np.zeros((1, _DEALS_A_BAR + self._most_deals), DEAL)
        self.book = lane._replace(deals=deals)
        self.forming = start + 1
        self._panel = panel
        self._feeds = feeds
        self._instruments = [Instrument(feed.spec, feed.name) for feed in feeds]
        self._begun = start
        open_account(self.book, self.tape, 0, start, self._last, balance)
        opened = feeds[0].seconds(max(self.newest(0)[0] - 1, 0))
        self.history = TradeHistory(self._instruments, balance, opened)
        self.deals, self.orders = self.history.deals, self.history.orders

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
        instrument = self._instruments[s]
        return instrument.price(ticks), instrument.price(ticks + spread)

    def lots(self, s: int, steps: int) -> float:
        """Lots of a count of lot steps."""
        return self._instruments[s].lots(steps)

    def step_value(self, s: int) -> float:
        """Account currency per 1.0 of price and lot step, now."""
        t, contract = min(self.forming, self._last), self.tape.contracts[s]
        return float(self.tape.market["value"][t, s] * contract["tick_d"] / contract["tick_n"])

    def equity_and_margin(self) -> tuple[float, float]:
        """Account currency, at the present quotes."""
        if self.finished:
            return float(self.book.account["equity"][0]), 0.0
        return margin_at_open(self.book, self.tape, 0, self.forming)

    def positions(self) -> tuple[TradePosition, ...]:
        """Open positions, in the order of the symbols, the oldest ticket first."""
        return tuple(map(self._position, self.history.holdings()))

    def held(self, s: int) -> int:
        """Signed lot steps held of a symbol."""
        return int(self.book.positions["steps"][0, s])

    def execute(self, s: int, steps: int, request: TradeRequest, order: int = 0) -> Execution:
        """Fill a market order in the forming bar.

        A hedging account closes the ticket that the request names, or opens one.

        Args:
            s: Symbol, which is tradable now.
            steps: Signed lot steps; not more than a ticket holds, and on its other side.
            request: With levels that :meth:`allows`.
            order: Ticket that the order has already, 0 for a new one.

        Returns:
            What was executed; ``steps`` falls short where a leg was refused or filled in part.
        """
        order, before = order or self.history.new_ticket(), self._room_for_deals()
        self._plan_stops(s, steps, request)
        place = (self.book, self.tape, 0, s, self.forming, steps)
        if not self.hedging:
            executed = execute(*place, ALLOWED)
        elif request.position:
            executed = close_leg(*place, self._column(s, request.position), ALLOWED)
        else:
            executed = open_leg(*place, ALLOWED)
        if executed == 0:
            return Execution(order, 0, 0, 0.0)
        seconds = self._feeds[s].seconds(self.newest(s)[0])
        deals = self.history.book(self._deals_since(before), request, order, seconds)
        self.history.book_order(s, order, deals[-1], request, executed)
        return Execution(order, deals[-1].ticket, int(executed), deals[-1].price)

    def refusal(self, s: int) -> int:
        """Reason code of the last order that was not executed."""
        return int(self.book.positions["reason"][0, s])

    def levels(self, s: int, stop: float, take: float) -> Levels | None:
        """Two prices (0 for none) in ticks; None where one of them is no price of the symbol."""
        contract, levels = self.tape.contracts[s], []
        for price in (stop, take):
            ticks = price * int(contract["tick_d"]) / int(contract["tick_n"])
            if not 0.0 <= ticks < 2.0**53 or abs(ticks - round(ticks)) > _OFF_GRID:
                return None
            levels.append(round(ticks))
        return levels[0], levels[1]

    def standing(self, s: int) -> Levels:
        """What a position of the symbol carries now."""
        position = self.book.positions[0, s]
        return int(position["stop"]), int(position["take"])

    def allows(self, s: int, side: int, levels: Levels, standing: Levels = (0, 0)) -> bool:
        """Whether a position may be given these levels now: on the right side and far enough.

        Args:
            s: Symbol.
            side: 1 of a long, -1 of a short position.
            levels: New stop and target.
            standing: What it carries already; a level that stays is not judged again.
        """
        bid, ask = self.quote(s)
        quoted = self._instruments[s].ticks(bid if side > 0 else ask)
        nearest = max(int(self.tape.contracts["stops_ticks"][s]), 1)
        rooms = (side * (quoted - levels[0]), side * (levels[1] - quoted))
        return all(
            level in (0, stands) or room >= nearest
            for level, stands, room in zip(levels, standing, rooms, strict=True)
        )

    def move_stops(self, s: int, levels: Levels) -> None:
        """Set stop and target of what is held; on a hedging account all tickets carry them."""
        position = self.book.positions[0, s]
        position["stop"], position["take"] = levels

    def advance(self) -> None:
        """Let the forming bar pass: stops and stop-out, rollovers, mark; then the next forms."""
        t, before = self.forming, self._room_for_deals()
        _, stopped = inside_bar(self.book, self.tape, 0, t)
        rows = self._deals_since(before)
        if len(rows):
            end = self._panel.timeframe.minutes * 60 - 1
            opened = max(self._feeds[s].seconds(self.newest(s)[0]) for s in set(rows["symbol"]))
            self.history.book(rows, TradeRequest.of(), 0, opened + end)
        carry(self.book, self.tape, 0, t)
        equity = close_bar(self.book, self.tape, 0, t)
        if stopped or equity <= 0.0:
            self.book.account["level"] = LEVEL_3
        self.forming += 1

    def explain(self, reasons: Sequence[int]) -> None:
        """Write into the bar's deals why they were made, one reason code a symbol.

        An order cannot carry that; reports of a paper run then name what a backtest's would.
        """
        if self._begun == self.forming:  # else the book still shows the bar that closed
            rows = self._deals_since(0)
            rows["reason"] = np.asarray(reasons, np.int64)[rows["symbol"]]

    def _room_for_deals(self) -> int:
        """How many deals the book holds of this bar, after making room for one more order."""
        if self._begun != self.forming:
            # Not before: until then the book still shows the bar that closed.
            open_bar(self.book, self.tape, 0, self.forming)
            self._begun = self.forming
        count = int(self.book.account["n_deals"][0])
        if count > _DEALS_A_BAR:
            count = self.book.account["n_deals"][0] = 0
        return count

    def _deals_since(self, before: int) -> Structured:
        """The bar's deals from a count on, a view."""
        rows: Structured = self.book.deals[0, before : int(self.book.account["n_deals"][0])]
        return rows

    def _plan_stops(self, s: int, steps: int, request: TradeRequest) -> None:
        """Tell the kernel how far from the quote an increase is to set its stop and target."""
        position, instrument = self.book.positions[0, s], self._instruments[s]
        bid, ask = self.quote(s)
        quoted = instrument.ticks(bid if steps > 0 else ask)
        for name, price in (("stop_distance", request.sl), ("take_distance", request.tp)):
            position[name] = abs(quoted - instrument.ticks(price)) if price else 0

    def _column(self, s: int, ticket: int) -> int:
        """Where the kernel keeps a ticket of a hedging book."""
        held = self.history.holding(ticket)
        assert held is not None, "the terminal has judged the request"
        return self._numbers(s).index(held.number)

    def _numbers(self, s: int) -> list[int]:
        """Numbers of a symbol's open tickets in a hedging book, the oldest first."""
        first, count = s * MOST_TICKETS, int(self.book.positions["tickets"][0, s])
        numbers: list[int] = self.book.tickets["number"][0, first : first + count].tolist()
        return numbers

    def _position(self, held: Holding) -> TradePosition:
        s, instrument = held.symbol, self._instruments[held.symbol]
        record = self.book.positions[0, s]
        if self.hedging:
            record = self.book.tickets[0, s * MOST_TICKETS + self._numbers(s).index(held.number)]
        entry, (bid, ask) = instrument.price(float(record["entry"])), self.quote(s)
        price = bid if held.steps > 0 else ask
        stop, take = self.standing(s)
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
            profit=held.steps * (price - entry) * self.step_value(s),
            symbol=instrument.broker_name,
            comment=held.request.comment,
        )
