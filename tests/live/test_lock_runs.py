"""The lock at work: trips outlive the process, wait for a person, and failing orders hold back."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager

import numpy as np
import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.errors import ConfigError, RiskHalt
from mtquant.live.journal import Journal
from mtquant.live.lock import Reset
from mtquant.live.paper import paper_bars, paper_runner
from mtquant.risk.breaker import LEVEL_3, NORMAL

HOUR = 3600 * 10**9
LONG_AFTER = 4 * 10**18  # real time means nothing to a journal of simulated time
FALL = 0.04


@pytest.fixture(scope="module")
def world(make_world):
    """Four per cent below the peak lock it; without a re-based peak it would lock at once again."""
    return make_world(
        600,
        sizing={"risk_fraction": 0.1},
        breaker={"daily_loss": (0.5, 0.6, 0.7), "drawdown": FALL, "cooldown_minutes": 120},
    )


class Desk:
    """A journal and a runner on a terminal that outlives them."""

    def __init__(self, world, path, terminal=None, kind=Journal):
        self.world, self.path = world, path
        self.terminal = terminal or world.terminal()
        self.journal = kind(path, durable=False)
        self.runner = paper_runner(self.terminal, self.journal, world.strategy(), "test")

    def restarted(self, kind=Journal):
        self.journal.close()
        return Desk(self.world, self.path, self.terminal, kind)

    def run(self, bars=None, until=None):
        reports = []
        for report in paper_bars(self.terminal, self.runner):
            reports.append(report)
            if len(reports) == bars or (until and until(report)):
                break
        return reports

    def run_to_lock(self):
        return self.run(until=lambda report: report.outlook.record.level == LEVEL_3)[-1]

    def level(self):
        return self.journal.latest_record().level

    @property
    def held(self):
        return int(self.terminal.account.book.positions["steps"][0, 0])


@pytest.fixture
def desk(world, tmp_path):
    return Desk(world, tmp_path / "journal.db")


def test_a_locked_run_stays_flat_across_restarts(desk):
    report = desk.run_to_lock()
    (trip,) = desk.journal.breaker.events()
    record = report.outlook.record
    assert report.trip == trip and trip.bar_time_ns == record.bar_time_ns
    assert trip.at_ns == record.bar_time_ns + HOUR and trip.equity == record.equity
    assert trip.cause == f"fall from the peak {record.drawdown:.2%} (limit {FALL:.2%})"
    desk = desk.restarted()
    reports = desk.run(60)
    assert desk.held == 0 and desk.level() == LEVEL_3
    assert {r.outlook.decisions[0].target for r in reports} == {0}
    assert [r.trip for r in reports] == [None] * 60
    assert desk.journal.breaker.events() == [trip]


def test_a_reset_waits_for_the_cooldown_on_the_clock_of_the_bars(desk):
    desk.run_to_lock()
    for minutes in (0, 60):
        with pytest.raises(RiskHalt, match=f"tripped {minutes} minutes ago and its cooldown is"):
            desk.journal.breaker.reset(LONG_AFTER, "Ann", "feed repaired")
        desk.run(1)
    assert desk.journal.breaker.status(LONG_AFTER).minutes_since == 120
    made = desk.journal.breaker.reset(LONG_AFTER, "Ann", "feed repaired")
    (trip, _) = desk.journal.breaker.events()
    assert made.at_ns == trip.at_ns + 2 * HOUR == desk.journal.latest_record().bar_time_ns + HOUR
    with pytest.raises(ConfigError, match="Ann has reset"):
        desk.journal.breaker.reset(LONG_AFTER, "Bob", "me too")


def test_after_a_reset_it_trades_again_and_counts_anew(desk):
    desk.run_to_lock()
    desk.run(4)
    before = desk.journal.latest_record()
    desk.journal.breaker.reset(0, "Ann", "feed repaired")
    desk = desk.restarted()
    reports = desk.run(24)
    first = reports[0].outlook.record
    assert first.level == NORMAL and before.equity < (1 - FALL) * before.peak
    assert first.peak == first.day_start == before.equity == first.equity, "flat all the while"
    assert (first.memory["week_start"], first.memory["start_equity"]) == (first.equity,) * 2
    assert "breaker reset by Ann: feed repaired" in reports[0].events
    assert any(r.outlook.record.positions[0].steps for r in reports)
    applied = desk.journal.breaker.events()[1]
    assert applied.bar_time_ns == first.bar_time_ns
    for report in reports:
        record = report.outlook.record
        assert (record.level == LEVEL_3) == (record.drawdown >= FALL)
        if record.level:
            break


class Crash(BaseException):
    """The process dies."""


class DyingJournal(Journal):
    """Dies before, inside or after the commit of the bar at which a reset takes effect."""

    moment = "before"
    applying = False

    def commit_bar(self, *args, reset=None, **rest):
        self.applying = reset is not None
        super().commit_bar(*args, reset=reset, **rest)
        self.applying = False

    @contextmanager
    def _transaction(self):
        if self.applying and self.moment == "before":
            raise Crash
        with super()._transaction():
            yield
            if self.applying and self.moment == "inside":
                raise Crash
        if self.applying and self.moment == "after":
            raise Crash


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
def test_a_reset_is_applied_once_wherever_the_process_dies(world, tmp_path, moment):
    def story(path, kind):
        desk = Desk(world, path)
        desk.run_to_lock()
        desk.run(3)
        desk.journal.breaker.reset(0, "Ann", "feed repaired")
        desk = desk.restarted(kind)
        if kind is DyingJournal:
            desk.journal.moment = moment
            with pytest.raises(Crash):
                desk.run(2)
            desk = desk.restarted()
        desk.run(100)
        events = desk.journal.breaker.events()
        with sqlite3.connect(path) as database:
            rows = database.execute("SELECT bar_time_ns, level, equity FROM account").fetchall()
        database.close()
        return events, rows

    whole, died = story(tmp_path / "whole.db", Journal), story(tmp_path / "died.db", DyingJournal)
    resets = [event for event in died[0] if isinstance(event, Reset)]
    assert len(resets) == 1 and resets[0].bar_time_ns is not None
    levels = [level for _, level, _ in died[1]]
    assert levels.count(NORMAL) > 10
    if moment == "after":  # the orders of that bar were never sent
        assert levels[: len(levels) - 100] == [r[1] for r in whole[1]][: len(levels) - 100]
    else:
        assert died[0][:2] == whole[0][:2]
        assert died[1] == whole[1][: len(died[1])]


def test_a_loss_after_a_reset_locks_again(desk):
    """What happens after the record that was re-armed is judged as ever."""
    desk.run_to_lock()
    desk.run(4)
    desk.journal.breaker.reset(0, "Ann", "feed repaired")
    book = desk.terminal.account.book
    book.account["balance"] *= 0.9  # a loss that nobody has seen yet
    report = desk.run(1)[0]
    assert report.outlook.record.level == LEVEL_3
    assert report.trip.cause == f"fall from the peak 10.00% (limit {FALL:.2%})"
    assert desk.journal.breaker.status(0).reset_by == ""


def test_a_journal_of_simulated_time_is_not_continued_in_real_time(desk):
    with pytest.raises(ConfigError, match="belongs to clock 'bars', not 'utc'"):
        desk.journal.bind({"clock": "utc"}, {})


class Eager:
    """Wants full size at every bar."""

    name = "eager"
    inputs = ("hour_sin", "hour_cos")
    scaled = False
    window = 1
    action = 1.0

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.array([self.action], np.float32), state


class FailingTerminal(SimulatedTerminal):
    """Refuses orders by a wrong filling mode, or executes them and does not answer."""

    how = "refuse"

    def order_send(self, request):
        self.__dict__.setdefault("sent", []).append(int(self.account.forming))
        if self.how == "refuse":
            return super().order_send(request | {"type_filling": mt5.ORDER_FILLING_RETURN})
        answer = super().order_send(request)
        if self.how == "silent":
            self._error = (mt5.RES_E_INTERNAL_FAIL_TIMEOUT, "IPC timeout")
            return None
        return answer


def failing_desk(make_world, path, agent=None, **breaker):
    world = make_world(200, breaker=breaker)
    world.agent = agent or Eager()
    return Desk(world, path, world.terminal(FailingTerminal))


def bars_sent(terminal):
    return [row - terminal.sent[0] for row in terminal.sent]


def test_failed_orders_leave_only_reductions_until_the_window_has_passed(make_world, tmp_path):
    """Three failures fill a window of five bars; the oldest leaves it five bars later."""
    desk = failing_desk(make_world, tmp_path / "journal.db", error_bars=5)
    reports = desk.run(3)
    assert desk.journal.breaker.status(0).failed_orders == 3
    desk = desk.restarted()
    reports += desk.run(13)
    assert bars_sent(desk.terminal) == [0, 1, 2, 6, 7, 8, 12, 13, 14]
    reasons = [report.outlook.decisions[0].reason for report in reports]
    assert [k for k, reason in enumerate(reasons) if reason == "too many failed orders"] == [
        *(3, 4, 5),
        *(9, 10, 11),
        15,
    ]
    told = "3 failed orders within 5 bars (limit 3): only reductions"
    assert [k for k, report in enumerate(reports) if told in report.events] == [3, 9, 15]


def test_unanswered_orders_count_even_where_they_were_executed(make_world, tmp_path):
    class Flipping(Eager):
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return np.array([-1.0 if observation[2] > 0 else 1.0], np.float32), state

    desk = failing_desk(make_world, tmp_path / "journal.db", Flipping(), max_errors=2)
    desk.terminal.how = "silent"
    desk.run(4)
    assert desk.journal.breaker.status(0).failed_orders >= 2
    assert not desk.journal.breaker.status(0).can_trade


def test_reductions_are_still_sent(make_world, tmp_path):
    desk = failing_desk(make_world, tmp_path / "journal.db", max_errors=1)
    desk.terminal.how = "execute"
    desk.run(2)
    held = desk.held
    assert held > 0
    desk.world.agent.action, desk.terminal.how = -1.0, "refuse"
    desk.run(2)
    assert desk.held == held
    desk.terminal.how = "execute"
    reports = desk.run(3)
    assert desk.held == 0, "closed, and not turned round"
    assert reports[-1].outlook.decisions[0].reason == "too many failed orders"


@pytest.mark.parametrize("breaker", [{"max_errors": 0}, {"max_errors": 21, "error_bars": 30}])
def test_the_limit_is_the_envs(make_world, tmp_path, breaker):
    desk = failing_desk(make_world, tmp_path / "journal.db", **breaker)
    desk.run(20)
    assert len(desk.terminal.sent) == 20
    assert desk.journal.breaker.status(0).can_trade


def test_a_closed_market_is_no_failure(make_world, tmp_path):
    world = make_world(200)
    world.agent = Eager()
    desk = Desk(world, tmp_path / "journal.db")
    desk.terminal.account.tape.market["tradable"][:] = 0
    desk.run(6)
    with sqlite3.connect(desk.path) as database:
        rows = database.execute(
            "SELECT retcode, failed FROM outcome WHERE retcode NOT NULL"
        ).fetchall()
    database.close()
    assert rows == [(mt5.TRADE_RETCODE_MARKET_CLOSED, 0)] * 6
