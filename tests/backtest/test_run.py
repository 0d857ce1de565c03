"""A backtest is the simulator and nothing else; its ledger and trades add up to the money."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mtquant.agents.origin import market_of, split_times
from mtquant.agents.rules import BuyAndHold, Flat
from mtquant.backtest.deals import Deal, trades_of
from mtquant.backtest.metrics import summarise
from mtquant.backtest.run import (
    COSTS,
    BacktestResult,
    bundle_scenario,
    named_agent,
    run_agent,
    run_backtest,
    run_baselines,
)
from mtquant.config.data import given_market
from mtquant.config.load import load_symbols
from mtquant.config.schema import AgentConfig, EnvConfig
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.errors import ConfigError, DataError
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket
from mtquant.risk.reasons import ALLOWED, BREAKER, SHED, STOP, STOP_OUT, TAKE_PROFIT
from mtquant.sim.simulator import Simulator


class Script:
    """Opens, adds, reduces, flips, holds and leaves, by what it counts."""

    name, inputs, scaled, window = "script", (), False, 1
    actions = (1.0, 0.3, float("nan"), 0.8, -0.5, -1.0, -0.2, 0.6, 0.0, -0.7, float("nan"), 0.0)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic=False
    ) -> tuple[Any, Any]:
        row = 0 if state is None else state
        return np.array([self.actions[row // 3 % len(self.actions)]], np.float32), row + 1


@pytest.fixture(scope="module")
def scenario(small_env: EnvConfig, easy_bars) -> Scenario:
    """Without stops: every trade is the script's."""
    env = resolve_env(small_env, {"stops": {"atr": 0}})
    return Scenario.fit_all(env, given_market(env, easy_bars))


@pytest.fixture(scope="module")
def played(scenario) -> BacktestResult:
    return run_agent(Script(), scenario, (300, 900))


def test_the_ledger_is_the_simulator_bar_by_bar(scenario, played):
    tape = scenario.tape(scenario.features(Script()), (300, 900))
    simulator = Simulator(tape, bars_per_year=scenario.bars_per_year)
    simulator.place(0, 300, 900, 10_000.0)
    agent, state, before = Script(), None, dict.fromkeys((*COSTS, "traded"), 0.0)
    for row in range(600):
        action, state = agent.predict(None, state)
        _, reward, _ = simulator.step_lane(0, action.reshape(1, 1))
        account = simulator.book.account[0]
        assert played.equity[row] == account["equity"]
        assert played.rewards[row] == reward
        lots = simulator.book.positions[0, 0]["steps"] * 0.01
        assert played.ledger.position_lots[row, 0] == pytest.approx(lots)
        for name in before:
            column = "traded_notional" if name == "traded" else name
            gained = getattr(played.ledger, column)[row]
            assert gained == pytest.approx(account[name] - before[name], abs=1e-9)
            before[name] = float(account[name])
    assert simulator.book.account[0]["trades"] == len(played.trades) > 30


def test_rows_are_bars_from_the_one_after_the_first_decision(scenario, played, easy_bars):
    assert np.array_equal(played.ledger.time_ns, easy_bars.time[301:901])
    assert np.allclose(played.ledger.price[:, 0], easy_bars.close[301:901])
    assert len(run_agent(Script(), scenario, (0, 200)).ledger) == 200 - scenario.first_row


def test_exposure_is_signed_notional_over_equity(played):
    ledger = played.ledger
    notional = ledger.position_lots[:, 0] * 100 * ledger.price[:, 0]
    assert np.allclose(ledger.exposure, notional / ledger.equity)
    assert ledger.exposure.min() < -0.1 and ledger.exposure.max() > 0.1


def test_money_is_explained_by_price_moves_and_costs(played, easy_bars):
    """Equity is position times bid change less costs; an open short has yet to pay its spread."""
    ledger = played.ledger
    units = 100 * ledger.position_lots[:, 0]
    held = np.concatenate([[0.0], units[:-1]])
    opens, closes = easy_bars.open[301:901], easy_bars.close[301:901]
    gaps = opens - easy_bars.close[300:900]
    gross = held * gaps + units * (closes - opens)
    spread_to_close = np.where(units < 0, -units * easy_bars.spread[301:901] * 0.01, 0.0)
    paid = sum(getattr(ledger, name) for name in COSTS)
    expected = 10_000.0 + np.cumsum(gross - paid) - spread_to_close
    assert np.abs(ledger.equity - expected).max() < 0.01 * len(played.deals)


def test_trades_are_the_deals_put_together(played):
    held, profit, round_trips = 0, 0.0, []
    for deal in played.deals:
        held += deal.steps
        profit += deal.profit + deal.swap - deal.commission
        if held == 0:
            round_trips.append(profit)
            profit = 0.0
    assert [trade.profit for trade in played.trades] == pytest.approx(round_trips)
    sides = {trade.side for trade in played.trades}
    assert sides == {"long", "short"}
    assert all(trade.bars_held > 0 for trade in played.trades)
    assert all(t.exit_time_ns > t.entry_time_ns for t in played.trades)
    exits = [trade.exit_time_ns for trade in played.trades]
    assert exits == sorted(exits)


def realised(deals: tuple[Deal, ...]) -> list[float]:
    return [deal.profit + deal.swap - deal.commission for deal in deals]


def test_profits_of_deals_and_the_open_position_are_the_change_of_equity(scenario):
    flat_again = run_agent(Script(), scenario, (300, 660))
    change = flat_again.equity[-1] - 10_000.0
    assert flat_again.ledger.position_lots[-1, 0] == 0.0
    assert sum(realised(flat_again.deals)) == pytest.approx(change, abs=1e-6)
    assert sum(trade.profit for trade in flat_again.trades) == pytest.approx(change, abs=1e-6)
    holding = run_agent(Script(), scenario, (300, 663))
    assert holding.ledger.position_lots[-1, 0] > 0.0
    (bought,) = holding.deals[len(flat_again.deals) :]
    market = scenario.market.panel.bars[0]
    open_profit = bought.steps * (market.close[663] - bought.price)
    change = holding.equity[-1] - 10_000.0
    assert sum(realised(holding.deals)) + open_profit == pytest.approx(change, abs=1e-6)
    assert len(holding.trades) == len(flat_again.trades), "an open position is no trade yet"


def mean_price(deals: list[Deal]) -> float:
    return float(np.average([d.price for d in deals], weights=[abs(d.steps) for d in deals]))


def test_a_partly_closed_trade_by_hand(played):
    first = played.trades[0]
    deals = []
    held = 0
    for deal in played.deals:
        deals.append(deal)
        held += deal.steps
        if held == 0:
            break
    entries, exits = ([d for d in deals if d.closing is closing] for closing in (False, True))
    assert len(deals) > 2 and first.side == "long"
    assert first.entry_price == pytest.approx(mean_price(entries))
    assert first.exit_price == pytest.approx(mean_price(exits))
    largest = max(np.cumsum([d.steps for d in deals])) * 0.01
    assert first.volume_lots == pytest.approx(largest)
    market = played.scenario.market.panel
    assert first.entry_time_ns == market.time[deals[0].bar]
    assert first.exit_time_ns == market.time[deals[-1].bar]
    assert first.bars_held == deals[-1].bar - deals[0].bar


def test_costs_of_closed_trades_and_of_the_ledger_agree(scenario):
    result = run_agent(Script(), scenario, (300, 660))
    assert result.ledger.position_lots[-1, 0] == 0.0
    paid = sum(float(getattr(result.ledger, name).sum()) for name in COSTS)
    assert sum(trade.costs for trade in result.trades) == pytest.approx(paid, abs=0.02)


def test_stop_out_ends_trading_and_is_told(small_env, easy_bars):
    reckless = resolve_env(
        small_env,
        {
            "sizing": {"method": "fixed_fractional", "notional_fraction": 99.0},
            "limits": {"max_exposure": 99.0},
            "breaker": {"daily_loss": (0.97, 0.98, 0.99)},
        },
    )
    scenario = Scenario.fit_all(reckless, given_market(reckless, easy_bars))
    result = run_agent(Script(), scenario, (300, 900))
    assert result.trades[-1].exit_reason == "stop_out"
    told = {event.text: event.time_ns for event in result.ledger.events}
    calls = {time for text, time in told.items() if text.startswith("margin call: equity is ")}
    # At 99 times equity a fall of one percent eats the margin of a leverage of 100.
    assert calls and max(calls) <= told["stop-out of XAUUSD"]
    assert told["stop-out of XAUUSD"] == result.trades[-1].exit_time_ns
    assert told["circuit breaker LEVEL_3"] == result.trades[-1].exit_time_ns
    after = result.ledger.time_ns > result.trades[-1].exit_time_ns
    assert not result.ledger.position_lots[after].any() and len(result.ledger) == 600
    assert len(set(result.equity[after])) == 1


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (ALLOWED, "signal"),
        (BREAKER, "breaker"),
        (SHED, "breaker"),  # LEVEL_2 has closed it, the agent would have kept it
        (STOP, "stop"),
        (STOP_OUT, "stop_out"),
        (TAKE_PROFIT, "target"),
    ],
)
def test_why_a_trade_ended(toy_bars, toy_spec, toy_tape, reason, told):
    bars = toy_bars([(100.0,) * 4] * 3)
    bought = Deal(1, 0, 10, False, ALLOWED, 100.1, 0.0, 0.0, 0.0)
    sold = Deal(2, 0, -10, True, reason, 100.0, -1.0, 0.0, 0.0)
    trades = trades_of((bought, sold), Panel([bars]), [toy_spec()], toy_tape(bars))
    assert [trade.exit_reason for trade in trades] == [told]


def test_a_margin_call_is_named_once_where_the_level_is_crossed(small_env, easy_bars):
    account = {"margin_call_level": 30.0, "stop_out_level": 0.01}
    careful = resolve_env(small_env, {"account": account, "stops": {"atr": 0}})
    scenario = Scenario.fit_all(careful, given_market(careful, easy_bars))
    ledger = run_agent(Script(), scenario, (300, 900)).ledger
    margin = np.abs(ledger.exposure) * ledger.equity / 100.0
    below = np.divide(ledger.equity, margin, out=np.full(600, np.inf), where=margin > 0) < 30.0
    crossed = ledger.time_ns[below & ~np.append(False, below[:-1])]
    told = [event.time_ns for event in ledger.events if event.text.startswith("margin call")]
    assert told == crossed.tolist() and 3 < len(told) < below.sum()


def test_baselines_cover_the_same_bars(scenario, played):
    flat, hold = run_baselines(scenario, (300, 900))
    for ledger in (flat, hold):
        assert np.array_equal(ledger.time_ns, played.ledger.time_ns)
    assert set(flat.equity) == {10_000.0} and not flat.trades
    assert (hold.position_lots > 0).all() and len(set(hold.position_lots[:, 0])) == 1
    assert 0.8 < hold.exposure[0] <= 1.02, "bought once for the whole equity"
    assert summarise(flat).trades == 0


def test_two_symbols_share_one_account(small_env, easy_bars):
    pair = resolve_env(small_env, {"name": "pair", "symbols": ["XAUUSD", "EURUSD"]})
    euro = SimulatedMarket("EURUSD", "H1", 2000, 4).bars(load_symbols()["EURUSD"])
    scenario = Scenario.fit_all(pair, given_market(pair, [euro, easy_bars]))
    rows = (300, 330)
    ledger = run_agent(BuyAndHold(2, exposure=0.4), scenario, rows).ledger
    assert ledger.symbols == ("XAUUSD", "EURUSD")
    lots, units = ledger.position_lots, np.array([100, 100_000])
    assert (lots[0] > 0.0).all()
    notional = (lots * units * ledger.price).sum(axis=1)
    assert np.allclose(ledger.exposure, notional / ledger.equity)
    _, hold = run_baselines(scenario, rows)
    assert 0.5 < hold.exposure[0] <= 1.02, "without leverage, over both"
    frame = run_agent(Flat(2), scenario, rows).to_frame()
    assert {"price_XAUUSD", "position_lots_EURUSD"} <= set(frame.columns)


def test_metrics_and_frame_describe_the_run(played):
    assert played.metrics == summarise(played.ledger) and played.metrics is played.metrics
    assert played.metrics.net_return == pytest.approx(played.equity[-1] / 10_000.0 - 1.0)
    frame = played.to_frame()
    assert len(frame) == 600 and frame["time"].dt.tz is not None
    assert frame["equity"].to_numpy() == pytest.approx(played.equity)
    wanted = {"time", "price", "position_lots", "equity", "exposure", *COSTS, "reward"}
    assert wanted <= set(frame.columns)
    assert frame["time"].iloc[0] == pd.Timestamp(int(played.ledger.time_ns[0]), tz="UTC")


def test_a_bundle_repeats_its_report_on_its_own_test_split(small_run, easy_store):
    bundle = small_run.bundle
    scenario = bundle_scenario(bundle, market_of(bundle, easy_store))
    time = scenario.market.panel.time
    rows = tuple(int(np.searchsorted(time, t)) for t in split_times(bundle, "test"))
    result = run_agent(bundle.agent, scenario, rows)
    report = json.loads((bundle.path / "report.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(result.metrics.to_dict())) == report["results"]["agent"]
    assert report["results"]["agent"]["trades"] > 10


def test_run_backtest_takes_a_bundle_a_folder_or_a_rule(small_run, small_env, easy_bars):
    of_bundle = run_backtest(small_run.bundle, data=easy_bars)
    of_folder = run_backtest(str(small_run.bundle.path), data=easy_bars)
    assert np.array_equal(of_bundle.equity, of_folder.equity)
    assert of_bundle.scenario.reward_scale == small_run.bundle.manifest.reward_scale
    named = run_backtest("buy_and_hold", small_env, easy_bars)
    given = run_backtest(BuyAndHold(), small_env, easy_bars)
    assert np.array_equal(named.equity, given.equity) and named.agent == "buy_and_hold"
    assert len(named.equity) == 1999 - named.scenario.first_row
    assert not run_backtest(Flat(), small_env, easy_bars).deals


def test_a_wrong_call_is_one_sentence(small_run, small_env, easy_bars):
    with pytest.raises(ConfigError, match="brings the env"):
        run_backtest(small_run.bundle, small_env, easy_bars)
    with pytest.raises(ConfigError, match="needs an env"):
        run_backtest("flat", data=easy_bars)
    with pytest.raises(DataError, match="read 120 bars before the first decision"):
        run_backtest("flat", small_env, easy_bars[:100])
    with pytest.raises(ConfigError, match="unknown bundle or agent 'ema_cros'; did you mean"):
        run_backtest("ema_cros", small_env, easy_bars)
    with pytest.raises(ConfigError, match="has to learn first"):
        run_backtest("ppo", small_env, easy_bars)


def test_names_are_bundles_first_then_agents(small_run):
    root = small_run.folder / "models"
    assert named_agent("small", root).manifest == small_run.bundle.manifest
    assert named_agent(str(small_run.bundle.path)).path == small_run.bundle.path
    assert isinstance(named_agent("flat", root), AgentConfig)
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        named_agent("smal", root)
