"""What a journal holds, for people: its newest rows, all of it as JSON lines, its standing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from mtquant.live.chain import CHAINED
from mtquant.live.intents import strategy_tag

_NEWEST = {
    "decision": "SELECT bar_time_ns, symbol, held, target, reason FROM decision",
    "order": "SELECT bar_time_ns, symbol, steps, state, magic FROM intent",
    "event": "SELECT bar_time_ns, text FROM event",
}


def newest(database: sqlite3.Connection, count: int) -> list[tuple[int, str, str]]:
    """``(bar time, kind, what)`` of the newest rows, oldest first.

    Args:
        database: A journal.
        count: How many.
    """
    rows: list[tuple[int, str, str]] = []
    for kind, query in _NEWEST.items():
        for time, *rest in database.execute(f"{query} ORDER BY n DESC LIMIT ?", (count,)):
            rows.append((int(time), kind, " ".join(map(str, rest))))
    return sorted(rows)[-count:]


def lines(database: sqlite3.Connection) -> Iterator[str]:
    """Every row under the chain as one line of JSON, in the order in which they were written."""
    written: list[tuple[int, str, dict[str, Any]]] = []
    for table, columns in CHAINED.items():
        names = columns.split(", ")
        for row in database.execute(f"SELECT {columns}, n FROM {table} ORDER BY n"):
            written.append((row[-1], table, dict(zip(names, row[:-1], strict=True))))
    for number, table, values in sorted(written, key=lambda one: one[:2]):
        yield json.dumps({"commit": number, "table": table, **values}, allow_nan=False)


def standing(database: sqlite3.Connection) -> dict[str, str]:
    """What it is of, and how much is open."""
    facts = {str(k): str(v) for k, v in database.execute("SELECT key, value FROM run ORDER BY id")}
    (open_,) = database.execute(
        "SELECT COUNT(*) FROM intent WHERE state IN ('sending', 'placed', 'ambiguous')"
    ).fetchone()
    row = database.execute(
        "SELECT equity, positions FROM account ORDER BY bar_time_ns DESC LIMIT 1"
    ).fetchone()
    held = "-" if row is None else ", ".join(str(one["steps"]) for one in json.loads(row[1]))
    (result,) = database.execute(
        "SELECT TOTAL(profit) + TOTAL(swap) + TOTAL(commission) FROM deal WHERE magic >> 40 = ?",
        (strategy_tag(facts.get("strategy", "")),),
    ).fetchone()
    return {
        "account": facts.get("account", "-"),
        "strategy": facts.get("strategy", "-"),
        "symbols": facts.get("symbols", "-"),
        "lot steps": held,
        "equity": "-" if row is None else f"{row[0]:,.2f}",
        "result of its own deals": f"{result:,.2f}",
        "orders without an answer": str(open_),
    }
