"""Drawn paths end as often as they must, and a run is told with its odds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mtquant.agents.rules import Flat
from mtquant.backtest.challenge import Days, split_days
from mtquant.backtest.challenge_report import (
    BAR_CLOSES,
    balances,
    days_of_a_block,
    draw_odds,
    take_challenge,
)
from mtquant.backtest.run import BacktestResult, run_agent
from mtquant.config.challenge import RuleSet
from mtquant.config.data import given_market
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.market.clock import Clock

OF_BALANCE = {"max_daily_loss": {"fraction": 0.05, "measured_from": "balance"}}


def rule_set(**rules: Any) -> RuleSet:
    plain = {"profit_target": 0.10, "max_drawdown": {"fraction": 0.5}}
    return RuleSet.model_validate({**plain, **rules})


def one_bar_days(returns: np.ndarray) -> Days:
    equity = np.concatenate(([1.0], np.cumprod(1.0 + returns)))
    number = np.arange(returns.size)
    return split_days(equity, number, np.ones(returns.size, bool), equity[:-1])


def test_the_odds_of_independent_days_are_those_of_two_barriers():
    rng = np.random.default_rng(5)
    logs = rng.standard_normal(2000)
    logs = 0.01 * (logs - logs.mean()) / logs.std() + 0.0004
    days = one_bar_days(np.expm1(logs))
    rules = rule_set(profit_target=0.08, max_drawdown={"fraction": 0.10})
    odds = draw_odds(days, rules, 2000, paths=6000, length=1500, block=1.0, seed=1)
    # A Brownian motion with drift between two barriers, moved out by what a walk of whole days
    # jumps over them on average (Siegmund 1979: 0.5826 of a day's deviation).
    drift, up, down = 2 * 0.0004 / 0.01**2, math.log(1.08), -math.log(0.90)
    up, down = up + 0.005826, down + 0.005826
    passing = (1 - math.exp(drift * down)) / (math.exp(-drift * up) - math.exp(drift * down))
    assert odds.undecided.share < 0.001
    assert odds.passed.share == pytest.approx(passing, abs=0.02)
    assert odds.passed.share + odds.failed["max_drawdown"].share + odds.undecided.share == 1.0
    assert odds.passed.standard_error == pytest.approx(
        math.sqrt(passing * (1 - passing) / 6000), rel=0.05
    )


def test_the_odds_of_independent_days_of_many_bars_are_those_of_a_direct_simulation():
    rng = np.random.default_rng(6)
    bars, horizon, count = 8, 25, 300
    returns = 0.004 * rng.standard_normal((count, bars)) + 0.0004
    equity = np.concatenate(([1.0], np.cumprod(1.0 + returns.ravel())))
    days = split_days(
        equity, np.repeat(np.arange(count), bars), np.ones(count * bars, bool), equity[:-1:bars]
    )
    rules = rule_set(
        profit_target=0.06,
        max_daily_loss={"fraction": 0.02},
        max_drawdown={"fraction": 0.05, "kind": "trailing"},
        min_trading_days=4,
        max_days=horizon,
    )
    odds = draw_odds(days, rules, count, paths=6000, block=1.0, seed=2)
    drawn = returns[rng.integers(count, size=(6000, horizon))]
    path = np.cumprod(1.0 + drawn.reshape(6000, -1), axis=1)
    starts = np.concatenate((np.ones((6000, 1)), path[:, bars - 1 : -1 : bars]), axis=1)
    daily = path <= 0.98 * np.repeat(starts, bars, axis=1)
    high = np.maximum.accumulate(np.concatenate((np.ones((6000, 1)), path), axis=1), axis=1)[:, :-1]
    total = path <= high - 0.05
    met = (path >= 1.06) & (np.arange(path.shape[1]) >= 3 * bars)
    never = path.shape[1]
    first = [np.where(event.any(1), event.argmax(1), never) for event in (met, daily, total)]
    passing = float((first[0] < np.minimum(first[1], first[2])).mean())
    broken = float(((first[1] < never) & (first[1] <= np.minimum(first[0], first[2]))).mean())
    # The trailing floor lies above the day's for some of these bars: count them apart.
    below = np.take_along_axis(high, np.minimum(first[1], never - 1)[:, None], axis=1)[:, 0] - 0.05
    same = (first[1] == first[2]) & (first[1] < np.minimum(first[0], never))
    day = np.minimum(first[1], never - 1) // bars
    floor = 0.98 * np.take_along_axis(starts, day[:, None], axis=1)[:, 0]
    broken -= float((same & (below > floor)).mean())
    error = math.hypot(0.0065, 0.0065)  # of two shares near a half
    assert 0.1 < passing < 0.9 and odds.passed.share == pytest.approx(passing, abs=3 * error)
    assert odds.failed["max_daily_loss"].share == pytest.approx(broken, abs=3 * error)
    assert odds.undecided.share == 0.0 and set(odds.failed) == {
        "max_daily_loss",
        "max_drawdown",
        "max_days",
    }


def test_drawn_days_keep_their_bars():
    # Every day falls to 0.97 and comes back to 1.01: a limit of 2 % on the day fails all of them,
    # though no pair of its ends would.
    equity = np.concatenate(([1.0], np.cumprod(np.tile([0.97, 1.01 / 0.97], 40))))
    days = split_days(equity, np.repeat(np.arange(40), 2), np.ones(80, bool), equity[:-1:2])
    strict = draw_odds(days, rule_set(max_daily_loss={"fraction": 0.02}), 40, paths=50)
    loose = draw_odds(days, rule_set(max_daily_loss={"fraction": 0.04}), 40, paths=50)
    assert strict.failed["max_daily_loss"].share == 1.0 and strict.median_days_to_pass is None
    assert loose.passed.share == 1.0 and loose.median_days_to_pass == 10  # 1.01 ** 10 = 1.1046


def test_a_drawn_path_begins_flat_and_later_days_keep_their_open_loss():
    # Each day begins 3 % below its balance and loses 2.5 % in its first bar.
    equity = np.concatenate(([1.0], np.cumprod(np.tile([0.975, 1 / 0.975], 20))))
    days = split_days(equity, np.repeat(np.arange(20), 2), np.ones(40, bool), equity[:-1:2] * 1.03)
    odds = draw_odds(days, rule_set(**OF_BALANCE), 20, paths=20, length=1)
    assert odds.undecided.share == 1.0
    odds = draw_odds(days, rule_set(**OF_BALANCE), 20, paths=20, length=2)
    assert odds.failed["max_daily_loss"].share == 1.0  # 1.03 * 0.95 = 0.9785


def test_a_seed_repeats_the_odds_and_few_days_have_none():
    days = one_bar_days(0.01 * np.random.default_rng(1).standard_normal(100))
    rules = rule_set(profit_target=0.05, max_drawdown={"fraction": 0.05})
    one, same, other = (draw_odds(days, rules, 100, paths=300, seed=seed) for seed in (3, 3, 4))
    assert one == same and one != other
    assert one.days == one.history_days == 100 and one.block_days == days_of_a_block(days, 100)
    assert draw_odds(days, rules, 9) is None


def test_spells_of_wild_days_lengthen_the_blocks():
    rng = np.random.default_rng(2)
    wild = np.repeat(rng.permutation([0.002, 0.02] * 25), 20)
    signs = rng.choice([-1.0, 1.0], 1000)
    assert days_of_a_block(one_bar_days(wild * signs), 1000) > 15.0
    assert days_of_a_block(one_bar_days(0.01 * signs), 1000) < 5.0


class Script:
    """Holds ``actions`` for ``bars`` each, the last one to the end."""

    name, inputs, scaled, window = "script", (), False, 1

    def __init__(self, bars: int, *actions: float) -> None:
        self.bars, self.actions = bars, actions

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic=False
    ) -> tuple[Any, Any]:
        bar = 0 if state is None else state
        action = self.actions[min(bar // self.bars, len(self.actions) - 1)]
        return np.array([action], np.float32), bar + 1


@pytest.fixture(scope="module")
def held(small_env, easy_bars) -> BacktestResult:
    scenario = Scenario.fit_all(small_env, given_market(small_env, easy_bars))
    return run_agent(Script(60, 0.3, 0.0, -0.2, -0.4, 0.0, 0.2, -0.3), scenario, (300, 1500))


def test_the_balance_is_the_account_s(held):
    """Where nothing is held equity is balance, swap and commission in; only deals move it."""
    found, ledger = balances(held), held.ledger
    assert found[0] == ledger.start_equity and found.size == len(ledger) + 1
    moved = np.flatnonzero(np.diff(found))
    time = held.scenario.market.panel.time
    assert moved.size and set(ledger.time_ns[moved]) <= {time[deal.bar] for deal in held.deals}
    flat = (ledger.position_lots == 0.0).all(axis=1)
    assert 100 < flat.sum() < 600 and ledger.swap.any() and ledger.commission.any()
    assert found[1:][flat] == pytest.approx(ledger.equity[flat], abs=1e-6)


def test_a_run_under_rules(held):
    rules = rule_set(profit_target=0.02, max_drawdown={"fraction": 0.04}, min_trading_days=1)
    taken = take_challenge(held, rules, "mine", paths=200)
    equity = held.ledger.equity
    start = held.ledger.start_equity
    expected = int(np.argmax((equity >= 1.02 * start) | (equity <= 0.96 * start)))
    assert taken.outcome.row == expected and taken.time_ns == held.ledger.time_ns[expected]
    written = taken.to_dict()
    assert written["rules"] == rules.model_dump(mode="json")
    assert written["outcome"]["verdict"] == taken.outcome.verdict
    text = " ".join(taken.sentences())
    assert "Rules mine: " in text and "Of 200 paths" in text and BAR_CLOSES in text


def test_a_flat_account_stays_undecided(small_env, easy_bars):
    scenario = Scenario.fit_all(small_env, given_market(small_env, easy_bars))
    taken = take_challenge(run_agent(Flat(1), scenario, (300, 800)), rule_set(), "mine", paths=50)
    assert taken.outcome.verdict == "undecided" and taken.outcome.trading_days == 0
    assert taken.odds.undecided.share == 1.0 and taken.odds.block_days == 1.0
    assert "best day" not in taken.sentences()[0]


def test_days_after_a_halt_are_not_drawn_from(easy_bars):
    breaker = {"daily_loss": [0.01, 0.02, 0.03]}
    changes = {"symbols": ["XAUUSD"], "features": ["returns"], "breaker": breaker}
    env = resolve_env({"name": "halted", **changes})
    scenario = Scenario.fit_all(env, given_market(env, easy_bars))
    result = run_agent(Script(500, 0.0, 1.0), scenario, (300, 1900))
    ledger = result.ledger
    halt = next(e.time_ns for e in ledger.events if e.text == "circuit breaker LEVEL_3")
    assert ledger.position_lots[ledger.time_ns <= halt].any()
    clock = Clock.parse(scenario.market.specs[0].clock)
    before = np.unique(clock.day_number(ledger.time_ns[ledger.time_ns <= halt])).size
    taken = take_challenge(result, rule_set(), "mine", paths=20)
    # The bar after the halt closes the position and may belong to the next day.
    assert before <= taken.odds.history_days <= before + 1
    assert 20 < before < np.unique(clock.day_number(ledger.time_ns)).size - 20
