"""The no-trade band: by hand what it answers, where it reads the position, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from mtquant.agents.policy import OnnxPolicy
from mtquant.config.data import MarketData
from mtquant.config.load import load_symbols
from mtquant.config.schema import AgentConfig
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError
from mtquant.market.panel import Panel
from mtquant.training.band import INWARDS, PULL, BandHead, BandPolicy, positions_held
from mtquant.training.export import export_policy
from mtquant.training.fast_ppo import served
from mtquant.training.learner import build_learner
from mtquant.training.trainer import Interrupted, resume_training, run_training

BAND = {"kind": "band", "width": 0.2}
CONV = {
    "features_extractor_class": "conv",
    "features_extractor_kwargs": {"channels": 3, "kernel": 2, "stride": 1},
}


@pytest.fixture(scope="module")
def lanes(small_env, easy_bars):
    """Lanes whose full size is three times equity."""

    def make(symbols: int = 1, window: int = 1, **sizing) -> SB3VecEnv:
        names = (easy_bars.symbol, "OTHER")[:symbols]
        sizing = {"method": "fixed_fractional", "notional_fraction": 3.0, **sizing}
        changes = {
            "symbols": names,
            "account": small_env.account.model_copy(update={"capital": 1e6}),
            "sizing": small_env.sizing.model_copy(update=sizing),
            "stops": small_env.stops.model_copy(update={"atr": 0.0}),
        }
        gold = load_symbols()["XAUUSD"]
        specs = tuple(gold.model_copy(update={"name": name}) for name in names)
        panel = Panel([replace(easy_bars, symbol=name) for name in names])
        env = small_env.model_copy(update=changes)
        return SB3VecEnv(Scenario.fit(env, MarketData(panel, specs, "toy"), window), 3)

    return make


def build(env, kind: str = "ppo", window: int = 1, head=BAND, **policy):
    policy = {"net_arch": {"pi": [4], "vf": [4]}, "action_head": head, **policy}
    rollout = {} if kind in ("sac", "td3") else {"n_steps": 8}
    params = {"policy_kwargs": policy, **rollout, **({"batch_size": 24} if kind == "ppo" else {})}
    torch.set_num_threads(1)
    return build_learner(AgentConfig(kind=kind, window=window, params=params), env, 0)


# Centre 0.5, half width 0.25 in the first symbol; centre -0.25, half width 0.5 in the second.
SHOWN = [(0.2, -0.8), (0.6, 0.4), (1.0, -1.0), (0.7, 0.0)]
MEANS = [(0.25, -0.75), (0.6, 0.25), (0.75, -0.75), (0.7, 0.0)]


def test_the_mean_is_the_position_held_clipped_into_the_band():
    head = BandHead(1, 2, 0.1)
    reach = [log(np.expm1(10 * width)) / 10 for width in (0.25, 0.5)]
    with torch.no_grad():
        head.edges.weight.zero_()
        head.edges.bias.copy_(torch.tensor([0.5, -0.25, *reach]))
        found = torch.full((4, 1), 9.0)
        answer = head(torch.cat((found, torch.tensor(SHOWN)), dim=1))
    np.testing.assert_allclose(answer, MEANS, atol=1e-6)


# Held, drawn, edges; then what the mean's gradient counts for the lower and the upper one. The
# deviation is 0.2, so a hand reaches 1.0.
NEAR, FAR = np.exp(-0.25), np.exp(-0.75)
HANDS = [
    (0.5, 0.4, (0.25, 0.75), (0.0, NEAR)),  # inside: what selling is worth concerns the upper edge
    (0.5, 0.6, (0.25, 0.75), (NEAR, 0.0)),
    (0.0, -0.1, (-0.25, 0.75), (0.0, FAR)),  # the less, the farther it is away
    (0.0, 0.1, (-0.25, 0.75), (NEAR, 0.0)),
    (-0.5, 0.1, (0.25, 0.75), (1.0, 0.0)),  # outside: the edge that is gone to, whatever is drawn
    (-0.5, 0.4, (0.25, 0.75), (1.0, 0.0)),
    (1.0, 0.7, (0.25, 0.75), (0.0, 1.0)),
    (1.0, 0.9, (1.5, 2.0), (0.0, 1.0)),  # out of bounds an edge answers at them
    (0.5, 0.9, (1.5, 2.0), (1.0, 0.0)),
    (1.0, 0.9, (0.5, 2.0), (0.0, 1.0)),
]


@pytest.mark.parametrize(("held", "drawn", "edges", "counts"), HANDS)
def test_an_action_inside_the_band_speaks_for_the_edge_that_it_concerns(held, drawn, edges, counts):
    head = BandHead(1, 1, 0.1, hands=True)
    lower, upper = edges
    half = (upper - lower) / 2
    with torch.no_grad():
        head.edges.weight.zero_()
        head.edges.bias.copy_(torch.tensor([lower + half, log(np.expm1(10 * half)) / 10]))
    row = torch.tensor([[9.0, held]])
    assert head(row).item() == pytest.approx(np.clip(held, *np.clip(edges, -1, 1)))
    head.drawn = torch.tensor([[drawn]]), torch.tensor([0.2])
    mean = head(row)
    assert mean.item() == pytest.approx(np.clip(held, *np.clip(edges, -1, 1)))
    mean.backward()
    out = [INWARDS / 0.2 * (edge - np.clip(edge, -1, 1)) for edge in edges]
    to_lower, to_upper = counts[0] + out[0], counts[1] + out[1]
    by_width = to_upper - to_lower + PULL
    bend = -np.expm1(-10 * half)  # slope of softplus where it answers the half width
    wanted = [to_lower + to_upper, by_width * bend]
    np.testing.assert_allclose(head.edges.bias.grad, wanted, atol=1e-5)


@pytest.mark.parametrize("symbols", [1, 2])
@pytest.mark.parametrize(("window", "policy"), [(1, {}), (4, {}), (4, CONV)])
@pytest.mark.parametrize("kind", ["ppo", "a2c"])
def test_a_fresh_actor_holds_what_it_holds_up_to_its_width(lanes, symbols, window, policy, kind):
    env = lanes(symbols, window)
    model = build(env, kind, window, **policy)
    assert type(model.policy) is BandPolicy
    assert kind != "ppo" or served(model) == (not policy)
    bias = model.policy.action_net.edges.bias.detach()
    assert (bias[:symbols] == 0.0).all()
    width = torch.nn.functional.softplus(10 * bias[symbols:]) / 10
    np.testing.assert_allclose(width, 0.2, rtol=1e-6)
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (64, *env.observation_space.shape)).astype(np.float32)
    seen = len(env.scenario.inputs) * window
    held = rows[:, seen : seen + 5 * symbols : 5]
    answer, _ = model.predict(rows, deterministic=True)
    np.testing.assert_allclose(answer, held.clip(-0.2, 0.2), atol=0.06)
    inside = np.abs(held) < 0.15
    np.testing.assert_array_equal(answer[inside], held[inside])
    assert 0.05 < inside.mean() < 0.9


@pytest.mark.parametrize("kind", ["ppo", "a2c"])
@pytest.mark.parametrize("hidden", [[], [4]])
def test_the_edges_never_see_the_position_and_the_account_only_by_learning(lanes, kind, hidden):
    model = build(lanes(2), kind, net_arch={"pi": hidden, "vf": [4]})
    layers = (*model.policy.mlp_extractor.policy_net, model.policy.action_net.edges)
    weights = next(layer for layer in layers if isinstance(layer, torch.nn.Linear)).weight
    first, second = model.policy.held
    assert (weights[:, first:] == 0.0).all() and (weights[:, :first] != 0.0).all()
    model.learn(96)
    seen = weights[:, first:].clone()
    assert (seen[:, [0, second - first]] == 0.0).all()
    seen[:, [0, second - first]] = 1.0
    assert (seen != 0.0).any(dim=0).sum() > 6, "profit, age and the rest are weighed now"


def test_a_threshold_is_for_what_the_actor_looks_at(lanes):
    """The critic, and the actor's other layers, stay as they are."""
    options = {"optimizer_class": "sparse_adamw", "optimizer_kwargs": {"sparsity": 5.0}}
    model = build(lanes(), **options)
    assert served(model)
    extractor, head = model.policy.mlp_extractor, model.policy.action_net
    before = extractor.value_net[0].weight.detach().abs().mean().item()
    model.learn(960)
    assert extractor.value_net[0].weight.detach().abs().mean() > 0.9 * before
    assert (extractor.policy_net[0].weight == 0.0).float().mean() > 0.2
    assert (head.edges.weight != 0.0).all() and (head.edges.bias[1:] != 0.0).all()


@pytest.mark.parametrize("sizing", [{}, {"method": "volatility", "risk_fraction": 0.02}])
def test_the_position_shown_is_held_by_the_action_that_opened_it(lanes, sizing):
    env = lanes(2, rebalance_band=0.0, **sizing)
    actions = np.array([[0.2, -0.1]] * 3, np.float32)
    env.simulator.reset()
    env.step(actions)
    shown = env.step(actions)[0][:, positions_held(env)]
    np.testing.assert_allclose(shown, actions, atol=0.05)
    for _ in range(5):
        shown = env.step(shown)[0][:, positions_held(env)]
        assert (env.simulator.book.account["n_deals"] == 0).all()


@pytest.mark.parametrize("symbols", [1, 2])
@pytest.mark.parametrize(("window", "policy"), [(1, {}), (1, {"net_arch": []}), (4, CONV)])
def test_the_exported_actor_is_the_trained_one(lanes, symbols, window, policy):
    env = lanes(symbols, window)
    model = build(env, window=window, **policy).learn(128)
    exported = OnnxPolicy(export_policy(model), name="band", inputs=())
    rng = np.random.default_rng(1)
    for row in rng.uniform(-1, 1, (50, *env.observation_space.shape)).astype(np.float32):
        wanted, _ = model.predict(row, deterministic=True)
        np.testing.assert_allclose(exported.predict(row)[0], wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["ppo", "a2c"])
def test_a_resumed_band_ends_with_the_same_bits(config, easy_store, heard, kind):
    params = {"n_steps": 32, "policy_kwargs": {"action_head": {"kind": "band"}}}
    agent = config.agent.model_copy(update={"kind": kind, "params": params})
    banded = replace(config, agent=agent, data=None, data_dir=easy_store)
    whole = run_training(replace(banded, name="whole"))
    with pytest.raises(Interrupted):
        run_training(banded, listener=heard(KeyboardInterrupt(), 1024, "validation"))
    bundle = resume_training("run", out=config.out, runs=config.runs)
    assert bundle.manifest.bundle_hash == whole.manifest.bundle_hash


@pytest.mark.parametrize(
    ("kind", "head", "told"),
    [
        ("ppo", "band", "action_head = 'band' must be like {kind: band, width: 0.05}"),
        ("ppo", {"width": 0.1}, "action_head = {'width': 0.1} must be like"),
        ("ppo", {"kind": "bend"}, "unknown kind 'bend'; did you mean 'band'"),
        ("ppo", {"kind": "band", "widht": 1}, "unknown key 'widht'; did you mean 'width'"),
        ("ppo", {"kind": "band", "width": 0}, "action_head.width = 0 must be a number above 0"),
        (
            "ppo",
            {"kind": "band", "inwards": -1},
            "action_head.inwards = -1 must be a number from 0",
        ),
        ("ppo", {"kind": "band", "width": "1"}, "action_head.width = '1' must be a number"),
        ("sac", BAND, "agent sac: action_head serves ppo and a2c only"),
        ("td3", BAND, "agent td3: action_head serves ppo and a2c only"),
        ("ppo_recurrent", BAND, "agent ppo_recurrent: action_head serves ppo and a2c only"),
    ],
)
def test_a_head_that_is_none_is_refused(lanes, kind, head, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        build(lanes(), kind, head=head)


def test_an_env_that_names_no_position_is_refused():
    class Still(DummyVecEnv):
        def __init__(self) -> None:
            self.num_envs, self.render_mode = 2, None
            self.observation_space = spaces.Box(-5.0, 5.0, (6,), np.float32)
            self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    with pytest.raises(ConfigError, match="only an env of mtquant"):
        build(Still())
