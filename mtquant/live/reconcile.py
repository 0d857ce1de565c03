"""Reconciliation: start, restart and every bar are the same thing.

In which order the broker is read is :mod:`mtquant.live.look`. An intent whose outcome is open is
looked for in the broker's history by its magic number and never sent again; until it is found, or a
long grace has passed, its symbol stands still; so it does while an order works that no open intent
accounts for (:mod:`mtquant.live.strays`). What is held is what all deals lead to, shown or not
(:mod:`mtquant.live.beyond`). What does not add up is said in words and stops increases; it is never
"corrected" by an opposite order. Only a stop or target that somebody has moved is put back where it
was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mtquant.brokers.base import (
    AccountState,
    Broker,
    BrokerPosition,
    Deal,
    Instrument,
)
from mtquant.errors import ConfigError
from mtquant.live.beyond import Sums, first_sums, sums_of
from mtquant.live.decision import Guard
from mtquant.live.desk import Desk
from mtquant.live.exposure import Exposure, exposure_of
from mtquant.live.found import (
    BY_SERVER,
    BrokerBalance,
    Fill,
    FoundPosition,
    Ticket,
    open_loss,
    own_deals,
    own_tickets,
)
from mtquant.live.intents import Intent, tag_of
from mtquant.live.journal import Journal
from mtquant.live.levels import Asked, levels_to_stand
from mtquant.live.look import Look, look_at
from mtquant.live.record import AccountRecord, HeldPosition
from mtquant.live.resolve import Resolver
from mtquant.live.strays import Stray, strays
from mtquant.market.clock import DAY_NS

#: How far back the first look at an account goes.
FIRST_LOOK_DAYS = 100

UNEXPLAINED = "working order that no intent explains"

OwnDeals = Sequence[tuple[int, Deal]]


@dataclass(frozen=True)
class Findings:
    """Where the account really stands.

    Attributes:
        account: As the broker shows it.
        balance: The part a strategy needs.
        deals: Not yet taken account of by a journalled bar.
        exposures: Per symbol what may be held, orders without an answer included.
        guards: Per symbol what stands against trading, or None.
        events: Differences, in words.
        foreign: Of these what somebody else has done to our positions.
        split: What carries our tag and is none of our orders; "" for nothing.
    """

    account: AccountState
    balance: BrokerBalance
    deals: tuple[Deal, ...]
    exposures: tuple[Exposure, ...]
    guards: tuple[Guard | None, ...]
    events: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    split: str = ""


@dataclass(frozen=True)
class Reconciler:
    """Compares one strategy's journal with one broker.

    Attributes:
        broker: The truth.
        journal: What we believe.
        instruments: The strategy's symbols, in order.
        tag: The strategy's, see :mod:`mtquant.live.intents`.
        grace_bars: Decided bars for which an order that history does not show may still appear.
        hedging: Whether the strategy was made for a hedging account.
        managed: Whether it protects its positions by stops or targets.
        desk: Knows the account's other strategies.
        grace_ns: The same in time since it was sent, for as long as no bars are decided; None where
            they are.
    """

    broker: Broker
    journal: Journal
    instruments: tuple[Instrument, ...]
    tag: int
    grace_bars: int
    hedging: bool = False
    managed: bool = False
    desk: Desk = field(default_factory=Desk)
    grace_ns: int | None = None

    def run(self, record: AccountRecord | None, now_ns: int) -> Findings:
        """Read everything, resolve what can be resolved, and judge the rest.

        Args:
            record: The account at the last journalled bar.
            now_ns: Present time, ns UTC.

        Raises:
            BrokerUnavailable: A read failed: nothing is known and nothing may be done.
            ConfigError: It is a hedging account and the strategy was made for a netting one, or
                the other way round.
        """
        bar = now_ns if record is None else record.bar_time_ns
        # Before the first record everything of late is old; a deposit must not look new afterwards.
        since = bar - FIRST_LOOK_DAYS * DAY_NS if record is None else bar
        unfinished, events = self.journal.intents.unfinished(), list[str]()
        too_old = 0 if self.grace_ns is None else now_ns - self.grace_ns
        resolver = Resolver(self.journal, self.instruments, self.tag, self.grace_bars, too_old)
        look = self._look(since, unfinished, resolver)
        waiting, found = self._waiting(resolver, look, unfinished, (bar, now_ns), events)
        unseen = tuple(self.journal.unseen(look.recent))
        resolver.find_late(look, unseen, (bar, now_ns), events)
        before = [HeldPosition()] * len(self.instruments)
        if record is not None:
            before = list(record.positions)
        tickets = [own_tickets(one, self.tag, look.positions) for one in self.instruments]
        held = {ticket.identifier for one in tickets for ticket in one}
        held.update(identifier for one in before for identifier in one.identifiers)
        own = own_deals(self.instruments, self.tag, unseen, held)
        protected = self.managed and record is not None
        sums = self._sums(record, before, own, unseen, tickets, look.positions)
        positions = tuple(
            self._position(s, tickets[s], before[s], own, protected, sums[s].beyond, events)
            for s in range(len(self.instruments))
        )
        worst = tuple(
            exposure_of(now.steps, waiting.get(one.spec.name, []), now.beyond)
            for now, one in zip(positions, self.instruments, strict=True)
        )
        exposures = tuple(
            # A hedging account closes by ticket: what is gone is refused, and opens nothing.
            one if self.hedging else replace(one, missing=two.missing(one.below, one.above))
            for one, two in zip(worst, sums, strict=True)
        )
        guards = tuple(
            self._unknown(s, positions[s], look.positions, exposures[s], found, events)
            or sums[s].judge(events, exposures[s])
            for s in range(len(self.instruments))
        )
        foreign = tuple(one.differs for one in sums if one.foreign and one.differs in events)
        split = "" if record is None else self._split(unseen)
        balance = self._balance(look, positions, unseen, own, record, events)
        return Findings(
            look.account, balance, unseen, exposures, guards, tuple(events), foreign, split
        )

    def _look(self, since: int, unfinished: Sequence[Intent], resolver: Resolver) -> Look:
        """Read the broker."""
        giving_up = any(map(resolver.gives_up, unfinished))
        look = look_at(self.broker, self.journal, since, unfinished, giving_up=giving_up)
        if look.account.hedging != self.hedging:
            is_, asked = ("hedging", "netting") if look.account.hedging else ("netting", "hedging")
            raise ConfigError(
                f"account {look.account.login} is a {is_} account, the strategy was made for a "
                f"{asked} account; use a {asked} account"
            )
        return look

    def _waiting(
        self,
        resolver: Resolver,
        look: Look,
        unfinished: Sequence[Intent],
        times: tuple[int, int],
        events: list[str],
    ) -> tuple[dict[str, list[int]], tuple[Stray, ...]]:
        """Signed lot steps by symbol that may still be executed, and those that no intent tells."""
        if not look.whole:
            events.append(
                "history lacks deals that it has shown before: no order is taken for not executed"
            )
        waiting, counted = dict[str, list[int]](), list[int]()
        for intent in unfinished:
            left = resolver.open_steps(intent, look, times, events)
            if left:
                waiting.setdefault(intent.symbol, []).append(left)
                counted.append(intent.magic)
        knows = self.journal.counts.knows
        found = strays(self.instruments, self.tag, look.working, counted, knows)
        for stray in found:
            waiting.setdefault(stray.symbol, []).append(stray.steps)
            events.append(stray.told)
        return waiting, found

    def _sums(
        self,
        record: AccountRecord | None,
        before: Sequence[HeldPosition],
        own: OwnDeals,
        unseen: Sequence[Deal],
        tickets: Sequence[tuple[Ticket, ...]],
        positions: Sequence[BrokerPosition],
    ) -> list[Sums]:
        """What each symbol's deals lead to, beside what is shown."""
        symbols = enumerate(self.instruments)
        if record is None:
            return [first_sums(one, self.tag, tickets[s], positions) for s, one in symbols]
        executed, sums = self.journal.intents.executed_since(record.bar_time_ns), list[Sums]()
        for s, one in symbols:
            done, deals = executed.get(one.spec.name, 0), [deal for at, deal in own if at == s]
            shown = (tickets[s], positions)
            sums.append(sums_of(one, self.tag, before[s], done, deals, unseen, shown))
        return sums

    def _split(self, unseen: Sequence[Deal]) -> str:
        """A deal with our tag of an order that we have not sent: somebody trades beside us."""
        for deal in unseen:
            ours = deal.is_trade and tag_of(deal.magic) == self.tag
            ours = ours and deal.reason not in BY_SERVER  # which keeps the magic of what opened
            if ours and not self.journal.counts.knows(deal.magic):
                return (
                    f"deal {deal.ticket} carries this strategy's tag and order {deal.magic} is not "
                    "in its journal: another runner trades it"
                )
        return ""

    def _position(
        self,
        s: int,
        tickets: tuple[Ticket, ...],
        before: HeldPosition,
        own: OwnDeals,
        protected: bool,
        beyond: int,
        events: list[str],
    ) -> FoundPosition:
        """What is held of a symbol, with the levels that should protect it."""
        if not tickets:
            return FoundPosition(beyond=beyond)
        if not protected:
            return FoundPosition(tickets, tickets[-1].stop, tickets[-1].take, beyond)
        levels, doubt = levels_to_stand(tickets, before, self._asked(s, own))
        if doubt:
            price = self.instruments[s].price
            shown = ", ".join(f"{price(one.stop):g} and {price(one.take):g}" for one in tickets)
            wanted = f"{price(levels[0]):g} and {price(levels[1]):g}"
            name = self.instruments[s].spec.name
            events.append(f"{name}: {doubt}: {shown}, wanted {wanted}")
        return FoundPosition(tickets, *levels, beyond)

    def _asked(self, s: int, own: OwnDeals) -> Asked | None:
        """What the newest own order that has increased a position had asked for."""
        for place, deal in reversed(own):
            if place == s and deal.opens and tag_of(deal.magic) == self.tag:
                return self.instruments[s].ticks(deal.price), self.journal.intents.distances(
                    deal.magic
                )
        return None

    def _unknown(
        self,
        s: int,
        now: FoundPosition,
        positions: Sequence[BrokerPosition],
        exposure: Exposure,
        found: Sequence[Stray],
        events: list[str],
    ) -> Guard | None:
        """Why nothing may be sent of a symbol, or only what is proven to reduce."""
        symbol, name = self.instruments[s].spec.name, self.instruments[s].broker_name
        foreign = [p for p in positions if p.symbol == name and tag_of(p.magic) != self.tag]
        if foreign:
            events.append(
                f"{symbol}: position {foreign[0].ticket} belongs to somebody else; close it or use "
                "another account"
            )
            return Guard("position of somebody else", frozen=True)
        if now.two_sided:
            events.append(f"{symbol}: tickets are open on both sides; close those of one side")
            return Guard("tickets on both sides", frozen=True)
        if any(not one.known and (one.symbol == symbol or not one.traded) for one in found):
            return Guard(UNEXPLAINED, frozen=False, reducible=exposure.reducible)
        if exposure.below or exposure.above:
            return Guard("unresolved order", frozen=False, reducible=exposure.reducible)
        return None

    def _balance(
        self,
        look: Look,
        positions: tuple[FoundPosition, ...],
        unseen: Sequence[Deal],
        own: OwnDeals,
        record: AccountRecord | None,
        events: list[str],
    ) -> BrokerBalance:
        """The account, and what has changed it since the record."""
        account = look.account
        deposit = sum(deal.deposit for deal in unseen)
        if record is None:
            deposit = 0.0
        elif deposit:
            events.append(f"balance operation of {deposit} {account.currency}")
        stopped = any(deal.stop_out for deal in unseen)
        if stopped:
            events.append("stop-out: the broker closed positions for lack of margin")
        if account.called:
            share = account.equity / account.margin
            events.append(f"margin call: equity is {share:.0%} of the margin")
        fills = tuple(Fill.of(deal, s, self.instruments[s]) for s, deal in own)
        balance = account.balance + open_loss(look.positions, self.desk.friends(self.tag))
        return BrokerBalance(balance, positions, deposit, stopped, fills)
