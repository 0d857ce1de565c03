"""A runner's process for the tests that kill it: a fork that reaches its terminal over two pipes.

The frames are those of the bridge's worker. It asks and waits: for the answer to each call, for the
time of the next bar and, where it is watched, for leave to write to the disk.
"""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

import harness

from mtquant.brokers import constants as mt5
from mtquant.brokers.bridge.calls import CALLS
from mtquant.brokers.bridge.normal import normal_arguments
from mtquant.brokers.bridge.session import call_frame, split_answer
from mtquant.brokers.bridge.wire import dump, load, read_array, read_error, unpack
from mtquant.brokers.bridge.worker import read_frame, write_frame
from mtquant.live.settings import RunnerSettings

CALL, WRITE, REPORT, FAILED = b"c", b"w", b"r", b"x"
# Decided bars in which an order may still come; here none comes later than the next birth's bars.
GRACE = 1
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

    def report(self, settled: bool) -> None:
        """Say whether the script is at rest after a bar; the answer is the time of the next."""
        self._now_ns = load(self._line.ask(REPORT, dump(settled)))


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
    while True:
        report = runner.on_bar()
        module.report(report is not None and harness.settled(stage, report))


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

    def frames(self, seconds: float | None) -> Iterator[bytes]:
        """What it asks, so long as it may live."""
        until = None if seconds is None else time.monotonic() + seconds
        while self._asks(until) and (frame := read_frame(self._asked)) is not None:
            yield frame

    def _asks(self, until: float | None) -> bool:
        """Whether it asks before its time is over; between two frames nothing is buffered."""
        left = None if until is None else max(until - time.monotonic(), 0.0)
        return bool(select.select([self._asked], [], [], left)[0])

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
