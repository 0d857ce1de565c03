"""The preset is exact: what the kernel pays is what the optimum was solved for."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.envs.scenario import Scenario
from mtquant.market.planted import PRESETS
from mtquant.market.planted_history import VOLATILITY
from mtquant.research.optimum import optimum
from mtquant.research.planted import (
    EVALUATED_BARS,
    LEVERAGE,
    PlantedMarket,
    planted_env,
    positions_of,
    score,
)
from mtquant.sim.simulator import Simulator

PENALTY = 0.05


class Script:
    """Answers with a prepared position for each row in turn."""

    name, inputs, scaled, window = "script", None, True, 1

    def __init__(self, actions):
        self.actions = iter(actions)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.array([next(self.actions)], np.float32), None


def market_of(preset, bars=3_000, seed=5):
    """A history and its scenario in the unit of the law: volatility 1e-3 exactly."""
    market = PlantedMarket(PRESETS[preset], features=("returns",), bars=bars)
    history, data = market.data(bars, seed)
    env = planted_env(market.law, market.features)
    fitted = Scenario.fit_all(env, data)
    exact = Scenario(env, data, fitted.pipeline, VOLATILITY * LEVERAGE)
    return history, exact


def kernel_rewards(scenario, actions, first):
    """Rewards and positions of a script from one flat start."""
    simulator = Simulator(scenario.tape(scenario.features(), scenario.rows("all")))
    simulator.place(0, first, first + len(actions), scenario.env.account.capital)
    paid, held = [], []
    for action in actions:
        _, reward, _ = simulator.step_lane(0, np.array([action], np.float32))
        paid.append(reward)
        held.append(simulator.book.positions["steps"][0, 0] / 1000.0)
    return np.array(paid), np.array(held)


@pytest.mark.parametrize("preset", ["slow_alpha", "lead_lag"])
def test_the_kernel_pays_the_reward_of_the_optimum(preset):
    """x z - lambda/2 min(x z, 0)^2 - c |dx|, scaled by how far the price has moved since."""
    history, scenario = market_of(preset)
    first = scenario.first_row
    actions = np.random.default_rng(0).choice([-1.0, -0.37, 0.0, 0.5, 1.0], 400)
    paid, held = kernel_rewards(scenario, actions, first)
    rows = slice(first + 1, first + 401)
    opened = history.bars.open[rows] / history.bars.close[first]
    gross = held * history.moves[rows] * opened
    wanted = gross - PENALTY / 2 * np.minimum(gross, 0) ** 2
    wanted -= history.law.cost * np.abs(np.diff(held, prepend=0.0)) * opened
    # A tick of spread, and equity that has moved by a share of a percent.
    np.testing.assert_allclose(paid, wanted, atol=0.012 * np.abs(gross).max())
    assert paid.mean() == pytest.approx(wanted.mean(), abs=0.002)


def test_quadratic_cost_is_paid_by_impact():
    """Each deal d costs cost_quadratic / 2 d^2 on average, through the slippage model.

    A flip is two deals, to zero and beyond, and pays for each.
    """
    history, scenario = market_of("quadratic")
    actions = np.random.default_rng(1).uniform(-1.0, 1.0, 2_000)
    paid, held = kernel_rewards(scenario, actions, scenario.first_row)
    rows = slice(scenario.first_row + 1, scenario.first_row + 2_001)
    opened = history.bars.open[rows] / history.bars.close[scenario.first_row]
    gross = held * history.moves[rows] * opened
    cost = gross - PENALTY / 2 * np.minimum(gross, 0) ** 2 - paid
    before = np.concatenate([[0.0], held[:-1]])
    flips = before * held < 0
    squares = np.where(flips, before**2 + held**2, (held - before) ** 2)
    wanted = history.law.cost_quadratic / 2 * squares * opened
    assert cost.mean() == pytest.approx(wanted.mean(), rel=0.03)


def test_the_optimum_played_through_the_kernel_earns_its_value():
    history, scenario = market_of("season", bars=60_000)
    best = optimum(history.law, downside_penalty=PENALTY)
    rows = scenario.rows("all")
    here = history[rows[0] : rows[1]]
    wanted = best.positions(here)
    held = positions_of(Script(wanted), scenario, rows)
    fresh = np.arange(len(held)) % EVALUATED_BARS != 0
    assert np.abs(held - wanted)[fresh].max() <= 2e-3  # a lot step, and the rounding of the size
    found = score(here, np.clip(held, -1, 1), PENALTY)
    assert found.value == pytest.approx(best.value, rel=0.01)
    assert found.linear_value > found.value
    assert found.turnover == pytest.approx(best.turnover, rel=0.02)
    assert found.exposure == pytest.approx(best.exposure, rel=0.02)


def test_signals_and_noise_are_shown_and_a_fresh_draw_is_seen_through_the_first_fit():
    market = PlantedMarket(PRESETS["slow_alpha"], signals=("alpha",), noise=2, bars=21_000)
    fitted = market.scenario(1)
    assert fitted.inputs[0] == "level_ALPHA" and len(fitted.inputs) == 3
    history, fresh = market.fresh(fitted, 3_000, 2)
    assert fresh.pipeline is fitted.pipeline and fresh.reward_scale == fitted.reward_scale
    rows = fresh.rows("all")
    shown = fresh.features()[rows[0] : rows[1], 0]
    assert np.corrcoef(shown, history.signals["alpha"][rows[0] : rows[1]])[0, 1] > 0.99
    assert not np.array_equal(history.moves, market.data(3_000, 1)[0].moves)
