"""How fast a journal opens with all of its rows checked, and how late an order leaves.

    python benchmarks/journal_speed.py [--rows 100000] [--bars 300]

Prints seconds to open a journal of so many rows, verified, beside the seconds that SHA-256 alone
takes for as many bytes; and of bars with an order the milliseconds from asking for the bar to the
call of ``order_send``, both durable commits included, beside those of one durable commit of a row.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "faults"))

import harness

from mtquant.live.decision import Decision
from mtquant.live.intents import IntentState, plan
from mtquant.live.journal import Journal
from mtquant.live.record import AccountRecord, HeldPosition

HOUR = 3600 * 10**9


def opening(path: Path, rows: int) -> tuple[float, float, float, int]:
    """Seconds to open, processor seconds of that, seconds of SHA-256 over the bytes, and rows."""
    journal = Journal(path, durable=False)
    written = bar = 0
    while written < rows:
        bar += HOUR
        held = 5 * (bar // HOUR % 2)
        record = AccountRecord(bar, 1e4, 1e4, 1e4, 1e4, 1, 0, (HeldPosition(held),))
        decision = Decision("XAUUSD", bar, 0.5, held, 5 - held, "allowed", 0)
        intents = plan(7, 0, decision)
        journal.commit_bar(record, [decision], intents, [], [], 1e4, at_ns=bar)
        for intent in intents:
            journal.intents.settle(intent, IntentState.EXECUTED, bar, at_ns=bar, executed_steps=5)
        written += 2 + 3 * len(intents)
    journal.close()
    began, worked = time.perf_counter(), time.process_time()
    Journal(path, durable=False).close()
    opened, worked = time.perf_counter() - began, time.process_time() - worked
    content = path.read_bytes()
    began = time.perf_counter()
    hashlib.sha256(content)
    return opened, worked, time.perf_counter() - began, written


class Timed(harness.Watched):
    """Notes when an order arrives."""

    arrived = 0.0

    def order_send(self, request: object) -> object:
        self.arrived = self.arrived or time.perf_counter()
        return super().order_send(request)


def latencies(path: Path, bars: int) -> list[float]:
    """Milliseconds from asking for a bar to its first order, on a durable journal."""
    harness.Watched, stage, taken = Timed, harness.Stage(), list[float]()
    while len(taken) < bars:
        for old in path.parent.glob(f"{path.name}*"):
            old.unlink()
        terminal = stage.terminal({})
        terminal.initialize()
        lock, journal, runner = harness._born(stage, terminal, path, harness.LIMITS)
        journal._database.execute("PRAGMA synchronous = FULL")
        for _ in range(harness.BARS):
            terminal.arrived, began = 0.0, time.perf_counter()
            runner.on_bar()
            if terminal.arrived:
                taken.append(1e3 * (terminal.arrived - began))
            terminal.advance()
        harness._dead((lock, journal), terminal)
    return taken


def commits(path: Path, count: int = 100) -> list[float]:
    """Milliseconds of a durable commit of one row."""
    database, taken = sqlite3.connect(path, isolation_level=None), []
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE t (x)")
    for n in range(count):
        began = time.perf_counter()
        database.execute("INSERT INTO t VALUES (?)", (n,))
        taken.append(1e3 * (time.perf_counter() - began))
    database.close()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--bars", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        opened, worked, hashed, rows = opening(Path(folder) / "long.db", options.rows)
        print(
            f"open {rows:,} rows, verified: {opened:.2f} s, {worked:.2f} s of them at work   "
            f"SHA-256 of the file: {hashed:.3f} s"
        )
        late = latencies(Path(folder) / "late.db", options.bars)
        one = commits(Path(folder) / "one.db")
        for name, values in (("bar to order", late), ("one commit", one)):
            middle, most = np.percentile(values, [50, 99])
            print(f"{name}: median {middle:.2f} ms, p99 {most:.2f} ms over {len(values)}")


if __name__ == "__main__":
    main()
