"""A training that cannot be is refused at once, and one that breaks leaves nothing half-written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import BundleError, ConfigError, DataError, MTQuantError
from mtquant.sim.simulator import Simulator
from mtquant.training.trainer import Interrupted, run_training


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=repr)
def test_no_bundle_appears_when_training_breaks(config, heard, error):
    with pytest.raises((RuntimeError, Interrupted)):
        run_training(config, listener=heard(error))
    assert not config.out.exists() or not list(config.out.iterdir())
    assert not [path for path in config.runs.rglob("*") if path.name.startswith(".")]


def test_no_bundle_appears_when_the_report_breaks(config, monkeypatch):
    monkeypatch.setattr("mtquant.training.trainer.write_report", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_training(config)
    assert not list(config.out.iterdir())


def test_a_taken_name_is_refused_before_training(config, monkeypatch):
    (config.out / "run").mkdir(parents=True)
    monkeypatch.setattr(SB3VecEnv, "__init__", lambda *_: pytest.fail("training began"))
    with pytest.raises(BundleError, match="exists already; choose another"):
        run_training(config)
    assert not config.runs.exists()


def test_a_name_is_made_from_env_and_agent(config):
    assert run_training(replace(config, name=None)).name == "small-ppo"
    assert run_training(replace(config, name=None)).name == "small-ppo-2"


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", ".hidden", "-x", "x" * 65, "a b", "a\n"])
def test_a_name_that_is_no_folder_is_refused(config, name):
    with pytest.raises(ConfigError, match="must be 1 to 64 letters"):
        run_training(replace(config, name=name))
    assert not config.out.exists() and not config.runs.exists()


@pytest.mark.parametrize("name", ["CON", "nul", "com1.txt", "ends."])
def test_a_name_that_windows_cannot_store_is_refused(config, name):
    with pytest.raises(ConfigError):
        run_training(replace(config, name=name))


@pytest.mark.parametrize("place", ["out", "runs"])
def test_a_file_where_a_folder_must_go_is_refused_before_training(config, place, monkeypatch):
    getattr(config, place).write_text("in the way")
    monkeypatch.setattr(Simulator, "step", lambda *_: pytest.fail("training began"))
    with pytest.raises(MTQuantError, match=place if place == "runs" else "models"):
        run_training(config)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"timesteps": 0}, "timesteps = 0"),
        ({"timesteps": -7}, "timesteps = -7"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**32}, "[sS]eed"),
        ({"symbol": "EURUSD"}, "env small trades XAUUSD, not EURUSD"),
        ({"env": None}, "a symbol, or an env"),
        ({"agent": "pp0"}, "did you mean 'ppo'"),
        ({"env": "xauusd_h2"}, "did you mean 'xauusd_h1'"),
        ({"overrides": {"costs": {"slipage_points": 1}}}, "did you mean 'slippage_points'"),
        ({"agent": "ema_cross"}, "kind of learning agent 'ema_cross'"),
    ],
    ids=str,
)
def test_a_wrong_choice_is_refused_before_anything_is_written(config, change, told):
    with pytest.raises(ConfigError, match=told):
        run_training(replace(config, **change))
    assert not config.out.exists() and not config.runs.exists()


def test_too_few_bars_says_how_many(config, easy_bars):
    with pytest.raises(DataError, match=r"1000 bars are too few.*need (\d+)") as refused:
        run_training(replace(config, data=easy_bars[:1000]))
    assert not config.runs.exists()
    needed = int(str(refused.value).split("need ")[1].split(";")[0])
    learning = config.agent.learning.model_copy(update={"timesteps": 16})
    short = config.agent.model_copy(update={"learning": learning})
    run_training(replace(config, data=easy_bars[:needed], agent=short))


def test_overrides_reach_the_bundle(config):
    bundle = run_training(replace(config, overrides={"costs": {"slippage_points": 3.0}}))
    assert bundle.env.costs.slippage_points == 3.0
    assert bundle.env.costs.commission_per_lot == config.env.costs.commission_per_lot


def test_a_diverging_network_is_one_sentence(config):
    params = {**config.agent.params, "learning_rate": 1e30}
    agent = config.agent.model_copy(update={"params": params})
    with pytest.raises(MTQuantError) as refused:
        run_training(replace(config, agent=agent))
    assert "\n" not in str(refused.value)
    assert not config.out.exists() or not list(config.out.iterdir())
