from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

import mtquant
from mtquant.config.load import available
from mtquant.envs.registration import SHIPPED, env_id, register_envs
from mtquant.envs.trading import TradingEnv

ROOT = Path(mtquant.__file__).parents[1]


def test_every_shipped_env_has_a_name():
    assert set(SHIPPED) == {path.stem for path in (ROOT / "envs").glob("*.yaml")}
    assert set(SHIPPED) <= set(available("envs"))
    assert env_id("xauusd_h1") == "mtquant/XAUUSD-H1-v0"
    for name in SHIPPED:
        assert gym.spec(env_id(name)).kwargs == {"name": name}


def test_gymnasium_makes_it(gold_bars):
    made = gym.make("mtquant/XAUUSD-H1-v0", data=gold_bars, account={"capital": 25_000})
    assert isinstance(made.unwrapped, TradingEnv)
    assert made.unwrapped.scenario.env.account.capital == 25_000
    assert made.spec.id == "mtquant/XAUUSD-H1-v0"
    made.reset(seed=1)
    assert len(made.step(made.action_space.sample())) == 5
    made.close()


def test_registering_twice_is_silent():
    before = dict(gym.registry)
    register_envs()
    assert gym.registry == before


@pytest.mark.parametrize(
    "first",
    [
        "import mtquant, gymnasium",
        "import gymnasium, mtquant",
        "import mtquant, gymnasium.spaces",
        "import mtquant, stable_baselines3",
        "import mtquant; from gymnasium.utils import seeding",
    ],
)
def test_the_order_of_imports_does_not_matter(first):
    code = f"{first}\nimport gymnasium as gym\nprint(gym.spec('mtquant/BTCUSD-M5-v0').id)"
    command = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout == "mtquant/BTCUSD-M5-v0\n", ran.stderr


def test_gymnasium_is_left_as_it_was():
    code = (
        "import mtquant, sys, gymnasium\n"
        "print(type(gymnasium.__spec__.loader).__name__, type(gymnasium.__loader__).__name__)\n"
        "print([type(f).__module__ for f in sys.meta_path if 'mtquant' in type(f).__module__])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout == "SourceFileLoader SourceFileLoader\n[]\n", ran.stderr


def test_asking_for_gymnasium_without_importing_it_spoils_nothing():
    """Libraries look whether an optional dependency exists; that is no import of it."""
    code = (
        "import importlib.util, mtquant\n"
        "assert importlib.util.find_spec('gymnasium') is not None\n"
        "assert importlib.util.find_spec('gymnasium') is not None\n"
        "import gymnasium\n"
        "print('mtquant/XAUUSD-H1-v0' in gymnasium.registry)"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout == "True\n", ran.stderr
