"""Chain: every commit of a journal under one growing hash.

    h_n = SHA-256(h_{n-1} || the rows of commit n, as they are read back, sorted)

Rows are only ever added. What changes, an intent's state, is a projection of rows that do not
(``outcome``) and is compared with them. Opening a journal checks all of it, so that nothing is
traded on a guess: a row that was changed, added, taken out or moved is found by the chain, a tail
that was cut by the anchor.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any

from mtquant.errors import RiskHalt
from mtquant.live.anchor import Anchor, Head

Row = tuple[Any, ...]

START = Head(0, hashlib.sha256(b"mtquant journal").digest())

#: Tables under the chain, with the columns that no one may change.
CHAINED = {
    "run": "key, value",
    "boot": "at_ns, boot_id",
    "account": "bar_time_ns, balance, equity, peak, day_start, day, level, positions, memory, "
    "broker_equity, at_ns, state_digest",
    "decision": "symbol, bar_time_ns, action, held, target, reason, checks",
    "intent": "magic, symbol, bar_time_ns, leg, steps, stop_distance, take_distance, ticket",
    "outcome": "magic, state, at_ns, retcode, executed_steps, price, order_ticket, deal_ticket, "
    "text, settled_bar_ns, failed",
    "deal": "ticket, order_ticket, symbol, magic, time_ns, volume_lots, price, profit, swap, "
    "commission, reason, opens",
    "event": "bar_time_ns, text",
    "breaker": "at_ns, bar_time_ns, level, equity, text, person",
    "applied": "number, bar_time_ns",
    "switch": "at_ns, form, text",
}
_REAL = {"balance", "equity", "peak", "day_start", "broker_equity", "action", "price"}
_REAL |= {"volume_lots", "profit", "swap", "commission"}
_KINDS = {
    table: [float if column in _REAL else int for column in columns.split(", ")]
    for table, columns in CHAINED.items()
}
_INSERTS = {
    table: f"INSERT INTO {table} ({columns}, n) VALUES "
    f"({', '.join('?' * (columns.count(',') + 2))})"
    for table, columns in CHAINED.items()
}


class Chain:
    """The one way in which a journal's tables grow.

    Attributes:
        owner: Boot id of the runner that writes; None lets anybody.
    """

    def __init__(self, database: sqlite3.Connection, anchor: Anchor) -> None:
        """Stand at the end of what is there.

        Args:
            database: With the journal's tables, in autocommit mode.
            anchor: Of this journal.
        """
        self._database, self._anchor = database, anchor
        self._head, self._version = START, -1
        self._told: list[str] = []
        self.owner: str | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All rows that are inserted inside are one commit."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._told, before = [], self.head()
            self._head = Head(before.number + 1, before.digest)
            yield
            self._seal(before)
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:  # SQLite has undone it itself where the disk is full
                self._database.execute("ROLLBACK")
            self._version = -1
            raise
        if self._told:
            self._anchor.write(self._head)

    def insert(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows inside a transaction; values are taken as SQLite gives them back."""
        number, statement, kinds = self._head.number, _INSERTS[table], _KINDS[table]
        for row in rows:
            plain = tuple(map(_plain, row, kinds))
            self._told.append(f"{table}{plain!r}")
            self._database.execute(statement, (*plain, number))

    def head(self) -> Head:
        """Where the chain stands now; another process may have written since."""
        (version,) = self._database.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            row = self._database.execute(
                "SELECT n, digest FROM chain ORDER BY n DESC LIMIT 1"
            ).fetchone()
            self._head = START if row is None else Head(*row)
            self._must_own()
            self._version = version
        return self._head

    def _must_own(self) -> None:
        """Whoever begins with a journal shuts out who began before, a copied lock or none."""
        newest = self._database.execute("SELECT boot_id FROM boot ORDER BY id DESC LIMIT 1")
        if self.owner is not None and newest.fetchone() != (self.owner,):
            raise RiskHalt(
                "another runner has begun with this journal; stop one of the two and find out "
                "how both could run"
            )

    def _seal(self, before: Head) -> None:
        if not self._told:
            self._head = before
            return
        self._head = Head(before.number + 1, _digest(before.digest, self._told))
        self._database.execute("INSERT INTO chain VALUES (?, ?)", self._head)


def check(database: sqlite3.Connection, anchor: Anchor, name: str) -> Head:
    """Hold all rows against the chain, the chain against its anchor, states against outcomes.

    Args:
        database: The journal.
        anchor: Its anchor.
        name: Of the file, for the refusal.

    Returns:
        The chain's end.

    Raises:
        RiskHalt: Something does not fit; the first thing that does not is named.
    """
    try:
        anchored = anchor.read()  # before the rows, which another process may add to meanwhile
        database.execute("BEGIN")
        try:
            problem, head = _first_problem(database, anchored)
        finally:
            database.execute("ROLLBACK")
    except (sqlite3.Error, UnicodeError, OverflowError) as error:
        problem, head = f"it cannot be read: {error}", START
    if problem:
        raise RiskHalt(
            f"journal {name} is not what was written: {problem}; keep it, compare the broker's "
            "history, and begin a new one once the account is flat"
        )
    return head


def _first_problem(database: sqlite3.Connection, anchored: Head | None) -> tuple[str, Head]:
    (sound,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    if sound != "ok":
        return sound, START
    head = START
    known = {} if anchored is None else {anchored.number: anchored.digest}
    commits = _commits(database)
    for number, digest in database.execute("SELECT n, digest FROM chain ORDER BY n"):
        told = commits.pop(number, [])
        if number != head.number + 1 or digest != _digest(head.digest, told):
            return f"commit {head.number + 1} was changed", head
        if known.pop(number, digest) != digest:
            return f"commit {number} is not the anchored one", head
        head = Head(number, digest)
    if commits:
        return f"rows of commit {min(commits)} stand outside the chain", head
    if known and anchored != START:
        return f"it ends at commit {head.number}, its anchor says {min(known)}", head
    # The first commit ties the journal to its account; whoever dies right after it leaves no more.
    if head.number > 1 and anchored is None:
        return "its anchor is missing", head
    return _wrong_state(database), head


def _commits(database: sqlite3.Connection) -> dict[int, list[str]]:
    """The rows of each commit as they were hashed."""
    commits: dict[int, list[str]] = {}
    for table, columns in CHAINED.items():
        rows = database.execute(f"SELECT {columns}, n FROM {table} ORDER BY n")
        for number, group in groupby(rows, itemgetter(-1)):
            commits.setdefault(number, []).extend(f"{table}{row[:-1]!r}" for row in group)
    return commits


def _wrong_state(database: sqlite3.Connection) -> str:
    """The state of an intent is what its outcomes lead to: fold(journal) = state."""
    row = database.execute(
        "SELECT i.magic FROM intent i LEFT JOIN outcome o ON o.id = "
        "(SELECT MAX(id) FROM outcome WHERE magic = i.magic) "
        "WHERE i.state IS NOT COALESCE(o.state, 'planned') "
        "OR i.executed_steps IS NOT COALESCE(o.executed_steps, 0) "
        "OR i.settled_bar_ns IS NOT o.settled_bar_ns OR i.failed IS NOT "
        "(SELECT COALESCE(MAX(failed), 0) FROM outcome WHERE magic = i.magic) LIMIT 1"
    ).fetchone()
    return "" if row is None else f"intent {row[0]} is not in the state that its outcomes lead to"


def _digest(before: bytes, told: list[str]) -> bytes:
    return hashlib.sha256(before + "\n".join(sorted(told)).encode("utf-8", "replace")).digest()


def _plain(value: Any, kind: type) -> Any:
    """A value as SQLite gives it back: of its column's kind, no NaN, no negative zero."""
    if value is None or isinstance(value, str):
        return value
    if kind is float:
        number = float(value) + 0.0
        return None if number != number else number
    return int(value)
