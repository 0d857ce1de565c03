"""Stops, targets and tickets live: the paper run is the backtest, and nothing stands still."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.errors import ConfigError
from mtquant.live.intents import IntentState
from mtquant.live.journal import Journal
from mtquant.live.monitor import Monitor
from mtquant.live.paper import paper_runner
from mtquant.risk.reasons import PARTIAL_CLOSE, REASONS, STOP, TAKE_PROFIT
from mtquant.sim.records import DEAL
from mtquant.sim.target import Target

RESTART_EVERY = 97
REASON, TICKET = map((DEAL.names or ()).index, ("reason", "ticket"))


@pytest.mark.parametrize("book", ["netting", "hedging"])
def test_the_paper_run_is_the_backtest_across_restarts(protected, tmp_path, book):
    world = protected(book=book)
    backtest = world.backtest()
    seen, world.agent.seen = world.agent.seen, []
    terminal, parts = world.terminal(), []
    while not terminal.finished:
        parts.append(world.paper(terminal, tmp_path / "journal.db", bars=RESTART_EVERY))
    for name in ("equity", "deals", "steps", "levels"):
        assert [x for part in parts for x in getattr(part, name)] == getattr(backtest, name), name
    assert world.agent.seen == seen, "the stop's distance and the barred side among it"
    reasons = Counter(deal[REASON] for deal in backtest.deals)
    assert reasons[STOP] > 10 and reasons[TAKE_PROFIT] > 2 and reasons[PARTIAL_CLOSE] > 2
    assert bool(max(deal[TICKET] for deal in backtest.deals)) == (book == "hedging")


def test_what_stops_and_targets_close_is_told_and_nothing_stands_still(protected, desk_of):
    world = protected()
    desk, told = desk_of(world), Counter[str]()
    for report in desk.run_out():
        told.update(event.split(" closed ")[0] for event in report.events)
        assert report.outlook.decisions[0].reason in REASONS, "no guard"
    assert set(told) == {"XAUUSD: protective stop", "XAUUSD: target"}
    closed = Counter(deal.reason for deal in desk.terminal.account.deals)
    assert told["XAUUSD: protective stop"] == closed[mt5.DEAL_REASON_SL] > 10
    assert told["XAUUSD: target"] == closed[mt5.DEAL_REASON_TP] > 2


@pytest.mark.parametrize(("made_for", "found"), [("netting", "hedging"), ("hedging", "netting")])
def test_the_account_is_of_the_kind_that_the_strategy_was_made_for(
    protected, tmp_path, made_for, found
):
    world, other = protected(300, made_for), protected(300, found)
    journal = Journal(tmp_path / "journal.db", durable=False)
    runner = paper_runner(other.terminal(), journal, world.strategy(), "test")
    with pytest.raises(ConfigError, match=f"is a {found} account.* made for a {made_for} account"):
        runner.on_bar()


class Dying(SimulatedTerminal):
    """The process dies at its n-th change of stops, before or after it is done."""

    changes, dies_at, after = 0, -1, False

    def order_send(self, request):
        if request["action"] == mt5.TRADE_ACTION_SLTP:
            self.changes += 1
            if self.changes == self.dies_at and not self.after:
                raise KeyboardInterrupt
            answer = super().order_send(request)
            if self.changes == self.dies_at:
                raise KeyboardInterrupt
            return answer
        return super().order_send(request)


@pytest.mark.parametrize("after", [False, True])
def test_dying_while_stops_are_moved_sends_no_order_and_freezes_nothing(protected, desk_of, after):
    world = protected(200)
    for number in range(1, 8):
        terminal = world.terminal(Dying)
        terminal.dies_at, terminal.after = number, after
        with pytest.raises(KeyboardInterrupt):
            desk_of(world, terminal, f"{number}.db").run_out()
        orders = len(terminal.account.orders)
        again = desk_of(world, terminal, f"{number}.db")
        assert again.runner.on_bar() is None, "the bar is decided, and not once more"
        assert len(terminal.account.orders) == orders
        again.run_out()
        reasons = {row[0] for row in again.query("SELECT DISTINCT reason FROM decision")}
        assert reasons <= set(REASONS), "nothing was frozen"
        assert not again.query("SELECT 1 FROM intent WHERE state = 'sending'")


def test_a_ninth_ticket_is_not_opened(protected, desk_of):
    """Each bar a little more, until all eight tickets are open."""
    world = protected(200, "hedging", {"atr": 0.0}, sizing={"rebalance_band": 0.0})
    sizes = iter(np.minimum(0.05 * np.arange(1, 300), 1.0))
    world.agent.wish = lambda hour: next(sizes)
    desk = desk_of(world)
    reports = desk.run_out()
    most = max(len(r.outlook.record.positions[0].identifiers) for r in reports)
    assert most == 8 == len(desk.terminal.positions_get())
    assert "too many tickets" in {r.outlook.decisions[0].reason for r in reports}
    codes = {result.retcode for r in reports for result in r.results}
    assert codes == {mt5.TRADE_RETCODE_DONE}


def test_tickets_on_both_sides_stand_still(holding, monkeypatch):
    desk = holding(book="hedging")
    desk.until_held()
    shown = desk.runner._broker.positions
    (own,) = shown()
    other = replace(own, ticket=9, identifier=2**40, volume_lots=-0.01)
    monkeypatch.setattr(desk.runner._broker, "positions", lambda: (*shown(), other))
    report = desk.runner.on_bar()
    assert "XAUUSD: tickets are open on both sides; close those of one side" in report.events
    assert report.outlook.decisions[0].reason == "tickets on both sides"
    assert report.results == ()


def test_an_unanswered_order_that_a_stop_closed_in_its_own_bar_was_executed(protected, desk_of):
    """The stop's deal carries the order's magic; summed up with its own they would cancel out."""
    world = protected(200, stops={"atr": 0.05, "reentry_bars": 0})
    world.agent.wish = lambda hour: 1.0
    desk = desk_of(world, world.terminal(Silent))
    while not desk.terminal.account.orders:
        desk.bar()
    closed = [d for d in desk.terminal.account.deals if d.reason == mt5.DEAL_REASON_SL]
    assert closed and not desk.terminal.positions_get()
    report = desk.runner.on_bar()
    assert "is executed, says history" in report.events[0]
    assert report.outlook.decisions[0].reason in REASONS
    assert desk.query("SELECT state FROM intent")[0] == (IntentState.EXECUTED.value,)


class Silent(SimulatedTerminal):
    """Executes the first order and does not say so."""

    silent = True

    def order_send(self, request):
        answer = super().order_send(request)
        if not self.silent:
            return answer
        self.silent = False
        self._error = (mt5.RES_E_INTERNAL_FAIL_TIMEOUT, "IPC timeout")
        return None

    def last_error(self):
        return self._error


def test_what_the_checks_object_to_is_written_and_shown(protected, desk_of):
    world = protected(120, limits={"max_position": 0.5})
    desk = desk_of(world)
    reports, monitor = desk.run_out(), Monitor("paper")
    told = dict(desk.query("SELECT bar_time_ns, checks FROM decision"))
    limited = [r for r in reports if r.outlook.decisions[0].reason == "maximum position"]
    assert limited
    for report in reports:
        (decision,) = report.outlook.decisions
        assert told[decision.bar_time_ns] == decision.checks
        assert ("max_position" in decision.checks) >= (report in limited)
    assert any(r.outlook.decisions[0].checks == "" for r in reports)
    monitor.add(limited[-1])
    console = Console(width=400)
    with console.capture() as capture:
        console.print(monitor.table())
    assert limited[-1].outlook.decisions[0].checks in capture.get()


def test_what_a_gate_bars_is_told_by_its_name_its_number_and_its_limit(protected, desk_of):
    """The number is the newest bar's own, read as the gate of the tape reads it."""
    world = protected(120, limits={"max_spread_points": 20, "hours": {"mon-fri": "03:00-20:00"}})
    (bars,) = world.panel.bars
    spread = dict(zip(bars.time.tolist(), bars.spread.tolist(), strict=True))
    told = {"spread too wide": 0, "outside trading hours": 0}
    for report in desk_of(world).run_out():
        (decision,) = report.outlook.decisions
        if decision.reason in told:
            told[decision.reason] += 1
            points = spread[decision.bar_time_ns]
            if decision.reason == "spread too wide":
                assert f"max_spread_points {points:g} against 20 (deny)" in decision.checks
            else:
                assert "hours 1 against 0 (deny)" in decision.checks and points <= 20
    assert min(told.values()) > 3, told


class Asking:
    """Wants what another wants, says where that would be wrong, now and then, and why."""

    def __init__(self, plain, target=None) -> None:
        self.plain, self.target = plain, target or self.levels
        self.name, self.inputs, self.scaled, self.window = "asking", plain.inputs, False, 1

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        hour = round(np.arctan2(observation[0], observation[1]) / (2 * np.pi) * 24) % 24
        exposure, _ = self.plain.predict(observation)
        return (exposure if hour % 3 == 0 else self.target(exposure, hour)), state

    @staticmethod
    def levels(exposure, hour):
        return Target(exposure, 0.001 * (1 + hour % 5), 0.002 * (hour % 4), f"hour {hour}")


@pytest.mark.parametrize("book", ["netting", "hedging"])
def test_levels_that_an_agent_asks_for_are_the_same_on_paper(protected, tmp_path, book):
    world = protected(book=book, stops={"atr": 9.0, "target_atr": 9.0})
    world.agent = Asking(world.agent)
    backtest = world.backtest()
    terminal, parts = world.terminal(), []
    while not terminal.finished:
        parts.append(world.paper(terminal, tmp_path / "journal.db", bars=RESTART_EVERY))
    for name in ("equity", "deals", "steps", "levels"):
        assert [x for part in parts for x in getattr(part, name)] == getattr(backtest, name), name
    reasons = Counter(deal[REASON] for deal in backtest.deals)
    assert reasons[STOP] > 10 and reasons[TAKE_PROFIT] > 2, "nine ATR away little would be hit"


def test_an_agents_own_reason_is_journalled_where_nothing_stood_against_it(protected, desk_of):
    world = protected(300)
    world.agent = Asking(world.agent)
    desk = desk_of(world)
    desk.run_out()
    rows = desk.query("SELECT reason, held, target FROM decision")
    told = Counter(reason.split()[0] for reason, held, target in rows if held != target)
    assert told["hour"] > 20 and "waiting after a stop" in {reason for reason, *_ in rows}


def test_levels_that_cannot_be_are_a_fault_and_nothing_is_done(protected, desk_of):
    world = protected(300)
    world.agent = Asking(world.agent, lambda exposure, hour: Target(exposure, 7.0))
    desk = desk_of(world)
    report = next(one for one in iter(desk.bar, 0) if one.outlook.faults)
    assert "stop = 7.0 must be a fraction" in report.events[0] and not report.results
