"""Strays: own working orders that no open intent accounts for.

A runner sends market orders alone, yet the rest of one may work on after an answer has settled it,
and whatever places limit or stop orders under the strategy's tag leaves them behind. Such an order
may be filled at any time, so it counts as exposure for as long as it works; it is never cancelled
here, for whose it is is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from mtquant.brokers.base import Instrument
from mtquant.brokers.orders import OpenOrder
from mtquant.live.intents import tag_of


@dataclass(frozen=True)
class Stray:
    """One working order.

    Attributes:
        symbol: Standard name; the broker's where the strategy does not trade it.
        order: As the broker shows it.
        steps: Signed lot steps that are left of it; 0 where the strategy does not trade the symbol.
        known: Whether the journal has an intent for it.
        traded: Whether its symbol is the strategy's.
    """

    symbol: str
    order: OpenOrder
    steps: int
    known: bool
    traded: bool = True

    @property
    def told(self) -> str:
        """In words, for the journal."""
        one = self.order
        what = f"{self.symbol}: working {one.kind.value} order {one.ticket}"
        if self.known:
            return f"{what} is of intent {one.magic}, which was settled; it counts until it ends"
        return f"{what} carries this strategy's tag and no intent explains it; cancel it"


def strays(
    instruments: Sequence[Instrument],
    tag: int,
    working: Iterable[OpenOrder],
    counted: Collection[int],
    knows: Callable[[int], bool],
) -> tuple[Stray, ...]:
    """The own working orders that are not counted yet, in the broker's order.

    Args:
        instruments: The strategy's.
        tag: The strategy's, see :mod:`mtquant.live.intents`.
        working: Of the account.
        counted: Ids of open intents whose steps count already.
        knows: Whether an intent has an id.
    """
    named, found = {one.broker_name: one for one in instruments}, list[Stray]()
    for order in working:
        if tag_of(order.magic) != tag or order.magic in counted:
            continue
        known, instrument = knows(order.magic), named.get(order.symbol)
        if instrument is None:
            found.append(Stray(order.symbol, order, 0, known, traded=False))
        else:
            steps = instrument.steps(order.volume_lots)
            found.append(Stray(instrument.spec.name, order, steps, known))
    return tuple(found)
