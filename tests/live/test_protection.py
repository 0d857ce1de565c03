"""Stops, targets and tickets live: the paper run is the backtest, and people are put right."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal import SimulatedTerminal
from mtquant.errors import ConfigError
from mtquant.live.intents import IntentState
from mtquant.live.journal import Journal
from mtquant.live.monitor import Monitor
from mtquant.live.paper import paper_bars, paper_runner
from mtquant.risk.reasons import PARTIAL_CLOSE, REASONS, STOP, TAKE_PROFIT
from mtquant.sim.records import DEAL

BARS = 700
RESTART_EVERY = 97
STOPS: dict[str, Any] = {
    "atr": 2.5,
    "target_atr": 3.5,
    "trail_atr": 1.5,
    "break_even_atr": 1.0,
    "partial_at": 0.4,
    "partial_share": 0.4,
    "reentry_bars": 5,
}
REASON, CLOSING, TICKET = map((DEAL.names or ()).index, ("reason", "closing", "ticket"))


class Eager:
    """Wants to be in the market nearly always, now more, now less, and does not know of stops."""

    name, inputs, scaled, window = "eager", ("hour_sin", "hour_cos"), False, 1
    script = (1.0, 0.5, 0.8, 1.0, np.nan, 0.3, 0.6, np.nan, -0.5, -0.9, -1.0, -0.4)

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.seen.append(observation.tobytes())
        hour = round(np.arctan2(observation[0], observation[1]) / (2 * np.pi) * 24) % 24
        return np.array([self.script[hour // 2]], np.float32), state


@pytest.fixture
def protected(make_world):
    def make(n_bars: int = BARS, book: str = "netting", stops: Any = STOPS, **env: Any) -> Any:
        world = make_world(n_bars, stops=stops, account={"book": book}, **env)
        world.agent = Eager()
        return world

    return make


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


def test_what_stops_and_targets_close_is_told_and_nothing_stands_still(protected, tmp_path):
    world = protected()
    held, told = Held(world, tmp_path / "journal.db"), Counter[str]()
    for report in held.run_out():
        told.update(event.split(" closed ")[0] for event in report.events)
        assert report.outlook.decisions[0].reason in REASONS, "no guard"
    assert set(told) == {"XAUUSD: protective stop", "XAUUSD: target"}
    closed = Counter(deal.reason for deal in held.terminal.account.deals)
    assert told["XAUUSD: protective stop"] == closed[mt5.DEAL_REASON_SL] > 10
    assert told["XAUUSD: target"] == closed[mt5.DEAL_REASON_TP] > 2


class Holder:
    """Buys once and holds."""

    name, inputs, scaled, window = "holder", ("hour_sin", "hour_cos"), False, 1

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.array([1.0], np.float32), state


class Held:
    """A runner in a long position of one decision; ``bar`` lets it live one bar more."""

    def __init__(self, world: Any, path: Path, terminal: Any = None) -> None:
        self.world, self.path = world, path
        self.terminal = terminal or world.terminal()
        self.journal = Journal(path, durable=False)
        self.runner = paper_runner(self.terminal, self.journal, world.strategy(), "test")

    def bar(self) -> Any:
        report = self.runner.on_bar()
        self.terminal.advance()
        return report

    def until_held(self) -> Any:
        while not self.terminal.positions_get():
            self.bar()
        return self.terminal.positions_get()[0]

    def change(self, **levels: float) -> None:
        """A person moves the levels."""
        for one in self.terminal.positions_get():
            request = {
                "action": mt5.TRADE_ACTION_SLTP,
                "symbol": one.symbol,
                "position": one.ticket,
            }
            answer = self.terminal.order_send(request | {"sl": one.sl, "tp": one.tp} | levels)
            assert answer.retcode == mt5.TRADE_RETCODE_DONE

    def run_out(self) -> list[Any]:
        return [report for report in paper_bars(self.terminal, self.runner) if report]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.path) as database:
            rows = database.execute(sql).fetchall()
        database.close()
        return rows

    @property
    def stop(self) -> float:
        return self.terminal.positions_get()[0].sl


@pytest.fixture
def holding(protected, tmp_path):
    def make(path: str = "journal.db", kind: Any = SimulatedTerminal, **options: Any) -> Held:
        chosen = {"stops": {"atr": 9.0}, "sizing": {"rebalance_band": 0.9}} | options
        world = protected(300, **chosen)
        world.agent = Holder()
        return Held(world, tmp_path / path, world.terminal(kind))

    return make


@pytest.mark.parametrize("book", ["netting", "hedging"])
@pytest.mark.parametrize("moved", [0.0, -50.0], ids=["removed", "moved"])
def test_a_stop_that_a_person_has_touched_is_put_back(holding, book, moved):
    held = holding(book=book)
    position = held.until_held()
    held.bar()
    held.change(sl=moved and position.sl + moved)
    report = held.runner.on_bar()
    assert held.stop == position.sl
    (event,) = report.events
    assert "stop or target stands elsewhere at the broker" in event
    assert event.endswith(f"wanted {position.sl:g} and 0")
    assert report.outlook.decisions[0].reason in REASONS, "no guard"
    assert event in [text for _, text in held.journal.events()]
    held.terminal.advance()
    assert not held.runner.on_bar().events


def test_a_removed_stop_that_the_quote_has_passed_closes_the_position(holding):
    held = holding()
    held.until_held()
    held.bar()
    held.change(sl=0.0)
    row = held.terminal.account.forming
    market = held.terminal.account.tape.market
    held.terminal.account.tape.market["open"][row] = market["low"][row] = 1
    report = held.runner.on_bar()
    (decision,) = report.outlook.decisions
    assert (decision.target, decision.reason) == (0, "protective stop")
    assert report.outlook.record.positions[0].barred_side == 1
    assert not held.terminal.positions_get()
    held.terminal.advance()
    (decision,) = held.runner.on_bar().outlook.decisions
    assert (decision.target, decision.reason) == (0, "waiting after a stop")


class Unheard(SimulatedTerminal):
    """Takes orders without their stop, or no change of stops."""

    deaf_to: tuple[int, ...] = ()

    def order_send(self, request):
        if request["action"] == mt5.TRADE_ACTION_SLTP and "change" in self.deaf_to:
            self._error = (mt5.RES_E_INTERNAL_FAIL_TIMEOUT, "IPC timeout")
            return None
        if "stop" in self.deaf_to and request["action"] == mt5.TRADE_ACTION_DEAL:
            request = request | {"sl": 0.0}
        return super().order_send(request)

    def last_error(self):
        return self._error


def test_an_order_that_came_without_its_stop_is_given_one(holding):
    held = holding(kind=Unheard)
    held.terminal.deaf_to = ("stop",)
    position = held.until_held()
    assert position.sl == 0.0
    report = held.runner.on_bar()
    assert "opened without the stop or target asked for" in report.events[0]
    intents = held.journal._database.execute("SELECT stop_distance FROM intent").fetchall()
    assert held.stop == pytest.approx(position.price_open - intents[0][0] / 100)


def test_a_change_that_was_not_answered_is_tried_again_at_the_next_bar(holding):
    held = holding(kind=Unheard)
    position = held.until_held()
    held.bar()
    held.change(sl=0.0)
    held.terminal.deaf_to = ("change",)
    for _ in range(2):
        report = held.bar()
        assert "are ambiguous: -10005 IPC timeout" in report.events[-1]
        assert held.stop == 0.0
    held.terminal.deaf_to = ()
    held.bar()
    assert held.stop == position.sl
    told = [text for _, text in held.journal.events()]
    assert sum("are ambiguous" in text for text in told) == 2
    assert held.journal.breaker.failed_bars(24) == []


def test_a_person_may_set_stops_where_the_strategy_has_none(holding):
    held = holding(stops={"atr": 0.0})
    position = held.until_held()
    held.bar()
    held.change(sl=position.price_open - 60.0)
    report = held.runner.on_bar()
    assert not report.events and held.stop == position.price_open - 60.0


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
def test_dying_while_stops_are_moved_sends_no_order_and_freezes_nothing(protected, tmp_path, after):
    world = protected(200)
    for number in range(1, 8):
        terminal, path = world.terminal(Dying), tmp_path / f"{number}.db"
        terminal.dies_at, terminal.after = number, after
        with pytest.raises(KeyboardInterrupt):
            Held(world, path, terminal).run_out()
        orders = len(terminal.account.orders)
        again = Held(world, path, terminal)
        assert again.runner.on_bar() is None, "the bar is decided, and not once more"
        assert len(terminal.account.orders) == orders
        again.run_out()
        reasons = {row[0] for row in again.query("SELECT DISTINCT reason FROM decision")}
        assert reasons <= set(REASONS), "nothing was frozen"
        assert not again.query("SELECT 1 FROM intent WHERE state = 'sending'")


def test_a_ninth_ticket_is_not_opened(protected, tmp_path):
    """Each bar a little more, until all eight tickets are open."""
    world = protected(200, "hedging", {"atr": 0.0}, sizing={"rebalance_band": 0.0})
    world.agent = Growing()
    held = Held(world, tmp_path / "journal.db")
    reports = held.run_out()
    most = max(len(r.outlook.record.positions[0].identifiers) for r in reports)
    assert most == 8 == len(held.terminal.positions_get())
    assert "too many tickets" in {r.outlook.decisions[0].reason for r in reports}
    codes = {result.retcode for r in reports for result in r.results}
    assert codes == {mt5.TRADE_RETCODE_DONE}


class Growing(Holder):
    name = "growing"

    def __init__(self) -> None:
        self.size = 0.0

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.size = min(self.size + 0.05, 1.0)
        return np.array([self.size], np.float32), state


def test_an_unanswered_order_that_a_stop_closed_in_its_own_bar_was_executed(protected, tmp_path):
    """The stop's deal carries the order's magic; summed up with its own they would cancel out."""
    world = protected(200, stops={"atr": 0.05, "reentry_bars": 0})
    world.agent = Holder()
    held = Held(world, tmp_path / "journal.db", world.terminal(Silent))
    while not held.terminal.account.orders:
        held.bar()
    closed = [d for d in held.terminal.account.deals if d.reason == mt5.DEAL_REASON_SL]
    assert closed and not held.terminal.positions_get()
    report = held.runner.on_bar()
    assert "is executed, says history" in report.events[0]
    assert report.outlook.decisions[0].reason in REASONS
    assert held.query("SELECT state FROM intent")[0] == (IntentState.EXECUTED.value,)


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


def test_what_the_checks_object_to_is_written_and_shown(protected, tmp_path):
    world = protected(120, limits={"max_position": 0.5})
    held = Held(world, tmp_path / "journal.db")
    reports, monitor = held.run_out(), Monitor("paper")
    told = dict(held.query("SELECT bar_time_ns, checks FROM decision"))
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
