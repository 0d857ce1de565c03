"""``episode.other_symbols``: training episodes that are played on other instruments, too."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from mtquant.config.data import given_market, training_market
from mtquant.config.load import load_symbols
from mtquant.config.schema import EnvConfig
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.envs.trading import make_env
from mtquant.envs.vec_env import SB3VecEnv, make_vec_env
from mtquant.errors import ConfigError, DataError
from mtquant.market.bars import Bars
from mtquant.market.simulated import SimulatedMarket
from mtquant.market.store import Source, Store
from mtquant.sim.custom_reward import register_reward
from mtquant.sim.randomness import uniform

OTHERS = ["EURUSD", "BTCUSD"]
BARS = 150
LANES = 12
ENV = {
    "symbols": ["XAUUSD"],
    "features": ["returns", "volatility"],
    "episode": {"bars": BARS, "other_symbols": OTHERS},
    "costs": {"randomise": [0.5, 2.0]},
}


def drawn_bars(symbol: str, seed: int, count: int = 3_000, timeframe: str = "H1") -> Bars:
    return SimulatedMarket(symbol, timeframe, count, seed).bars(load_symbols()[symbol])


@pytest.fixture(scope="module")
def bars() -> list[Bars]:
    return [drawn_bars(symbol, seed) for seed, symbol in enumerate(("XAUUSD", *OTHERS))]


@pytest.fixture(scope="module")
def scenario(bars) -> Scenario:
    env = resolve_env(ENV)
    return Scenario.fit(env, training_market(env, bars))


def batch(scenario: Scenario, lanes: int = LANES, seed: int = 4) -> SB3VecEnv:
    env = SB3VecEnv(scenario, lanes)
    env.seed(seed)
    return env


def actions(bars: int, lanes: int = LANES) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (bars, lanes, 1)).astype(np.float32)


def instruments(env: SB3VecEnv, action: float) -> list[list[int]]:
    """Which instruments each lane was on, episode by episode."""
    env.reset()
    found = [[k] for k in env.simulator.drawn.tolist()]
    for _ in range(4 * BARS):
        _, _, dones, _ = env.step(np.full((env.num_envs, 1), action, np.float32))
        for lane in np.flatnonzero(dones):
            found[lane].append(int(env.simulator.drawn[lane]))
    return found


def test_what_a_lane_draws_depends_on_seed_and_lane_alone(scenario):
    ours = instruments(batch(scenario), 0.0)
    assert ours == instruments(batch(scenario), 0.3)
    assert ours == instruments(batch(scenario, 2 * LANES), 0.0)[:LANES]
    assert ours != instruments(batch(scenario, seed=5), 0.0)
    assert all(len(episodes) > 3 for episodes in ours)
    assert len({tuple(episodes[:4]) for episodes in ours}) > LANES // 2


def test_every_instrument_is_equally_likely(scenario):
    env = batch(scenario, 3_000)
    env.reset()
    counts = np.bincount(env.simulator.drawn)
    assert counts.size == 3 and counts.min() > 900


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_lane_earns_what_the_env_of_its_instrument_earns(scenario, bars, place):
    """Bit for bit, from the lane's generator on: also the features, scaler and unit are that env's.

    The own instrument's env is cut into splits; the others' is fitted on all bars until the own
    training split ends.
    """
    plain = {**ENV, "episode": {"bars": BARS}, "symbols": [bars[place].symbol]}
    env, end = resolve_env(plain), int(bars[0].time[scenario.splits.train[1]])
    if place == 0:
        alone = Scenario.fit(env, given_market(env, bars)).simulator("train", LANES)
    else:
        known = given_market(env, [bars[place].between(None, end + 1)])
        alone = Scenario.fit_all(env, known).simulator("all", LANES)
    pooled = batch(scenario)
    alone.book.account["rng"] = pooled.simulator.book.account["rng"]
    for lane in range(LANES):
        uniform(alone.book, lane)
    ours, theirs = pooled.reset(), alone.reset(stagger=True)
    lanes = np.flatnonzero(pooled.simulator.drawn == place)
    assert lanes.size
    seen = 0
    for action in actions(BARS):
        np.testing.assert_array_equal(ours[lanes], theirs[lanes])
        ours, rewards, dones, infos = pooled.step(action)
        moved = alone.step(action)
        theirs = moved.observations
        np.testing.assert_array_equal(rewards[lanes], moved.rewards[lanes])
        np.testing.assert_array_equal(dones[lanes], moved.over[lanes])
        for lane in lanes[dones[lanes]]:
            last, summary = moved.finished[lane]
            np.testing.assert_array_equal(infos[lane]["terminal_observation"], last)
            assert infos[lane]["episode_summary"] == summary._asdict()
            seen += 1
        lanes = lanes[~dones[lanes]]
    assert seen and not lanes.size


def test_a_restarted_lane_sees_its_new_instrument(scenario):
    env = batch(scenario)
    env.reset()
    simulator, changes = env.simulator, 0
    for action in actions(3 * BARS):
        before = simulator.drawn.copy()
        observations, _, dones, _ = env.step(action)
        assert (before == simulator.drawn)[~dones].all()
        changes += int((before != simulator.drawn).sum())
        cursors = simulator.book.account["cursor"]
        for lane, place in enumerate(simulator.drawn):
            market = simulator.tapes[place].features[cursors[lane]]
            np.testing.assert_array_equal(observations[lane, : market.size], market)
    assert changes > LANES


def test_nothing_is_learned_from_after_the_training_split(bars):
    """Also from a history so young that its own first share would reach beyond."""
    env = resolve_env(ENV)
    young = [bars[0], bars[1][1_200:], bars[2]]
    scenario = Scenario.fit(env, training_market(env, young))
    end = bars[0].time[scenario.splits.train[1]]
    for other in scenario.others:
        time = other.market.panel.time
        assert time[-1] <= end < time[-1] + 3 * 24 * 3_600 * 10**9
        assert other.simulator("all").tape.rules["last"][0] == len(time) - 1


def test_only_training_sees_other_symbols(scenario, bars):
    assert len(scenario.simulator("train").tapes) == 3
    for split, training in (("train", False), ("validation", True), ("test", True), ("all", True)):
        assert len(scenario.simulator(split, training=training).tapes) == 1
    env = make_env(ENV, bars[0], split="test", training=False)
    assert env.reset(seed=1)[1]["time"] == env.scenario.times[scenario.splits.test[0]]


def test_a_state_goes_on_on_the_same_instruments(scenario):
    one, other = batch(scenario), batch(scenario, seed=9)
    one.reset()
    other.reset()
    for action in actions(40):
        one.step(action)
    observations = other.simulator.restore(one.simulator.state())
    np.testing.assert_array_equal(observations, one.simulator.restore(one.simulator.state()))
    for action in actions(2 * BARS):
        for ours, theirs in zip(one.step(action)[:3], other.step(action)[:3], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(one.simulator.drawn, other.simulator.drawn)


def test_a_single_env_tells_time_and_lots_of_what_it_plays(scenario, bars):
    env = make_env(ENV, bars)
    played = set()
    for seed in range(20):
        place = 0
        _, info = env.reset(seed=seed)
        place = int(env._simulator.drawn[0])
        played.add(place)
        cursor = env._simulator.book.account["cursor"][0]
        assert info["time"] == bars[place].when(cursor)
        *_, info = env.step(np.array([1.0], np.float32))
        steps = env._simulator.book.positions["steps"][0, 0]
        lot = load_symbols()[bars[place].symbol].lot_step
        assert steps and info["position_lots"] == [steps * lot]
    assert played == {0, 1, 2}


def test_a_reward_of_ones_own_is_told_the_rules_of_the_instrument(bars):
    register_reward("unit", lambda account, rules, gross, before: rules["reward_scale"])
    env = make_vec_env({**ENV, "reward": {"kind": "unit"}}, bars, LANES)
    env.reset()
    units = [np.float32(tape.rules["reward_scale"][0]) for tape in env.simulator.tapes]
    assert len(set(units)) == 3
    for action in actions(BARS):
        paid = [units[place] for place in env.simulator.drawn]
        assert env.step(action)[1].tolist() == paid


def test_other_symbols_are_part_of_what_an_env_is():
    plain = resolve_env({**ENV, "episode": {"bars": BARS}})
    assert resolve_env(plain).config_id == plain.config_id
    told = resolve_env(ENV)
    assert EnvConfig.model_validate(told.model_dump(mode="json")) == told
    assert told.config_id != plain.config_id


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"symbols": ["XAUUSD", "GBPUSD"]}, "one symbol, and this one trades XAUUSD, GBPUSD"),
        ({"symbols": ["EURUSD"]}, "name EURUSD again"),
        ({"episode": {"other_symbols": ["EURUSD", "EURUSD"]}}, "name EURUSD again"),
    ],
)
def test_a_wrong_choice_is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        EnvConfig.model_validate({"name": "wrong", **ENV, **changes})


def test_an_unknown_symbol_is_refused_with_the_nearest():
    env = resolve_env({**ENV, "episode": {"other_symbols": ["EURUDS"]}})
    with pytest.raises(ConfigError, match="'EURUDS'; did you mean 'EURUSD'"):
        training_market(env)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (drawn_bars("BTCUSD", 1), "bars of EURUSD are missing"),
        (drawn_bars("EURUSD", 1, timeframe="M15"), "on EURUSD trades H1 bars, given are M15"),
    ],
)
def test_given_bars_that_are_no_other_symbol_s_are_refused(bars, other, said):
    env = resolve_env({**ENV, "episode": {"other_symbols": ["EURUSD"]}})
    with pytest.raises(DataError, match=said):
        training_market(env, [bars[0], other])


@pytest.mark.parametrize("first", [1_800, 2_999])
def test_a_history_that_begins_too_late_is_refused(bars, first):
    env = resolve_env({**ENV, "episode": {"other_symbols": ["EURUSD"]}})
    with pytest.raises(DataError, match=r"import earlier ones, or leave EURUSD out of episode"):
        Scenario.fit(env, training_market(env, [bars[0], bars[1][first:]]))


def test_beside_stored_bars_none_are_made_up(tmp_path, bars):
    gold = bars[0]
    Store(tmp_path).add(gold, Source("x", "utc", len(gold), gold.when(0), gold.when(-1)))
    with pytest.raises(DataError, match=r"needs H1 bars of EURUSD .* `mtquant data import`"):
        training_market(resolve_env(ENV), data_dir=tmp_path)


def test_simulated_markets_are_independent():
    env = resolve_env({**ENV, "episode": {"other_symbols": ["EURUSD"]}})
    market = training_market(env)
    own, other = (np.diff(np.log(one.panel.bars[0].close)) for one in (market, *market.others))
    count = min(len(own), len(other))
    assert abs(np.corrcoef(own[:count], other[:count])[0, 1]) < 0.02


def test_a_scenario_without_the_bars_does_not_train(bars):
    env = resolve_env(ENV)
    with pytest.raises(ConfigError, match=r"trains on EURUSD, BTCUSD too"):
        Scenario.fit(env, given_market(env, bars)).simulator("train")
