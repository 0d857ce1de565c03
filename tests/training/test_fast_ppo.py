"""FastPPO is Stable-Baselines3's PPO: the same rollouts, the same updates, the same state."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from mtquant.config.data import MarketData
from mtquant.config.load import load_symbols
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.market.panel import Panel
from mtquant.training.band import PULL, SHARPNESS, BandPolicy, positions_held
from mtquant.training.fast_ppo import FastPPO, served
from mtquant.training.mlp import ActorCritic
from mtquant.training.ppo_loss import Objective, Samples
from mtquant.training.sparse import SparseAdamW
from mtquant.training.state import Snapshot

LANES, STEPS = 16, 40
ADAMW = {"optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.1}}
FUSED = {"optimizer_kwargs": {"fused": True, "betas": (0.8, 0.95), "eps": 1e-4}}
L2 = {"optimizer_kwargs": {"weight_decay": 0.3, "eps": 1e-5}}
SPARSE = {
    "optimizer_class": SparseAdamW,
    "optimizer_kwargs": {"weight_decay": 0.1, "sparsity": 0.5},
}
RELU, BAND = {"activation_fn": torch.nn.ReLU}, {"width": 0.3}
UPDATES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tanh, two layers": ({"net_arch": {"pi": [64, 64], "vf": [64, 64]}}, {}),
    "relu, small actor": ({"net_arch": {"pi": [8], "vf": [16, 12, 8]}, **RELU}, {}),
    "linear": ({"net_arch": {"pi": [], "vf": []}, "log_std_init": -1.0}, {}),
    "adamw": (ADAMW, {}),
    "fused": (FUSED, {}),
    "adam with weight decay": (L2, {}),
    "clipped values": ({}, {"clip_range_vf": 0.01}),
    "entropy, plain advantages": ({}, {"ent_coef": 0.3, "normalize_advantage": False}),
    "clipped ratios": ({}, {"clip_range": 0.01, "learning_rate": 3e-3}),
    "small gradients": ({}, {"max_grad_norm": 0.01, "vf_coef": 2.0}),
    "schedules": ({}, {"learning_rate": lambda left: 1e-3 * left, "clip_range": lambda _: 0.1}),
    "ragged minibatches": ({}, {"batch_size": 97}),
    "a minibatch of one row": ({}, {"batch_size": 213}),
    "more rows than at once": ({}, {"batch_size": 640}),
    "band": (BAND, {}),
    "band with hands": ({**BAND, "hands": True, "log_std_init": -1.5}, {}),
    "hands of two symbols": ({"net_arch": {"pi": [8], "vf": [9]}, **BAND, "hands": True}, {}),
    "band of two symbols": ({"net_arch": {"pi": [8], "vf": [9]}, **RELU, **BAND}, {}),
    "linear band": ({"net_arch": {"pi": [], "vf": []}, **BAND, **ADAMW}, {}),
    "sparse": (SPARSE, {}),
    "sparse band": ({**BAND, **SPARSE, "hands": True, "inwards": 1.0}, {}),
    "given deviation": (L2, {"ent_coef": 0.3}),
    "stopped early": ({}, {"target_kl": 0.002, "learning_rate": 3e-3}),
}
pytestmark = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")


@pytest.fixture(scope="module")
def scenario(small_env, easy_bars) -> Scenario:
    return _scenario(small_env, [easy_bars])


@pytest.fixture(scope="module")
def two_symbols(small_env, easy_bars) -> Scenario:
    return _scenario(small_env, [easy_bars, replace(easy_bars, symbol="OTHER")])


def _scenario(env, bars) -> Scenario:
    """Episodes so short that every rollout sees some cut off; one action for each market."""
    names, episode = tuple(one.symbol for one in bars), env.episode.model_copy(update={"bars": 30})
    env = env.model_copy(update={"symbols": names, "episode": episode})
    gold = load_symbols()["XAUUSD"]
    specs = tuple(gold.model_copy(update={"name": name}) for name in names)
    return Scenario.fit(env, MarketData(Panel(bars), specs, "toy"))


def build(kind, scenario, policy=None, **params):
    """A learner about to collect, and its callback; it seeds the global generators."""
    given = {"n_steps": STEPS, "batch_size": 128, "n_epochs": 3, "gamma": 0.9, **params}
    env, chosen = SB3VecEnv(scenario, LANES), {"log_std_init": -0.5, **(policy or {})}
    if "width" in chosen:
        chosen["held"] = positions_held(env)
    head = BandPolicy if "width" in chosen else "MlpPolicy"
    model = kind(head, env, policy_kwargs=chosen, seed=7, device="cpu", **given)
    model.set_logger(Logger(None, []))
    return model, model._setup_learn(10_000)[1]


def collect(kind, scenario, policy=None, **params):
    model, callback = build(kind, scenario, policy, **params)
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    return model


def weights(model) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in model.policy.parameters()]).numpy().copy()


def moments(model) -> dict[str, np.ndarray]:
    learned = [p for p in model.policy.parameters() if p.requires_grad]
    states = [model.policy.optimizer.state[p] for p in learned]
    return {
        key: torch.cat([state[key].flatten() for state in states]).numpy()
        for key in ("step", "exp_avg", "exp_avg_sq")
    }


def learned(network: ActorCritic) -> np.ndarray:
    """1 for each weight, 0 for those through which a band's edges would see the positions."""
    kept = network.weights.copy()
    network.weights[:] = 1.0
    network.actor.weights[0][getattr(network.actor, "held", [])] = 0.0
    free = network.weights.copy()
    network.weights[:] = kept
    return free


def half_widths(network: ActorCritic) -> np.ndarray:
    """Of the bands of the last rows that went through the network."""
    return np.logaddexp(SHARPNESS * network.actor._reach, 0.0) / SHARPNESS


def close(value, wanted, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(value, wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("policy", [{}, RELU, {"net_arch": {"pi": [], "vf": [8]}}, BAND])
@pytest.mark.parametrize("market", ["scenario", "two_symbols"])
def test_a_rollout_is_that_of_stock(market, policy, request):
    market = request.getfixturevalue(market)
    stock = collect(PPO, market, policy)
    noise, draw = torch.get_rng_state(), np.random.random()
    fast = collect(FastPPO, market, policy)
    assert torch.equal(torch.get_rng_state(), noise)
    assert np.random.random() == draw
    assert len(fast.ep_info_buffer) > LANES
    assert list(fast.ep_info_buffer) == list(stock.ep_info_buffer)
    assert fast.num_timesteps == stock.num_timesteps == LANES * STEPS
    close(fast._last_obs, stock._last_obs)
    np.testing.assert_array_equal(fast._last_episode_starts, stock._last_episode_starts)
    mine, theirs = vars(fast.rollout_buffer), vars(stock.rollout_buffer)
    assert mine.keys() == theirs.keys()
    for name, wanted in theirs.items():
        if isinstance(wanted, np.ndarray):
            assert mine[name].shape == wanted.shape and mine[name].dtype == wanted.dtype, name
            close(mine[name], wanted)
        elif name not in ("observation_space", "action_space"):
            assert mine[name] == wanted, name


def test_the_env_gets_clipped_actions_and_the_buffer_those_that_were_drawn(scenario, monkeypatch):
    model, callback = build(FastPPO, scenario)
    given = []
    take = model.env.step_async
    monkeypatch.setattr(model.env, "step_async", lambda a: (given.append(a.copy()), take(a)))
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    assert np.abs(model.rollout_buffer.actions).max() > 1.0
    np.testing.assert_array_equal(given, model.rollout_buffer.actions.clip(-1.0, 1.0))


TURNS = [(case, (FastPPO, FastPPO)) for case in UPDATES]
for case in ("adamw", "fused", "sparse band", "given deviation"):
    TURNS += [(case, turns) for turns in ((PPO, FastPPO), (FastPPO, PPO))]


@pytest.mark.parametrize(("case", "turns"), TURNS)
def test_an_update_is_that_of_stock_even_if_they_take_turns(scenario, two_symbols, case, turns):
    policy, params = UPDATES[case]
    market = two_symbols if "two" in case or case == "clipped values" else scenario
    stock, fast = (collect(PPO, market, policy, **params) for _ in turns)
    fast.__class__ = FastPPO
    assert served(fast)
    rollout = {
        name: value.copy()
        for name, value in vars(stock.rollout_buffer).items()
        if isinstance(value, np.ndarray)
    }
    logged = []
    for model, kinds in ((stock, (PPO, PPO)), (fast, turns)):
        model.policy.log_std.requires_grad_(case != "given deviation")
        np.random.seed(3)
        model._current_progress_remaining = 0.5
        for kind in kinds:
            vars(model.rollout_buffer).update({k: v.copy() for k, v in rollout.items()})
            model.rollout_buffer.generator_ready = False
            kind.train(model)
        logged.append((dict(model.logger.name_to_value), np.random.random()))
    close(weights(fast), weights(stock))
    for key, wanted in moments(stock).items():
        close(moments(fast)[key], wanted)
    (theirs, drawn), (mine, my_draw) = logged
    assert mine.keys() == theirs.keys() and my_draw == drawn
    for key, value in theirs.items():
        close(mine[key], value, 1e-4)
    if case == "stopped early":
        assert fast._n_updates < 2 * fast.n_epochs


@pytest.mark.parametrize("activation", [torch.nn.Tanh, torch.nn.ReLU])
@pytest.mark.parametrize("hidden", [[], [6], [7, 5]])
@pytest.mark.parametrize(("limit_vf", "head"), [(None, {}), (0.05, {}), (None, BAND)])
def test_the_gradient_is_the_slope_of_the_loss(two_symbols, activation, hidden, limit_vf, head):
    policy = {"net_arch": {"pi": hidden, "vf": hidden}, "activation_fn": activation, **head}
    model = collect(FastPPO, two_symbols, policy)
    network = ActorCritic(model.policy, np.float64)
    samples = Samples.of(model.rollout_buffer)
    samples = replace(samples, observations=samples.observations.astype(np.float64))
    generator = np.random.default_rng(1)
    free = learned(network)
    network.weights += free * generator.normal(0, 0.1, network.weights.shape)
    objective = Objective(clip_range=0.1, clip_range_vf=limit_vf, ent_coef=0.2, vf_coef=0.7)
    rows = generator.permutation(LANES * STEPS)[:530]
    given = (network, samples, rows, generator.normal(size=len(rows)))

    assert 0.1 < objective.gradient(*given).clip_fraction < 0.9
    gradient, start = network.gradient.copy(), network.weights.copy()
    for _ in range(20):
        direction = free * generator.normal(size=start.shape)
        ends = []
        for side in (-1e-7, 1e-7):
            network.weights[:] = start + side * direction
            loss = objective.loss(objective.gradient(*given))
            ends.append(loss + (PULL * half_widths(network).mean(0).sum() if head else 0.0))
        assert gradient @ direction == pytest.approx(np.diff(ends)[0] / 2e-7, rel=1e-5, abs=1e-6)


def test_a_resumed_run_ends_with_the_same_bits(scenario):
    def update(model, callback) -> None:
        model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
        model.train()

    first, callback = build(FastPPO, scenario, ADAMW)
    update(first, callback)
    snapshot = Snapshot.take(first)
    for _ in range(2):
        update(first, callback)
    second, callback = build(FastPPO, scenario, ADAMW)
    snapshot.restore(second)
    for _ in range(2):
        update(second, callback)
    assert weights(second).tobytes() == weights(first).tobytes()
    for key, wanted in moments(first).items():
        assert moments(second)[key].tobytes() == wanted.tobytes()


def test_two_runs_end_with_the_same_bits_and_another_seed_does_not(scenario):
    def run(seed: int) -> bytes:
        model, _ = build(FastPPO, scenario)
        torch.manual_seed(seed)
        return weights(model.learn(3 * LANES * STEPS)).tobytes()

    assert run(7) == run(7) != run(8)


NOT_SERVED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"use_sde": True}),
    ({"activation_fn": torch.nn.ELU}, {}),
    ({"optimizer_class": torch.optim.SGD}, {}),
    ({"optimizer_kwargs": {"amsgrad": True}}, {}),
    ({"optimizer_kwargs": {"maximize": True}}, {}),
]


@pytest.mark.parametrize(("policy", "params"), NOT_SERVED)
def test_what_is_not_served_is_stock_to_the_bit(scenario, policy, params):
    ends = []
    for kind in (PPO, FastPPO):
        model, _ = build(kind, scenario, policy, **params)
        ends.append(weights(model.learn(2 * LANES * STEPS)).tobytes())
    assert not served(model)
    assert ends[0] == ends[1]


class Counting(BaseCallback):
    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last
        self.told: dict[str, int] = {"start": 0, "step": 0, "end": 0}
        self.seen: list[tuple[int, int]] = []

    def _on_rollout_start(self) -> None:
        self.told["start"] += 1

    def _on_step(self) -> bool:
        self.told["step"] += 1
        self.seen.append((self.num_timesteps, int(self.locals["dones"].sum())))
        return self.told["step"] < self.last

    def _on_rollout_end(self) -> None:
        self.told["end"] += 1


@pytest.mark.parametrize("last", [STEPS + 5, 2 * STEPS])
def test_callbacks_hear_the_same_and_may_stop_the_training(scenario, last):
    heard = []
    for kind in (PPO, FastPPO):
        model, _ = build(kind, scenario)
        callback = Counting(last)
        model.learn(10 * LANES * STEPS, callback=callback)
        heard.append((callback.told, callback.seen, model.num_timesteps, model._n_updates))
    assert heard[1] == heard[0] and model.num_timesteps == last * LANES


def test_a_saved_model_is_loaded_by_either(scenario):
    model = build(FastPPO, scenario)[0].learn(LANES * STEPS)
    file = io.BytesIO()
    model.save(file)
    for kind in (PPO, FastPPO):
        file.seek(0)
        again = kind.load(file, device="cpu")
        assert weights(again).tobytes() == weights(model).tobytes()
        assert moments(again)["exp_avg"].tobytes() == moments(model)["exp_avg"].tobytes()


def test_a_diverging_network_is_refused_with_its_weights_in_sight(scenario):
    model, _ = build(FastPPO, scenario, learning_rate=1e30)
    with pytest.raises(ValueError, match="no longer finite"):
        model.learn(10 * LANES * STEPS)
    assert not (np.abs(weights(model)) < 1e6).all()
