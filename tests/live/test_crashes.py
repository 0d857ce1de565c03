"""The runner dies at broker calls and commits; nothing is lost, doubled or invented."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Instrument
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.live.intents import IntentState
from mtquant.live.journal import Journal
from mtquant.live.paper import paper_bars
from mtquant.live.runner import Runner
from mtquant.live.settings import RunnerSettings

BARS = 14
# Of all instants, so many apart; test_schedules and test_sigkill die at each.
EVERY = 1 if os.environ.get("MTQUANT_FAULT_ALL") else 3


class Crash(BaseException):
    """The process dies; nothing in the package may catch it."""


class CrashingTerminal(SimulatedTerminal):
    """Dies before or after one API call, counted from 0."""

    crash_at = -1
    after = False
    calls: list[str]

    def _call(self, function, args, kwargs):
        number = len(self.__dict__.setdefault("calls", []))
        self.calls.append(function.__name__)
        if number == self.crash_at and not self.after:
            raise Crash
        answer = super()._call(function, args, kwargs)
        if number == self.crash_at:
            raise Crash
        return answer


class CrashingJournal(Journal):
    """Dies before or after one commit, counted from 0."""

    crash_at = -1
    after = False
    commits = 0

    @contextmanager
    def _transaction(self):
        number, self.commits = self.commits, self.commits + 1
        with super()._transaction():
            yield
            if number == self.crash_at and not self.after:
                raise Crash
        if number == self.crash_at:
            raise Crash


class EveryBar:
    """Another target at every bar: flips, reductions, flat."""

    name = "every bar"
    inputs = ("hour_sin", "hour_cos")
    scaled = False
    window = 1
    targets = (1.0, -1.0, -0.5, 0.8, 0.3, 0.0)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        hour = round(np.arctan2(observation[0], observation[1]) / (2 * np.pi) * 24) % 24
        return np.array([self.targets[hour % len(self.targets)]], np.float32), state


@pytest.fixture(scope="module")
def world(make_world):
    made = make_world(300)
    made.agent = EveryBar()
    made.rows = (made.rows[0], made.rows[0] + BARS)
    return made


def runner_of(world, terminal, journal, **settings):
    instruments = [Instrument(spec, spec.name) for spec in world.specs]
    adapter = MT5Adapter(terminal, instruments)
    adapter.connect()
    chosen = RunnerSettings("test", **settings)
    return Runner(adapter, journal, world.strategy(), instruments, chosen, terminal.now_ns)


def finish(world, terminal, journal, **settings):
    for _ in paper_bars(terminal, runner_of(world, terminal, journal, **settings)):
        pass


def trades(terminal):
    return [
        (d.time, d.type, d.entry, d.volume, d.price, d.profit, d.commission, d.magic)
        for d in terminal.account.deals
        if d.type != mt5.DEAL_TYPE_BALANCE
    ]


def check_books(terminal, path):
    """At most one execution per intent, none without one, and the journal knows them all."""
    sent = Counter(order.magic for order in terminal.account.orders)
    assert max(sent.values(), default=0) <= 1
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT magic, state, executed_steps FROM intent").fetchall()
        bars = database.execute("SELECT bar_time_ns FROM decision").fetchall()
        (left,) = database.execute(
            "SELECT COUNT(*) FROM intent WHERE state = 'planned' AND bar_time_ns < ?", max(bars)
        ).fetchone()
    database.close()
    assert len(bars) == len(set(bars)) and left == 0
    assert set(sent) <= {magic for magic, _, _ in rows}
    executed = sum(steps for _, state, steps in rows if state == "executed")
    open_at_end = [row for row in rows if row[1] in ("sending", "ambiguous", "placed")]
    if not open_at_end:
        assert executed == int(terminal.account.book.positions["steps"][0, 0])


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    terminal = world.terminal(CrashingTerminal)
    journal = CrashingJournal(tmp_path_factory.mktemp("whole") / "journal.db", durable=False)
    finish(world, terminal, journal)
    journal.close()
    assert len(trades(terminal)) > BARS / 2 and journal.commits > BARS
    return terminal, journal


@pytest.mark.parametrize("after", [False, True])
def test_dying_at_any_broker_call(world, undisturbed, tmp_path, after):
    whole, _ = undisturbed
    for number, name in list(enumerate(whole.calls))[::EVERY]:
        terminal = world.terminal(CrashingTerminal)
        terminal.crash_at, terminal.after = number, after
        path = tmp_path / f"{number}.db"
        with pytest.raises(Crash):
            finish(world, terminal, Journal(path, durable=False))
        journal = Journal(path, durable=False)
        finish(world, terminal, journal)
        journal.close()
        check_books(terminal, path)
        # The quote from which a stop is counted is read when the order is on its way already.
        if "order_send" not in whole.calls[number : number + 5]:
            assert trades(terminal) == trades(whole), (number, name)


@pytest.mark.parametrize("after", [False, True])
def test_dying_at_any_commit(world, undisturbed, tmp_path, after):
    _, reference = undisturbed
    for number in range(0, reference.commits, EVERY):
        terminal, path = world.terminal(), tmp_path / f"{number}.db"
        dying = CrashingJournal(path, durable=False)
        dying.crash_at, dying.after = number, after
        with pytest.raises(Crash):
            finish(world, terminal, dying)
        dying.close()
        journal = Journal(path, durable=False)
        finish(world, terminal, journal)
        journal.close()
        check_books(terminal, path)


class WatchedTerminal(SimulatedTerminal):
    """Looks into the journal from a second connection before it executes."""

    path = None
    seen = 0

    def order_send(self, request):
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as other:
            rows = other.execute(
                "SELECT state, steps FROM intent WHERE magic = ?", (request["magic"],)
            ).fetchall()
        other.close()
        assert [state for state, _ in rows] == ["sending"]
        assert (rows[0][1] > 0) == (request["type"] == mt5.ORDER_TYPE_BUY)
        self.seen += 1
        return super().order_send(request)


def test_A3_an_intent_is_committed_before_it_is_sent(world, tmp_path):
    terminal = world.terminal(WatchedTerminal)
    terminal.path = tmp_path / "journal.db"
    journal = Journal(terminal.path)
    finish(world, terminal, journal)
    journal.close()
    assert terminal.seen == len(terminal.account.orders) > BARS / 2


class SilentTerminal(SimulatedTerminal):
    """Answers the first order with a time-out, executed or not."""

    executes = True
    sends = 0

    def order_send(self, request):
        self.sends += 1
        if self.sends > 1:
            return super().order_send(request)
        if self.executes:
            super().order_send(request)
        self._error = (mt5.RES_E_INTERNAL_FAIL_TIMEOUT, "IPC timeout")
        return None

    def last_error(self):
        return self._error


class StubbornTerminal(SimulatedTerminal):
    """Refuses to close anything."""

    refused = 0

    def order_send(self, request):
        held = int(self.account.book.positions["steps"][0, 0])
        buying = request["type"] == mt5.ORDER_TYPE_BUY
        if held and buying == (held < 0):
            self.refused += 1
            request = request | {"type_filling": mt5.ORDER_FILLING_RETURN}
        return super().order_send(request)


def test_a_refused_reduction_is_not_followed_by_its_increase(world, tmp_path):
    terminal = world.terminal(StubbornTerminal)
    path = tmp_path / "journal.db"
    journal = Journal(path, durable=False)
    finish(world, terminal, journal)
    journal.close()
    sides = {order.type for order in terminal.account.orders}
    assert terminal.refused > 3 and len(sides) == 1
    assert IntentState.CANCELLED in states(path)


def states(path):
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT state FROM intent ORDER BY magic").fetchall()
    database.close()
    return [IntentState(state) for (state,) in found]


def test_an_unanswered_order_that_was_executed_is_found_in_history(world, tmp_path, undisturbed):
    terminal, path = world.terminal(SilentTerminal), tmp_path / "journal.db"
    journal = Journal(path, durable=False)
    finish(world, terminal, journal)
    assert states(path)[0] is IntentState.EXECUTED
    assert trades(terminal) == trades(undisturbed[0])
    assert any("says history" in text for _, text in journal.events())
    journal.close()


def test_an_unanswered_order_freezes_its_symbol_until_the_grace_is_over(world, tmp_path):
    terminal, path = world.terminal(SilentTerminal), tmp_path / "journal.db"
    terminal.executes = False
    journal = Journal(path, durable=False)
    runner = runner_of(world, terminal, journal, grace_bars=6)
    reasons = []
    for report in paper_bars(terminal, runner):
        reasons.append(report.outlook.decisions[0].reason)
        if terminal.sends == 1:
            assert not terminal.account.orders
    journal.close()
    assert "unresolved order" in reasons[1:7]
    assert states(path)[0] is IntentState.NOT_EXECUTED
    assert terminal.account.orders, "trading goes on once the order is proven dead"
    check_books(terminal, path)


def test_A6_history_is_read_before_positions_and_positions_before_the_account(undisturbed):
    names = ("history_deals_get", "orders_get", "positions_get", "account_info")
    reads = " ".join(name for name in undisturbed[0].calls if name in names)
    cycles = reads.split("history_deals_get")[1:]
    assert len(cycles) >= BARS - 1
    for cycle in cycles:
        first, second, *gates = cycle.split()
        assert (first, second) == ("orders_get", "positions_get")
        assert gates[0] == "account_info" and set(gates) <= {"account_info", "positions_get"}
        before_orders = " ".join(gates[1:]).split("account_info")
        assert all(one.split() in ([], ["positions_get"]) for one in before_orders)
