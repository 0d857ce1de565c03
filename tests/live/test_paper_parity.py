"""The paper run is the backtest: same bars, same agent, same fills and equity, bit for bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from mtquant.agents.rules import RsiReversion
from mtquant.brokers import constants as mt5
from mtquant.market.bars import Bars
from mtquant.market.clock import DAY_NS, Clock
from mtquant.market.timeframe import Timeframe
from mtquant.risk.breaker import LEVEL_3
from mtquant.risk.reasons import MARGIN, MAX_EXPOSURE, STOP_OUT
from mtquant.sim.records import DEAL

CONFTEST = Path(__file__).with_name("conftest.py")
READ = ("corr_EURUSD", "relative_strength_BTCUSD", "strength_signal", "market_distance")
FILTER = {"reference": "BTCUSD", "period": 50}
REASON = (DEAL.names or ()).index("reason")


def assert_same(paper, backtest):
    assert paper.equity == backtest.equity
    assert paper.deals == backtest.deals
    assert paper.steps == backtest.steps
    assert paper.levels == backtest.levels


def test_flips_reductions_and_holding_over_3000_bars(make_world, tmp_path):
    world = make_world(3000)
    backtest = world.backtest()
    seen = world.agent.seen
    world.agent.seen = []
    assert_same(world.paper(world.terminal(), tmp_path / "journal.db"), backtest)
    assert world.agent.seen == seen, "every observation, the age of positions among it"
    flips = sum(a * b < 0 for a, b in zip(backtest.steps, backtest.steps[1:], strict=False))
    partial = sum(
        a * b > 0 and abs(b) < abs(a)
        for a, b in zip(backtest.steps, backtest.steps[1:], strict=False)
    )
    assert len(backtest.deals) > 300 and flips > 50 and partial > 50


def test_stop_out_locks_both_alike(make_world, tmp_path):
    world = make_world(
        1500,
        sizing={"method": "fixed_fractional", "notional_fraction": 99.0},
        limits={"max_exposure": 99.0},
        breaker={"daily_loss": (0.97, 0.98, 0.99)},
    )
    backtest = world.backtest()
    assert STOP_OUT in {deal[REASON] for deal in backtest.deals}
    terminal = world.terminal()
    assert_same(world.paper(terminal, tmp_path / "journal.db"), backtest)
    assert backtest.levels[-1] == LEVEL_3 and backtest.steps[-1] == 0
    assert any(deal.reason == mt5.DEAL_REASON_SO for deal in terminal.account.deals)


def test_margin_and_exposure_limits_bind_alike(make_world, tmp_path):
    world = make_world(600, sizing={"risk_fraction": 1.0}, limits={"max_exposure": 20.0})
    backtest = world.backtest()
    assert {MAX_EXPOSURE, MARGIN} & {deal[REASON] for deal in backtest.deals}
    assert_same(world.paper(world.terminal(), tmp_path / "journal.db"), backtest)


def test_daily_loss_flattens_and_waits_for_a_person(make_world, tmp_path):
    world = make_world(
        2000, sizing={"risk_fraction": 0.1}, breaker={"daily_loss": (0.01, 0.02, 0.04)}
    )
    backtest = world.backtest()
    assert_same(world.paper(world.terminal(), tmp_path / "journal.db"), backtest)
    assert {1, 2, 3} <= set(backtest.levels)
    locked = backtest.levels.index(LEVEL_3)
    assert set(backtest.steps[locked + 1 :]) == {0}


def test_no_money_for_the_increase_keeps_the_reduction(make_world, tmp_path):
    world = make_world(
        800,
        sizing={"method": "fixed_fractional", "notional_fraction": 100.0},
        limits={"max_exposure": 100.0},
        breaker={"daily_loss": (0.97, 0.98, 0.99)},
        account={"stop_out_level": 0.01},
    )
    backtest, terminal = world.backtest(), world.terminal()
    assert_same(world.paper(terminal, tmp_path / "journal.db"), backtest)
    assert len(backtest.deals) > 2


def test_a_rule_on_real_features(make_world, tmp_path):
    world = make_world(1500, features=("technical", "returns"))
    world.agent = RsiReversion()
    backtest = world.backtest()
    assert len(backtest.deals) > 20
    assert_same(world.paper(world.terminal(), tmp_path / "journal.db"), backtest)


def test_restart_in_the_middle_changes_nothing(make_world, tmp_path):
    world = make_world(500)
    whole = world.paper(world.terminal(), tmp_path / "whole.db")
    terminal = world.terminal()
    first = world.paper(terminal, tmp_path / "cut.db", bars=171)
    second = world.paper(terminal, tmp_path / "cut.db")
    assert first.equity + second.equity == whole.equity
    assert first.deals + second.deals == whole.deals


def test_time_may_end_before_the_bars_do(make_world, tmp_path):
    world = make_world(500)
    world.rows = (world.rows[0], 300)
    backtest = world.backtest()
    assert_same(world.paper(world.terminal(), tmp_path / "journal.db"), backtest)


def test_a_paper_process_imports_no_trainer(tmp_path):
    code = f"""
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("world", {str(CONFTEST)!r})
module = sys.modules["world"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
world = module.World(module.make_env(), module.gold(120), module.ScriptedAgent())
run = world.paper(world.terminal(), pathlib.Path({str(tmp_path / "journal.db")!r}))
assert run.deals
import mtquant.live.monitor
found = {{"torch", "stable_baselines3", "gymnasium"}} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def relative(symbol: str, time: np.ndarray, seed: int, timeframe: Timeframe = Timeframe.H1) -> Bars:
    """A random walk at the given times, without volume and spread."""
    close = np.exp(np.cumsum(0.002 * np.random.default_rng(seed).standard_normal(time.size)))
    rest = np.zeros(time.size)
    return Bars(symbol, timeframe, time, close, close, close, close, rest, rest)


def test_context_symbols_are_read_alike(make_world, tmp_path):
    """One never rests, so its window holds more bars; one lacks hours, so its newest bar is old."""
    plain = make_world(700)
    gold = plain.panel.bars[0]
    hours = np.arange(gold.time[0] - 90 * 3600 * 10**9, gold.time[-1] + 1, 3600 * 10**9)
    sparse = gold.time[np.random.default_rng(3).random(len(gold)) < 0.7]
    context = [relative("BTCUSD", hours, 1), relative("EURUSD", sparse, 2)]
    features = ["hour", "returns", {"strength": {"against": ["EURUSD", "BTCUSD"]}}]
    env = plain.env.model_copy(update={"features": (*features, {"market_filter": FILTER})})
    world = type(plain)(env, gold, plain.agent, context)
    world.agent.inputs = ("hour_sin", "hour_cos", *READ)
    backtest = world.backtest()
    seen, world.agent.seen = world.agent.seen, []
    terminal = world.terminal()
    assert_same(world.paper(terminal, tmp_path / "journal.db"), backtest)
    assert world.agent.seen == seen and len(set(seen)) > 400
    assert len(backtest.deals) > 50

    request = {"action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.1, "type": 0}
    answer = terminal.order_send({**request, "type_filling": mt5.ORDER_FILLING_IOC})
    assert answer.retcode == mt5.TRADE_RETCODE_TRADE_DISABLED


def test_context_is_read_alike_on_the_days_in_which_the_clock_changes(make_world, tmp_path):
    """They last 25 and 23 hours."""
    plain = make_world(300)
    days = np.datetime64("2023-01-01", "ns").astype(np.int64) + np.arange(420) * DAY_NS
    days = Clock.parse("ny+7").to_utc(days)
    bars = [relative(name, days, n, Timeframe.D1) for n, name in enumerate(("XAUUSD", "BTCUSD"))]
    features = ("hour", "returns", {"strength": {"against": ["BTCUSD"]}})
    env = plain.env.model_copy(update={"features": features, "timeframe": "D1"})
    world = type(plain)(env, bars[0], plain.agent, bars[1:])
    world.agent.inputs = ("hour_sin", "hour_cos", "relative_strength_BTCUSD")
    world.backtest()
    seen, world.agent.seen = world.agent.seen, []
    world.paper(world.terminal(), tmp_path / "journal.db")
    assert world.agent.seen == seen and len(set(seen)) > 300
