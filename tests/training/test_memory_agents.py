"""Agents that see a window or remember: what they are shown, what they compute, what they leave."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.vec_env import DummyVecEnv

from mtquant.agents.bundle import load_bundle
from mtquant.agents.policy import OnnxPolicy
from mtquant.backtest.run import bundle_scenario, run_agent
from mtquant.config.data import given_market
from mtquant.config.load import load_agent
from mtquant.config.schema import AgentConfig
from mtquant.envs.scenario import Scenario
from mtquant.envs.trading import TradingEnv
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import BundleError
from mtquant.training import export
from mtquant.training.export import TOLERANCE, export_policy
from mtquant.training.learner import build_learner
from mtquant.training.trainer import Interrupted, resume_training, run_training

WINDOW = 7
SPACE = spaces.Box(-5.0, 5.0, (23,), np.float32)


# What a window shows


@pytest.fixture(scope="module")
def windowed(gold_scenario) -> Scenario:
    return replace(gold_scenario, window=WINDOW)


def shown(scenario: Scenario, row: int) -> np.ndarray:
    return scenario.features()[row - WINDOW + 1 : row + 1].ravel()


def test_lanes_show_the_last_bars_oldest_first(windowed):
    env = SB3VecEnv(windowed, 8)
    env.seed(3)
    market = WINDOW * len(windowed.inputs)
    assert env.observation_space.shape == (market + 8,)
    observation, ended = env.reset(), 0
    for _ in range(300):
        cursors = env.simulator.book.account["cursor"]
        for lane, row in enumerate(cursors.tolist()):
            np.testing.assert_array_equal(observation[lane, :market], shown(windowed, row))
        before = cursors.copy()
        observation, _, over, infos = env.step(np.full((8, 1), 0.5, np.float32))
        for lane in np.flatnonzero(over).tolist():
            last = infos[lane]["terminal_observation"]
            np.testing.assert_array_equal(last[:market], shown(windowed, int(before[lane]) + 1))
            ended += 1
    assert ended > 8 and np.abs(observation[:, market:]).max() > 0.0


def test_a_single_env_shows_and_names_the_same(windowed, gold_scenario):
    env = TradingEnv(windowed, split="validation", training=False)
    observation, _ = env.reset(seed=1)
    first = windowed.rows("validation")[0]
    market = WINDOW * len(windowed.inputs)
    np.testing.assert_array_equal(observation[:market], shown(windowed, first))
    assert len(env.observation_names) == observation.size == env.observation_space.shape[0]
    name = windowed.inputs[0]
    assert (
        env.observation_names[0] == f"{name}[-6]"
        and env.observation_names[market - 1] == (windowed.inputs[-1])
    )
    plain = TradingEnv(gold_scenario).observation_names
    assert plain[: len(gold_scenario.inputs)] == gold_scenario.inputs


def test_no_episode_begins_before_the_first_whole_window(gold_scenario):
    deep = replace(gold_scenario, window=300)
    assert deep.first_row == gold_scenario.first_row + 299
    simulator = deep.simulator("train", 400)
    simulator.seed(1)
    observation = simulator.reset()
    begun = simulator.book.account["cursor"]
    assert begun.min() >= deep.first_row and begun.min() < deep.first_row + 50
    assert np.isfinite(observation).all()


def test_a_scenario_counts_the_window_as_warm_up(gold_scenario):
    market, env = gold_scenario.market, gold_scenario.env
    deep = Scenario.fit(env, market, 50)
    assert deep.window == 50
    assert deep.splits.train[0] == gold_scenario.splits.train[0] + 49
    assert deep.splits.validation == gold_scenario.splits.validation


# What a memory computes


class Still(DummyVecEnv):
    """Spaces without a market."""

    def __init__(self) -> None:
        self.num_envs, self.render_mode = 2, None
        self.observation_space, self.action_space = SPACE, spaces.Box(-1.0, 1.0, (2,), np.float32)

    def seed(self, seed: int | None = None) -> list[int | None]:
        return [seed]


@pytest.fixture(scope="module")
def recurrent():
    """An untrained actor of two layers whose actions reach both bounds."""
    sizes = {"net_arch": [5], "lstm_hidden_size": 6, "n_lstm_layers": 2}
    model = RecurrentPPO("MlpLstmPolicy", Still(), policy_kwargs=sizes, seed=0, device="cpu")
    with torch.no_grad():
        for weight in model.policy.lstm_actor.parameters():
            weight.mul_(2.0)
        model.policy.action_net.weight.mul_(400.0)
    return model


def test_the_exported_memory_is_torch_s_over_a_rolled_sequence(recurrent):
    content = export_policy(recurrent)
    agent = OnnxPolicy(content, name="m", inputs=())
    assert agent.state_shape == (2, 2, 6) and agent.width == SPACE.shape[0]
    rows = np.random.default_rng(3).normal(0.0, 1.0, (64, *SPACE.shape)).astype(np.float32)
    state, memory, answers = None, None, []
    for step, row in enumerate(rows):
        first = np.array([step in (0, 25, 26)])
        action, state = agent.predict(row, state, first)
        expected, memory = recurrent.predict(row, memory, first, deterministic=True)
        np.testing.assert_allclose(action, expected, atol=TOLERANCE)
        np.testing.assert_allclose(state, np.stack(memory)[:, :, 0], atol=TOLERANCE)
        answers.append(action)
    reached = np.array(answers)
    assert reached.max() == 1.0 and reached.min() == -1.0
    assert export_policy(recurrent) == content


def test_export_of_a_memory_draws_no_random_number(recurrent):
    torch.manual_seed(4)
    before = torch.get_rng_state()
    export_policy(recurrent)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_memory_that_is_lost_in_export_is_noticed(recurrent, monkeypatch):
    class Forgetful(export._RecurrentActor):
        def forward(self, obs, state):
            action, after = super().forward(obs, state)
            return action, after * 0.999

    monkeypatch.setattr(export, "_RecurrentActor", Forgetful)
    with pytest.raises(BundleError, match="differs from torch"):
        export_policy(recurrent)


# What they leave


EXTRACT = {
    "features_extractor_class": "conv",
    "features_extractor_kwargs": {"channels": 4, "kernel": 2, "stride": 1},
}
LSTM = {"lstm_hidden_size": 4}
AGENTS = {
    "window": {"kind": "ppo", "window": 4},
    "recurrent": {"kind": "ppo_recurrent", "burn_in": 40},
}


@pytest.fixture(params=sorted(AGENTS))
def asked(request, config, small_agent):
    """A small training of either agent, and its kind."""
    plain = small_agent.model_dump()
    own = {"window": EXTRACT, "recurrent": LSTM}[request.param]
    plain["params"]["policy_kwargs"] |= own
    agent = AgentConfig.model_validate(plain | AGENTS[request.param])
    return replace(config, agent=agent), request.param


def test_a_training_leaves_a_bundle_that_does_what_its_report_says(asked, easy_bars):
    config, kind = asked
    bundle = load_bundle(run_training(config).path)
    manifest = bundle.manifest
    assert manifest.learned, "the market is easy"
    if kind == "window":
        assert (manifest.window, manifest.state_shape, manifest.burn_in) == (4, (), 0)
    else:
        assert (manifest.window, manifest.state_shape, manifest.burn_in) == (1, (2, 1, 4), 40)
        assert bundle.policy.burn_in == 40
    scenario = bundle_scenario(bundle, given_market(bundle.env, easy_bars))
    first, last = np.searchsorted(easy_bars.time, manifest.data.splits["test"])
    result = run_agent(bundle.agent, scenario, (int(first), int(last)))
    report = json.loads((bundle.path / "report.json").read_text(encoding="utf-8"))
    assert result.metrics.net_return == report["results"]["agent"]["net_return"] != 0.0


def test_flat_needs_no_memory(asked):
    """Where nothing beats flat the bundle is flat, whatever it was trained for."""
    config, kind = asked
    agent = config.agent.model_copy(update={"params": config.agent.params | {"learning_rate": 0.0}})
    learning = agent.learning.model_copy(update={"timesteps": 512})
    config = replace(config, agent=agent.model_copy(update={"learning": learning}))
    bundle = load_bundle(run_training(config).path)
    assert not bundle.manifest.learned
    assert bundle.manifest.window == (4 if kind == "window" else 1)
    assert bundle.manifest.state_shape == () and bundle.manifest.burn_in == 0


@pytest.mark.parametrize(
    "asked", ["window", pytest.param("recurrent", marks=pytest.mark.slow)], indirect=True
)
def test_a_stopped_training_ends_like_one_that_was_not(asked, easy_store, heard):
    config, _ = asked
    config = replace(config, data=None, data_dir=easy_store)
    whole = run_training(replace(config, name="whole"))
    with pytest.raises(Interrupted):
        run_training(config, listener=heard(KeyboardInterrupt(), 1024, "validation"))
    resumed = resume_training("run", out=config.out, runs=config.runs)
    assert resumed.manifest.bundle_hash == whole.manifest.bundle_hash
    assert (resumed.path / "policy.onnx").read_bytes() == (whole.path / "policy.onnx").read_bytes()


@pytest.mark.parametrize(("name", "window"), [("ppo_window", 64), ("ppo_recurrent", 1)])
def test_the_shipped_files_make_learners(gold_scenario, name, window):
    config = load_agent(name)[0]
    assert config.window == window
    env = SB3VecEnv(replace(gold_scenario, window=config.window), 4)
    small = config.model_copy(update={"params": config.params | {"n_steps": 4, "batch_size": 8}})
    model = build_learner(small, env, 0)
    model.learn(16)
    policy = OnnxPolicy(export_policy(model), name=name, inputs=(), window=window)
    assert policy.width == window * len(gold_scenario.inputs) + 8
    assert bool(policy.state_shape) == (name == "ppo_recurrent")
