"""Counts: how often something was done lately, from the journal, so that no restart forgets it."""

from __future__ import annotations

import sqlite3


class Counts:
    """Orders, executions and starts of one journal."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Share a journal's file."""
        self._database = database

    def sent_since(self, at_ns: int) -> int:
        """Orders handed over since then, those without an answer too; not what was withheld."""
        return self._one(
            "SELECT COUNT(*) FROM outcome o JOIN intent i ON i.magic = o.magic "
            "WHERE o.state = 'sending' AND o.at_ns >= ? AND i.state != 'cancelled'",
            at_ns,
        )

    def executed_since(self, at_ns: int) -> int:
        """Orders of those that were executed, at least in part, or may have been."""
        return self._one(
            "SELECT COUNT(*) FROM outcome o JOIN intent i ON i.magic = o.magic "
            "WHERE o.state = 'sending' AND o.at_ns >= ? "
            "AND (i.executed_steps != 0 OR i.state IN ('sending', 'placed', 'ambiguous'))",
            at_ns,
        )

    def starts_since(self, at_ns: int) -> int:
        """How often a runner has begun since then."""
        return self._one("SELECT COUNT(*) FROM boot WHERE at_ns >= ?", at_ns)

    def armed_since(self, now_ns: int) -> int:
        """When somebody armed the switch last, on the runner's clock; 0 where nobody has.

        What a clock that was ahead has written counts only once that time has come.
        """
        row = self._database.execute(
            "SELECT MAX(at_ns) FROM switch WHERE form = 'ARMED' AND at_ns <= ?", (now_ns,)
        )
        return int(row.fetchone()[0] or 0)

    def bars_since(self, bar_time_ns: int) -> int:
        """Bars decided after that one."""
        return self._one("SELECT COUNT(*) FROM account WHERE bar_time_ns > ?", bar_time_ns)

    def knows(self, magic: int) -> bool:
        """Whether an intent has this id."""
        return self._one("SELECT COUNT(*) FROM intent WHERE magic = ?", magic) > 0

    def _one(self, sql: str, value: int) -> int:
        (count,) = self._database.execute(sql, (value,)).fetchone()
        return int(count)
