"""Flatten: close what is proven to be held, without bars, policy or, at worst, disk.

A netting account is in doubt while an order has no answer, for at most :data:`GRACE_NS`; tickets of
a hedging account are closed in any doubt.

Each order is an intent of its own, named by the minute in which it is sent. For a day without disk
some are committed beforehand, when the runner starts: spare ones, whose use is found again through
the broker's history.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from mtquant.brokers.base import Instrument, OrderResult
from mtquant.live.exposure import Exposure
from mtquant.live.gates import Asked
from mtquant.live.intents import FLATTENING, SPARE, Intent, IntentState, magic_of
from mtquant.live.journal import Journal
from mtquant.live.reconcile import Findings
from mtquant.live.sending import Sender
from mtquant.market.clock import HOUR_NS
from mtquant.market.timeframe import MINUTE_NS
from mtquant.risk.sizing import GRID_TOLERANCE
from mtquant.sim.account import MOST_TICKETS

GRACE_NS = HOUR_NS
"""How long an order that history does not show holds up the way out, from when it was sent."""

Closing = tuple[int, Exposure, int, int]
"""Place of the symbol, its exposure, signed lot steps to send and the ticket they close."""


@dataclass
class Flattener:
    """Closes one strategy's positions.

    Attributes:
        sender: Its way to the broker.
        journal: Where each order is written before it is sent.
        instruments: The strategy's symbols, in order.
        tag: The strategy's.
        spares: Committed beforehand and not used yet, by symbol.
        said: What stood in the way at the last look, which is journalled once.
    """

    sender: Sender
    journal: Journal
    instruments: tuple[Instrument, ...]
    tag: int
    spares: dict[str, list[Intent]] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    def prepare(self, hedging: bool, now_ns: int) -> None:
        """Commit spare intents; those of an earlier start are given up."""
        self.journal.intents.give_up_spares(now_ns)
        minute, each = now_ns - now_ns % MINUTE_NS, MOST_TICKETS if hedging else 1
        for s, instrument in enumerate(self.instruments):
            free = self._free(s, minute, range(2 * MOST_TICKETS), SPARE)
            made = [
                Intent(magic, instrument.spec.name, minute, leg, 0, IntentState.SPARE)
                for (magic, leg), _ in zip(free, range(each), strict=False)
            ]
            self.spares[instrument.spec.name] = made
        self.journal.intents.add_spares(
            [one for some in self.spares.values() for one in some], now_ns
        )

    def run(self, findings: Findings, bar_time_ns: int, now_ns: int) -> tuple[OrderResult, ...]:
        """Send what closes everything that is proven to be held.

        Args:
            findings: Of a reconciliation just now.
            bar_time_ns: Bar of the newest record.
            now_ns: Present time.
        """
        minute, results = now_ns - now_ns % MINUTE_NS, list[OrderResult]()
        self._say(findings, bar_time_ns, now_ns)
        for closing in self._closings(findings):
            s, exposure, steps, ticket = closing
            attempts = range(FLATTENING, SPARE)
            free = next(self._free(s, minute, [len(results) % MOST_TICKETS], *attempts), None)
            if free is None:
                continue  # enough was tried in this minute
            magic, leg = free
            name = self.instruments[s].spec.name
            intent = Intent(magic, name, minute, leg, steps, ticket=ticket)
            asked = Asked(intent, exposure, now_ns)
            try:
                self.journal.intents.begin_sending([intent], bar_time_ns, (), now_ns)
            except sqlite3.Error:
                results += self._without_disk(asked)
                continue
            results += self.sender.send([asked], bar_time_ns)
        return tuple(results)

    def _say(self, findings: Findings, bar_time_ns: int, now_ns: int) -> None:
        """Journal what a look has found, if that is new; no bar does it now."""
        if findings.events == self.said:
            return
        with suppress(sqlite3.Error):
            self.journal.intents.begin_sending([], bar_time_ns, findings.events, now_ns)
            self.said = findings.events

    def _closings(self, findings: Findings) -> Iterator[Closing]:
        for s, found in enumerate(findings.balance.positions):
            exposure = findings.exposures[s]
            tickets = [(one.ticket, one.steps) for one in found.tickets]
            if not findings.account.hedging and found.steps:
                tickets = [(0, found.steps)]
            spec = self.instruments[s].spec
            most = int(spec.lot_max / spec.lot_step + GRID_TOLERANCE)
            for ticket, held in tickets:
                # No doubt stands in the way of closing a ticket: one that is gone is refused.
                now = Exposure(held) if ticket else exposure
                left = min(abs(held), now.reducible)
                while left:
                    steps = min(left, most)
                    signed = -steps if held > 0 else steps
                    yield s, now, signed, ticket
                    # Whether it was executed shows at the next look; until then it may not be.
                    now, left = replace(now, held=now.held + signed), left - steps

    def _without_disk(self, asked: Asked) -> list[OrderResult]:
        """Send under the name of a spare, which is in the journal already; each only once."""
        spares = self.spares.get(asked.intent.symbol, [])
        if not spares:
            return []
        spare = spares.pop(0)
        named = replace(asked.intent, magic=spare.magic, bar_time_ns=spare.bar_time_ns)
        return [self.sender.send_one(replace(asked, intent=named))]

    def _free(
        self, s: int, minute: int, legs: range | list[int], *attempts: int
    ) -> Iterator[tuple[int, int]]:
        """``(magic, leg)`` that no intent has yet."""
        for attempt in attempts:
            for leg in legs:
                magic = magic_of(self.tag, minute, s, leg, attempt)
                if not self.journal.counts.knows(magic):
                    yield magic, leg
