"""Journal: what was decided and sent, committed to SQLite *before* it is sent.

Crash-only: there is no other state. A bar's account record, its decisions and its intents are one
transaction; the first intent is already marked as being sent in it, every outcome is committed
together with the mark of the next. Whatever instant the process dies at, the next start reads here
what may have been sent, and asks the broker's history what became of it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from mtquant.brokers.base import Deal
from mtquant.errors import ConfigError, RiskHalt, Unwritable
from mtquant.live.anchor import Anchor
from mtquant.live.breaker_log import BreakerLog
from mtquant.live.chain import Chain, check
from mtquant.live.counts import Counts
from mtquant.live.decision import Decision
from mtquant.live.intent_log import IntentLog
from mtquant.live.intents import Intent
from mtquant.live.journal_rows import (
    ACCOUNT,
    account_row,
    deal_row,
    decision_row,
    record_of_row,
    state_digest,
)
from mtquant.live.journal_schema import prepare
from mtquant.live.lock import Reset, Trip
from mtquant.live.record import AccountRecord
from mtquant.live.switch_log import SwitchLog


@contextmanager
def writing() -> Iterator[None]:
    """Say what SQLite could not write in words of what it means."""
    try:
        yield
    except sqlite3.Error as problem:
        raise Unwritable(
            f"the journal cannot be written ({problem}): nothing is sent but what flattens; make "
            "room on its disk, or let go of its lock"
        ) from problem


class Journal:
    """One runner's journal; the file is private to its owner.

    Attributes:
        path: The file.
        intents: Its part about orders.
        breaker: Its part about the circuit breaker.
        switch: Its part about the kill switch.
        counts: Of orders, executions and starts.
    """

    def __init__(self, path: Path, *, durable: bool = True, key: bytes = b"") -> None:
        """Open or create it, and check every row of it.

        Args:
            path: The file; its anchor stands beside it.
            durable: Every commit reaches the disk before the call returns. False is for paper
                runs on throw-away data: a process may still die, a machine may not.
            key: Of the anchor.

        Raises:
            ConfigError: The file was written by another version of mtquant.
            RiskHalt: It is not what was written: damaged, cut or altered.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_symlink():
            raise ConfigError(f"journal '{path}' is a symbolic link; name the file itself")
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self.path = path
        self._database = sqlite3.connect(path, isolation_level=None)
        try:
            self._open(durable)
            self._anchor = Anchor(path.with_name(path.name + ".anchor"), key)
        except BaseException:
            self._database.close()
            raise
        try:
            check(self._database, self._anchor, path.name)
        except BaseException:
            self.close()
            raise
        self._chain = Chain(self._database, self._anchor)
        self._seen = set[int]()
        self.breaker = BreakerLog(self._database, self._transaction, self._chain.insert)
        self.switch = SwitchLog(self._database, self._transaction, self._chain.insert)
        self.counts = Counts(self._database)
        self.intents = IntentLog(
            self._database, self._transaction, self._chain.insert, self.counts.knows
        )

    def _transaction(self) -> AbstractContextManager[None]:
        return self._chain.transaction()

    def _open(self, durable: bool) -> None:
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            prepare(self._database, self.path.name)
        except sqlite3.Error as error:
            raise RiskHalt(
                f"journal '{self.path}' cannot be opened: {error}; nothing is traded without one"
            ) from error

    def close(self) -> None:
        """Close the files; nothing is pending."""
        self._database.close()
        self._anchor.close()

    def begin(self, boot_id: str, at_ns: int) -> None:
        """Become the one who writes: whoever began before writes no more.

        Args:
            boot_id: Of this start, unlike any other's.
            at_ns: The runner's clock.
        """
        with self._transaction():
            self._chain.insert("boot", [(at_ns, boot_id)])
        self._chain.owner = boot_id

    def bind(self, facts: Mapping[str, str], settings: Mapping[str, str]) -> None:
        """Tie the journal to one account and strategy, or check that it still is that one.

        Args:
            facts: What a journal can never change.
            settings: What holds from now on.

        Raises:
            ConfigError: A fact differs from what the journal was begun with.
        """
        known = dict(self._database.execute("SELECT key, value FROM run ORDER BY id"))
        for key, value in facts.items():
            if known.get(key, value) != value:
                raise ConfigError(
                    f"journal {self.path.name} belongs to {key} '{known[key]}', not '{value}'; "
                    "choose another journal"
                )
        wanted = {**facts, **settings}
        with self._transaction():
            self._chain.insert(
                "run", [one for one in wanted.items() if known.get(one[0]) != one[1]]
            )

    def latest_record(self) -> AccountRecord | None:
        """The account at the newest decision, None before the first."""
        row = self._database.execute(
            f"SELECT {ACCOUNT} FROM account ORDER BY bar_time_ns DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        record, digest = record_of_row(row[:-1]), row[-1]
        remembered = self._database.execute(
            "SELECT state FROM agent_state WHERE bar_time_ns = ?", (record.bar_time_ns,)
        ).fetchone()
        if remembered is None or state_digest(remembered[0]) != digest:
            return record  # what it remembered is rebuilt from bars
        return replace(record, agent_state=remembered[0])

    def decisions(self, bar_time_ns: int) -> list[tuple[str, int, int, str]]:
        """``(symbol, held, target, reason)`` of a bar."""
        return self._database.execute(
            "SELECT symbol, held, target, reason FROM decision WHERE bar_time_ns = ?",
            (bar_time_ns,),
        ).fetchall()

    def unseen(self, deals: Sequence[Deal]) -> list[Deal]:
        """The deals that no committed bar has taken account of."""
        # By ticket alone: a server whose clock was moved shows old deals with other times.
        tickets = {deal.ticket for deal in deals}
        self._seen &= tickets  # once seen is seen for ever; no row is taken back
        if left := tickets - self._seen:
            rows = self._database.execute(
                "SELECT ticket FROM deal WHERE ticket IN (SELECT value FROM json_each(?))",
                (json.dumps(list(left)),),
            )
            self._seen.update(ticket for (ticket,) in rows)
        return [deal for deal in deals if deal.ticket not in self._seen]

    def seen_around(self, at_ns: int) -> tuple[int, frozenset[int]]:
        """Deals that a history must show again which is to prove that something is not in it.

        Returns:
            Time of the newest known deal that is not after ``at_ns`` (``at_ns`` itself where there
            is none), and the tickets of all that are known from there on.
        """
        (newest,) = self._database.execute(
            "SELECT MAX(time_ns) FROM deal WHERE time_ns <= ?", (at_ns,)
        ).fetchone()
        since = at_ns if newest is None else int(newest)
        rows = self._database.execute("SELECT ticket FROM deal WHERE time_ns >= ?", (since,))
        return since, frozenset(ticket for (ticket,) in rows)

    def commit_bar(
        self,
        record: AccountRecord,
        decisions: Iterable[Decision],
        intents: Sequence[Intent],
        deals: Iterable[Deal],
        events: Iterable[str],
        broker_equity: float,
        *,
        at_ns: int,
        trip: Trip | None = None,
        reset: Reset | None = None,
        sending: bool = True,
    ) -> None:
        """Write a bar: what was found, what is decided, what will be sent.

        The first intent is written as being sent where ``sending``: then nothing else stands
        between this commit and the call. ``trip`` is what the bar did to the breaker, ``reset``
        took effect at it, and ``at_ns`` is the runner's clock.
        """
        bar = record.bar_time_ns
        with self._transaction():
            self._chain.insert("account", [account_row(record, broker_equity, at_ns)])
            if record.agent_state:  # only the newest is ever read
                self._database.execute("DELETE FROM agent_state")
                self._database.execute(
                    "INSERT INTO agent_state VALUES (?, ?)", (bar, record.agent_state)
                )
            self.breaker.write(bar, trip, reset)
            self._chain.insert("decision", map(decision_row, decisions))
            self.intents.plan(intents, at_ns, sending=sending)
            self._chain.insert("deal", map(deal_row, deals))
            self._insert_events(bar, events)

    def events(self) -> list[tuple[int, str]]:
        """``(bar_time_ns, text)`` of all events, oldest first."""
        return self._database.execute("SELECT bar_time_ns, text FROM event ORDER BY id").fetchall()

    def _insert_events(self, bar_time_ns: int, events: Iterable[str]) -> None:
        self._chain.insert("event", [(bar_time_ns, text) for text in events])
