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
from contextlib import contextmanager
from pathlib import Path

from mtquant.brokers.base import Deal, OrderResult
from mtquant.errors import ConfigError
from mtquant.live.decide import Decision
from mtquant.live.intents import Intent, IntentState
from mtquant.live.record import AccountRecord, HeldPosition

SCHEMA_VERSION = 2

_SCHEMA = """
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE account (
    bar_time_ns INTEGER PRIMARY KEY, balance REAL NOT NULL, equity REAL NOT NULL,
    peak REAL NOT NULL, day_start REAL NOT NULL, day INTEGER NOT NULL, level INTEGER NOT NULL,
    positions TEXT NOT NULL, memory TEXT NOT NULL, broker_equity REAL NOT NULL);
CREATE TABLE decision (
    symbol TEXT NOT NULL, bar_time_ns INTEGER NOT NULL, action REAL, held INTEGER NOT NULL,
    target INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (bar_time_ns, symbol)
    ) WITHOUT ROWID;
CREATE TABLE intent (
    magic INTEGER PRIMARY KEY, symbol TEXT NOT NULL, bar_time_ns INTEGER NOT NULL,
    leg INTEGER NOT NULL, steps INTEGER NOT NULL, state TEXT NOT NULL, retcode INTEGER,
    executed_steps INTEGER NOT NULL DEFAULT 0, price REAL, order_ticket INTEGER,
    deal_ticket INTEGER, text TEXT, settled_bar_ns INTEGER);
CREATE INDEX intent_state ON intent (state);
CREATE INDEX intent_settled ON intent (settled_bar_ns);
CREATE TABLE deal (
    ticket INTEGER PRIMARY KEY, order_ticket INTEGER, symbol TEXT NOT NULL, magic INTEGER NOT NULL,
    time_ns INTEGER NOT NULL, volume_lots REAL, price REAL, profit REAL, swap REAL,
    commission REAL, stop_out INTEGER NOT NULL);
CREATE INDEX deal_time ON deal (time_ns);
CREATE TABLE event (id INTEGER PRIMARY KEY, bar_time_ns INTEGER NOT NULL, text TEXT NOT NULL);
"""


class Journal:
    """One runner's journal; the file is private to its owner."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """Open or create it.

        Args:
            path: The file.
            durable: Every commit reaches the disk before the call returns. False is for paper
                runs on throw-away data: a process may still die, a machine may not.

        Raises:
            ConfigError: The file was written by another version of mtquant.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self.path = path
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        self._check_schema()

    def close(self) -> None:
        """Close the file; nothing is pending."""
        self._database.close()

    def bind(self, facts: Mapping[str, str]) -> None:
        """Tie the journal to one account and strategy, or check that it still is that one.

        Raises:
            ConfigError: A fact differs from what the journal was begun with.
        """
        known = dict(self._database.execute("SELECT key, value FROM run"))
        for key, value in facts.items():
            if known.get(key, value) != value:
                raise ConfigError(
                    f"journal {self.path.name} belongs to {key} '{known[key]}', not '{value}'; "
                    "choose another journal"
                )
        with self._transaction():
            self._database.executemany("INSERT OR IGNORE INTO run VALUES (?, ?)", facts.items())

    def latest_record(self) -> AccountRecord | None:
        """The account at the newest decision, None before the first."""
        row = self._database.execute(
            "SELECT bar_time_ns, balance, equity, peak, day_start, day, level, positions, memory "
            "FROM account ORDER BY bar_time_ns DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        bar, balance, equity, peak, day_start, day, level, positions, memory = row
        held = tuple(HeldPosition(**position) for position in json.loads(positions))
        known = json.loads(memory)
        return AccountRecord(bar, balance, equity, peak, day_start, day, level, held, known)

    def decisions(self, bar_time_ns: int) -> list[tuple[str, int, int, str]]:
        """``(symbol, held, target, reason)`` of a bar."""
        return self._database.execute(
            "SELECT symbol, held, target, reason FROM decision WHERE bar_time_ns = ?",
            (bar_time_ns,),
        ).fetchall()

    def unfinished(self) -> list[Intent]:
        """Intents whose outcome is open, planned ones included, oldest first."""
        rows = self._database.execute(
            "SELECT magic, symbol, bar_time_ns, leg, steps, state FROM intent "
            "WHERE state IN ('planned', 'sending', 'placed', 'ambiguous') ORDER BY magic"
        )
        return [
            Intent(magic, symbol, bar, leg, steps, IntentState(state))
            for magic, symbol, bar, leg, steps, state in rows
        ]

    def executed_since(self, bar_time_ns: int) -> dict[str, int]:
        """Signed lot steps of each symbol that were proven executed after a bar's record."""
        rows = self._database.execute(
            "SELECT symbol, SUM(executed_steps) FROM intent WHERE settled_bar_ns = ? "
            "GROUP BY symbol",
            (bar_time_ns,),
        )
        return dict(rows.fetchall())

    def unseen(self, deals: Sequence[Deal]) -> list[Deal]:
        """The deals that no committed bar has taken account of."""
        if not deals:
            return []
        oldest = min(deal.time_ns for deal in deals)
        rows = self._database.execute("SELECT ticket FROM deal WHERE time_ns >= ?", (oldest,))
        seen = {ticket for (ticket,) in rows}
        return [deal for deal in deals if deal.ticket not in seen]

    def commit_bar(
        self,
        record: AccountRecord,
        decisions: Iterable[Decision],
        intents: Sequence[Intent],
        deals: Iterable[Deal],
        events: Iterable[str],
        broker_equity: float,
    ) -> None:
        """Write a bar: what was found, what is decided, what will be sent.

        The first intent is written as being sent: nothing else stands between this commit and
        the call.
        """
        bar = record.bar_time_ns
        positions = json.dumps([vars(p) for p in record.positions], separators=(",", ":"))
        memory = json.dumps(dict(record.memory), separators=(",", ":"))
        with self._transaction():
            self._database.execute(
                "INSERT INTO account VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    bar,
                    record.balance,
                    record.equity,
                    record.peak,
                    record.day_start,
                    record.day,
                    record.level,
                    positions,
                    memory,
                    broker_equity,
                ),
            )
            self._database.executemany(
                "INSERT INTO decision VALUES (?, ?, ?, ?, ?, ?)",
                [(d.symbol, bar, d.action, d.held, d.target, d.reason) for d in decisions],
            )
            states = [IntentState.SENDING, *[IntentState.PLANNED] * len(intents)]
            self._database.executemany(
                "INSERT INTO intent (magic, symbol, bar_time_ns, leg, steps, state) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (i.magic, i.symbol, i.bar_time_ns, i.leg, i.steps, state.value)
                    for i, state in zip(intents, states, strict=False)
                ],
            )
            self._insert_deals(deals)
            self._insert_events(bar, events)

    def settle(
        self,
        intent: Intent,
        state: IntentState,
        bar_time_ns: int,
        result: OrderResult | None = None,
        *,
        executed_steps: int = 0,
        then_sending: Intent | None = None,
    ) -> None:
        """Write what became of an intent, and which one is sent next.

        Args:
            intent: Which.
            state: Its new state.
            bar_time_ns: Bar of the newest record, after which this became known.
            result: The broker's answer, where there was one.
            executed_steps: Proven by history, where there is no result.
            then_sending: Marked as being sent in the same commit.
        """
        answer = (
            (None, executed_steps, None, None, None, None)
            if result is None
            else (
                result.retcode,
                result.steps,
                result.price,
                result.order,
                result.deal,
                result.text,
            )
        )
        with self._transaction():
            self._database.execute(
                "UPDATE intent SET state = ?, retcode = ?, executed_steps = ?, price = ?, "
                "order_ticket = ?, deal_ticket = ?, text = ?, settled_bar_ns = ? WHERE magic = ?",
                (state.value, *answer, bar_time_ns, intent.magic),
            )
            if then_sending is not None:
                self._database.execute(
                    "UPDATE intent SET state = ? WHERE magic = ?",
                    (IntentState.SENDING.value, then_sending.magic),
                )

    def note(self, bar_time_ns: int, events: Sequence[str]) -> None:
        """Write events that belong to no decision."""
        if events:
            with self._transaction():
                self._insert_events(bar_time_ns, events)

    def events(self) -> list[tuple[int, str]]:
        """``(bar_time_ns, text)`` of all events, oldest first."""
        return self._database.execute("SELECT bar_time_ns, text FROM event ORDER BY id").fetchall()

    def _insert_deals(self, deals: Iterable[Deal]) -> None:
        self._database.executemany(
            "INSERT INTO deal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    d.ticket,
                    d.order,
                    d.symbol,
                    d.magic,
                    d.time_ns,
                    d.volume_lots,
                    d.price,
                    d.profit,
                    d.swap,
                    d.commission,
                    d.stop_out,
                )
                for d in deals
            ],
        )

    def _insert_events(self, bar_time_ns: int, events: Iterable[str]) -> None:
        self._database.executemany(
            "INSERT INTO event (bar_time_ns, text) VALUES (?, ?)",
            [(bar_time_ns, text) for text in events],
        )

    def _check_schema(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        (tables,) = self._database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            self._database.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
        elif version != SCHEMA_VERSION:
            self._database.close()
            raise ConfigError(
                f"journal {self.path.name} has schema version {version}, this mtquant reads "
                f"{SCHEMA_VERSION}; choose another journal"
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
