"""Runners that are killed by a real SIGKILL, on a terminal that lives on; and what comes of it.

A program, because a test's process may have threads and must not fork. It owns the terminal and
forks the runners of :mod:`sigkill_process`, one after the other. Watched, they stop before whatever
they write to the disk, so that every call and every write is an instant to be killed at; unwatched
it is any microsecond.

The journal is not synced: what a process has written before it is killed stays in the kernel's
cache. Of machines that die this says nothing.
"""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import harness
import numpy as np
from sigkill_process import CALL, FAILED, REPORT, Process, trade

from mtquant.brokers import constants as mt5
from mtquant.brokers.bridge.session import TerminalSession
from mtquant.brokers.bridge.wire import dump, load
from mtquant.errors import RiskHalt
from mtquant.live.journal import Journal

T = TypeVar("T")

SEND = "order_send"
SEED = int(os.environ.get("MTQUANT_FAULT_SEED", "1"))
OPEN = ("planned", "sending", "placed", "ambiguous")
BARS_LIVED = 12  # at most, of which a birth costs some
LATEST = 16  # of the next process's calls, at which an order arrives after its sender's death


@dataclass(frozen=True)
class Instant:
    """A runner's process is about to do something.

    Attributes:
        birth: Which process it is, from 0 on.
        bar: Row of the bar that forms.
        steps: What it did since it was born or the bar began, this last.
        call: Whether that is a call of the terminal.
    """

    birth: int
    bar: int
    steps: tuple[str, ...]
    call: bool


Killer = Callable[[Instant], str | None]
"""What becomes of a call whose process dies at it, None where it lives.

"never" and "done" come to pass at once, "late" when the next process has been born.
"""


@dataclass
class Play:
    """One terminal, and the processes that trade on it one after the other.

    Attributes:
        stage: Bars and script.
        path: Of the journal.
        killer: Who dies, and when.
        rng: How long nobody lives after a death, and when a late order comes.
        longest: Seconds that a process lives at most; None lets it, and stops it at each write.
        life: What came of it.
        deaths: Of which, in words.
    """

    stage: harness.Stage
    path: Path
    killer: Killer
    rng: np.random.Generator
    longest: float | None = None
    life: harness.Life = field(default_factory=harness.Life)
    deaths: list[str] = field(default_factory=list)
    births: int = 0
    orders: int = 0

    def run(self) -> harness.Life:
        for old in self.path.parent.glob(f"{self.path.name}*"):
            old.unlink()
        self.terminal = self.stage.terminal({})
        self.terminal.initialize()
        self._session = TerminalSession(self.terminal, {})
        self._late: list[tuple[int, bytes]] = []
        self._steps: list[str] = []
        self._stayed = 0
        while not self._over() and not self.life.broken:
            self._process()
        self._judge()
        return self.life

    def _over(self) -> bool:
        return self.terminal.finished or self._stayed >= 3

    def _process(self) -> None:
        """One process from birth to death."""
        boot, now, watched = f"boot {self.births}", self.terminal.now_ns(), self.longest is None
        process = Process(partial(trade, self.stage, self.path, boot, now, watched))
        fate, frame = None, b""
        self._steps.clear()
        for frame in process.frames(self._seconds()):
            if frame.startswith(REPORT):
                self._heard(load(frame[1:]))
                if self._over():
                    break
                process.answer(dump(self.terminal.now_ns()))
                continue
            if frame.startswith(FAILED):
                self.life.broken.append(f"a process failed: {frame[1:].decode()}")
                break
            fate = self.killer(self._instant(frame))
            if fate is not None:
                self._arrived(frame, fate)
                break
            process.answer(self._answer(frame))
        self._die(process)
        self.births += 1

    def _seconds(self) -> float | None:
        """How long the next process lives; through the quiet tail, as long as it wants."""
        quiet = self.terminal.account.forming > self.stage.first + self.stage.bars
        return None if quiet or self.longest is None else self.rng.random() * self.longest

    def _instant(self, frame: bytes) -> Instant:
        call = frame.startswith(CALL)
        self._steps.append(load(frame[1:])["function"] if call else frame[1:].decode())
        return Instant(self.births, self.terminal.account.forming, tuple(self._steps), call)

    def _answer(self, frame: bytes) -> bytes:
        """Of the terminal; of a write that it may go on."""
        if not frame.startswith(CALL):
            return b""
        if self.terminal.journal is None:  # whoever calls has opened it
            self.terminal.look_into(self.path)
        self._late = [(calls - 1, order) for calls, order in self._late]
        for order in [order for calls, order in self._late if calls < 0]:
            self._session.answer(order)
        self._late = [one for one in self._late if one[0] >= 0]
        return self._session.answer(frame[1:])

    def _heard(self, settled: bool) -> None:
        """A bar was decided, or had been."""
        self.life.reports += 1
        over = self.terminal.account.forming > self.stage.first + self.stage.bars + 1
        self._stayed = self._stayed + 1 if over and settled and not self._late else 0
        self._advance()

    def _advance(self) -> None:
        if not self.terminal.finished:
            self.terminal.advance()
        self._steps.clear()

    def _die(self, process: Process) -> None:
        """Kill it; then time passes, or does not."""
        left = process.kill()
        if left is not None:
            self._arrived(left, str(self.rng.choice(fates(SEND))))
        self.terminal.look_away()
        if self._over() or self.life.broken:
            return
        bars = int(self.rng.choice([0, 0, 0, 0, 1, 3]))
        self.deaths.append(f"bar {self.terminal.account.forming}, {self._steps[-1:]}, then {bars}")
        for _ in range(bars):
            self._advance()

    def _arrived(self, frame: bytes, becomes: str) -> None:
        """What the terminal does with the last call of the dead."""
        if frame.startswith(CALL) and becomes == "done":
            self._answer(frame)
        if frame.startswith(CALL) and becomes == "late" and load(frame[1:])["function"] == SEND:
            self._late.append((int(self.rng.integers(LATEST)), frame[1:]))

    def _judge(self) -> None:
        """The harness's oracle, and what the journal says of each order, deal and bar."""
        harness.judge(self.stage, self.terminal, self.life, self.path)
        self.terminal.look_away()
        self.orders = len(self.terminal.sent)
        try:
            Journal(self.path, durable=False).close()  # chain, anchor, and states against outcomes
        except RiskHalt as refusal:
            self.life.broken.append(f"F1: {refusal}")
        dealt = {
            deal.ticket: (deal.magic, deal.volume * (1 if deal.type == mt5.DEAL_TYPE_BUY else -1))
            for deal in self.terminal.account.deals
            if deal.type != mt5.DEAL_TYPE_BALANCE
        }
        with sqlite3.connect(self.path) as database:
            self._judge_journal(database, dealt)
        database.close()

    def _judge_journal(
        self, database: sqlite3.Connection, dealt: dict[int, tuple[int, float]]
    ) -> None:
        rows = database.execute("SELECT ticket, magic, volume_lots FROM deal WHERE symbol != ''")
        told = {ticket: (magic, lots) for ticket, magic, lots in rows}
        if told != dealt:
            self.life.broken.append(f"F4: deals {told} are journalled, {dealt} were made")
        (left,) = database.execute(
            f"SELECT COUNT(*) FROM intent WHERE state IN ({','.join('?' * len(OPEN))})", OPEN
        ).fetchone()
        if left or not self.life.armed:
            self.life.broken.append(f"A1: {left} intents stay open, armed: {self.life.armed}")
        bars = dict(database.execute("SELECT magic, bar_time_ns FROM intent"))
        moved = Counter[int]()
        for magic, lots in dealt.values():
            moved[bars.get(magic, 0)] += round(lots * 100)
        for bar, held, target in database.execute("SELECT bar_time_ns, held, target FROM decision"):
            if not min(0, target - held) <= moved[bar] <= max(0, target - held):
                self.life.broken.append(
                    f"A1: at bar {bar} {held} lot steps should come to {target}, "
                    f"{moved[bar]} were traded"
                )


class Listening:
    """Lets everybody live, and notes what an undisturbed life does."""

    def __init__(self) -> None:
        self.script: dict[int, tuple[str, ...]] = {}
        self.calls = self.writes = 0

    def __call__(self, now: Instant) -> None:
        self.script[now.bar] = now.steps
        self.calls += now.call
        self.writes += not now.call


Key = tuple[int, int, str]
"""Row of the bar, place in it, and what becomes of the order."""


def fates(name: str) -> tuple[str, ...]:
    return ("never", "done", "late") if name == SEND else ("never",)


@dataclass
class Covering:
    """Kills at one instant a bar that nobody has died at yet.

    Only while the bar goes as in the undisturbed life: what stands still after an order without an
    answer is not that life.
    """

    script: dict[int, tuple[str, ...]]
    todo: set[Key]
    died: set[int] = field(default_factory=set)

    def __call__(self, now: Instant) -> str | None:
        n = len(now.steps) - 1
        if now.bar in self.died or self.script.get(now.bar, ())[: n + 1] != now.steps:
            return None
        for fate in fates(now.steps[-1]):
            if (now.bar, n, fate) in self.todo:
                self.todo.remove((now.bar, n, fate))
                self.died.add(now.bar)
                return fate
        return None


@dataclass
class Born:
    """Kills a process at its n-th step, and the one before it with an order on its way."""

    birth: int
    n: int
    fate: str = "done"

    def __call__(self, now: Instant) -> str | None:
        if now.birth < self.birth and now.steps[-1] == SEND:
            return self.fate
        if now.birth == self.birth and len(now.steps) - 1 == self.n:
            return fates(now.steps[-1])[-1]
        return None


@dataclass
class Sum:
    """Of many lives."""

    path: Path
    seed: int
    told: dict[str, Any] = field(default_factory=lambda: {"lives": 0, "deaths": 0, "broken": []})

    def play(self, stage: harness.Stage, killer: Killer, longest: float | None = None) -> Play:
        rng = np.random.default_rng([self.seed, self.told["lives"]])
        one = Play(stage, self.path, killer, rng, longest)
        one.run()
        self.told["lives"] += 1
        self.told["deaths"] += len(one.deaths)
        if one.life.broken:
            self.told["broken"].append([one.life.broken[:5], one.deaths[-20:]])
        return one

    @property
    def sound(self) -> bool:
        return len(self.told["broken"]) < 3


def sample(of: Sequence[T], count: int, seed: int) -> list[T]:
    return [of[k] for k in np.random.default_rng(seed).permutation(len(of))[:count]]


def events(lives: Sum, bars: int, share: float) -> None:
    """Every call and every write of a life, or a share of them."""
    stage, whole = harness.Stage(bars=bars), Listening()
    lives.told["orders"] = lives.play(stage, whole).orders
    lives.told |= {"calls": whole.calls, "writes": whole.writes}
    keys = [
        (bar, n, fate)
        for bar, steps in whole.script.items()
        if stage.first + 1 < bar <= stage.first + stage.bars
        for n, name in enumerate(steps)
        for fate in fates(name)
    ]
    todo = set[Key]()
    for sends in (False, True):  # of which there are few
        of_a_kind = [key for key in keys if (whole.script[key[0]][key[1]] == SEND) == sends]
        count = round(min(share * (5 if sends else 1), 1.0) * len(of_a_kind))
        todo.update(sample(of_a_kind, count, lives.seed))
    while todo and lives.sound and lives.told["lives"] < 300:
        lives.play(stage, Covering(whole.script, todo))
    lives.told["unmet"] = len(todo)


def births(lives: Sum, bars: int, share: float) -> None:
    """Every step of a first birth and of one after a death, and of the bar that follows."""
    stage, whole, again = harness.Stage(bars=bars), Listening(), Listening()
    lives.play(stage, whole)
    first = [Born(0, n) for n in range(len(whole.script[min(whole.script)]))]
    lives.play(stage, lambda now: Born(1, -1)(now) or (again(now) if now.birth else None))
    count = len(again.script[min(again.script)])
    later = [Born(1, n, fate) for fate in fates(SEND) for n in range(count)]
    todo = [*first, *later]
    for killer in sample(todo, round(share * len(todo)), lives.seed):
        if lives.sound:
            lives.play(stage, killer)


def instants(lives: Sum, bars: int, count: float) -> None:
    """So many random instants, in lives that are some bars long as this machine runs now."""
    stage, began = harness.Stage(bars=bars), 0.0
    for _ in range(2):  # the first loads the kernels
        began = time.monotonic()
        lives.play(stage, Listening(), longest=1e6)
    longest = BARS_LIVED * (time.monotonic() - began) / bars
    while lives.told["deaths"] < count and lives.sound:
        lives.play(stage, Listening(), longest)


PARTS: dict[str, Callable[[Sum, int, float], None]] = {
    "events": events,
    "births": births,
    "instants": instants,
}


def main() -> None:
    """Play the named parts, each as ``NAME BARS AMOUNT``, and print what came of each."""
    told, asked = [], sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        gc.freeze()  # or each fork copies what its first collection touches
        while asked:
            part, bars, amount, *asked = asked
            lives = Sum(Path(folder) / "journal.db", SEED)
            PARTS[part](lives, int(bars), float(amount))
            told.append(lives.told)
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
