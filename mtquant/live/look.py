"""Look: everything that is read of a broker at once, and how far back its history is asked.

The order of reading matters: history, then open orders, then positions, then the account. A fill
that lands between two reads is then seen too early rather than missed. The account is asked who it
is before and after: a terminal that was on another account for a while shows that one's deals. What
history does *not* show proves something only where it reaches far enough: a server whose clock was
set back stamps a fill earlier, and a terminal may answer with a part of what it has, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtquant.brokers.base import AccountState, Broker, BrokerPosition, Deal, OrderRecord
from mtquant.brokers.orders import OpenOrder
from mtquant.live.intents import Intent
from mtquant.live.journal import Journal
from mtquant.market.clock import DAY_NS


@dataclass(frozen=True)
class Look:
    """One look at the broker, in the order in which it is read.

    Attributes:
        past: Orders that have ended, where an intent is open.
        deals: Of history as far as it was asked for.
        working: Orders that may be filled yet.
        positions: Of the account.
        account: Itself.
        recent: Of the deals those that may be new, or are of an open intent.
        whole: Whether history shows every deal again that it has shown before, so that what it
            does not show is not there.
    """

    past: Sequence[OrderRecord]
    deals: Sequence[Deal]
    working: Sequence[OpenOrder]
    positions: Sequence[BrokerPosition]
    account: AccountState
    recent: Sequence[Deal]
    whole: bool


def look_at(
    broker: Broker,
    journal: Journal,
    since_ns: int,
    unfinished: Sequence[Intent],
    *,
    giving_up: bool,
) -> Look:
    """Read a broker.

    Args:
        broker: Connected.
        journal: Knows the deals that were shown before.
        since_ns: From where on deals may be new.
        unfinished: Intents whose outcome is open.
        giving_up: Whether one of them is to be given up where history does not show it: then all
            of history is asked, for no clock can have put a fill outside of that.

    Raises:
        BrokerUnavailable: A read failed: nothing is known and nothing may be done.
        RiskHalt: The terminal is on another account.
    """
    broker.account()
    since, known = since_ns, frozenset[int]()
    if unfinished:
        since = min([since_ns, *(intent.bar_time_ns - DAY_NS for intent in unfinished)])
        since, known = journal.seen_around(since)
    # Orders before deals: of an order that has ended all deals are there to be read.
    past = broker.past_orders(0 if giving_up else since) if unfinished else ()
    deals = recent = broker.deals(0 if giving_up else since)
    if giving_up:  # what is older than any first look was never new
        open_ = [intent.magic for intent in unfinished]
        recent = tuple(d for d in deals if d.time_ns >= since - DAY_NS or d.magic in open_)
    return Look(
        past,
        deals,
        broker.open_orders(),
        broker.positions(),
        broker.account(),
        recent,
        known <= {deal.ticket for deal in deals},
    )
