"""The process that owns the terminal hangs, dies and lies; no order is lost or sent twice."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Outcome
from mtquant.brokers.bridge.client import ClientPatience
from mtquant.brokers.bridge.orders import OrderTable
from mtquant.brokers.bridge.process import WorkerProcess, WorkerRefused
from mtquant.brokers.bridge.supervisor import Patience, Refusal, Supervisor
from mtquant.brokers.retcodes import outcome_of

PROGRAM = [sys.executable, str(Path(__file__).with_name("worker_program.py"))]
# A machine may be busy and its kernels not compiled: only what is meant to hang meets the limit.
PATIENT = Patience(waiting=100.0, call=300.0, connect=60.0)
HASTY = replace(PATIENT, call=5.0)
QUICK = ClientPatience(answer=200.0, settle=200.0, tries=2, pause=0.01)
REQUEST = {"action": mt5.TRADE_ACTION_DEAL, "symbol": "TOY.x", "volume": 0.1, "type": 0}


class Desk:
    """A bridge whose worker is a process, its client, and what was really executed."""

    def __init__(self, bridges, folder: Path) -> None:
        self._ledger = folder / "executed"
        setup = {"terminal": "toy", "ledger": str(self._ledger)}
        start = partial(WorkerProcess, PROGRAM, setup, 60.0)
        self.bridge = bridges.Bridge(start, folder, patience=PATIENT)
        self.supervisor = self.bridge.supervisor
        self.client = self.bridge.client(patience=QUICK)
        assert self.client.initialize()

    def executed(self, magic: int) -> int:
        lines = self._ledger.read_text().split() if self._ledger.exists() else []
        return lines.count(str(magic))

    def fail(self, how: str) -> None:
        self.supervisor.call("fail", {"how": how})

    @contextmanager
    def hasty(self):
        """The supervisor waits for seconds only; the worker must have its kernels by now."""
        self.supervisor._patience = HASTY
        try:
            yield
        finally:
            self.supervisor._patience = PATIENT

    def send(self, magic: int, key: str | None = None):
        answer = self.client.order_send({**REQUEST, "magic": magic}, key=key)
        return answer, outcome_of(answer, self.client.last_error()[0])

    def close(self) -> None:
        self.client.shutdown()
        self.bridge.close()


@pytest.fixture(scope="module")
def desk(bridges, tmp_path_factory):
    made = Desk(bridges, tmp_path_factory.mktemp("worker"))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("failure", "executions", "magic"),
    [
        ("hang before", 0, 1001),
        ("hang after", 1, 1002),
        ("die before", 0, 1003),
        ("die after", 1, 1004),
    ],
)
def test_a_lost_order_is_ambiguous_and_its_key_never_runs_again(desk, failure, executions, magic):
    key = f"a-key-of-its-own-{magic}"
    assert desk.send(magic + 100)[1] is Outcome.EXECUTED
    worker = desk.supervisor._worker.pid
    desk.fail(failure)
    with desk.hasty():
        answer, outcome = desk.send(magic, key)
    assert answer is None and outcome is Outcome.AMBIGUOUS
    assert desk.executed(magic) == executions

    # The repetition finds a new worker, and does not reach it.
    answer, outcome = desk.send(magic, key)
    assert answer is None and outcome is Outcome.AMBIGUOUS
    assert "no answer" in desk.client.last_error()[1]
    assert desk.client.account_info() is not None
    assert desk.supervisor._worker.pid != worker
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert desk.executed(magic) == executions

    answer, outcome = desk.send(magic + 500)
    assert outcome is Outcome.EXECUTED and desk.executed(magic + 500) == 1


def test_an_answered_key_is_answered_again_by_another_worker(desk):
    first, _ = desk.send(77, "k" * 20)
    desk.supervisor._worker.end()
    again, outcome = desk.send(77, "k" * 20)
    assert again == first and outcome is Outcome.EXECUTED
    assert desk.executed(77) == 1
    other = desk.client.order_send({**REQUEST, "magic": 78}, key="k" * 20)
    assert other is None and "another request" in desk.client.last_error()[1]
    assert desk.executed(78) == 0


def test_a_module_that_raises_leaves_doubt_and_lives_on(desk):
    desk.client.account_info()  # whoever was lost is replaced
    worker = desk.supervisor._worker.pid
    desk.fail("raise")
    answer, outcome = desk.send(90)
    assert answer is None and outcome is Outcome.AMBIGUOUS
    assert "after it was executed" in desk.client.last_error()[1]
    assert desk.executed(90) == 1 and desk.supervisor._worker.pid == worker


def test_what_a_module_prints_is_no_frame(desk):
    desk.fail("print")
    answer, outcome = desk.send(91)
    assert outcome is Outcome.EXECUTED and answer.request.magic == 91


def test_two_threads_with_one_key_execute_once(desk):
    desk.client.account_info()
    clients = [desk.bridge.client() for _ in range(6)]
    answers = []

    def send(client):
        answers.append(client.order_send({**REQUEST, "magic": 66}, key="together-together"))
        client.shutdown()

    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.executed(66) == 1 and len(set(answers)) == 1 and len(answers) == 6


def test_nobody_reaches_a_test_hand_over_http(desk):
    with pytest.raises(AttributeError, match="offers no 'advance'"):
        desk.client.advance()
    answer = desk.client._connection.ask("POST", "/v1/advance", b"{}", 5.0)
    assert answer.status == 404


def test_a_call_that_waits_too_long_is_refused_and_never_sent(desk):
    desk.client.account_info()
    held, let = threading.Event(), threading.Event()

    def hold():
        with desk.supervisor._lock:
            held.set()
            let.wait(10.0)

    thread = threading.Thread(target=hold)
    patience, desk.supervisor._patience = desk.supervisor._patience, Patience(waiting=0.05)
    thread.start()
    try:
        assert held.wait(5.0)
        with pytest.raises(Refusal, match="busy") as refusal:
            desk.supervisor.call("order_send", {"request": REQUEST | {"magic": 55}}, "w" * 20)
        assert refusal.value.executed == "never"
        assert desk.send(55)[1] is Outcome.NOT_EXECUTED
    finally:
        let.set()
        thread.join()
        desk.supervisor._patience = patience
    assert desk.executed(55) == 0


def test_an_order_that_waited_for_a_worker_is_not_sent_late(bridges, make, tmp_path):
    terminal, key = make([100.0, 101.0, 102.0]), "k" * 16

    def slow():
        time.sleep(0.3)
        return bridges.ThreadWorker(terminal)

    table = OrderTable(tmp_path / "orders")
    supervisor = Supervisor(slow, table, Patience(waiting=0.2))
    with pytest.raises(Refusal, match="waited too long") as refusal:
        supervisor.call("order_send", {"request": REQUEST}, key)
    assert refusal.value.executed == "never" and not table.knows(key)
    assert terminal.positions_get() == ()
    supervisor.call("order_send", {"request": REQUEST}, key)
    assert len(terminal.positions_get()) == 1
    supervisor.close()


def test_no_terminal_is_one_sentence(bridges, tmp_path):
    start = partial(WorkerProcess, PROGRAM, {"terminal": "nothing"}, 30.0)
    with pytest.raises(WorkerRefused, match="no terminal runs here"):
        bridges.Bridge(start, tmp_path)


def test_the_official_module_is_missing_here(tmp_path):
    program = [sys.executable, "-m", "mtquant.brokers.bridge.worker"]
    with pytest.raises(WorkerRefused, match="MetaTrader5 package is not installed"):
        WorkerProcess(program, {"connect": {}}, 30.0)


def test_a_worker_ends_with_its_server(tmp_path):
    """Its stdin ends, however the server died."""
    worker = WorkerProcess(PROGRAM, {"terminal": "toy", "ledger": str(tmp_path / "l")}, 60.0)
    worker._process.stdin.close()
    assert worker._process.wait(60.0) == 0
    worker.end()
