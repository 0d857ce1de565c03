"""Two strategies on one account: each has its own, and the account's limits bind the sum."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from dataclasses import replace
from types import SimpleNamespace

import company
import pytest

from mtquant.brokers.mt5 import MT5Adapter
from mtquant.errors import BrokerUnavailable, ConfigError, RiskHalt
from mtquant.live.desk import Desk, Seat, Stake, stake_of
from mtquant.live.exposure import Exposure
from mtquant.live.intents import tag_of
from mtquant.live.journal import Journal
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.loop import Hands, keep_looking
from mtquant.live.runner import Runner
from mtquant.live.settings import RunnerSettings
from mtquant.live.start import Trader, live_runners, lock_paths
from mtquant.live.writer import WriterLock


class Office:
    """Both strategies of :mod:`company` on an account, started as ``--live`` starts them."""

    def __init__(self, folder, **limits) -> None:
        self.stage, self.folder = company.Stage(), folder
        self.limits = company.COMPANY_LIMITS.model_copy(update=limits)
        self.terminal = self.stage.terminal({})
        self.terminal.look_into(folder)
        self.terminal.initialize()
        self.process = ExitStack()
        self.runners = self.start()

    def start(self):
        adapter = MT5Adapter(self.terminal, self.stage.instruments)
        adapter.connect()
        traders = [
            Trader(name, strategy, self.folder / f"{name}.db", [instrument])
            for name, strategy, instrument in zip(
                company.NAMES, self.stage.strategies, self.stage.instruments, strict=True
            )
        ]
        now = self.terminal.now_ns
        return self.process.enter_context(
            live_runners(
                traders,
                adapter,
                self.limits,
                locks=self.folder / "locks",
                boot_id="b",
                clock=now,
                monotonic_ns=now,
            )
        )

    def bar(self):
        for runner in self.runners:
            runner.look()
        reports = [runner.act() for runner in self.runners]
        self.terminal.advance()
        return reports

    def switches(self):
        return [KillSwitch(self.folder / f"{name}.db").read() for name in company.NAMES]


@pytest.fixture
def office(tmp_path):
    opened = []

    def make(**limits):
        opened.append(Office(tmp_path, **limits))
        return opened[-1]

    yield make
    for one in opened:
        one.process.close()
        one.terminal.look_away()


def test_each_trades_its_own_symbol_under_its_own_tag(office):
    one = office(max_account_value=1e9)
    for _ in range(company.BARS):
        one.bar()
    dealt = {(deal.symbol, tag_of(deal.magic)) for deal in one.terminal.account.deals[1:]}
    assert dealt == {("XAUUSD", company.TAGS[0]), ("EURUSD", company.TAGS[1])}
    for s, strategy in enumerate(one.stage.strategies):
        last = int(one.stage.panel.time[one.terminal.account.forming - 2])
        held = int(one.terminal.account.book.positions["steps"][0, s])
        assert held == strategy.wanted(last), "neither stands in the other's way"


def test_B1_the_sum_is_bound_where_each_alone_would_pass(office):
    one, denied = office(), 0
    for _ in range(company.BARS):
        reports = one.bar()
        texts = [result.text for report in reports for result in report.results]
        denied += sum("value of all positions" in text for text in texts)
    assert denied >= 3 and not one.terminal.broken


def test_B1_nobody_grows_before_all_have_looked(office):
    one = office()
    report = one.runners[0].on_bar()
    (decision,) = report.outlook.decisions
    assert decision.reason == "what others may come to is unknown" and not report.results
    one.runners[1].look()
    one.terminal.advance()
    assert one.runners[0].on_bar().outlook.decisions[0].reason == "script"


def test_B1_a_restart_within_a_bar_knows_what_the_other_holds(office):
    one = office(max_account_value=1e9)
    while not all(one.terminal.account.book.positions["steps"][0]):
        one.bar()
    one.process.close()
    one.runners = one.start()
    for runner in one.runners:
        runner.look()
    seats = one.runners[0]._desk._seats
    worth = one.terminal._step_values() * abs(one.terminal.account.book.positions["steps"][0])
    assert [seat.stake.value for seat in seats] == pytest.approx(list(worth), rel=0.01)


def test_orders_of_both_count_and_both_switches_fall(office):
    one = office(orders_per_day=6, max_account_value=1e9)
    for _ in range(4):
        one.bar()
    assert one.switches() == [Form.REDUCE, Form.REDUCE], "six of both, three or four of each"
    assert "6 orders within a day" in KillSwitch(one.folder / "euro.db").told()


def test_what_one_is_losing_counts_against_the_other(office):
    one = office(max_account_value=1e9)
    lost = False
    for _ in range(company.BARS):
        for runner in one.runners:
            runner.look()
        floating = [0.0, 0.0]
        for position in one.terminal.positions_get():
            floating[company.TAGS.index(tag_of(position.magic))] += position.profit
        balance = one.terminal.account_info().balance
        for s, runner in enumerate(one.runners):
            other = floating[1 - s]
            assert runner._findings.balance.balance == pytest.approx(balance + min(other, 0.0))
            lost |= other < -1.0
        for runner in one.runners:
            runner.act()
        one.terminal.advance()
    assert lost, "somebody was losing in between"


def test_one_process_trades_an_account(office, tmp_path):
    one = office()
    elsewhere = tmp_path / "other.db"
    with pytest.raises(RiskHalt, match="one process trades an account"):
        WriterLock(*lock_paths([elsewhere], tmp_path / "locks", one.limits))


class Both:
    """One strategy on both symbols, which wants full size of each at once."""

    managed, agent = False, None
    bars_needed = bars_kept = 3
    pipeline = SimpleNamespace(pipeline=SimpleNamespace(related=()))

    def __init__(self, env, strategies):
        self.env, self.strategies = env, strategies

    def step_value(self, bars):
        pairs = zip(self.strategies, bars, strict=True)
        return tuple(value for one, bar in pairs for value in one.step_value([bar]))

    def decide(self, bars, record, found, guards, context=(), quotes=()):
        parts = [
            one.decide([bar], record, replace(found, positions=(position,)), [guard])
            for one, bar, position, guard in zip(
                self.strategies, bars, found.positions, guards, strict=True
            )
        ]
        positions = tuple(part.record.positions[0] for part in parts)
        return replace(
            parts[0],
            record=replace(parts[0].record, positions=positions),
            decisions=tuple(part.decisions[0] for part in parts),
            price=tuple(part.price[0] for part in parts),
            step_value=self.step_value(bars),
        )


def test_B1_symbols_of_one_strategy_do_not_grow_beside_each_other(tmp_path):
    """Judged as if the first order of the bar had not been executed, the second would pass."""
    stage = company.Stage()
    for one in stage.strategies:
        one._script = (10,)
    terminal = stage.terminal({})
    terminal.initialize()
    adapter = MT5Adapter(terminal, stage.instruments)
    adapter.connect()
    settings = RunnerSettings("both", limits=company.COMPANY_LIMITS, boot_id="b")
    lock = WriterLock(tmp_path / "lock")
    with closing(Journal(tmp_path / "both.db", durable=False)) as journal:
        strategy = Both(stage.strategies[0].env, stage.strategies)
        terminal.states = lambda magic: [("sending",)]
        runner = Runner(
            adapter, journal, strategy, stage.instruments, settings, terminal.now_ns, writer=lock
        )
        results = runner.on_bar().results
    lock.release()
    first, second = results
    assert first.steps == 10 and "value of all positions" in second.text
    steps = terminal.account.book.positions["steps"][0].tolist()
    assert steps == [10, 0]


def seat(name="one", tag=1, symbols=("XAUUSD",)):
    counts = SimpleNamespace(
        sent_since=lambda at: 3 if at >= 50 else 5,
        armed_since=lambda now: 0,
        executed_since=lambda at: 2,
    )
    return Seat(name, tag, symbols, counts)


def test_who_could_not_be_told_apart_is_refused():
    desk = Desk()
    desk.join(seat())
    with pytest.raises(ConfigError, match="'one' and 'two' both trade XAUUSD"):
        desk.join(seat("two", 2, ("EURUSD", "XAUUSD")))
    with pytest.raises(ConfigError, match="same tag 1"):
        desk.join(seat("two", 1, ("EURUSD",)))
    desk.join(seat("two", 2, ("EURUSD",)))
    assert desk.shared and desk.friends(1) == {2}


def test_counts_begin_where_each_switch_was_armed():
    desk, late = Desk(), seat("two", 2, ("EURUSD",))
    late.counts.armed_since = lambda now: 60 if now >= 60 else 0
    desk.join(seat())
    desk.join(late)
    assert desk.sent_within(90, 100) == 5 + 3 and desk.executed_within(90, 100) == 4
    assert desk.sent_within(40, 50) == 5 + 5, "what a clock that was ahead has written is to come"


def test_a_stake_is_the_worst_and_unknown_where_no_bar_tells():
    exposures = [Exposure(3, below=-9, above=2, beyond=-4), Exposure(0)]
    assert stake_of(exposures, (10.0, math.nan)) == Stake(value=100.0, held_value=30.0)
    assert math.isnan(stake_of(exposures, None).value)
    assert stake_of([Exposure(0)], None) == Stake(), "nothing held is worth nothing"
    desk = Desk()
    for one in (seat(), seat("two", 2, ("EURUSD",))):
        desk.join(one)
    assert math.isnan(desk.others(1).value) and desk.others(1).held_value == 0.0


class Fake:
    """A runner that only tells what was asked of it."""

    def __init__(self, folder, name, fails=()) -> None:
        self.switch, self.fails, self.told = KillSwitch(folder / name), fails, []
        self.switch.arm("test", "test", 0)

    def _do(self, what):
        self.told.append(what)
        if what in self.fails:
            raise BrokerUnavailable(what)

    def look(self) -> None:
        self._do("look")

    def act(self) -> None:
        self._do("act")

    def unanswered(self) -> None:
        self.told.append("unanswered")


class Ear:
    """Hears of troubles."""

    def __init__(self) -> None:
        self.troubles = []

    def on_report(self, report) -> None:
        raise AssertionError("nothing is decided")

    def on_trouble(self, problem) -> None:
        self.troubles.append(problem)


def looked(runners, times=1, reconnect=lambda: None):
    ear, left = Ear(), [times]

    def over() -> bool:
        left[0] -= 1
        return left[0] < 0

    keep_looking(runners, Hands(lambda _: None, reconnect, lambda: None, over), ear, 5.0)
    return ear.troubles


@pytest.mark.parametrize(("fails", "first"), [("look", ["look"]), ("act", ["look", "act"])])
def test_what_fails_for_one_stops_no_other(tmp_path, fails, first):
    runners = [Fake(tmp_path, "a", [fails]), Fake(tmp_path, "b")]
    assert looked(runners) == [fails]
    assert [one.told for one in runners] == [first, ["look", "act"]]


def test_a_connection_that_cannot_be_made_anew_is_heard_of_at_every_look(tmp_path):
    """Otherwise a terminal that is gone for good would never let the switch fall."""

    def reconnect() -> None:
        raise BrokerUnavailable("gone")

    one = Fake(tmp_path, "a", ["look"])
    assert looked([one], 4, reconnect) == ["look", "gone", "gone", "gone"]
    assert one.told == ["look", *["unanswered"] * 3]


def test_E1_a_far_switch_stops_all(tmp_path):
    runners = [Fake(tmp_path, "a"), Fake(tmp_path, "b")]
    runners[0].switch.kill(Form.HARD, "mine")
    hands = Hands(
        lambda _: None,
        lambda: None,
        lambda: None,
        iter([False, False, True]).__next__,
        lambda: (Form.REDUCE, "told"),
    )
    ear = Ear()
    keep_looking(runners, hands, ear, 5.0)
    assert [one.switch.read() for one in runners] == [Form.HARD, Form.REDUCE]
    assert len(ear.troubles) == 1, "said once"
