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
from mtquant.training.band import BandHead, BandPolicy, positions_held
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
    """Lanes whose full size is three times equity; the account shows 1.5 times equity as 1."""

    def make(symbols: int = 1, window: int = 1, **sizing) -> SB3VecEnv:
        names = (easy_bars.symbol, "OTHER")[:symbols]
        sizing = {"method": "fixed_fractional", "notional_fraction": 3.0, **sizing}
        changes = {
            "symbols": names,
            "account": small_env.account.model_copy(update={"capital": 1e6}),
            "sizing": small_env.sizing.model_copy(update=sizing),
            "units": small_env.units.model_copy(update={"exposure": 1.5}),
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
# Positions are shown in halves and in quarters of the action: 0.1 is held by 0.2 and by 0.4.
SHOWN = [(0.1, -0.2), (0.3, 0.1), (0.5, -1.0), (0.35, 0.0)]
MEANS = [(0.25, -0.75), (0.6, 0.25), (0.75, -0.75), (0.7, 0.0)]


def test_the_mean_is_the_position_held_clipped_into_the_band():
    head = BandHead(1, (2.0, 4.0), 0.1)
    reach = [log(np.expm1(width)) for width in (0.25, 0.5)]
    with torch.no_grad():
        head.edges.weight.zero_()
        head.edges.bias.copy_(torch.tensor([0.5, -0.25, *reach]))
        found = torch.full((4, 1), 9.0)
        answer = head(torch.cat((found, torch.tensor(SHOWN)), dim=1))
    np.testing.assert_allclose(answer, MEANS, atol=1e-6)


@pytest.mark.parametrize("symbols", [1, 2])
@pytest.mark.parametrize(("window", "policy"), [(1, {}), (4, {}), (4, CONV)])
@pytest.mark.parametrize("kind", ["ppo", "a2c"])
def test_a_fresh_actor_holds_what_it_holds_up_to_its_width(lanes, symbols, window, policy, kind):
    env = lanes(symbols, window)
    model = build(env, kind, window, **policy)
    assert type(model.policy) is BandPolicy and model.policy.unit == (0.5,) * symbols
    assert kind != "ppo" or served(model) == (not policy)
    bias = model.policy.action_net.edges.bias.detach()
    assert (bias[:symbols] == 0.0).all()
    np.testing.assert_allclose(torch.nn.functional.softplus(bias[symbols:]), 0.2, rtol=1e-6)
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (64, *env.observation_space.shape)).astype(np.float32)
    seen = len(env.scenario.inputs) * window
    held = 0.5 * rows[:, seen : seen + 5 * symbols : 5]
    answer, _ = model.predict(rows, deterministic=True)
    np.testing.assert_allclose(answer, held.clip(-0.2, 0.2), atol=0.06)
    inside = np.abs(held) < 0.1
    np.testing.assert_array_equal(answer[inside], held[inside])
    assert 0.1 < inside.mean() < 0.9


def test_the_position_shown_is_held_by_the_action_that_opened_it(lanes):
    env = lanes(2)
    columns, unit = positions_held(env)
    actions = np.array([[0.4, -0.2]] * 3, np.float32)
    env.simulator.reset()
    env.step(actions)
    observations = env.step(actions)[0]
    np.testing.assert_allclose(observations[:, columns] * unit, actions, atol=0.02)


def test_what_limits_cap_is_measured_before_them(lanes):
    capped, free = lanes(), lanes(method="volatility", risk_fraction=1.0)
    assert positions_held(capped)[1] == (0.5,)
    (unit,) = positions_held(free)[1]
    first, last = free.scenario.rows("train")
    bars = free.simulator.tape.market[first : last + 1]
    sizing = free.scenario.env.sizing
    full = bars["close"] / (sizing.atr_multiple * bars["atr"])
    assert unit < 1.5 / free.scenario.env.limits.max_exposure
    assert unit == pytest.approx(1.5 / np.median(full))


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
        ("ppo", "band", "action_head = 'band' must be like {kind: band, width: 0.1}"),
        ("ppo", {"width": 0.1}, "action_head = {'width': 0.1} must be like"),
        ("ppo", {"kind": "bend"}, "unknown kind 'bend'; did you mean 'band'"),
        ("ppo", {"kind": "band", "widht": 1}, "unknown key 'widht'; did you mean 'width'"),
        ("ppo", {"kind": "band", "width": 0}, "action_head.width = 0 must be a number above 0"),
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
