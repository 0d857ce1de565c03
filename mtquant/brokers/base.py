"""What a runner and a broker say to each other: small frozen records and one protocol.

Times are ns since the epoch, UTC; volumes are signed lots (bought positive, sold negative); money
is account currency. Only :class:`mtquant.brokers.instrument.Instrument` knows how lots and lot
steps, prices and ticks translate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from mtquant.brokers.instrument import Instrument as Instrument
from mtquant.market.bars import Bars
from mtquant.market.timeframe import Timeframe

if TYPE_CHECKING:
    from mtquant.brokers.approval import Approved
    from mtquant.brokers.orders import OpenOrder


class Outcome(Enum):
    """What is proven about an order."""

    EXECUTED = "executed"
    PARTIAL = "partial"
    PLACED = "placed"
    NOT_EXECUTED = "not executed"
    AMBIGUOUS = "ambiguous"
    WITHHELD = "withheld"  # by our own last look; it never left


@dataclass(frozen=True)
class AccountState:
    """The account as the broker sees it now."""

    login: int
    server: str
    currency: str
    balance: float
    equity: float
    margin: float
    leverage: int
    is_demo: bool
    hedging: bool
    margin_call: float = 1.0

    @property
    def called(self) -> bool:
        """Whether the broker warns: equity over margin is below ``margin_call``."""
        return self.margin > 0.0 and self.equity < self.margin_call * self.margin


@dataclass(frozen=True)
class BrokerPosition:
    """An open position.

    Attributes:
        ticket: Act by it.
        identifier: Track by it; unchanged from opening to closing.
        symbol: The broker's name.
        magic: Of the order that opened it.
        volume_lots: Signed.
        price_open: Average price.
        swap: Booked on the position, not yet in the balance.
        opened_time_ns: When it was opened.
        stop: Price of its protective stop, 0 for none.
        take: Price of its target, 0 for none.
        profit: At the broker's quotes, without swap.
    """

    ticket: int
    identifier: int
    symbol: str
    magic: int
    volume_lots: float
    price_open: float
    swap: float
    opened_time_ns: int
    stop: float = 0.0
    take: float = 0.0
    profit: float = 0.0


@dataclass(frozen=True)
class Quote:
    """What a symbol can be sold and bought for now."""

    bid: float
    ask: float


class DealReason(Enum):
    """Who or what made a deal."""

    EXPERT = "expert"  # a program, such as this one
    CLIENT = "client"  # a person
    STOP = "protective stop"
    TARGET = "target"
    STOP_OUT = "stop-out"  # the broker, for lack of margin
    OTHER = "other"


@dataclass(frozen=True)
class Deal:
    """One execution, or a change of balance (``symbol`` is "" and ``profit`` the amount).

    What the server closes by itself (stop, target, stop-out) carries the magic of the order that
    opened the position: an order's own deals have its magic *and* none of these reasons. A deal by
    which a netting server turns a position round closes and opens at once; it ``opens``.
    """

    ticket: int
    order: int
    position_id: int
    symbol: str
    magic: int
    time_ns: int
    volume_lots: float
    price: float
    profit: float
    swap: float
    commission: float
    is_trade: bool
    reason: DealReason = DealReason.EXPERT
    opens: bool = False  # or increases
    deposit: float = 0.0  # paid in or out; not a charge, nor a credit, which no balance holds

    @property
    def stop_out(self) -> bool:
        """Whether the broker closed for lack of margin."""
        return self.reason is DealReason.STOP_OUT


class OrderState(Enum):
    """Where an order stands in the broker's books."""

    OPEN = "open"
    FILLED = "filled"
    DEAD = "dead"  # rejected, cancelled or expired; what was filled before stays filled


@dataclass(frozen=True)
class OrderRecord:
    """An order, open or of the past.

    Attributes:
        ticket: Its number.
        symbol: The broker's name.
        magic: Of the intent.
        state: Where it stands.
        left_lots: Of a past one, what was never filled: the rest was, whatever deals are shown.
    """

    ticket: int
    symbol: str
    magic: int
    state: OrderState
    left_lots: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True)
class MarketOrder:
    """A market order to send.

    Attributes:
        instrument: What to trade.
        steps: Signed lot steps, not 0.
        magic: Identifies the intent at the broker, 0 to 2**53.
        comment: At most 24 ASCII characters; a broker may rewrite it.
        stop_distance: Of the stop that an increase sets, in ticks from the quote at which the
            position would close; 0 for none. A reduction leaves the position's levels.
        take_distance: Of the target, likewise.
        ticket: Position to close or reduce, 0 for none; a hedging account opens one without it.
    """

    instrument: Instrument
    steps: int
    magic: int
    comment: str = ""
    stop_distance: int = 0
    take_distance: int = 0
    ticket: int = 0


@dataclass(frozen=True)
class StopChange:
    """Stop and target (prices, 0 for none) that an open position shall have from now on."""

    instrument: Instrument
    ticket: int
    stop: float
    take: float


@dataclass(frozen=True)
class OrderResult:
    """The answer to one order or one change of stops, which executes no steps.

    Attributes:
        outcome: What is proven.
        retcode: The server's code, None where there was no answer.
        steps: Signed lot steps proven to be executed.
        price: Mean price of what was executed, 0 where nothing was.
        order: Ticket, 0 where unknown.
        deal: Ticket, 0 where unknown.
        text: What broker or module said.
    """

    outcome: Outcome
    retcode: int | None
    steps: int
    price: float
    order: int
    deal: int
    text: str


class Broker(Protocol):
    """What the runner needs; every read raises BrokerUnavailable instead of guessing."""

    def account(self) -> AccountState:
        """The account, checked to be the configured one."""

    def positions(self) -> tuple[BrokerPosition, ...]:
        """All open positions of the account, whoever opened them."""

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """All orders still working."""

    def past_orders(self, since_ns: int) -> tuple[OrderRecord, ...]:
        """Orders that ended since then."""

    def deals(self, since_ns: int) -> tuple[Deal, ...]:
        """Deals since then, by time."""

    def closed_bars(
        self,
        instrument: Instrument,
        timeframe: Timeframe,
        count: int,
        known_ns: int | None = None,
    ) -> Bars:
        """The newest ``count`` closed bars, fewer where there are fewer; never the forming one.

        A bar is known to be closed when the next one ticks, or when its time was over at
        ``known_ns``, an instant that the server's clock is known to have passed.
        """

    def tick_time_ns(self, instrument: Instrument, now_ns: int) -> int:
        """When the symbol was quoted last.

        A server's clock shows one hour twice in autumn: of the two instants that a quote may then
        have, the later one that is not after ``now_ns``.
        """

    def quote(self, instrument: Instrument) -> Quote:
        """The symbol's last quote."""

    def send(self, approved: Approved) -> OrderResult:
        """Send one approved order, once; never raises for what the broker answers.

        Raises:
            RiskHalt: It is no approval, or one that was used.
        """

    def change_stops(self, approved: Approved) -> OrderResult:
        """Set stop and target of a position; ``EXECUTED`` where they stand, even if already so.

        Levels are absolute: after an ambiguous answer the next look at the position tells, and a
        repetition does no harm.

        Raises:
            RiskHalt: It is no approval, or one that was used.
        """
