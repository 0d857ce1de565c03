"""A reward of the user's own pays the same in every face, and cannot do anything else."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable, Iterator
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mtquant
from mtquant.backtest.run import BacktestResult, run_agent
from mtquant.config.data import given_market
from mtquant.config.rules import STORED, RewardConfig
from mtquant.config.schema import EnvConfig
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.envs.trading import TradingEnv
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError
from mtquant.sim import custom_reward
from mtquant.sim.custom_reward import register_reward, reward_names
from mtquant.sim.reward import sortino_reward

PAGE = (Path(__file__).parents[2] / "docs/rewards.md").read_text(encoding="utf-8")


def same_as_default(account: Any, rules: Any, gross: float, before: float) -> float:
    return sortino_reward(rules, gross, account["equity"] - before, before)


def seven(account: Any, rules: Any, gross: float, before: float) -> float:
    account["balance"], rules["max_exposure"] = 1e9, 0.0  # of copies
    return 7


def lost(account: Any, rules: Any, gross: float, before: float) -> float:
    return nan if account["bars"] > 20 else 0.0


@pytest.fixture(autouse=True)
def registered(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(custom_reward, "_registered", {})
    register_reward("same_as_default", same_as_default)
    register_reward("seven", seven)
    yield
    custom_reward._installed.cache_clear()
    custom_reward._loaded.cache_clear()


@pytest.fixture(scope="module")
def scenario_of(gold_bars) -> Callable[..., Scenario]:
    """The gold env under a reward, on 1,500 bars."""
    bars, fitted = gold_bars[:1500], {}

    def make(**reward: Any) -> Scenario:
        changes = {"features": ["returns"], "episode": {"bars": 40}, "reward": reward}
        env = resolve_env("xauusd_h1", changes)
        if not fitted:
            fitted["of"] = Scenario.fit(env, given_market(env, bars))
        one = fitted["of"]
        return Scenario(env, one.market, one.pipeline, one.reward_scale, one.splits)

    return make


def batch(scenario: Scenario) -> tuple[np.ndarray, list[float]]:
    """Rewards of 8 lanes over 120 bars, and the sums of the episodes that ended."""
    env = SB3VecEnv(scenario, 8)
    env.seed(3)
    env.reset()
    actions = np.random.default_rng(5).uniform(-1, 1, (120, 8, 1)).astype(np.float32)
    rewards = np.array([env.step(row)[1] for row in actions])
    return rewards, [summary.reward for summary in env.take_finished()]


def single(scenario: Scenario) -> tuple[list[float], float]:
    env = TradingEnv(scenario)
    env.reset(seed=3)
    rng, rewards, over = np.random.default_rng(5), [], False
    while not over:
        _, reward, *ends, info = env.step(rng.uniform(-1, 1, 1).astype(np.float32))
        rewards.append(reward)
        over = ends[0] or ends[1]
    return rewards, info["episode_summary"]["reward"]


class Script:
    """Turns round, rests and stays, by the bar."""

    name, inputs, scaled, window = "script", (), False, 1
    actions = (1.0, nan, -0.4, 0.0, -1.0, 0.7, nan)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic=False
    ) -> tuple[np.ndarray, int]:
        row = state or 0
        return np.array([self.actions[row // 3 % len(self.actions)]], np.float32), row + 1


def backtest(scenario: Scenario) -> BacktestResult:
    return run_agent(Script(), scenario, (200, 600))


@pytest.mark.nojit
def test_a_copy_of_the_default_pays_the_same_bit_for_bit(scenario_of):
    own, default = scenario_of(kind="same_as_default"), scenario_of()
    (ours, our_sums), (theirs, their_sums) = batch(own), batch(default)
    assert ours.dtype == theirs.dtype == np.float32
    assert ours.tobytes() == theirs.tobytes()
    assert our_sums == their_sums
    assert len(our_sums) > 10
    assert single(own) == single(default)
    assert len(np.unique(ours)) > 500
    played, expected = backtest(own), backtest(default)
    assert played.rewards.tobytes() == expected.rewards.tobytes()
    assert played.equity.tobytes() == expected.equity.tobytes()


@pytest.mark.nojit
def test_a_constant_is_paid_in_every_bar_and_what_it_is_told_are_copies(scenario_of):
    own, default = scenario_of(kind="seven"), scenario_of()
    rewards, sums = batch(own)
    assert (rewards == 7.0).all()
    assert {total % 7.0 for total in sums} == {0.0}
    assert max(sums) == 280.0  # of forty bars, the reset lane not yet counted
    paid, total = single(own)
    assert set(paid) == {7.0} and total == 280.0
    played = backtest(own)
    assert (played.rewards == 7.0).all()
    assert played.equity.tobytes() == backtest(default).equity.tobytes()


def test_the_yaml_s_numbers_are_among_the_rules(scenario_of):
    register_reward("penalty", lambda account, rules, gross, before: rules["trade_penalty"])
    paid, _ = single(scenario_of(kind="penalty", trade_penalty=0.25))
    assert set(paid) == {0.25}


def test_a_registered_kernel_is_taken_as_well(scenario_of):
    register_reward("kernel", sortino_reward)  # its four arguments are others, but four
    register_reward("kernel", same_as_default)  # the newest of a name holds
    assert batch(scenario_of(kind="kernel"))[0].tobytes() == batch(scenario_of())[0].tobytes()


@pytest.mark.nojit
def test_what_is_no_finite_number_is_an_error_with_the_name(scenario_of):
    register_reward("lost", lost)
    for run in (single, batch, backtest):
        with pytest.raises(ConfigError, match=r"reward 'lost' is nan at row \d+ of the tape"):
            run(scenario_of(kind="lost"))


def test_an_unknown_name_names_the_nearest(scenario_of):
    with pytest.raises(ConfigError, match=r"reward.kind.*'seve'.*did you mean 'seven'\?"):
        resolve_env("xauusd_h1", {"reward": {"kind": "seve"}})
    with pytest.raises(ConfigError, match=r"did you mean 'log_return'\?"):
        resolve_env("xauusd_h1", {"reward": {"kind": "log_returns"}})


def test_a_bundle_may_name_a_reward_that_is_not_here(scenario_of):
    """Trading needs none; who simulates is told."""
    scenario = scenario_of(kind="seven")
    stored = scenario.env.model_dump(mode="json")
    custom_reward._registered.clear()
    env = EnvConfig.model_validate(stored, context=STORED)
    assert env == scenario.env
    for run in (single, batch, backtest):
        with pytest.raises(ConfigError, match=r"unknown reward 'seven'.*register_reward"):
            run(scenario)


def test_what_is_refused():
    def three(account: Any, rules: Any, gross: float) -> float:
        return 0.0

    for name, function, fault in (
        ("sortino", seven, "the name of one of mtquant's own"),
        ("My-Reward", seven, "small letters"),
        ("three", three, r"does not take \(account, rules, gross, before\)"),
        ("number", 7.0, "is no function"),
    ):
        with pytest.raises(ConfigError, match=fault):
            register_reward(name, function)  # type: ignore[arg-type]
        assert name not in custom_reward._registered
    for path in ("os.system", "acme:steady", "../steady"):
        with pytest.raises(ValueError, match="kind"):
            RewardConfig(kind=path)
        with pytest.raises(ValueError, match="kind"):
            RewardConfig.model_validate({"kind": path}, context=STORED)


@pytest.mark.skipif("NUMBA_DISABLE_JIT" in __import__("os").environ, reason="nothing is compiled")
def test_what_cannot_be_compiled_is_said_in_one_sentence(scenario_of):
    register_reward("misspelt", lambda account, rules, gross, before: account["equty"])
    with pytest.raises(ConfigError, match=r"'misspelt' cannot be compiled: .*equty") as caught:
        scenario_of(kind="misspelt").simulator()
    assert "\n" not in str(caught.value)


@pytest.fixture
def install(tmp_path, monkeypatch) -> Iterator[Callable[..., None]]:
    """Puts a distribution on the path that offers rewards."""

    def make(source: str, **entries: str) -> None:
        (tmp_path / "acme_rewards.py").write_text(source)
        info = tmp_path / "acme_rewards-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rewards\nVersion: 1.0\n")
        lines = [f"{name} = acme_rewards:{value}" for name, value in entries.items()]
        text = "\n".join(["[mtquant.rewards]", *lines, ""])
        (info / "entry_points.txt").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        custom_reward._installed.cache_clear()

    yield make
    sys.modules.pop("acme_rewards", None)


EIGHT = "def eight(account, rules, gross, before):\n    return 8.0\n"


def test_an_installed_distribution_s_reward_is_imported_when_it_is_asked_for(install, scenario_of):
    install(EIGHT, eight="eight")
    assert "eight" in reward_names()
    scenario = scenario_of(kind="eight")
    assert "acme_rewards" not in sys.modules
    assert (batch(scenario)[0] == 8.0).all()
    assert "acme_rewards" in sys.modules
    with pytest.raises(ConfigError, match="acme_rewards:eight offers"):
        register_reward("eight", seven)


@pytest.mark.parametrize(
    ("source", "entries", "fault"),
    [
        ("import no_such_module", {"eight": "eight"}, "cannot be imported .ModuleNotFoundError"),
        (EIGHT, {"eight": "nine"}, "cannot be imported .AttributeError"),
        ("eight = 8", {"eight": "eight"}, "is no function"),
        (EIGHT, {"sortino_ratio": "eight", "eight": "eight"}, "has a name that is taken"),
    ],
)
def test_a_distribution_that_is_broken(install, scenario_of, source, entries, fault):
    install(source, **entries)
    with pytest.raises(ConfigError, match=fault) as caught:
        scenario_of(kind="eight").simulator()
    assert "\n" not in str(caught.value)


def test_the_page_s_example_runs(gold_bars, tmp_path):
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "example.py").write_text(example)
    env = runpy.run_path(str(tmp_path / "example.py"), {"bars": gold_bars[:2500]})["env"]
    env.reset(seed=1)
    assert env.step(np.ones(1, np.float32))[1] != 0.0
    assert mtquant.register_reward is register_reward


def test_the_page_lists_every_reward():
    for name in reward_names():
        assert f"`{name}`" in PAGE or name in ("same_as_default", "seven")
