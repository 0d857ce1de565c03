"""SB3VecEnv and VectorTradingEnv: many lanes, reset in the same step."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.error import Error
from gymnasium.vector import AutoresetMode

from mtquant.envs.vec_env import SB3VecEnv, make_vec_env
from mtquant.envs.vector import VectorTradingEnv
from mtquant.errors import ConfigError

LANES = 6


@pytest.fixture
def batched(gold_scenario) -> SB3VecEnv:
    env = SB3VecEnv(gold_scenario, LANES)
    env.seed(1)
    return env


def random_actions(bars: int, lanes: int = LANES) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (bars, lanes, 1)).astype(np.float32)


def test_seeds_repeat_and_differ(gold_scenario):
    def play(seed: int) -> list[np.ndarray]:
        env = SB3VecEnv(gold_scenario, LANES)
        env.seed(seed)
        seen = [env.reset().copy()]
        for row in random_actions(250):
            observations, rewards, dones, _ = env.step(row)
            seen += [observations.copy(), rewards.copy(), dones.copy()]
        return seen

    ours, theirs, others = play(3), play(3), play(4)
    assert all(map(np.array_equal, ours, theirs))
    assert not np.array_equal(ours[0], others[0])


def test_sb3_lanes_hand_over_their_last_observation(batched):
    observations = batched.reset()
    ended = 0
    for row in random_actions(450):
        observations, rewards, dones, infos = batched.step(row)
        assert rewards.dtype == np.float32
        assert dones.dtype == bool
        for lane in range(LANES):
            info = infos[lane]
            if not dones[lane]:
                assert info == {}
                continue
            ended += 1
            last = info["terminal_observation"]
            assert batched.observation_space.contains(last)
            assert not np.array_equal(last, observations[lane])
            summary = info["episode_summary"]
            assert info["TimeLimit.truncated"] == (summary["bars"] <= 200 and not _halted(info))
            assert info["episode"]["l"] == summary["bars"]
            assert info["episode"]["r"] == summary["reward"]
    assert ended >= 2 * LANES
    assert len(batched.take_finished()) == ended
    assert batched.take_finished() == []


def _halted(info: dict) -> bool:
    return info["terminal_observation"][-1] == 1.0  # breaker_level 3 of 3


def test_sb3_episodes_report_the_sum_of_their_rewards(batched):
    batched.reset()
    sums, lengths = np.zeros(LANES), np.zeros(LANES, int)
    checked = 0
    for row in random_actions(450):
        _, rewards, dones, infos = batched.step(row)
        sums += rewards
        lengths += 1
        for lane in np.flatnonzero(dones):
            assert infos[lane]["episode"]["r"] == pytest.approx(sums[lane], abs=1e-3)
            assert infos[lane]["episode"]["l"] == lengths[lane]
            sums[lane], lengths[lane] = 0.0, 0
            checked += 1
    assert checked >= LANES


def test_lanes_end_at_different_times_and_within_the_training_rows(gold_scenario):
    env = SB3VecEnv(gold_scenario, 64)
    env.seed(0)
    env.reset()
    account = env.simulator.book.account
    remaining = account["end"] - account["cursor"]
    assert np.unique(remaining).size > 40
    first, last = gold_scenario.first_row, gold_scenario.splits.train[1]
    for row in random_actions(260, 64):
        env.step(row)
        assert account["cursor"].min() >= first
        assert account["end"].max() <= last


def test_termination_is_no_time_limit(gold_bars):
    env = make_vec_env(
        "xauusd_h1",
        gold_bars,
        n_envs=4,
        breaker={"daily_loss": [0.0005, 0.001, 0.002]},
        episode={"bars": 200, "randomise": False},
    )
    env.reset()
    kinds = set()
    for _ in range(200):
        *_, dones, infos = env.step(np.ones((4, 1), np.float32))
        for lane in np.flatnonzero(dones):
            limit = infos[lane]["TimeLimit.truncated"]
            assert limit == (not _halted(infos[lane]))
            kinds.add(limit)
    assert False in kinds


def test_an_observation_lives_until_the_step_after_the_next(batched):
    first = batched.reset()
    kept = first.copy()
    second = batched.step(np.ones((LANES, 1), np.float32))[0]
    np.testing.assert_array_equal(first, kept)
    assert second is not first


def test_sb3s_other_methods(batched):
    assert batched.get_attr("num_envs", [0, 2]) == [LANES, LANES]
    assert batched.env_is_wrapped(object) == [False] * LANES
    with pytest.raises(AttributeError, match="lanes share"):
        batched.set_attr("x", 1)
    with pytest.raises(AttributeError, match="render_all"):
        batched.env_method("render_all")
    assert batched.seed(None) == [None] * LANES
    batched.close()


def test_no_lane_is_no_batch(gold_bars):
    with pytest.raises(ConfigError, match="n_envs = 0"):
        make_vec_env("xauusd_h1", gold_bars, n_envs=0)


def test_sb3_learns_on_it(batched):
    """PPO collects and trains through the VecEnv interface without a word of warning."""
    from stable_baselines3 import PPO

    model = PPO("MlpPolicy", batched, n_steps=64, batch_size=96, n_epochs=1, device="cpu", seed=0)
    model.learn(64 * LANES)
    assert model.num_timesteps == 64 * LANES


def test_gymnasiums_vector_env_resets_in_the_same_step(gold_scenario):
    env = VectorTradingEnv(gold_scenario, LANES)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observations, infos = env.reset(seed=5)
    assert observations.shape == (LANES, env.single_observation_space.shape[0])
    assert infos == {}
    kept = observations.copy()
    ended = 0
    for row in random_actions(450):
        observations, rewards, terminated, truncated, infos = env.step(row)
        assert env.observation_space.contains(observations)
        assert not (terminated & truncated).any()
        done = terminated | truncated
        assert rewards.shape == (LANES,)
        assert bool(infos) == done.any()
        if not done.any():
            continue
        np.testing.assert_array_equal(infos["_final_obs"], done)
        for lane in range(LANES):
            final, summary = infos["final_obs"][lane], infos["episode_summary"][lane]
            assert (final is not None) == (summary is not None) == done[lane]
            if done[lane]:
                ended += 1
                assert env.single_observation_space.contains(final)
                # The new episode has begun: no bar of it has passed.
                assert env.simulator.book.account["bars"][lane] == 0
    assert ended >= 2 * LANES
    np.testing.assert_array_equal(env.reset(seed=5)[0], kept)
    assert not np.array_equal(env.reset()[0], kept)


def test_gymnasiums_vector_env_takes_one_seed(gold_scenario):
    env = VectorTradingEnv(gold_scenario, 2)
    with pytest.raises(Error, match="one integer"):
        env.reset(seed=[1, 2])
