"""BreakerLog: the breaker's part of a journal, by which trips and resets outlive the process.

A trip is written in the transaction of the bar that tripped, a reset by whoever resets, and the
bar at which it takes effect marks it so in its own transaction: it is applied once, whenever the
process dies.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from mtquant.config.rules import BreakerConfig
from mtquant.live.lock import (
    BreakerStatus,
    Reset,
    Trip,
    breaker_status,
    reset,
    too_many,
    waiting_reset,
)
from mtquant.live.record import AccountRecord, rearmed
from mtquant.risk.breaker import NORMAL

# The bar at which a reset took effect is known later than the reset.
_EVENTS = (
    "SELECT number, at_ns, COALESCE(applied.bar_time_ns, breaker.bar_time_ns), level, equity, "
    "text, person FROM breaker LEFT JOIN applied USING (number) ORDER BY number"
)
#: What ``run`` keeps of a BreakerConfig: a status needs it where no env is at hand.
KEPT = ("cooldown_minutes", "max_errors", "error_bars")
#: Of the fact ``clock``: the time of the bars themselves, as against the real one.
BARS_CLOCK, REAL_CLOCK = "bars", "utc"


@dataclass(frozen=True)
class Lock:
    """What the journal says about trading at all, before a bar is decided.

    Attributes:
        record: The account at the last bar, after ``reset``.
        reset: Takes effect at this bar; None where none waits.
        failing: Too many orders failed: only reductions.
        events: Both, in words, when they begin.
    """

    record: AccountRecord | None
    reset: Reset | None
    failing: bool
    events: tuple[str, ...]


class BreakerLog:
    """Trips, resets and failed orders of one journal."""

    def __init__(
        self,
        database: sqlite3.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        insert: Callable[[str, Iterable[Sequence[Any]]], None],
    ) -> None:
        """Share a journal's file.

        Args:
            database: The journal's.
            transaction: Begins one on it.
            insert: Adds rows to a table inside one.
        """
        self._database = database
        self._transaction = transaction
        self._insert = insert

    def events(self) -> list[Trip | Reset]:
        """All of them, oldest first."""
        rows = self._database.execute(_EVENTS)
        return [_event(*row) for row in rows]

    def lock(self, record: AccountRecord | None, limits: BreakerConfig) -> Lock:
        """Apply the reset that waits, and count the orders that failed of late.

        Args:
            record: The account at the newest journalled bar.
            limits: In force now.
        """
        newest = self._database.execute(f"{_EVENTS} DESC LIMIT 1")
        waiting, events = waiting_reset([_event(*row) for row in newest]), []
        failed = self.failed_bars(limits.error_bars)
        failing = too_many(len(failed), limits)
        if failing and record is not None and failed[-1] == record.bar_time_ns:
            events.append(
                f"{len(failed)} failed orders within {limits.error_bars} bars "
                f"(limit {limits.max_errors}): only reductions"
            )
        if waiting is not None and record is not None:
            record = rearmed(record)
            events.append(f"breaker reset by {waiting.person}: {waiting.reason}")
        return Lock(record, waiting, failing, tuple(events))

    def write(self, bar_time_ns: int, trip: Trip | None, applied: Reset | None) -> None:
        """Write what a bar did to the breaker, inside that bar's transaction."""
        if applied is not None:
            self._insert("applied", [(applied.number, bar_time_ns)])
        if trip is not None:
            row = (trip.at_ns, bar_time_ns, trip.level, trip.equity, trip.cause, None)
            self._insert("breaker", [row])

    def failed_bars(self, bars: int) -> list[int]:
        """Times of the bars, of the newest ``bars``, whose orders failed; one for each order."""
        rows = self._database.execute(
            "SELECT bar_time_ns FROM intent WHERE failed = 1 AND bar_time_ns >= (SELECT "
            "MIN(bar_time_ns) FROM (SELECT bar_time_ns FROM account ORDER BY bar_time_ns DESC "
            "LIMIT ?)) ORDER BY bar_time_ns",
            (bars,),
        )
        return [time for (time,) in rows]

    def status(self, real_ns: int) -> BreakerStatus:
        """Where the breaker stands.

        Args:
            real_ns: Real time, ns UTC; not used where the journal runs on the bars' clock.
        """
        row = self._database.execute(
            "SELECT level FROM account ORDER BY bar_time_ns DESC LIMIT 1"
        ).fetchone()
        level = NORMAL if row is None else row[0]
        rules = self._rules()
        failed = len(self.failed_bars(rules.error_bars))
        return breaker_status(level, self.events(), failed, rules, self._now_ns(real_ns))

    def reset(self, real_ns: int, person: str, reason: str) -> Reset:
        """Write a reset, judged and written in one transaction: no trip comes between.

        Args:
            real_ns: Real time, ns UTC; not used where the journal runs on the bars' clock.
            person: Who answers for it.
            reason: Why.

        Raises:
            ConfigError: Nobody is named, no reason is given, or there is nothing to reset.
            RiskHalt: The cooldown is not over.
        """
        with self._transaction():
            made = reset(self.status(real_ns), self._now_ns(real_ns), person, reason)
            row = (made.at_ns, None, NORMAL, None, made.reason, made.person)
            self._insert("breaker", [row])
        return made

    def _rules(self) -> BreakerConfig:
        known = dict(self._database.execute("SELECT key, value FROM run ORDER BY id"))
        return BreakerConfig.model_validate(
            {name: json.loads(known[name]) for name in KEPT if name in known}
        )

    def _now_ns(self, real_ns: int) -> int:
        """The present on the clock of the journal: the bars' is where its newest bar stands."""
        row = self._database.execute(
            "SELECT at_ns FROM account JOIN run ON key = 'clock' AND value = ? "
            "ORDER BY bar_time_ns DESC LIMIT 1",
            (BARS_CLOCK,),
        ).fetchone()
        return real_ns if row is None else int(row[0])


def _event(
    number: int,
    at_ns: int,
    bar_time_ns: int | None,
    level: int,
    equity: float | None,
    text: str,
    person: str | None,
) -> Trip | Reset:
    """A row as what it is: only a reset has a person."""
    if person is not None:
        return Reset(at_ns, person, text, bar_time_ns, number)
    return Trip(level, int(bar_time_ns or 0), at_ns, float(equity or 0.0), text)
