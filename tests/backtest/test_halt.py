"""LEVEL_3 in a backtest: flat to its end, or reset by the clock as a person would reset it live."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mtquant.backtest.challenge_report import _last_alive
from mtquant.backtest.halt import RESET, halted_for_good
from mtquant.backtest.run import BacktestResult, run_agent
from mtquant.config.data import given_market
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.live.found import BrokerBalance, FoundPosition
from mtquant.live.record import rearmed, record_of
from mtquant.paper_report import PaperRun, against_backtest
from mtquant.sim.simulator import Simulator

HOUR = 3_600 * 10**9
HALT = "circuit breaker LEVEL_3"
LOSSES = (0.001, 0.002, 0.003)


class Long:
    """Always all in; keeps what it was shown."""

    name, inputs, scaled, window = "long", (), False, 1

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic=False
    ) -> tuple[Any, Any]:
        self.seen.append(np.array(observation))
        return np.ones(1, np.float32), None


@pytest.fixture
def ran(small_env, easy_bars):
    def run(agent: Any = None, **breaker: Any) -> BacktestResult:
        changes = {"stops": {"atr": 0}, "breaker": {"daily_loss": LOSSES, **breaker}}
        env = resolve_env(small_env, changes)
        scenario = Scenario.fit_all(env, given_market(env, easy_bars))
        return run_agent(agent or Long(), scenario, (300, 1500))

    return run


def told(result: BacktestResult, text: str) -> list[int]:
    return [event.time_ns for event in result.ledger.events if event.text == text]


def test_by_default_it_stays_flat_to_the_end(ran):
    result = ran()
    (halt,) = told(result, HALT)
    after = result.ledger.time_ns > halt
    assert after.sum() > 100 and not result.ledger.position_lots[after].any()
    assert not told(result, RESET) and halted_for_good(result.ledger) == halt


@pytest.mark.parametrize("cooldown", [60.0, 90.0, 600.0])
def test_it_is_reset_once_it_is_flat_and_the_cooldown_is_over(ran, cooldown):
    """Bars of an hour: it is flat at the close after the trip, an hour later."""
    result = ran(on_level_3="reset", cooldown_minutes=cooldown)
    halts, resets = told(result, HALT), told(result, RESET)
    assert len(resets) > 5 and 0 <= len(halts) - len(resets) <= 1
    ledger = result.ledger
    for halt, reset in zip(halts, resets, strict=False):
        row = int(np.searchsorted(ledger.time_ns, reset))
        since = ledger.time_ns[np.searchsorted(ledger.time_ns, halt) + 1 : row + 1]
        waited = since - halt >= cooldown * 60e9
        assert waited[-1] and not waited[:-1].any(), "at the first close that is late enough"
        assert not ledger.position_lots[row].any()
        assert ledger.position_lots[row + 1].all(), "decided at the close of the reset"
    assert all(reset < halt for reset, halt in zip(resets, halts[1:], strict=False))
    assert all(a < b for a, b in pairwise(halts))


def test_after_a_reset_losses_are_counted_from_there(ran):
    """Else the drawdown that tripped would trip again at once, and nothing would be held."""
    result = ran(on_level_3="reset", daily_loss=(0.5, 0.6, 0.7), drawdown=0.02)
    equity, time = result.equity, result.ledger.time_ns
    rows = [int(np.searchsorted(time, reset)) for reset in told(result, RESET)]
    halts = [int(np.searchsorted(time, halt)) for halt in told(result, HALT)]
    assert len(rows) > 1
    for reset, halt in zip(rows, halts[1:], strict=False):
        assert 1.0 - equity[halt] / equity[reset : halt + 1].max() >= 0.02 - 1e-9
        assert (1.0 - equity[reset:halt] / np.maximum.accumulate(equity[reset:halt]) < 0.02).all()


def test_the_agent_sees_the_account_that_was_reset(ran):
    agent = Long()
    result = ran(agent, on_level_3="reset")
    rows = np.searchsorted(result.ledger.time_ns, told(result, RESET))
    width = agent.seen[0].size
    for row in rows[rows + 1 < len(agent.seen)]:
        # Decision n is made at the close of row n - 1; the first is that of a fresh account.
        account = slice(width - 8, width)
        assert np.allclose(agent.seen[row + 1][account], agent.seen[0][account], atol=1e-3)


def test_it_is_what_a_person_does_live(ran):
    """Field by field, the kernel's account and the journal's record after a reset are one."""
    scenario = ran().scenario
    simulator = Simulator(scenario.tape(scenario.features(Long()), (300, 400)))
    simulator.place(0, 300, 400, 10_000.0)
    account = simulator.book.account
    for k, name in enumerate(account.dtype.names):
        if name not in ("cursor", "end", "day", "rng", "n_deals"):
            account[name] = 100 + k
    found = BrokerBalance(9_000.0, (FoundPosition(),))
    before = record_of(simulator.book, 0, found)
    simulator.rearm(0)
    assert record_of(simulator.book, 0, found) == rearmed(before) != before


def test_days_after_a_reset_are_drawn_from(ran):
    """The rest of a run is no trading only where it was not reset."""
    result = ran(on_level_3="reset")
    halts, resets = told(result, HALT), told(result, RESET)
    if len(halts) == len(resets):
        assert halted_for_good(result.ledger) is None
        assert _last_alive(result) == len(result.ledger) - 1
    else:
        assert halted_for_good(result.ledger) == halts[-1]


def test_paper_is_compared_with_a_backtest_that_waits_for_a_person(ran):
    stayed, scenario = ran(), ran(on_level_3="reset").scenario
    run = PaperRun(SimpleNamespace(agent=Long()), scenario, (300, 1500), ())
    recorder = SimpleNamespace(deals=list(stayed.deals))
    assert against_backtest(run, stayed.ledger, recorder)["equals_backtest"]
