"""Runners in processes of their own, killed by a real SIGKILL, on a terminal that lives on.

A program, because a test's process may have threads and must not fork. It owns the terminal; each
runner is a fork of it, which reaches the terminal over two pipes in the frames of the bridge's
worker and is watched as it goes: it stops before whatever it writes to the disk and asks on. So
every call and every write is an instant at which it can be killed; others are any microsecond.

The journal is not synced: what a process has written before it is killed stays in the kernel's
cache. Of machines that die this says nothing.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

import harness
import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.bridge.calls import CALLS
from mtquant.brokers.bridge.normal import normal_arguments
from mtquant.brokers.bridge.session import TerminalSession, call_frame, split_answer
from mtquant.brokers.bridge.wire import dump, load, read_array, read_error, unpack
from mtquant.brokers.bridge.worker import read_frame, write_frame
from mtquant.errors import RiskHalt
from mtquant.live.journal import Journal
from mtquant.live.settings import RunnerSettings

CALL, WRITE, REPORT, FAILED = b"c", b"w", b"r", b"x"
SEND = "order_send"
SEED = int(os.environ.get("MTQUANT_FAULT_SEED", "1"))
# An order that waits for the next process to be born arrives at one of its first calls. Two bars
# without it are then proof enough that it never will, as it cannot come later here.
LATEST, GRACE = 10, 1
OPEN = ("planned", "sending", "placed", "ambiguous")
LIMITS = harness.LIMITS.model_copy(update={"starts_per_hour": 10**6})


class Line:
    """The runner's end: it asks, and does nothing before it is answered."""

    def __init__(self, answers: IO[bytes], asks: IO[bytes]) -> None:
        self._answers, self._asks = answers, asks

    def ask(self, kind: bytes, body: bytes) -> bytes:
        write_frame(self._asks, kind + body)
        answer = read_frame(self._answers)
        if answer is None:
            os._exit(1)  # whoever started it is gone
        return answer

    def write(self, what: str) -> None:
        """Ask whether it may write to the disk now."""
        self.ask(WRITE, what.encode())


class Remote:
    """The module's functions over a line, and a clock that stands still while a bar is decided."""

    def __init__(self, line: Line, now_ns: int) -> None:
        self._line, self._now_ns = line, now_ns
        self._error = (mt5.RES_S_OK, "Success")

    def __getattr__(self, name: str) -> Any:
        return partial(self._function, name) if name in CALLS else getattr(mt5, name)

    def _function(self, name: str, *args: Any, **kwargs: Any) -> Any:
        call = CALLS[name]
        arguments = normal_arguments(call, call.bind(args, kwargs))
        answer = self._line.ask(CALL, call_frame(name, *call.spread(arguments)))
        _, facts, rows = split_answer(answer)
        found = load(facts)
        self._error = read_error(found["last_error"])
        return read_array(found, rows) if "dtype" in found else unpack(found["answer"])

    def last_error(self) -> tuple[int, str]:
        return self._error

    def now_ns(self) -> int:
        return self._now_ns

    def report(self, **told: Any) -> None:
        """Say what came of a bar; the answer is the time of the next."""
        self._now_ns = load(self._line.ask(REPORT, dump(told)))


_STATEMENTS = ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE", "CREATE")
_SETTINGS = ("PRAGMA journal_mode", "PRAGMA user_version =")
_OF_THE_SYSTEM = ("open", "write", "fsync", "replace", "unlink")


def watch_writes(told: Callable[[str], None]) -> None:
    """Tell of every statement that writes, and of every other change of a file, before it is."""
    connect = sqlite3.connect

    def statement(sql: str) -> None:
        if sql.startswith(_STATEMENTS) or sql.startswith(_SETTINGS):
            told(" ".join(sql.split()[:3]))

    def watched(*args: Any, **options: Any) -> sqlite3.Connection:
        database = connect(*args, **options)
        database.set_trace_callback(statement)
        return database

    def before(name: str, act: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if name != "open" or args[1] & os.O_CREAT:
            told(name)
        return act(*args, **options)

    sqlite3.connect = watched  # type: ignore[assignment]
    for name in _OF_THE_SYSTEM:
        setattr(os, name, partial(before, name, getattr(os, name)))


def trade(
    stage: harness.Stage, path: Path, boot: str, now_ns: int, watched: bool, line: Line
) -> None:
    """What a runner's process does, until it is killed."""
    if watched:
        watch_writes(line.write)
    module = Remote(line, now_ns)
    settings = RunnerSettings("faults", grace_bars=GRACE, limits=LIMITS, boot_id=boot)
    *_, runner = harness.begun(stage, module, path, settings)
    module.report(born=True)
    while True:
        report = runner.on_bar()
        module.report(settled=report is not None and harness.settled(stage, report))


class Process:
    """A runner's process, and this end of its line."""

    def __init__(self, body: Callable[[Line], None]) -> None:
        asked, asks = os.pipe()
        answers, answered = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(asked)
            os.close(answered)
            _be(body, Line(os.fdopen(answers, "rb"), os.fdopen(asks, "wb")))
        os.close(asks)
        os.close(answers)
        self._asked, self._answered = os.fdopen(asked, "rb"), os.fdopen(answered, "wb")

    def frames(self) -> Iterator[bytes]:
        while (frame := read_frame(self._asked)) is not None:
            yield frame

    def answer(self, frame: bytes) -> None:
        write_frame(self._answered, frame)

    def kill(self) -> bytes | None:
        """Kill it; what it had asked and nobody had read."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        left = read_frame(self._asked)
        self._asked.close()
        self._answered.close()
        return left


def _be(body: Callable[[Line], None], line: Line) -> NoReturn:
    try:
        body(line)
    except BaseException:
        line.ask(FAILED, traceback.format_exc().encode())
    finally:
        os._exit(1)


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


@dataclass(frozen=True)
class Death:
    """How it ends there.

    Attributes:
        order: What becomes of the call: "never", "done", or "late", when the next one is born.
        after_us: Microseconds that it goes on with the answer, None where it gets none.
    """

    order: str = "never"
    after_us: float | None = None


Killer = Callable[[Instant], Death | None]


@dataclass
class Play:
    """One terminal, and the processes that trade on it one after the other.

    Attributes:
        stage: Bars and script.
        path: Of the journal.
        killer: Who dies, and when.
        rng: How long nobody lives after a death, and when a late order comes.
        watched: Whether the processes stop before each write.
        life: What came of it.
        deaths: Of which, in words.
    """

    stage: harness.Stage
    path: Path
    killer: Killer
    rng: np.random.Generator
    watched: bool = True
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
        boot, now = f"boot {self.births}", self.terminal.now_ns()
        body = partial(trade, self.stage, self.path, boot, now, self.watched)
        process, death, frame = Process(body), None, b""
        self._steps.clear()
        for frame in process.frames():
            if frame.startswith(REPORT):
                self._heard(load(frame[1:]))
                if self._over():
                    break
                process.answer(dump(self.terminal.now_ns()))
                continue
            if frame.startswith(FAILED):
                self.life.broken.append(f"a process failed: {frame[1:].decode()}")
                break
            death = self.killer(self._instant(frame))
            if death is not None:
                break
            process.answer(self._answer(frame))
        self._die(process, death, frame)
        self.births += 1

    def _instant(self, frame: bytes) -> Instant:
        call = frame.startswith(CALL)
        self._steps.append(load(frame[1:])["function"] if call else frame[1:].decode())
        return Instant(self.births, self.terminal.account.forming, tuple(self._steps), call)

    def _answer(self, frame: bytes) -> bytes:
        """Of the terminal; of a write that it may go on."""
        if not frame.startswith(CALL):
            return b""
        if self.terminal.journal is not None:
            self._late = [(calls - 1, order) for calls, order in self._late]
            for order in [order for calls, order in self._late if calls < 0]:
                self._session.answer(order)
            self._late = [one for one in self._late if one[0] >= 0]
        return self._session.answer(frame[1:])

    def _heard(self, told: dict[str, Any]) -> None:
        """A process was born, or has decided a bar."""
        if "born" in told:
            self.terminal.look_into(self.path)
            return
        self.life.reports += 1
        over = self.terminal.account.forming > self.stage.first + self.stage.bars + 1
        quiet = over and told["settled"] and not self._late
        self._stayed = self._stayed + 1 if quiet else 0
        self._advance()

    def _advance(self) -> None:
        if not self.terminal.finished:
            self.terminal.advance()
        self._steps.clear()

    def _die(self, process: Process, death: Death | None, frame: bytes) -> None:
        """Kill it; then time passes, or does not."""
        if death is None:
            process.kill()
            self.terminal.look_away()
            return
        if death.after_us is None:
            self._arrived(frame, death.order)
            process.kill()
        else:
            process.answer(self._answer(frame))
            time.sleep(death.after_us * 1e-6)
            left = process.kill()
            if left is not None:
                self._arrived(left, str(self.rng.choice(["never", "done", "late"])))
        self.terminal.look_away()
        bars = int(self.rng.choice([0, 0, 0, 0, 1, 3]))
        self.deaths.append(f"{self.terminal.account.forming} {self._steps[-1:]} {death} {bars}")
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

    def __call__(self, now: Instant) -> Death | None:
        n = len(now.steps) - 1
        if now.bar in self.died or self.script.get(now.bar, ())[: n + 1] != now.steps:
            return None
        for fate in fates(now.steps[-1]):
            if (now.bar, n, fate) in self.todo:
                self.todo.remove((now.bar, n, fate))
                self.died.add(now.bar)
                return Death(fate)
        return None


@dataclass
class Born:
    """Kills a process at its n-th step, and the one before it with an order on its way."""

    birth: int
    n: int
    fate: str = "done"

    def __call__(self, now: Instant) -> Death | None:
        if now.birth < self.birth and now.steps[-1] == SEND:
            return Death(self.fate)
        if now.birth == self.birth and len(now.steps) - 1 == self.n:
            return Death(fates(now.steps[-1])[-1])
        return None


@dataclass
class Chance:
    """Kills at any microsecond after any call."""

    rng: np.random.Generator
    last: int
    left: int
    every: float = 12.0
    longest_us: float = 3_000.0

    def __call__(self, now: Instant) -> Death | None:
        if not self.left or now.bar > self.last or self.rng.random() * self.every >= 1.0:
            return None
        self.left -= 1
        return Death(after_us=self.rng.random() * self.longest_us)


@dataclass
class Sum:
    """Of many lives."""

    path: Path
    seed: int
    told: dict[str, Any] = field(default_factory=lambda: {"lives": 0, "deaths": 0, "broken": []})

    def play(self, stage: harness.Stage, killer: Killer, watched: bool = True) -> Play:
        rng = np.random.default_rng([self.seed, self.told["lives"]])
        one = Play(stage, self.path, killer, rng, watched)
        one.run()
        self.told["lives"] += 1
        self.told["deaths"] += len(one.deaths)
        if one.life.broken:
            self.told["broken"].append([one.life.broken[:5], one.deaths[-20:]])
        return one

    @property
    def sound(self) -> bool:
        return len(self.told["broken"]) < 3


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
    rng = np.random.default_rng(lives.seed)
    chosen = [keys[k] for k in rng.permutation(len(keys))[: round(share * len(keys))]]
    todo = set(chosen)
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
    later = [Born(1, n, fate) for fate in ("done", "never") for n in range(count)]
    todo = [*first, *later]
    rng = np.random.default_rng(lives.seed)
    for k in rng.permutation(len(todo))[: round(share * len(todo))]:
        if lives.sound:
            lives.play(stage, todo[k])


def instants(lives: Sum, bars: int, count: float) -> None:
    """So many random instants."""
    stage, rng = harness.Stage(bars=bars), np.random.default_rng(lives.seed)
    while lives.told["deaths"] < count and lives.sound:
        left = count - lives.told["deaths"]
        lives.play(stage, Chance(rng, stage.first + bars, left), watched=False)


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
