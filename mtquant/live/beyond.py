"""Beyond: what is held of a symbol by all its deals, and is not shown as the strategy's own.

    own position before + own executions + beyond before + deals of others = own position + beyond

Somebody else's position is beyond; on a netting account it swallows ours, and the sum still holds.
Nothing but a deal moves the sum: what a terminal does not show, once or for long, is neither
forgotten nor taken for flat.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mtquant.brokers.base import BrokerPosition, Deal, Instrument
from mtquant.live.decision import Guard
from mtquant.live.exposure import Exposure
from mtquant.live.found import BY_SERVER, Ticket
from mtquant.live.intents import tag_of
from mtquant.live.record import HeldPosition

_DIFFERS = Guard("position differs from the journal", frozen=False)


@dataclass(frozen=True)
class Sums:
    """Signed lot steps of one symbol, by deals and as the broker shows them.

    Attributes:
        symbol: Standard name.
        own: The strategy's position, by its orders and the server's closings.
        all: Held by whomever, by all deals.
        shown: The strategy's position at the broker.
        others: What the broker shows of others.
        before: The strategy's position at the last record.
        dealt: By others since then, with their deals' signs.
        closings: In words what the server has closed.
    """

    symbol: str
    own: int
    all: int
    shown: int
    others: int
    before: int = 0
    dealt: int = 0
    closings: tuple[str, ...] = ()

    @property
    def beyond(self) -> int:
        """See the module."""
        return self.all - self.shown

    @property
    def differs(self) -> str:
        """In words that another position is shown than the strategy's orders lead to, or ""."""
        if self.own == self.shown:
            return ""
        return f"{self.symbol}: expected {self.own} lot steps, the broker shows {self.shown}"

    @property
    def foreign(self) -> bool:
        """Whether that is somebody else's doing, and not a list that lags behind own orders."""
        lowest, highest = sorted((self.before, self.own))
        lags = lowest <= self.shown <= highest or self.beyond == self.others
        return self.own != self.shown and (self.dealt != 0 or not lags)

    def missing(self, below: int, above: int) -> int:
        """Steps, without a sign, that are shown and that nothing has led to.

        Args:
            below: Sum of the unanswered sales.
            above: Sum of the unanswered purchases.
        """
        side = 1 if self.shown > 0 else -1
        came = above if side > 0 else -below
        return min(max(side * (self.others - self.beyond) - came, 0), abs(self.shown))

    def judge(self, events: list[str], exposure: Exposure) -> Guard | None:
        """Whether the broker shows what the deals lead to; what it does not is said."""
        events.extend(self.closings)
        if self.differs:
            events.append(self.differs)
            return replace(_DIFFERS, reducible=exposure.reducible if exposure.missing else None)
        if self.beyond != self.others:
            events.append(
                f"{self.symbol}: {self.all} lot steps are held by all deals, whosever, the broker "
                f"shows {self.shown + self.others}"
            )
            return replace(_DIFFERS, reducible=exposure.reducible if exposure.missing else None)
        return None


def sums_of(
    instrument: Instrument,
    tag: int,
    before: HeldPosition,
    executed: int,
    own: Iterable[Deal],
    deals: Iterable[Deal],
    shown: tuple[Sequence[Ticket], Sequence[BrokerPosition]],
) -> Sums:
    """Of one symbol since the last record.

    Args:
        instrument: The symbol.
        tag: The strategy's, see :mod:`mtquant.live.intents`.
        before: At the last record.
        executed: Signed lot steps of own orders since then, as the journal says.
        own: New deals on the strategy's positions in the symbol.
        deals: New deals of the account.
        shown: Own tickets in the symbol, and positions of the account.
    """
    steps, name = instrument.steps, instrument.broker_name
    by_server = [deal for deal in own if deal.reason in BY_SERVER]
    counted = {deal.ticket for deal in by_server}
    expected = before.steps + executed + sum(steps(deal.volume_lots) for deal in by_server)
    foreign = sum(
        steps(deal.volume_lots)
        for deal in deals
        if deal.is_trade
        and deal.symbol == name
        and tag_of(deal.magic) != tag
        and deal.ticket not in counted
    )
    closings = tuple(
        f"{instrument.spec.name}: {deal.reason.value} closed {abs(steps(deal.volume_lots))} lot "
        f"steps at {deal.price:g}"
        for deal in by_server
        if not deal.stop_out
    )
    held, others = shown_steps(instrument, tag, *shown)
    everything = expected + before.beyond + foreign
    last = before.steps
    return Sums(instrument.spec.name, expected, everything, held, others, last, foreign, closings)


def first_sums(
    instrument: Instrument, tag: int, tickets: Sequence[Ticket], positions: Sequence[BrokerPosition]
) -> Sums:
    """At a first look, which takes over what is shown."""
    held, others = shown_steps(instrument, tag, tickets, positions)
    told = (f"{instrument.spec.name}: found and took over {held} lot steps",) if held else ()
    return Sums(instrument.spec.name, held, held + others, held, others, closings=told)


def shown_steps(
    instrument: Instrument, tag: int, tickets: Iterable[Ticket], positions: Iterable[BrokerPosition]
) -> tuple[int, int]:
    """Signed lot steps that are shown as the strategy's, and as anybody else's."""
    others = sum(
        instrument.steps(one.volume_lots)
        for one in positions
        if one.symbol == instrument.broker_name and tag_of(one.magic) != tag
    )
    return sum(ticket.steps for ticket in tickets), others
