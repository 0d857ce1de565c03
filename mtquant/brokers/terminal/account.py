"""SimulatedAccount: the broker's side of the simulated terminal, a lane of the kernel.

It holds one account over a tape and calls the kernel for everything that moves money, at the same
places of a bar as a backtest does, so that its book can be recorded like a backtest's. Orders fill
at the open of the forming bar; its stops, targets and stop-out come when it passes. What is held
carries one stop and one target a symbol, in a hedging account for all its tickets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mtquant.brokers.base import Instrument
from mtquant.brokers.terminal.history import Holding, TradeHistory
from mtquant.brokers.terminal.pending import MOST_ORDERS, Pending
from mtquant.brokers.terminal.records import TradePosition, TradeRequest
from mtquant.brokers.terminal.shown import shown_position
from mtquant.brokers.terminal.symbols import SymbolFeed
from mtquant.brokers.terminal.working import Levels
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
        pending: Orders that wait for their price.
        instruments: One per traded symbol.
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
        self.tape = _managed(tape)
        self.hedging = bool(tape.rules["hedging"][0])
        # An order makes at most two deals, a bar's end closes all that is held.
        self._most_deals = max(2, len(feeds) * (MOST_TICKETS if self.hedging else 1))
        lane = empty_book(1, len(feeds), self.tape.rules[0])
        # A working order may close and open, and what it opens be closed.
        most = _DEALS_A_BAR + self._most_deals + 3 * MOST_ORDERS
        deals = np.zeros((1, most), DEAL)
        self.book = lane._replace(deals=deals)
        self.forming = start + 1
        self._panel = panel
        self._feeds = feeds
        self.instruments = [Instrument(feed.spec, feed.name) for feed in feeds]
        self._begun = start
        open_account(self.book, self.tape, 0, start, self._last, balance)
        opened = feeds[0].seconds(max(self.newest(0)[0] - 1, 0))
        self.history = TradeHistory(self.instruments, balance, opened)
        self.deals, self.orders = self.history.deals, self.history.orders
        self.pending = Pending(self)

    @property
    def finished(self) -> bool:
        """Whether the last bar has closed: nothing forms, the market is shut."""
        return self.forming > self._last

    def extend(self, panel: Panel, tape: Tape) -> None:
        """Go on over bars of which these are a beginning; the last of them is yet to form."""
        self.tape, self._panel, self._last = _managed(tape), panel, len(panel) - 1

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
        instrument = self.instruments[s]
        return instrument.price(ticks), instrument.price(ticks + spread)

    def lots(self, s: int, steps: int) -> float:
        """Lots of a count of lot steps."""
        return self.instruments[s].lots(steps)

    def step_value(self, s: int) -> float:
        """Account currency per 1.0 of price and lot step, now."""
        t, contract = min(self.forming, self._last), self.tape.contracts[s]
        name = "value" if self.finished else "open_value"
        return float(self.tape.market[name][t, s] * contract["tick_d"] / contract["tick_n"])

    def equity_and_margin(self) -> tuple[float, float]:
        """Account currency, at the present quotes."""
        if self.finished:
            return float(self.book.account["equity"][0]), 0.0
        return margin_at_open(self.book, self.tape, 0, self.forming)

    def positions(self) -> tuple[TradePosition, ...]:
        """Open positions, in the order of the symbols, the oldest ticket first."""
        return tuple(shown_position(self, held) for held in self.history.holdings())

    def held(self, s: int) -> int:
        """Signed lot steps held of a symbol."""
        return int(self.book.positions["steps"][0, s])

    def execute(self, s: int, steps: int, request: TradeRequest, order: int = 0) -> Execution:
        """Fill a market order in the forming bar.

        A hedging account closes the ticket that the request names, or opens one.

        Args:
            s: Symbol, which is tradable now.
            steps: Signed lot steps; not more than a ticket holds, and on its other side.
            request: With levels that the server allows.
            order: Ticket that the order has already, 0 for a new one.

        Returns:
            What was executed; ``steps`` falls short where a leg was refused or filled in part.
        """
        order, before = order or self.history.new_ticket(), self.room_for_deals()
        self._plan_stops(s, steps, request)
        place = (self.book, self.tape, 0, s, self.forming, steps)
        if not self.hedging:
            executed = execute(*place, ALLOWED)
        elif request.position:
            held = self.history.holding(request.position)
            assert held is not None, "the terminal has judged the request"
            executed = close_leg(*place, self.column(held), ALLOWED)
        else:
            executed = open_leg(*place, ALLOWED)
        if executed == 0:
            return Execution(order, 0, 0, 0.0)
        seconds = self._feeds[s].seconds(self.newest(s)[0])
        deals = self.history.book(self.deals_since(before), request, order, seconds)
        self.history.book_order(s, order, deals[-1], request, executed)
        return Execution(order, deals[-1].ticket, int(executed), deals[-1].price)

    def refusal(self, s: int) -> int:
        """Reason code of the last order that was not executed."""
        return int(self.book.positions["reason"][0, s])

    def standing(self, s: int) -> Levels:
        """What a position of the symbol carries now."""
        position = self.book.positions[0, s]
        return int(position["stop"]), int(position["take"])

    def move_stops(self, s: int, levels: Levels) -> None:
        """Set stop and target of what is held; on a hedging account all tickets carry them."""
        position = self.book.positions[0, s]
        position["stop"], position["take"] = levels

    def advance(self) -> None:
        """Let the forming bar pass: stops and stop-out, rollovers, mark; then the next forms."""
        t = self.forming
        self.room_for_deals()
        stopped = self.pending.pass_bar() if self.pending else self.pass_inside()
        carry(self.book, self.tape, 0, t)
        equity = close_bar(self.book, self.tape, 0, t)
        if stopped or equity <= 0.0:
            self.book.account["level"] = LEVEL_3
        self.forming += 1
        if self.pending:
            self.pending.open_bar()

    def pass_inside(self) -> bool:
        """Stops, targets and stop-out of the forming bar; whether the broker has stopped out."""
        before = self.room_for_deals()
        _, stopped = inside_bar(self.book, self.tape, 0, self.forming)
        rows = self.deals_since(before)
        if len(rows):
            self.history.book(rows, TradeRequest.of(), 0, self.last_second(set(rows["symbol"])))
        return bool(stopped)

    def now_seconds(self) -> int:
        """Server time of the newest quote of any symbol."""
        return max(feed.seconds(self.newest(s)[0]) for s, feed in enumerate(self._feeds))

    def last_second(self, symbols: Iterable[int]) -> int:
        """Server time of the last second of the forming bar of some symbols."""
        opened = max(self._feeds[s].seconds(self.newest(s)[0]) for s in symbols)
        return opened + self._panel.timeframe.minutes * 60 - 1

    def explain(self, reasons: Sequence[int]) -> None:
        """Write into the bar's deals why they were made, one reason code a symbol.

        An order cannot carry that; reports of a paper run then name what a backtest's would.
        """
        if self._begun == self.forming:  # else the book still shows the bar that closed
            rows = self.deals_since(0)
            rows["reason"] = np.asarray(reasons, np.int64)[rows["symbol"]]

    def room_for_deals(self) -> int:
        """How many deals the book holds of this bar, after making room for one more order."""
        if self._begun != self.forming:
            # Not before: until then the book still shows the bar that closed.
            open_bar(self.book, self.tape, 0, self.forming)
            self._begun = self.forming
        count = int(self.book.account["n_deals"][0])
        if count > _DEALS_A_BAR:
            count = self.book.account["n_deals"][0] = 0
        return count

    def deals_since(self, before: int) -> Structured:
        """The bar's deals from a count on, a view."""
        rows: Structured = self.book.deals[0, before : int(self.book.account["n_deals"][0])]
        return rows

    def _plan_stops(self, s: int, steps: int, request: TradeRequest) -> None:
        """Tell the kernel how far from the quote an increase is to set its stop and target."""
        position, instrument = self.book.positions[0, s], self.instruments[s]
        bid, ask = self.quote(s)
        quoted = instrument.ticks(bid if steps > 0 else ask)
        for name, price in (("stop_distance", request.sl), ("take_distance", request.tp)):
            position[name] = abs(quoted - instrument.ticks(price)) if price else 0

    def column(self, held: Holding) -> int:
        """Where the kernel keeps a ticket of a hedging book, counted from the symbol's first."""
        s = held.symbol
        first, count = s * MOST_TICKETS, int(self.book.positions["tickets"][0, s])
        numbers: list[int] = self.book.tickets["number"][0, first : first + count].tolist()
        return numbers.index(held.number)


def _managed(tape: Tape) -> Tape:
    """A tape on which stops and targets act, whether or not the strategy sets any."""
    rules = tape.rules.copy()
    rules["managed"] = 1
    return tape._replace(rules=rules)
