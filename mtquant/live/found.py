"""What the broker shows of one strategy's account: positions, and what was dealt on them.

A netting account has one position a symbol, a hedging account up to eight. The kernel knows one
position a symbol either way, made of tickets; here are the tickets. Volumes are signed lot steps,
levels are ticks, money is account currency.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add

from mtquant.brokers.base import BrokerPosition, Deal, DealReason, Instrument
from mtquant.live.intents import tag_of

#: What the server closes by itself; such a deal has the magic of the order that opened.
BY_SERVER = (DealReason.STOP, DealReason.TARGET, DealReason.STOP_OUT)


@dataclass(frozen=True)
class Ticket:
    """One position at the broker.

    Attributes:
        ticket: Act by it.
        identifier: Track by it.
        steps: Signed lot steps.
        entry: Average price.
        swap: Booked, not yet in the balance.
        stop: Of its protective stop in ticks, 0 for none.
        take: Of its target, likewise.
    """

    ticket: int
    identifier: int
    steps: int
    entry: float
    swap: float = 0.0
    stop: int = 0
    take: int = 0

    @classmethod
    def of(cls, position: BrokerPosition, instrument: Instrument) -> Ticket:
        """A broker's position."""
        return cls(
            position.ticket,
            position.identifier,
            instrument.steps(position.volume_lots),
            position.price_open,
            position.swap,
            instrument.ticks(position.stop),
            instrument.ticks(position.take),
        )


@dataclass(frozen=True)
class FoundPosition:
    """All that the broker holds of one symbol for the strategy.

    Attributes:
        tickets: The oldest first; none where it is flat.
        stop: Where the protective stop of all of them should stand, in ticks, 0 for none.
        take: The target, likewise.
        beyond: See :class:`mtquant.live.record.HeldPosition`.
    """

    tickets: tuple[Ticket, ...] = ()
    stop: int = 0
    take: int = 0
    beyond: int = 0

    @cached_property
    def steps(self) -> int:
        """Signed lot steps."""
        return sum(one.steps for one in self.tickets)

    @cached_property
    def entry(self) -> float:
        """Average price, 0 where it is flat."""
        if len(self.tickets) == 1:
            return self.tickets[0].entry
        return (
            sum(one.steps * one.entry for one in self.tickets) / self.steps if self.steps else 0.0
        )

    @cached_property
    def swap(self) -> float:
        """Booked, not yet in the balance; added one by one, as the kernel does."""
        return reduce(add, (one.swap for one in self.tickets), 0.0)

    @property
    def shown(self) -> tuple[int, int]:
        """Stop and target of the newest ticket at the broker, zeros where it is flat."""
        return (self.tickets[-1].stop, self.tickets[-1].take) if self.tickets else (0, 0)

    @property
    def two_sided(self) -> bool:
        """Whether some tickets are long and some short, which no decision leads to."""
        return len({one.steps > 0 for one in self.tickets}) > 1


@dataclass(frozen=True)
class Fill:
    """One deal on a position of the strategy.

    Attributes:
        symbol: Place of its symbol in the strategy.
        time_ns: When, ns UTC.
        steps: Signed lot steps.
        price: What was paid.
        money: Profit, swap and commission.
        opens: Whether it opened or increased the position.
        stopped: Whether the protective stop made it.
    """

    symbol: int
    time_ns: int
    steps: int
    price: float
    money: float
    opens: bool
    stopped: bool = False

    @classmethod
    def of(cls, deal: Deal, symbol: int, instrument: Instrument) -> Fill:
        """A broker's deal."""
        return cls(
            symbol,
            deal.time_ns,
            instrument.steps(deal.volume_lots),
            deal.price,
            deal.profit + deal.swap + deal.commission,
            deal.opens,
            deal.reason is DealReason.STOP,
        )


@dataclass(frozen=True)
class BrokerBalance:
    """Where the broker stands, and what happened since the last record.

    Attributes:
        balance: Account currency.
        positions: One per symbol.
        deposit: Paid in (or, negative, out) since the last record.
        stopped_out: Whether the broker closed positions for lack of margin since then.
        fills: Deals since then on own positions, oldest first.
    """

    balance: float
    positions: tuple[FoundPosition, ...]
    deposit: float = 0.0
    stopped_out: bool = False
    fills: tuple[Fill, ...] = ()


def own_tickets(
    instrument: Instrument, tag: int, positions: Iterable[BrokerPosition]
) -> tuple[Ticket, ...]:
    """What a strategy holds of a symbol; identifiers rise, so they tell the oldest.

    What is less than one lot step is none: no order could close it.

    Args:
        instrument: The symbol.
        tag: The strategy's, see :mod:`mtquant.live.intents`.
        positions: Of the account.
    """
    own = [
        Ticket.of(position, instrument)
        for position in positions
        if position.symbol == instrument.broker_name and tag_of(position.magic) == tag
    ]
    whole = (ticket for ticket in own if ticket.steps)
    return tuple(sorted(whole, key=lambda ticket: ticket.identifier))


def own_deals(
    instruments: Sequence[Instrument], tag: int, deals: Iterable[Deal], known: Iterable[int]
) -> tuple[tuple[int, Deal], ...]:
    """``(place of the symbol, deal)`` of each deal on a strategy's positions, in their order.

    A position is own by its identifier or by an own deal on it: whoever closed it, a person or the
    server, the round trip was the strategy's.

    Args:
        instruments: The strategy's, in order.
        tag: The strategy's.
        deals: Of the account.
        known: Identifiers of positions that are, or were, the strategy's.
    """
    places = {instrument.broker_name: s for s, instrument in enumerate(instruments)}
    traded = [deal for deal in deals if deal.is_trade and deal.symbol in places]
    own = {*known, *(deal.position_id for deal in traded if tag_of(deal.magic) == tag)}
    return tuple((places[deal.symbol], deal) for deal in traded if deal.position_id in own)


def open_loss(positions: Iterable[BrokerPosition], tags: Collection[int]) -> float:
    """What strategies are losing on what they hold, account currency and not above 0.

    What they gain is none of another's before it is in the balance.

    Args:
        positions: Of the account.
        tags: Of the strategies.
    """
    return min(sum(one.profit + one.swap for one in positions if tag_of(one.magic) in tags), 0.0)
