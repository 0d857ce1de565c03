"""Training on other instruments, too: what is learned, kept, and gone on with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtquant.agents.origin import market_of
from mtquant.agents.policy import OnnxPolicy
from mtquant.backtest.run import run_agent
from mtquant.config.data import given_market, training_market
from mtquant.config.load import load_symbols
from mtquant.config.schema import CurriculumConfig
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.market.simulated import SimulatedMarket
from mtquant.market.store import Source, Store
from mtquant.training.learn import learn
from mtquant.training.run import Interrupted
from mtquant.training.schedules import CostRamp
from mtquant.training.trainer import resume_training, run_training

PROBED = {"curriculum": {"costs": 0.0, "until": 0.5}, "probes": {"bars": 3, "jumps": 0.05}}


@pytest.fixture(scope="session")
def easy_euro():
    """The euro under the law of the easy gold, drawn with another seed."""
    law = SimulatedMarket("EURUSD", "H1", 2000, 8, drift=1.0, flip_probability=0.03)
    return law.bars(load_symbols()["EURUSD"])


@pytest.fixture
def pooled(config, easy_bars, easy_euro):
    """A training on gold and the euro, from a store, with all that touches lanes on the way."""
    for bars in (easy_bars, easy_euro):
        span = bars.when(0), bars.when(-1)
        Store(config.data_dir).add(bars, Source("easy.csv", "utc", len(bars), *span))
    env = resolve_env(config.env, {"episode": {"other_symbols": ["EURUSD"]}})
    learning = config.agent.learning.model_dump() | PROBED
    agent = type(config.agent).model_validate(config.agent.model_dump() | {"learning": learning})
    return replace(config, env=env, agent=agent, data=None)


def test_a_bundle_names_the_bars_and_needs_them_no_more(pooled, heard, easy_bars, easy_euro):
    listener = heard()
    bundle = run_training(pooled, listener=listener)
    assert any(text.startswith("also     EURUSD, EURUSD_H1: 2,000 bars") for text in listener.texts)
    (told,) = bundle.manifest.data.other_fingerprints
    end = int(easy_bars.time[-1])
    assert told == easy_euro.between(None, end + 1).fingerprint()
    next(pooled.data_dir.glob("EURUSD*.parquet")).unlink()
    assert market_of(bundle, pooled.data_dir).fingerprints == (easy_bars.fingerprint(),)


def test_a_bundle_of_one_symbol_names_no_others(small_run):
    manifest = small_run.bundle.manifest
    assert manifest.env.episode.other_symbols == manifest.data.other_fingerprints == ()


def test_a_resumed_training_ends_with_the_same_bits(pooled, heard):
    whole = run_training(replace(pooled, out=pooled.out / "whole", runs=pooled.runs / "whole"))
    with pytest.raises(Interrupted):
        run_training(pooled, listener=heard(KeyboardInterrupt(), at=1024))
    resumed = resume_training("run", out=pooled.out, runs=pooled.runs)
    assert resumed.manifest.bundle_hash == whole.manifest.bundle_hash


def test_the_curriculum_is_for_every_instrument(small_env, easy_bars, easy_euro):
    fees = {"episode": {"other_symbols": ["EURUSD"]}, "costs": {"commission_per_lot": 7.0}}
    env = resolve_env(small_env, fees)
    lanes = SB3VecEnv(Scenario.fit(env, training_market(env, [easy_bars, easy_euro])), 4)
    full = [tape.contracts["commission"].copy() for tape in lanes.simulator.tapes]
    ramp = CostRamp(CurriculumConfig(costs=0.5, until=0.5), lanes)
    for done, factor in ((0.0, 0.5), (0.25, 0.75), (1.0, 1.0)):
        ramp.move(done)
        for tape, whole in zip(lanes.simulator.tapes, full, strict=True):
            assert whole.all() and tape.contracts["commission"] == pytest.approx(factor * whole)
            assert tape.rules["dearest"][0] == factor


def test_one_policy_learns_what_two_instruments_have_in_common(
    small_env, small_agent, easy_bars, easy_euro
):
    env = resolve_env(small_env, {"episode": {"other_symbols": ["EURUSD"]}})
    scenario = Scenario.fit(env, training_market(env, [easy_bars, easy_euro]))
    learned = learn(scenario, small_agent, name="both", seed=0)
    assert learned.policy is not None
    agent = OnnxPolicy(learned.policy, name="both", inputs=scenario.inputs, window=1)
    alone = env.on("EURUSD")
    euro = Scenario.fit(alone, given_market(alone, easy_euro))
    for one in (scenario, euro):
        assert np.mean(run_agent(agent, one, one.rows("test")).rewards) > 0.1
