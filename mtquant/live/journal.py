"""Journal: what was decided and sent, committed to SQLite *before* it is sent.

Crash-only: there is no other state. A bar's account record, its decisions and its intents are one
transaction; the first intent is already marked as being sent in it, every outcome is committed
together with the mark of the next. Whatever instant the process dies at, the next start reads here
what may have been sent, and asks the broker's history what became of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

from mtquant.brokers.base import Deal, OrderResult
from mtquant.brokers.constants import (
    TRADE_RETCODE_INVALID_STOPS,
    TRADE_RETCODE_LIMIT_POSITIONS,
    TRADE_RETCODE_MARKET_CLOSED,
    TRADE_RETCODE_NO_MONEY,
    TRADE_RETCODE_PRICE_OFF,
)
from mtquant.errors import ConfigError
from mtquant.live.breaker_log import BreakerLog
from mtquant.live.decision import Decision
from mtquant.live.intents import Intent, IntentState
from mtquant.live.journal_rows import (
    ACCOUNT,
    INTENT,
    Row,
    account_row,
    answer_row,
    deal_row,
    decision_row,
    intent_of_row,
    intent_row,
    record_of_row,
)
from mtquant.live.journal_schema import prepare
from mtquant.live.lock import Reset, Trip
from mtquant.live.record import AccountRecord

# Refusals that a backtest knows too; an order that meets one of them tells of no fault.
FORESEEN = (
    TRADE_RETCODE_MARKET_CLOSED,
    TRADE_RETCODE_NO_MONEY,
    TRADE_RETCODE_INVALID_STOPS,  # the open has passed the position's stop or target
    TRADE_RETCODE_PRICE_OFF,  # outside the price band
    TRADE_RETCODE_LIMIT_POSITIONS,
)
_FAILURES = (IntentState.NOT_EXECUTED, IntentState.AMBIGUOUS)


class Journal:
    """One runner's journal; the file is private to its owner.

    Attributes:
        path: The file.
        breaker: Its part about the circuit breaker.
    """

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
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            prepare(self._database, path.name)
        except (sqlite3.Error, ConfigError):
            self._database.close()
            raise
        self.breaker = BreakerLog(self._database, self._transaction)

    def close(self) -> None:
        """Close the file; nothing is pending."""
        self._database.close()

    def bind(self, facts: Mapping[str, str], settings: Mapping[str, str]) -> None:
        """Tie the journal to one account and strategy, or check that it still is that one.

        Args:
            facts: What a journal can never change.
            settings: What holds from now on.

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
            self._database.executemany("INSERT OR REPLACE INTO run VALUES (?, ?)", settings.items())

    def latest_record(self) -> AccountRecord | None:
        """The account at the newest decision, None before the first."""
        row = self._database.execute(
            f"SELECT {ACCOUNT} FROM account ORDER BY bar_time_ns DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        record = record_of_row(row)
        remembered = self._database.execute(
            "SELECT state FROM agent_state WHERE bar_time_ns = ?", (record.bar_time_ns,)
        ).fetchone()
        return record if remembered is None else replace(record, agent_state=remembered[0])

    def decisions(self, bar_time_ns: int) -> list[tuple[str, int, int, str]]:
        """``(symbol, held, target, reason)`` of a bar."""
        return self._database.execute(
            "SELECT symbol, held, target, reason FROM decision WHERE bar_time_ns = ?",
            (bar_time_ns,),
        ).fetchall()

    def unfinished(self) -> list[Intent]:
        """Intents whose outcome is open, planned ones included, oldest first."""
        rows = self._database.execute(
            f"SELECT {INTENT} FROM intent "
            "WHERE state IN ('planned', 'sending', 'placed', 'ambiguous') ORDER BY magic"
        )
        return [intent_of_row(row) for row in rows]

    def distances(self, magic: int) -> tuple[int, int]:
        """Ticks to the stop and target that an intent has asked for; zeros for an unknown one."""
        row = self._database.execute(
            "SELECT stop_distance, take_distance FROM intent WHERE magic = ?", (magic,)
        ).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

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
            self._insert("account", [account_row(record, broker_equity, at_ns)])
            if record.agent_state:  # only the newest is ever read
                self._database.execute("DELETE FROM agent_state")
                self._insert("agent_state", [(bar, record.agent_state)])
            self.breaker.write(bar, trip, reset)
            self._insert("decision", map(decision_row, decisions))
            first = IntentState.SENDING if sending else IntentState.PLANNED
            states = chain([first], repeat(IntentState.PLANNED))
            self._insert(f"intent ({INTENT})", map(intent_row, intents, states))
            self._insert("deal", map(deal_row, deals))
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
        answer = answer_row(result, executed_steps)
        failed = state in _FAILURES and answer[0] not in FORESEEN
        with self._transaction():
            self._database.execute(
                "UPDATE intent SET state = ?, retcode = ?, executed_steps = ?, price = ?, "
                "order_ticket = ?, deal_ticket = ?, text = ?, settled_bar_ns = ?, "
                "failed = MAX(failed, ?) WHERE magic = ?",
                (state.value, *answer, bar_time_ns, failed, intent.magic),
            )
            if then_sending is not None:
                self._mark_sending(then_sending)

    def begin_sending(
        self, intents: Sequence[Intent], bar_time_ns: int, events: Sequence[str]
    ) -> None:
        """Mark planned intents as being sent, and write events of what came before."""
        if intents or events:
            with self._transaction():
                for intent in intents:
                    self._mark_sending(intent)
                self._insert_events(bar_time_ns, events)

    def events(self) -> list[tuple[int, str]]:
        """``(bar_time_ns, text)`` of all events, oldest first."""
        return self._database.execute("SELECT bar_time_ns, text FROM event ORDER BY id").fetchall()

    def _mark_sending(self, intent: Intent) -> None:
        self._database.execute(
            "UPDATE intent SET state = ? WHERE magic = ?",
            (IntentState.SENDING.value, intent.magic),
        )

    def _insert(self, table: str, rows: Iterable[Row]) -> None:
        """Write rows of one width."""
        written = list(rows)
        if written:
            places = ", ".join("?" * len(written[0]))
            self._database.executemany(f"INSERT INTO {table} VALUES ({places})", written)

    def _insert_events(self, bar_time_ns: int, events: Iterable[str]) -> None:
        self._database.executemany(
            "INSERT INTO event (bar_time_ns, text) VALUES (?, ?)",
            [(bar_time_ns, text) for text in events],
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
