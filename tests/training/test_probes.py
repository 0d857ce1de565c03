"""Probes: advantages are those of a replay bar by bar, without the noise of prices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mtquant.config.data import given_market
from mtquant.config.schema import AgentConfig, EpisodeConfig, LearningConfig, ProbesConfig
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError
from mtquant.sim.kernel import RUNNING, TERMINATED
from mtquant.training.learner import build_learner
from mtquant.training.probes import Probes
from mtquant.training.trainer import Interrupted, resume_training, run_training

LANES, STEPS, BARS, GAMMA = 5, 60, 4, 0.8


class Network:
    """A policy and a critic that answer the same to the same; only these two are asked."""

    def __init__(self, width: int, symbols: int) -> None:
        rng = np.random.default_rng(3)
        self.weights = rng.normal(0.0, 1.0, (width, symbols)).astype(np.float32)
        self.worth = rng.normal(0.0, 1.0, width).astype(np.float32)

    def means(self, observations):
        return np.tanh(observations @ self.weights)

    def values(self, observations):
        return observations @ self.worth


@pytest.fixture
def scenario(small_env, easy_bars) -> Scenario:
    """Short episodes of a small account that the breaker often ends."""
    env = small_env.model_copy(
        update={
            "episode": EpisodeConfig(bars=17),
            "breaker": small_env.breaker.model_copy(update={"daily_loss": (0.001, 0.002, 0.003)}),
        }
    )
    return Scenario.fit(env, given_market(env, easy_bars))


def rollout(scenario: Scenario, jumps: float, drawn: float):
    """Advantages of a rollout; and what a replay needs: states, actions, means and rewards."""
    env = SB3VecEnv(scenario, LANES)
    env.seed(4)
    network = Network(env.simulator.width, 1)
    probes = Probes(ProbesConfig(bars=BARS, jumps=jumps), env, GAMMA)
    torch.manual_seed(1)
    rng = np.random.default_rng(2)
    observations, kept = env.reset(), []
    probes.begin(STEPS, observations)
    for step in range(STEPS):
        means = network.means(observations)
        actions = (means + drawn * rng.standard_normal(means.shape)).astype(np.float32)
        state, seen = env.simulator.state(), observations.copy()
        played = probes.play(step, network, observations, means, actions)
        observations, rewards, dones, infos = env.step(played.clip(-1.0, 1.0))
        probes.compare(network, observations, rewards, dones, infos)
        jumped = np.where((played != means).any(axis=1), played[:, 0], np.nan)
        kept.append((state, seen, actions, jumped, rewards, dones, infos))
    return probes.finish(network, observations), kept, observations, network


def replayed(scenario: Scenario, kept, last, network) -> np.ndarray:
    """The same advantages, each planted by itself: go back, act, and follow."""
    expected = np.zeros((STEPS, LANES))
    for begin in range(STEPS):
        env = SB3VecEnv(scenario, LANES)
        state, seen, actions = kept[begin][:3]
        env.simulator.restore(state)
        weight = 1.0
        end = min(begin + BARS, STEPS)
        for step in range(begin, end):
            jumped, rewards, dones, infos = kept[step][3:]
            asked = network.means(seen)
            asked[:, 0] = np.where(np.isnan(jumped), asked[:, 0], jumped)
            if step == begin:
                asked, running = actions, np.isnan(jumped)
            moved = env.simulator.step(asked.clip(-1.0, 1.0))
            seen = moved.observations.copy()
            gained = weight * (moved.rewards - rewards)
            weight *= GAMMA
            after = kept[step + 1][1] if step + 1 < STEPS else last
            for lane in np.flatnonzero(running):
                expected[begin, lane] += gained[lane]
                if moved.statuses[lane] == RUNNING and not dones[lane]:
                    continue
                own = moved.finished[lane][0] if lane in moved.finished else seen[lane]
                ours = 0.0 if moved.statuses[lane] == TERMINATED else network.values(own)
                other = infos[lane]["terminal_observation"] if dones[lane] else after[lane]
                cut = not dones[lane] or infos[lane]["TimeLimit.truncated"]
                theirs = network.values(other) if cut else 0.0
                expected[begin, lane] += weight * (ours - theirs)
                running[lane] = False
        beside = kept[end][1] if end < STEPS else last
        ahead = network.values(seen) - network.values(beside)
        expected[begin] += np.where(running, weight * ahead, 0.0)
    return expected


@pytest.mark.parametrize("jumps", [0.0, 0.3])
def test_an_advantage_is_what_a_replay_of_the_same_bars_says(scenario, jumps):
    advantages, kept, last, network = rollout(scenario, jumps, 0.6)
    expected = replayed(scenario, kept, last, network)
    np.testing.assert_allclose(advantages, expected, atol=2e-4, rtol=1e-4)
    assert np.abs(advantages).max() > 0.5
    infos = [info for *_, infos in kept for info in infos if info]
    cut = [info["TimeLimit.truncated"] for info in infos]
    assert any(cut) and not all(cut), "episodes end both ways"


def test_an_action_that_the_lane_takes_too_is_worth_nothing(scenario):
    advantages, *_ = rollout(scenario, 0.0, 0.0)
    assert (advantages == 0.0).all()


def test_the_noise_of_prices_is_not_in_it(scenario):
    """A tenth of the deviation, a tenth of the advantage: what the lane earns has cancelled."""
    wide, narrow = (np.std(rollout(scenario, 0.0, drawn)[0]) for drawn in (0.5, 0.05))
    assert narrow < 0.3 * wide


def test_no_copy_leaves_the_bars(scenario):
    env = SB3VecEnv(scenario, LANES)
    probes = Probes(ProbesConfig(bars=BARS), env, GAMMA)
    last = scenario.rows("train")[1]
    network, observations = Network(env.simulator.width, 1), env.reset()
    for book in (env.simulator.book, probes._copies.book):
        book.account["cursor"], book.account["end"] = last - 3, last
    probes.begin(STEPS, observations)
    for step in range(12):
        means = network.means(observations)
        played = probes.play(step, network, observations, means, means)
        observations, rewards, dones, infos = env.step(played)
        assert (probes._copies.book.account["cursor"] <= last).all()
        probes.compare(network, observations, rewards, dones, infos)


def test_the_jumps_fall_to_nothing():
    probes = Probes.__new__(Probes)
    probes.config = ProbesConfig(jumps=0.4, until=0.5)
    found = []
    for done in (0.0, 0.25, 0.5, 0.9):
        probes.move(done)
        found.append(probes.jumps)
    assert found == pytest.approx([0.4, 0.2, 0.0, 0.0])


def test_lanes_jump_as_often_as_asked_and_anywhere(scenario):
    _, kept, *_ = rollout(scenario, 0.2, 0.6)
    jumped = np.concatenate([jumped for _, _, _, jumped, *_ in kept])
    landed = jumped[~np.isnan(jumped)]
    assert 0.1 < len(landed) / len(jumped) < 0.3
    assert landed.min() < -0.8 and landed.max() > 0.8 and abs(landed.mean()) < 0.2


@pytest.mark.parametrize(
    ("kind", "params", "window"),
    [
        ("sac", {}, 1),
        ("a2c", {}, 1),
        ("ppo", {"policy_kwargs": {"activation_fn": "elu"}}, 1),
        ("ppo", {"policy_kwargs": {"features_extractor_class": "conv"}}, 12),
    ],
)
def test_an_agent_that_cannot_be_probed_is_refused(small_env, easy_bars, kind, params, window):
    learning = LearningConfig(probes=ProbesConfig())
    agent = AgentConfig(kind=kind, params=params, window=window, learning=learning)
    scenario = Scenario.fit(small_env, given_market(small_env, easy_bars), window)
    with pytest.raises(ConfigError, match=rf"agent {kind}: learning\.probes serves ppo"):
        build_learner(agent, SB3VecEnv(scenario, 4), 0)


@pytest.mark.parametrize("wrong", [{"bars": 0}, {"jumps": 1.1}, {"until": 0.0}, {"length": 3}])
def test_impossible_probes_are_refused(wrong):
    with pytest.raises(ValidationError):
        LearningConfig.model_validate({"probes": wrong})


def test_probes_leave_the_lanes_as_they_are(scenario):
    """Without jumps a lane's way is that of the mean action, whatever is tried beside it."""
    _, kept, *_ = rollout(scenario, 0.0, 0.6)
    env = SB3VecEnv(scenario, LANES)
    env.seed(4)
    observations = env.reset()
    network = Network(env.simulator.width, 1)
    for _, seen, *_, rewards, dones, _ in kept:
        np.testing.assert_array_equal(observations, seen)
        observations, found, over, _ = env.step(network.means(observations).clip(-1.0, 1.0))
        np.testing.assert_array_equal(found, rewards)
        np.testing.assert_array_equal(over, dones)


def test_a_probed_training_resumes_to_the_same_bundle(config, easy_store, heard):
    learning = {**config.agent.learning.model_dump(), "probes": {"bars": 3, "jumps": 0.2}}
    params = {"n_steps": 32, "batch_size": 128, "n_epochs": 2}
    agent = AgentConfig.model_validate({"kind": "ppo", "params": params, "learning": learning})
    given = replace(config, agent=agent, data=None, data_dir=easy_store)
    whole = run_training(replace(given, name="whole"))
    with pytest.raises(Interrupted):
        run_training(given, listener=heard(KeyboardInterrupt(), 1024, "validation"))
    bundle = resume_training("run", out=config.out, runs=config.runs)
    assert bundle.manifest.bundle_hash == whole.manifest.bundle_hash
