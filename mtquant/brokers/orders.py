"""Limit and stop orders: what is asked of a broker, and what it shows of those that work.

They live at the broker and outlast the program, so whoever places them has to look for them again
by their magic (:meth:`MT5Adapter.open_orders`) after every doubt, and to count them as exposure for
as long as they work.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mtquant.brokers.base import Instrument, OrderRecord
from mtquant.errors import ConfigError


class OrderKind(Enum):
    """How an order is executed."""

    MARKET = "market"
    LIMIT = "limit"  # at its price or better
    STOP = "stop"  # as a market order once its price is met
    OTHER = "other"


@dataclass(frozen=True)
class PendingOrder:
    """A limit or stop order to place.

    Attributes:
        instrument: What to trade.
        kind: ``LIMIT`` or ``STOP``.
        steps: Signed lot steps, not 0.
        price: At which it is to be executed; put on the symbol's ticks.
        magic: Identifies the intent at the broker, 0 to 2**53.
        comment: At most 24 ASCII characters; a broker may rewrite it.
        stop: Price of the stop that what it opens shall carry, 0 for none.
        take: Of the target, likewise.
        day: Whether it ends with the server's day; else it works until it is cancelled.
    """

    instrument: Instrument
    kind: OrderKind
    steps: int
    price: float
    magic: int
    comment: str = ""
    stop: float = 0.0
    take: float = 0.0
    day: bool = False

    def __post_init__(self) -> None:
        if self.kind not in (OrderKind.LIMIT, OrderKind.STOP) or self.steps == 0:
            raise ConfigError(
                f"a working order is a limit or a stop of some lot steps, not "
                f"'{self.kind.value}' of {self.steps}; send a market order instead"
            )


@dataclass(frozen=True)
class PendingChange:
    """Price, stop, target and end that a working order shall have from now on.

    Attributes:
        instrument: Of the order.
        ticket: Of the order.
        price: See :class:`PendingOrder`, as all that follows.
        stop: See there.
        take: See there.
        day: See there.
    """

    instrument: Instrument
    ticket: int
    price: float
    stop: float = 0.0
    take: float = 0.0
    day: bool = False


@dataclass(frozen=True)
class PendingCancel:
    """A working order that is to work no more, by its ticket."""

    instrument: Instrument
    ticket: int


@dataclass(frozen=True)
class OpenOrder(OrderRecord):
    """A working order as the broker shows it.

    Attributes:
        kind: A market order that is still in work is ``MARKET``.
        volume_lots: Signed, what is left of it.
        price: At which it waits.
        stop: That what it opens will carry, 0 for none.
        take: Likewise.
        day: Whether it ends with the server's day.
        placed_time_ns: When, ns UTC.
    """

    kind: OrderKind = OrderKind.OTHER
    volume_lots: float = 0.0
    price: float = 0.0
    stop: float = 0.0
    take: float = 0.0
    day: bool = False
    placed_time_ns: int = 0
