"""OrderTable: what became of every order that the bridge was asked to send, on disk.

A key and the digest of its request are committed *before* the terminal is called, the answer after.
So a repetition is answered and never executed again, whatever died in between; a key without an
answer stays unknown for ever. Nothing is deleted but what the kill switch has stopped between the
claim and the call: an order takes about a kilobyte.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from mtquant.errors import ConfigError

_SCHEMA = 1
_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")
_TABLES = """
CREATE TABLE sent (
    key TEXT PRIMARY KEY, digest BLOB NOT NULL, at_ns INTEGER NOT NULL, answer BLOB,
    withdrawn INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
"""


class Standing(Enum):
    """What the table knows of a key."""

    NEW = "new"
    ANSWERED = "answered"
    UNKNOWN = "unknown"
    WITHDRAWN = "withdrawn"  # never sent, and never to be
    ANOTHER = "another request"


@dataclass(frozen=True)
class Known:
    """A key's standing, and the answer where there is one."""

    standing: Standing
    answer: bytes = b""


def is_key(text: str) -> bool:
    """Whether a text can be an idempotency key."""
    return _KEY.fullmatch(text) is not None


def digest_of(request: Any) -> bytes:
    """Of an order's arguments."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).digest()


class OrderTable:
    """One file, used by one thread at a time.

    Attributes:
        path: The file.
        fresh: Whether it was made just now.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file, private to its owner.

        Raises:
            ConfigError: It is no such file, or another version's.
        """
        self.path, self.fresh = path, False
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(path)
        except sqlite3.DatabaseError as problem:
            self._database.close()
            raise ConfigError(
                f"'{path}' cannot be used as the bridge's table of orders: {problem}; choose "
                "another file"
            ) from None
        except ConfigError:
            self._database.close()
            raise

    def _prepare(self, path: Path) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        (tables,) = self._database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            self.fresh = True
            self._database.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_SCHEMA}; COMMIT;"
            )
        elif version != _SCHEMA:
            raise ConfigError(
                f"'{path}' has schema version {version}, this mtquant reads {_SCHEMA}; choose "
                "another file"
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def knows(self, key: str) -> bool:
        """Whether a key was ever claimed or withdrawn."""
        row = self._database.execute("SELECT 1 FROM sent WHERE key = ?", (key,)).fetchone()
        return row is not None

    def claim(self, key: str, digest: bytes, at_ns: int) -> Known:
        """Commit a key before its order is sent, or say what became of it.

        Args:
            key: Of the order.
            digest: Of its request.
            at_ns: Wall clock, for people who read the file.

        Raises:
            sqlite3.Error: Nothing was committed; the order must not be sent.
        """
        return self._insert(key, digest, at_ns, withdrawn=False)

    def give_back(self, key: str) -> None:
        """Forget a claim whose order was stopped before the terminal was called.

        Raises:
            sqlite3.Error: It stays unknown.
        """
        self._database.execute("DELETE FROM sent WHERE key = ? AND answer IS NULL", (key,))

    def withdraw(self, key: str, digest: bytes, at_ns: int) -> Known:
        """See that a key which was never claimed never will be, or say what became of it."""
        return self._insert(key, digest, at_ns, withdrawn=True)

    def _insert(self, key: str, digest: bytes, at_ns: int, *, withdrawn: bool) -> Known:
        inserted = self._database.execute(
            "INSERT OR IGNORE INTO sent (key, digest, at_ns, withdrawn) VALUES (?, ?, ?, ?)",
            (key, digest, at_ns, withdrawn),
        )
        if inserted.rowcount:
            return Known(Standing.WITHDRAWN if withdrawn else Standing.NEW)
        row = self._database.execute(
            "SELECT digest, answer, withdrawn FROM sent WHERE key = ?", (key,)
        ).fetchone()
        if row[0] != digest:
            return Known(Standing.ANOTHER)
        if row[2]:
            return Known(Standing.WITHDRAWN)
        return Known(Standing.UNKNOWN) if row[1] is None else Known(Standing.ANSWERED, row[1])

    def answer(self, key: str, answer: bytes) -> None:
        """Commit the answer of an order.

        Raises:
            sqlite3.Error: It stays unknown to a repetition.
        """
        self._database.execute("UPDATE sent SET answer = ? WHERE key = ?", (answer, key))
