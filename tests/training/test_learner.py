"""An agent's file becomes an algorithm, or one sentence says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from mtquant.config.load import load_agent
from mtquant.config.schema import AgentConfig
from mtquant.errors import ConfigError
from mtquant.training.learner import (
    LEARNERS,
    POLICY_KEYS,
    RESERVED,
    build_learner,
    learner_class,
    policy_kwargs,
)

CONFIGS = Path(__file__).parents[2] / "configs" / "agents"
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
def test_every_shipped_learner_builds_as_its_file_says(name):
    config, _found = load_agent(str(CONFIGS / f"{name}.yaml"))
    if config.kind not in LEARNERS:
        with pytest.raises(ConfigError, match="kind of learning agent"):
            learner_class(config.kind)
        return
    model = build_learner(config, Still(config.learning.n_envs), 3)
    assert type(model) is {"ppo": PPO, "sac": SAC}[config.kind]
    assert model.seed == 3 and model.device == torch.device("cpu")
    for key, value in config.params.items():
        if isinstance(value, (int, float)) and key not in {"clip_range", "train_freq"}:
            assert getattr(model, key) == value, key


def test_both_learners_ship():
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


def test_policy_kwargs_pass_on_what_they_know():
    assert policy_kwargs({}) == {}
    assert policy_kwargs({"log_std_init": -1.0}) == {"log_std_init": -1.0}
    assert set(POLICY_KEYS) >= {"net_arch", "activation_fn", "optimizer_class"}
