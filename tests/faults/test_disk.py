"""A journal that cannot be written: nothing is sent without an intent; the way out stays open."""

from __future__ import annotations

import sqlite3

import harness
import pytest

from mtquant.errors import RiskHalt
from mtquant.live.chain import Chain
from mtquant.live.kill_switch import Form
from mtquant.live.loop import Hands, keep_looking


class FullDisk:
    """Every commit from the N-th on fails, as SQLite says it."""

    def __init__(self, monkeypatch, allowed):
        self.left, real = allowed, Chain._seal

        def seal(chain, before):
            if chain._told and self.left <= 0:
                raise sqlite3.OperationalError("database or disk is full")
            self.left -= bool(chain._told)
            real(chain, before)

        monkeypatch.setattr(Chain, "_seal", seal)


@pytest.mark.parametrize("allowed", range(12))
def test_F2_a_write_that_fails_sends_nothing_without_an_intent(hand, monkeypatch, allowed):
    """The N-th write and all after it; then the disk is well again and the life goes on."""
    one = hand()
    with monkeypatch.context() as patched:
        FullDisk(patched, allowed)
        for _ in range(5):
            try:
                one.runner.on_bar()
            except (RiskHalt, sqlite3.Error):
                pass
            one.terminal.advance()
    sent = one.sends
    assert not one.terminal.broken, "A3: the terminal looks into the journal before each order"
    one.restart()
    for _ in range(3):
        one.bar()
    assert not one.terminal.broken and one.sends >= sent


class Troubles:
    """Hears what the loop says."""

    def __init__(self):
        self.told = []

    def on_report(self, report):
        pass

    def on_trouble(self, problem):
        self.told.append(problem)


def looking(one, *, looks, before=lambda number: None):
    """The loop of a live run, a look a bar; ``before`` is called before each look."""
    heard, numbers = Troubles(), iter(range(looks + 1))

    def over():
        number = next(numbers)
        before(number)
        return number == looks

    hands = Hands(lambda _: one.terminal.advance(), one.runner._broker.connect, lambda: None, over)
    keep_looking([one.runner], hands, heard, 5.0)
    return heard.told


def test_F2_the_loop_outlives_a_full_disk_and_flattens(hand, monkeypatch):
    one = hand()
    one.until_held()
    with monkeypatch.context() as patched:
        FullDisk(patched, 0)

        def before(number):
            if number == 2:
                one.runner.switch.kill(Form.FLATTEN, "the disk is full")

        told = looking(one, looks=6, before=before)
    assert one.held == 0 and not one.terminal.broken
    assert len(told) == 2 and "make room on its disk" in told[0]


def test_F2_a_journal_that_is_locked_for_a_while_is_found_as_it_is(hand, monkeypatch):
    """A backup holds the write lock when an order has just been executed."""
    one = hand()
    one.journal._database.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(one.path, isolation_level=None)
    send = type(one.terminal)._call

    def locking(function, args, kwargs):
        answer = send(one.terminal, function, args, kwargs)
        if function.__name__ == "order_send" and not other.in_transaction:
            other.execute("BEGIN IMMEDIATE")
        return answer

    one.terminal._call = locking

    def before(number):
        if number == 2:
            del one.terminal._call
            other.execute("ROLLBACK")

    told = looking(one, looks=8, before=before)
    other.close()
    assert told and all("let go of its lock" in text for text in told)
    assert not one.terminal.broken and one.held
    with sqlite3.connect(one.path) as database:
        ((state,),) = database.execute("SELECT state FROM intent ORDER BY rowid LIMIT 1").fetchall()
    database.close()
    assert state == "executed"


def test_F2_a_journal_that_is_locked_at_the_start_is_one_sentence(hand):
    one = hand()
    one.close()
    other = sqlite3.connect(one.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.MonkeyPatch.context() as patched:
        connect = sqlite3.connect
        patched.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **({"timeout": 0.1} | k)))
        with pytest.raises(RiskHalt, match="let go of its lock"):
            harness._born(one.stage, one.terminal, one.path, one.limits)
    other.close()
    one.parts = harness._born(one.stage, one.terminal, one.path, one.limits)


def test_F2_on_a_full_disk_the_spare_orders_flatten(hand, monkeypatch):
    one = hand()
    one.until_held()
    with monkeypatch.context() as patched:
        FullDisk(patched, 0)
        one.runner.switch.kill(Form.FLATTEN, "the disk is full")
        for _ in range(4):
            one.bar()
    assert one.held == 0 and not one.terminal.broken
    magic = one.terminal.sent[-1].request["magic"]
    assert magic >> 4 & 7 == 7, "under the name of a spare one"
    one.runner.switch.arm("Ann", "made room", one.terminal.now_ns())
    one.restart()
    report = one.bar()
    assert f"spare order {magic} was sent, says history" in " ".join(report.events)
    assert not [event for event in report.events if "expected" in event]
