"""What trading runs is what training trained: the exported actor against torch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from mtquant.agents.policy import OnnxPolicy
from mtquant.errors import BundleError
from mtquant.training import export
from mtquant.training.export import TOLERANCE, export_policy, flat_policy

WIDTH = 7


class Still(DummyVecEnv):
    """Spaces without a market."""

    def __init__(self, symbols: int = 1) -> None:
        self.num_envs, self.render_mode = 2, None
        self.observation_space = spaces.Box(-5.0, 5.0, (WIDTH,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (symbols,), np.float32)

    def seed(self, seed: int | None = None) -> list[int | None]:
        return [seed]


def model_of(kind: str, symbols: int = 1, seed: int = 0):
    """An untrained actor whose weights are large enough to reach both bounds."""
    algorithm = {"ppo": PPO, "sac": SAC}[kind]
    extra = {} if kind == "ppo" else {"buffer_size": 10}
    env = Still(symbols)
    model = algorithm(
        "MlpPolicy", env, policy_kwargs={"net_arch": [6]}, seed=seed, device="cpu", **extra
    )
    with torch.no_grad():
        for weight in model.policy.parameters():
            weight.mul_(4.0 if kind == "sac" else 1.0)
        if kind == "ppo":
            model.policy.action_net.weight.mul_(400.0)
    return model


def agent_of(content: bytes) -> OnnxPolicy:
    return OnnxPolicy(content, name="t", inputs=tuple(f"f{i}" for i in range(WIDTH)))


@pytest.fixture(scope="module", params=["ppo", "sac"])
def exported(request):
    model = model_of(request.param)
    return model, export_policy(model)


def test_the_exported_actor_is_torch_s_within_its_bounds(exported):
    model, content = exported
    agent = agent_of(content)
    rows = np.random.default_rng(3).uniform(-5.0, 5.0, (500, WIDTH)).astype(np.float32)
    expected, _ = model.predict(rows, deterministic=True)
    answered = np.array([agent.predict(row)[0] for row in rows])
    assert answered.shape == (500, 1) and answered.dtype == np.float32
    assert np.abs(answered - expected).max() <= TOLERANCE
    assert np.abs(answered).max() <= 1.0
    assert answered.max() > 0.9 and answered.min() < -0.9, "both bounds were tried"


def test_equal_weights_give_equal_bytes(exported):
    model, content = exported
    assert export_policy(model) == content


def test_the_model_is_self_contained_and_names_its_ends(exported):
    _, content = exported
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert [node.name for node in model.graph.input] == ["obs"]
    assert [node.name for node in model.graph.output] == ["action"]
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_export_leaves_the_model_as_it_was(exported):
    model, _ = exported
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    for mode in (True, False):
        model.policy.set_training_mode(mode)
        export_policy(model)
        assert model.policy.training is mode
    assert all(
        torch.equal(value, before[name]) for name, value in model.policy.state_dict().items()
    )


def test_export_draws_no_random_number(exported):
    model, _ = exported
    torch.manual_seed(4)
    before = torch.get_rng_state()
    numbers = np.random.get_state(legacy=True)[1].copy()
    export_policy(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state(legacy=True)[1], numbers)


def test_other_weights_give_other_bytes():
    assert export_policy(model_of("ppo", seed=1)) != export_policy(model_of("ppo", seed=2))


def test_several_symbols_get_an_action_each():
    content = export_policy(model_of("ppo", symbols=3))
    assert agent_of(content).predict(np.zeros(WIDTH, np.float32))[0].shape == (3,)


def test_a_disagreement_is_refused(monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(BundleError, match="differs from torch"):
        export_policy(model_of("ppo"))


@pytest.mark.parametrize("symbols", [1, 3])
def test_flat_never_trades(symbols):
    agent = agent_of(flat_policy(WIDTH, symbols))
    assert agent.width == WIDTH
    rows = np.random.default_rng(0).normal(0.0, 100.0, (20, WIDTH)).astype(np.float32)
    for row in rows:
        action, _ = agent.predict(row)
        assert action.shape == (symbols,) and not action.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_flat_is_flat_whatever_it_sees(value):
    row = np.full(WIDTH, value, np.float32)
    action, _ = agent_of(flat_policy(WIDTH, 1)).predict(row)
    assert action.tolist() == [0.0]


def test_flat_is_the_same_bytes_every_time():
    assert flat_policy(WIDTH, 2) == flat_policy(WIDTH, 2)
