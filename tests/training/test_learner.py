"""An agent's file becomes an algorithm, or one sentence says why not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO, SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from mtquant.agents.policy import OnnxPolicy
from mtquant.config.data import given_market
from mtquant.config.load import load_agent
from mtquant.config.schema import AgentConfig
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError
from mtquant.training.export import export_policy
from mtquant.training.learner import (
    LEARNERS,
    POLICY_KEYS,
    RESERVED,
    build_learner,
    learner_class,
    policy_kwargs,
)

CONFIGS = Path(__file__).parents[2] / "configs" / "agents"
# Names that the algorithm keeps in another shape, or not at all.
NOT_KEPT = {"clip_range", "train_freq", "use_rms_prop"}
ALGORITHMS = {"ppo": PPO, "a2c": A2C, "sac": SAC, "td3": TD3}
SHIPPED = [path.stem for path in sorted(CONFIGS.glob("*.yaml"))]


class Still(DummyVecEnv):
    """Spaces without a market: building an algorithm needs no more."""

    def __init__(self, lanes: int = 4) -> None:
        self.num_envs, self.render_mode = lanes, None
        self.observation_space = spaces.Box(-5.0, 5.0, (6,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def seed(self, seed: int | None = None) -> list[int | None]:
        return [seed]


def build(kind: str = "ppo", seed: int = 0, **params: Any) -> Any:
    return build_learner(AgentConfig(kind=kind, params=params), Still(), seed)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_learner_builds_as_its_file_says(name, small_env, easy_bars):
    config, _found = load_agent(str(CONFIGS / f"{name}.yaml"))
    if config.kind not in LEARNERS:
        with pytest.raises(ConfigError, match="kind of learning agent"):
            learner_class(config.kind)
        return
    scenario = Scenario.fit(small_env, given_market(small_env, easy_bars), config.window)
    model = build_learner(config, SB3VecEnv(scenario, config.learning.n_envs), 3)
    assert isinstance(model, LEARNERS[config.kind])
    assert isinstance(model, ALGORITHMS.get(config.kind, object))
    assert model.seed == 3 and model.device == torch.device("cpu")
    for key, value in config.params.items():
        if isinstance(value, (int, float)) and key not in NOT_KEPT:
            assert getattr(model, key) == value, key


def test_every_learner_ships():
    kinds = {load_agent(str(CONFIGS / f"{name}.yaml"))[0].kind for name in SHIPPED}
    assert set(LEARNERS) <= kinds


def test_names_become_classes():
    chosen = {
        "net_arch": {"pi": [3], "vf": [5]},
        "activation_fn": "relu",
        "log_std_init": -2.0,
        "optimizer_class": "adamw",
        "optimizer_kwargs": {"weight_decay": 0.25},
    }
    policy = build(policy_kwargs=chosen).policy
    assert policy.mlp_extractor.policy_net[0].out_features == 3
    assert policy.mlp_extractor.value_net[0].out_features == 5
    assert isinstance(policy.mlp_extractor.policy_net[1], torch.nn.ReLU)
    assert isinstance(policy.optimizer, torch.optim.AdamW)
    assert policy.optimizer.param_groups[0]["weight_decay"] == 0.25
    assert policy.log_std.detach().numpy() == pytest.approx(-2.0)
    assert chosen["activation_fn"] == "relu", "the configuration is left as it was"


def test_noise_is_chosen_by_name():
    noise = build("td3", action_noise={"kind": "normal", "sigma": 0.25}).action_noise
    assert type(noise) is NormalActionNoise and noise._sigma.tolist() == [0.25]
    slow = {"kind": "ornstein_uhlenbeck", "sigma": 0.5, "theta": 0.1, "dt": 1}
    noise = build("sac", action_noise=slow).action_noise
    assert type(noise) is OrnsteinUhlenbeckActionNoise
    assert (noise._sigma.tolist(), noise._theta, noise._dt) == ([0.5], 0.1, 1)
    assert build("td3", action_noise=None).action_noise is None


@pytest.mark.parametrize("kind", sorted(ALGORITHMS))
def test_what_is_exported_is_what_was_learned(kind):
    model = build(kind, policy_kwargs={"net_arch": [6]})
    with torch.no_grad():
        for weight in model.policy.parameters():
            weight.mul_(4.0)
    rows = np.random.default_rng(0).uniform(-5.0, 5.0, (200, 6)).astype(np.float32)
    agent = OnnxPolicy(export_policy(model), name=kind, inputs=tuple("abcdef"))
    answers = np.array([agent.predict(row)[0] for row in rows])
    expected = model.predict(rows, deterministic=True)[0]
    assert np.abs(answers - expected).max() <= 1e-5 and np.ptp(expected) > 0.1


def test_equal_seeds_begin_with_equal_weights():
    first, again, other = (
        build(seed=seed).policy.state_dict()["action_net.weight"] for seed in (5, 5, 6)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"n_step": 8}, "unknown parameter 'n_step'; did you mean 'n_steps'"),
        ({"learning_rat": 0.1}, "did you mean 'learning_rate'"),
        ({"learning_rate": {"from": 1, "too": 0}}, "unknown key 'too'; did you mean 'to'"),
        ({"learning_rate": {"from": 1, "to": 0, "shape": "cosin"}}, "did you mean 'cosine'"),
        ({"policy_kwargs": {"net_arc": [8]}}, "unknown key 'net_arc'; did you mean 'net_arch'"),
        ({"policy_kwargs": {"activation_fn": "tahn"}}, "'tahn'; did you mean 'tanh'"),
        ({"policy_kwargs": {"activation_fn": "torch.nn.Tanh"}}, "unknown activation_fn"),
        ({"policy_kwargs": {"optimizer_class": "adamv"}}, "did you mean 'adam"),
        ({"policy_kwargs": {"optimizer_class": "os.system"}}, "unknown optimizer_class"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(params, told):
    with pytest.raises(ConfigError, match=told.replace(".", r"\.")):
        build(**params)


@pytest.mark.parametrize("name", sorted(RESERVED - {"policy_kwargs"}))
def test_what_the_trainer_decides_cannot_be_set_in_a_file(name):
    with pytest.raises(ConfigError, match=f"unknown parameter '{name}'"):
        build_learner(AgentConfig(kind="ppo", params={name: 1}), Still(), 0)


@pytest.mark.parametrize("kind", sorted(LEARNERS))
@pytest.mark.parametrize(
    "params",
    [
        {"learning_rate": "fast"},
        {"batch_size": "many"},
        {"batch_size": -1},
        {"learning_rate": [0.1]},
        {"policy_kwargs": {"net_arch": "big"}},
        {"policy_kwargs": {"optimizer_kwargs": {"wd": 1}}},
        {"policy_kwargs": 3},
        {"policy_kwargs": ["net_arch"]},
        {"gamma": "high"},
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_in_one_sentence(kind, params):
    with pytest.raises(ConfigError) as refused:
        build(kind, **params)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


@pytest.mark.parametrize(("kind", "near"), [("pp0", "ppo"), ("SAC", "sac"), ("ema_cross", "known")])
def test_an_unknown_kind_names_the_nearest(kind, near):
    with pytest.raises(ConfigError, match=f"'{kind}'.*{near}"):
        learner_class(kind)


@pytest.mark.parametrize(
    ("noise", "told"),
    [
        ("normal", "must be like {kind: normal, sigma: 0.2}"),
        ({"kind": "normal"}, "must be like {kind: normal, sigma: 0.2}"),
        ({"kind": "norm", "sigma": 0.1}, "'norm'; did you mean 'normal'"),
        ({"kind": "os.system", "sigma": 0.1}, "unknown kind 'os.system'"),
        ({"kind": "normal", "sigma": 0.1, "theta": 1}, "unknown key 'theta'"),
        ({"kind": "normal", "sigma": -0.1}, "action_noise.sigma = -0.1 must be a number, 0 or"),
        ({"kind": "normal", "sigma": "big"}, "action_noise.sigma = 'big' must be a number"),
    ],
    ids=str,
)
def test_noise_that_is_none_is_refused(noise, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        build("td3", action_noise=noise)


def test_optimizer_options_are_never_dropped_in_silence():
    options = {"optimizer_kwargs": {"weight_decay": 0.5}}
    with pytest.raises(ConfigError, match="use_rms_prop: false"):
        build("a2c", policy_kwargs=options)
    optimizer = build("a2c", policy_kwargs=options, use_rms_prop=False).policy.optimizer
    assert optimizer.param_groups[0]["weight_decay"] == 0.5


def test_policy_kwargs_pass_on_what_they_know():
    assert policy_kwargs({}) == {}
    assert policy_kwargs({"log_std_init": -1.0}) == {"log_std_init": -1.0}
    assert set(POLICY_KEYS) >= {"net_arch", "activation_fn", "optimizer_class"}
