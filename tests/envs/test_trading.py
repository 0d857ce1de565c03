from __future__ import annotations

import re
from math import sqrt

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from mtquant.config.data import given_market
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.envs.trading import TradingEnv, make_env
from mtquant.errors import ConfigError, DataError


@pytest.fixture
def env(gold_scenario) -> TradingEnv:
    return TradingEnv(gold_scenario)


def roll(env: TradingEnv, seed: int, bars: int = 300) -> list[tuple]:
    """Everything an agent sees under random actions, resets without a seed included."""
    rng = np.random.default_rng(seed)
    seen = [env.reset(seed=seed)]
    for _ in range(bars):
        result = env.step(rng.uniform(-1, 1, 1).astype(np.float32))
        seen.append(result)
        if result[2] or result[3]:
            seen.append(env.reset())
    return seen


def equal(ours: object, theirs: object) -> bool:
    if isinstance(ours, np.ndarray):
        return np.array_equal(ours, theirs)
    if isinstance(ours, (tuple, list)):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return ours == theirs


def test_gymnasium_finds_nothing_to_complain_about(env):
    check_env(env, skip_render_check=True)


def test_stable_baselines_finds_nothing_to_complain_about(env):
    sb3_check_env(env)


def test_equal_seeds_give_equal_lives(gold_scenario):
    ours, theirs = (roll(TradingEnv(gold_scenario), seed=4) for _ in range(2))
    assert equal(ours, theirs)
    assert not equal(ours, roll(TradingEnv(gold_scenario), seed=5))


def test_a_seed_repeats_within_one_env_and_no_seed_goes_on(env):
    first = env.reset(seed=3)
    following = env.reset()
    assert equal(env.reset(seed=3), first)
    assert equal(env.reset(), following)
    assert not equal(first[0], following[0])


def test_without_any_seed_two_envs_differ(gold_scenario):
    starts = {TradingEnv(gold_scenario).reset()[1]["time"] for _ in range(8)}
    assert len(starts) > 1


def test_observations_are_copies_within_the_space(env):
    first, _ = env.reset(seed=0)
    kept = first.copy()
    for _ in range(50):
        observation, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
    np.testing.assert_array_equal(first, kept)


def test_the_docstring_names_every_account_column(env):
    """The docstring is the specification: its table and the env agree."""
    table = [row for row in TradingEnv.__doc__.splitlines() if row.strip().startswith("| account")]
    named = [name for row in table for name in re.findall(r"`(\w+)`", row)]
    market = len(env.scenario.pipeline.names)
    assert list(env.observation_names[market:]) == named
    assert env.observation_names[:market] == env.scenario.pipeline.names
    assert len(env.observation_names) == env.observation_space.shape[0]
    np.testing.assert_array_equal(env.observation_space.high[:market], 5.0)
    np.testing.assert_array_equal(env.observation_space.high[market:], 1.0)
    np.testing.assert_array_equal(env.observation_space.low, -env.observation_space.high)


def test_the_docstring_names_what_the_summary_holds(env):
    text = " ".join(TradingEnv.__doc__.split()).casefold()
    said = text[text.index("episode_summary") : text.index("## arguments")]
    env.reset(seed=1)
    over = False
    while not over:
        *_, terminated, truncated, info = env.step(np.zeros(1, np.float32))
        over = terminated or truncated
    words = {
        "average_holding_bars": "average holding period",
        "max_drawdown": "maximum drawdown",
    }
    for name in set(info["episode_summary"]) - {"bars", "reward"}:
        assert words.get(name, name.replace("_", " ")) in said, name


def test_the_market_part_is_the_scaled_feature_row(gold_scenario):
    env = TradingEnv(gold_scenario, split="validation", training=False)
    rows = gold_scenario.features()
    first, _ = gold_scenario.rows("validation")
    observation, info = env.reset()
    width = rows.shape[1]
    np.testing.assert_array_equal(observation[:width], rows[first])
    assert not observation[width:].any()  # flat, at the peak, a new day
    observation, *_ = env.step(np.ones(1, np.float32))
    np.testing.assert_array_equal(observation[:width], rows[first + 1])
    assert info["time"] < env._info()["time"]


@pytest.mark.parametrize("split", ["train", "validation", "test", "all"])
def test_without_training_one_episode_is_the_whole_split(gold_scenario, split):
    first, last = gold_scenario.rows(split)
    first = max(first, gold_scenario.first_row)
    env = TradingEnv(gold_scenario, split=split, training=False)
    _, info = env.reset(seed=9)
    assert info["equity"] == gold_scenario.env.account.capital
    bars, truncated = 0, False
    while not truncated:
        *_, terminated, truncated, info = env.step(np.zeros(1, np.float32))
        assert not terminated
        bars += 1
        assert ("episode_summary" in info) == truncated
    assert bars == last - first == info["episode_summary"]["bars"]


def test_the_summary_has_the_numbers_of_the_steps(gold_scenario):
    env = TradingEnv(gold_scenario, split="test", training=False)
    _, info = env.reset()
    equity, rewards, over = [info["equity"]], [], False
    rng = np.random.default_rng(2)
    while not over:
        action = rng.uniform(-0.3, 0.3, 1).astype(np.float32)
        _, reward, terminated, truncated, info = env.step(action)
        equity.append(info["equity"])
        rewards.append(reward)
        over = terminated or truncated
    summary, curve = info["episode_summary"], np.array(equity)
    returns = np.diff(curve) / curve[:-1]
    pace = gold_scenario.bars_per_year
    downside = sqrt(np.mean(np.minimum(returns, 0.0) ** 2))
    falls = 1.0 - curve / np.maximum.accumulate(curve)
    assert summary["bars"] == len(rewards)
    assert summary["reward"] == pytest.approx(sum(rewards))
    assert summary["total_return"] == pytest.approx(curve[-1] / curve[0] - 1.0)
    assert summary["sharpe"] == pytest.approx(sqrt(pace) * returns.mean() / returns.std())
    assert summary["sortino"] == pytest.approx(sqrt(pace) * returns.mean() / downside)
    assert summary["max_drawdown"] == pytest.approx(falls.max())
    assert summary["trades"] > 20
    assert 0.0 < summary["win_rate"] < 1.0
    assert summary["costs"] > 0.0
    assert 5_000 < pace < 6_500  # hours of 24 x 5 a week, without the daily break


def test_ruin_is_terminated_and_the_end_of_bars_truncated(gold_bars):
    """A breaker that trips at once terminates; without it the same actions reach the end."""
    ends = []
    for level_3 in (0.002, 1.0):
        losses = [level_3 / 4, level_3 / 2, level_3]
        config = resolve_env(
            "xauusd_h1",
            {"breaker": {"daily_loss": losses}, "episode": {"bars": 60, "randomise": False}},
        )
        env = TradingEnv(Scenario.fit(config, given_market(config, gold_bars)))
        env.reset(seed=1)
        over = False
        while not over:
            *_, terminated, truncated, info = env.step(np.ones(1, np.float32))
            over = terminated or truncated
        ends.append((terminated, truncated))
        assert info["breaker"] == ("LEVEL_3" if terminated else "NORMAL") or truncated
        assert info["position_lots"] == [0.0] or truncated
    assert ends == [(True, False), (False, True)]


def test_a_step_after_the_end_asks_for_reset(env):
    with pytest.raises(gym.error.ResetNeeded):
        TradingEnv(env.scenario).step(np.zeros(1, np.float32))
    env.reset(seed=0)
    over = False
    while not over:
        *_, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
        over = terminated or truncated
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(1, np.float32))
    env.reset()
    env.step(np.zeros(1, np.float32))


def test_training_never_touches_a_validation_bar(gold_scenario):
    env = TradingEnv(gold_scenario)
    last = gold_scenario.splits.train[1]
    assert last < gold_scenario.splits.validation[0] - gold_scenario.env.split.embargo_bars
    reached = 0
    for seed in range(60):
        env.reset(seed=seed)
        account = env._simulator.book.account[0]
        assert account["cursor"] >= gold_scenario.first_row
        assert account["end"] <= last
        reached = max(reached, int(account["end"]))
    assert reached > last - 150


def test_info_says_what_happened(gold_scenario):
    env = TradingEnv(gold_scenario, split="test", training=False)
    env.reset()
    *_, info = env.step(np.ones(1, np.float32))
    assert info["position_lots"][0] > 0.0
    assert info["position_lots"][0] * 100 == pytest.approx(round(info["position_lots"][0] * 100))
    assert info["reason"] == ["allowed"]
    *_, info = env.step(np.full(1, np.nan, np.float32))
    assert info["reason"] == ["unchanged"]
    assert info["breaker"] == "NORMAL"


def test_make_env_merges_overrides_key_by_key(gold_bars):
    env = make_env("xauusd_h1", gold_bars, account={"capital": 50_000}, training=False)
    assert env.reset()[1]["equity"] == 50_000
    assert env.scenario.env.account.leverage == 100.0
    with pytest.raises(ConfigError, match="'capitol'; did you mean 'capital'"):
        make_env("xauusd_h1", gold_bars, account={"capitol": 50_000})
    with pytest.raises(ConfigError, match="'xausd_h1'; did you mean 'xauusd_h1'"):
        make_env("xausd_h1", gold_bars)
    with pytest.raises(ConfigError, match="unknown split 'tests'; did you mean 'test'"):
        make_env("xauusd_h1", gold_bars, split="tests")
    with pytest.raises(DataError, match="EURUSD are missing"):
        make_env("eurusd_h1", gold_bars)
    with pytest.raises(DataError, match="900 bars are too few") as caught:
        make_env("xauusd_h1", gold_bars[:900])
    needed = int(str(caught.value).split(" need ")[1].split(";")[0])
    make_env("xauusd_h1", gold_bars[:needed]).reset(seed=0)


KINDS = ("sortino", "log_return", "sortino_ratio", "differential_sharpe", "differential_downside")


@pytest.mark.parametrize("kind", KINDS)
def test_every_reward_goes_through_the_env_and_through_a_saved_state(gold_bars, kind):
    env = make_env("xauusd_h1", gold_bars, reward={"kind": kind}, features=["returns", "hour"])
    simulator, actions = env._simulator, np.random.default_rng(0).uniform(-1, 1, (300, 1))
    moments = env.observation_names[-2:] == ("return_ratio", "return_deviation")
    assert moments == kind.startswith("differential")
    env.reset(seed=1)
    rewards, seen = [], []
    for t, action in enumerate(actions.astype(np.float32)):
        if t == 150:
            state = simulator.state()
        observation, reward, over, cut, _ = env.step(action)
        assert env.observation_space.contains(observation) and np.isfinite(reward)
        rewards.append(reward)
        seen.append(observation)
        assert not over and not cut
    assert len(set(rewards)) > 100
    if moments:
        assert np.ptp(np.array(seen)[:, -2:], axis=0).min() > 0.0
    simulator.restore(state)
    again = [env.step(action)[1] for action in actions[150:].astype(np.float32)]
    assert again == rewards[150:]
