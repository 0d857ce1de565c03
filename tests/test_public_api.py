"""What ``import mtquant`` offers: everything promised, nothing loaded before it is used."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

import mtquant
from mtquant.agents.rules import EmaCross
from mtquant.backtest.run import run_agent
from mtquant.errors import BundleError, ConfigError, DataError

ROOT = Path(__file__).parents[1]
PROMISED = {
    "read_bars",
    "make_env",
    "make_vec_env",
    "run_training",
    "run_backtest",
    "load_bundle",
}


def test_what_was_promised_is_there():
    assert set(mtquant.__all__) >= PROMISED
    assert mtquant.__all__ == sorted(mtquant.__all__)


@pytest.mark.parametrize("name", mtquant.__all__)
def test_every_export_is_documented(name):
    exported = getattr(mtquant, name)
    assert inspect.getdoc(exported), name
    assert exported.__module__.startswith("mtquant.")
    assert name in dir(mtquant)
    if inspect.isfunction(exported):
        signature = inspect.signature(exported)
        assert all(p.annotation is not p.empty for p in signature.parameters.values())
        assert signature.return_annotation is not signature.empty


def test_no_export_is_overwritten_by_a_module_of_its_name():
    modules = {module.name for module in pkgutil.iter_modules(mtquant.__path__)}
    assert not modules & set(mtquant.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'read_bar'"):
        _ = mtquant.read_bar


def test_import_loads_nothing_heavy():
    code = (
        "import sys, mtquant\n"
        "heavy = {'torch', 'numba', 'pandas', 'numpy', 'stable_baselines3', 'pyarrow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "mtquant.read_bars, mtquant.run_backtest, mtquant.load_bundle\n"
        "assert 'torch' not in sys.modules\n"
        "import mtquant.train, mtquant.cli\n"
        "assert 'torch' not in sys.modules and callable(mtquant.run_backtest)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_read_bars(tmp_path, easy_bars):
    easy_bars.to_frame().to_csv(tmp_path / "gold.csv", index=False)
    bars = mtquant.read_bars(tmp_path / "gold.csv", symbol="XAUUSD")
    assert bars.fingerprint() == easy_bars.fingerprint()
    assert mtquant.read_bars(str(tmp_path / "gold.csv"), symbol="XAUUSD", timeframe="H1")
    with pytest.raises(ConfigError, match="did you mean 'XAUUSD'"):
        mtquant.read_bars(tmp_path / "gold.csv", symbol="XAUSD")
    with pytest.raises(DataError, match="cannot read"):
        mtquant.read_bars(tmp_path / "none.csv", symbol="XAUUSD")


def test_make_env_is_a_gymnasium_env(small_env, easy_bars):
    env = mtquant.make_env(small_env, easy_bars, costs={"slippage_points": 2.0})
    first, _ = env.reset(seed=3)
    again, _ = env.reset(seed=3)
    assert np.array_equal(first, again) and env.observation_space.contains(first)
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert observation.shape == first.shape and isinstance(reward, float)
    assert not terminated and not truncated and isinstance(info, dict)


def test_a_batched_env_trains_stable_baselines3(small_env, easy_bars):
    env = mtquant.make_vec_env(small_env, easy_bars, n_envs=8, seed=1)
    assert isinstance(env, VecEnv) and env.num_envs == 8
    model = PPO("MlpPolicy", env, n_steps=64, batch_size=128, n_epochs=1, seed=1, device="cpu")
    model.learn(512)
    assert model.num_timesteps == 512
    action, _ = model.predict(env.reset())
    assert action.shape == (8, 1)


def test_a_rule_on_a_shipped_env(gold_bars):
    result = mtquant.run_backtest("ema_cross", "xauusd_h1", gold_bars)
    assert result.equity.shape == result.rewards.shape == (len(result.to_frame()),)
    assert len(result.trades) > 5 and result.metrics.trades == len(result.trades)
    scenario = result.scenario
    by_hand = run_agent(EmaCross(), scenario, scenario.rows("all"))
    assert np.array_equal(by_hand.equity, result.equity)


def test_a_training_and_its_bundle(tmp_path, small_env, small_agent, easy_bars, small_run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = mtquant.TrainingConfig(
            env=small_env,
            agent=small_agent,
            data=easy_bars,
            out=tmp_path / "models",
            runs=tmp_path / "runs",
        )
        bundle = mtquant.run_training(config)
    assert isinstance(bundle, mtquant.Bundle)
    loaded = mtquant.load_bundle(bundle.path)
    assert loaded.manifest == bundle.manifest
    result = mtquant.run_backtest(loaded, None, easy_bars)
    assert isinstance(result, mtquant.BacktestResult) and len(result.trades) > 10
    with pytest.raises(BundleError, match="is no bundle"):
        mtquant.load_bundle(tmp_path)
