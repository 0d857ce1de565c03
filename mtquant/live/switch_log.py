"""SwitchLog: when the kill switch fell and who armed it again, in the journal.

The switch itself is files; this is what remains of it for people and for the counts that begin
anew when a person has armed it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from mtquant.live.kill_switch import Form


class SwitchLog:
    """The switch's part of a journal."""

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
        self._database, self._transaction, self._insert = database, transaction, insert

    def note(self, form: Form, told: str, at_ns: int) -> bool:
        """Write what the switch is at, where that is news; whether it was.

        Args:
            form: What may be sent.
            told: Who and why, as the switch's file says.
            at_ns: The runner's clock.
        """
        newest = self._database.execute("SELECT form, text FROM switch ORDER BY id DESC LIMIT 1")
        if newest.fetchone() == (form.name, told):
            return False
        with self._transaction():
            self._insert("switch", [(at_ns, form.name, told)])
        return True

    def rows(self) -> list[tuple[int, str, str]]:
        """``(at_ns, form, text)``, oldest first."""
        return self._database.execute("SELECT at_ns, form, text FROM switch ORDER BY id").fetchall()
